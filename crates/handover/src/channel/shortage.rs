//! A listener without a free handle or memory waits for room. If none comes, it returns the reason.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::handle::is_out_of_room;
use crate::wait::Deadline;

/// The time after which an accept that can't serve a client says why.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two attempts.
const INTERVAL: Duration = Duration::from_millis(10);

/// A lack of handles or memory, since its first error.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<Deadline>);

impl Shortage {
    /// Notes that there is room.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Waits a moment after a failed attempt. Returns the error if it is no lack of room, or if there was no room for too
    /// long.
    pub(super) fn wait_for_room(&mut self, deadline: Deadline, error: Error) -> Result<()> {
        if !error.raw_os_error().is_some_and(is_out_of_room) {
            return Err(error);
        }
        let until = *self.0.get_or_insert_with(|| deadline.or_sooner(PATIENCE));
        if until.has_passed() {
            return Err(error);
        }
        std::thread::sleep(INTERVAL.min(until.left()));
        Ok(())
    }
}
