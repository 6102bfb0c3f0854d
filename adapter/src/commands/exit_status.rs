//! Exit statuses that several commands have.

/// A configuration that cannot be used: `EX_USAGE`.
pub(super) const UNUSABLE: u8 = 64;
