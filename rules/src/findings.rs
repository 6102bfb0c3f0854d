//! What reading a file's text finds besides its data.

use crate::allow::Allow;
use crate::fault::Fault;
use crate::warning::Warning;

/// Faults, warnings and the comments that allow lints.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) allows: Vec<Allow>,
}

impl Findings {
    pub(crate) fn append(&mut self, mut other: Findings) {
        self.faults.append(&mut other.faults);
        self.warnings.append(&mut other.warnings);
        self.allows.append(&mut other.allows);
    }
}
