//! The system's clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{Answered, ask};

/// Returns the time of a clock: that of the wall, or one that counts from the start of the system. Returns `None` for a time
/// before 1970.
pub(crate) fn now(is_wall: bool) -> Option<Duration> {
    let clock = if is_wall { ClockId::Realtime } else { ClockId::Monotonic };
    let now = ask("clock_gettime", &[], || Ok(Answered(clock_gettime(clock)))).ok()?.0;
    Some(Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?))
}
