//! The command line: every flag of prometheus-adapter, and our own.
//!
//! Flags are read as Go's pflag reads them ([`pflag`]). A flag without effect here is accepted and named once in the
//! log, so that an unmodified deployment starts.

mod audit;
mod check;
mod cluster;
mod diff;
mod explain;
mod flags;
mod given;
mod pflag;
mod prometheus;
mod upstream;
mod values;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::config::Config;
use flags::Flags;
use given::Given;

/// Why there is no configuration.
#[derive(Debug)]
pub enum UsageError {
    /// `--help` or `--version`: no error, a text for standard output.
    Asked(String),
    /// Everything that is wrong with the arguments.
    Faults(Vec<String>),
}

impl UsageError {
    /// 0 when a text was asked for, else 64 (`EX_USAGE`).
    pub fn exit_code(&self) -> u8 {
        match self {
            UsageError::Asked(_) => 0,
            UsageError::Faults(_) => 64,
        }
    }
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UsageError::Asked(text) => f.write_str(text),
            UsageError::Faults(faults) => {
                for fault in faults {
                    writeln!(f, "{fault}")?;
                }
                f.write_str("--help explains every flag\n")
            }
        }
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// Every fault of the arguments, or the text of `--help`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, UsageError> {
    let (arguments, mut notices) = pflag::normalise(Flags::command(), arguments);
    let refuse = |error: clap::Error| {
        use clap::error::ErrorKind;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => UsageError::Asked(error.to_string()),
            _ => UsageError::Faults(vec![fault(&error)]),
        }
    };
    let matches = Flags::command().try_get_matches_from(arguments).map_err(refuse)?;
    let flags =
        Flags::from_arg_matches(&matches).map_err(|error| refuse(error.format(&mut Flags::command())))?;
    flags.validate(&Given::new(matches), &mut notices).map_err(UsageError::Faults)
}

/// The fault in clap's words. Clap repeats the value at fault, which must not be shown where it may hold a
/// credential.
fn fault(error: &clap::Error) -> String {
    use std::error::Error as _;
    let flag = match error.get(clap::error::ContextKind::InvalidArg) {
        Some(clap::error::ContextValue::String(flag)) => flag.as_str(),
        _ => "",
    };
    match error.source() {
        Some(cause) if SECRET.iter().any(|secret| flag.starts_with(secret)) => {
            format!("error: invalid value for '{flag}': {cause}")
        }
        // The way to all flags is named once, after all faults.
        _ => {
            let text = error.to_string();
            let text = text.trim_end();
            text.strip_suffix(CLAPS_HINT).unwrap_or(text).trim_end().to_owned()
        }
    }
}

const CLAPS_HINT: &str = "For more information, try '--help'.";
/// Flags whose values may hold credentials.
const SECRET: [&str; 3] = ["--prometheus-header", "--prometheus-url", "--scrape-target"];

#[cfg(test)]
mod tests;
