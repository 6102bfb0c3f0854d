//! Exit statuses that several commands have.

/// A metric without a value.
pub(super) const NO_VALUE: u8 = 1;
/// A cluster, or a server, that does not answer as it should.
pub(super) const CANNOT_ASK: u8 = 2;
/// A configuration that cannot be used: `EX_USAGE`.
pub(super) const UNUSABLE: u8 = 64;
