//! Objects in flight have no floor on Windows, where a sender puts each one into the receiver's table at once.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::in_flight::Service;

pub(crate) const FLOOR: Option<Service> = None;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time since an earlier moment. The system counts processor time in steps that are too long.
pub(crate) fn time_worked() -> Duration {
    STARTED.elapsed()
}
