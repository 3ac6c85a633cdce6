//! The waitable timer: an object that the kernel signals when its time expires.

use std::time::Duration;

use super::macros::{object, resets, waits};
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::ObjectHandle;
use crate::object::ResetMode;
use crate::sys::call;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::rights;

/// A waitable timer: an object that the kernel signals when its time expires, once or periodically.
///
/// Use it to wake processes at a time or at intervals, also together with other objects in
/// [`wait_any`](crate::wait_any). A shared timer carries the rights to wait, set and cancel (on Windows,
/// `Access::TIMER_USE`).
///
/// Dropping a `Timer` closes this process's handle. The timer runs on while another process has a handle to it.
///
/// ```
/// use std::time::Duration;
/// use handover::Timer;
///
/// let soon = Timer::manual_reset()?;
/// soon.set_once(Duration::from_millis(20))?;
/// assert!(!soon.try_wait()?);
/// soon.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Waitable timer objects](https://learn.microsoft.com/windows/win32/sync/waitable-timer-objects);
/// [timerfd_create(2)](https://man7.org/linux/man-pages/man2/timerfd_create.2.html)
#[doc(alias = "CreateWaitableTimer", alias = "timerfd_create")]
pub struct Timer {
    handle: ObjectHandle,
}

impl Timer {
    /// Starts the timer, so that it is signaled once, after this delay.
    ///
    /// The timer is unsignaled until then. The call replaces an earlier setting.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the delay is over 29,000 years; [`Error::AccessDenied`] if the handle lacks the right
    /// to set the timer.
    ///
    /// [SetWaitableTimer](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer);
    /// [timerfd_settime(2)](https://man7.org/linux/man-pages/man2/timerfd_settime.2.html)
    #[doc(alias = "SetWaitableTimer")]
    pub fn set_once(&self, delay: Duration) -> Result<()> {
        self.set(delay, 0)
    }

    /// Starts the timer, so that it is signaled after the delay `first`, and then again after each `period`.
    ///
    /// The period is rounded up to whole milliseconds, the unit of Windows, so that the timer never expires too early.
    ///
    /// # Errors
    ///
    /// The errors of [`set_once`](Self::set_once), and [`Error::InvalidInput`] if the period is under a millisecond or
    /// over 24 days.
    pub fn set_periodic(&self, first: Duration, period: Duration) -> Result<()> {
        let milliseconds = whole_milliseconds(period).ok_or_else(|| {
            Error::invalid(
                format!("the timer period {period:?}"),
                "is out of range; expected 1 ms to 24 days",
            )
        })?;
        self.set(first, milliseconds)
    }

    fn set(&self, first: Duration, period: i32) -> Result<()> {
        let units = i64::try_from(first.as_nanos().div_ceil(100));
        let units = units.map_err(|_| {
            Error::invalid(
                format!("the timer delay {first:?}"),
                "is out of range; expected at most 29,000 years",
            )
        })?;
        sys::set_timer(self.handle(), units, period)
            .map_err(|source| refused("the timer", call::TO_SET_TIMER, source))
    }

    /// Stops the timer. A timer that is already signaled stays signaled.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to set the timer.
    ///
    /// [CancelWaitableTimer](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-cancelwaitabletimer)
    #[doc(alias = "CancelWaitableTimer")]
    pub fn cancel(&self) -> Result<()> {
        sys::cancel_timer(self.handle()).map_err(|source| refused("the timer", call::TO_SET_TIMER, source))
    }
}

/// Returns the period of a timer, rounded up, or `None` if it is out of range.
fn whole_milliseconds(period: Duration) -> Option<i32> {
    let is_long_enough = period >= Duration::from_millis(1);
    i32::try_from(period.as_nanos().div_ceil(1_000_000)).ok().filter(|_| is_long_enough)
}

pub(crate) fn what(reset: ResetMode) -> What {
    What::Timer { manual_reset: reset == ResetMode::Manual }
}

resets!(Timer, what, "a timer", "it is set again");
object!(Timer, ObjectKind::Timer, rights::TIMER);
waits!(
    Timer,
    "the timer",
    "the timer to expire",
    "the timer has expired",
    "no process sets the timer",
    "resets an auto-reset timer"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_rounded_up() {
        let rounded = |microseconds| whole_milliseconds(Duration::from_micros(microseconds));
        assert_eq!([1000, 1001, 1900, 2000].map(rounded), [1, 2, 2, 2].map(Some));
        assert_eq!([0, 999].map(rounded), [None, None]);
        assert_eq!(whole_milliseconds(Duration::from_millis(1 << 31)), None);
    }
}
