//! Which flags stand on the command line.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The flags on the command line: those by default or not at all are not among them.
pub(super) struct Given(ArgMatches);

impl Given {
    pub(super) fn new(matches: ArgMatches) -> Given {
        Given(matches)
    }

    /// Whether a flag of the program, by the name of its field, is on the command line.
    pub(super) fn has(&self, flag: &clap::Id) -> bool {
        self.0.value_source(flag.as_str()) == Some(ValueSource::CommandLine)
    }
}
