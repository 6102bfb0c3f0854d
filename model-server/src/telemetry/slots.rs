//! Numbers of the slots of time that a trailing window consists of.

use std::time::Duration;

/// How many slots of a window passed in a time. Centuries of nanoseconds fit; dividing twice as many digits would be a
/// call.
pub(super) fn slot_number(time: Duration, slot: Duration) -> u64 {
    time.as_nanos() as u64 / slot.as_nanos() as u64
}
