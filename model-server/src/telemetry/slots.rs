//! Time in slots, of which a trailing window is made.

use std::time::Duration;

/// How many slots of a window passed in a time. Centuries of nanoseconds fit; dividing twice as many digits would be a call.
pub(super) fn slot_number(time: Duration, slot: Duration) -> u64 {
    time.as_nanos() as u64 / slot.as_nanos() as u64
}
