//! Waitable timers.

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

/// A clock in the kernel that is signaled when its time has come.
///
/// It travels with the rights to wait and to set it (on Windows, `Access::TIMER_USE`).
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
#[derive(Debug)]
#[doc(alias = "CreateWaitableTimer", alias = "timerfd_create")]
pub struct Timer {
    held: ObjectHandle,
}

impl Timer {
    /// Lets the timer go off once, after this time. It is unset until then, and an earlier setting is forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the time is over 29,000 years; [`Error::AccessDenied`] if this handle came without
    /// the right to set it.
    #[doc(alias = "SetWaitableTimer")]
    pub fn set_once(&self, time: Duration) -> Result<()> {
        self.set(time, 0)
    }

    /// Lets the timer go off after this time, and then again and again, so many whole milliseconds apart.
    ///
    /// # Errors
    ///
    /// As [`set_once`](Self::set_once), and [`Error::InvalidInput`] for a period under a millisecond or over 24
    /// days.
    pub fn set_periodic(&self, first: Duration, period: Duration) -> Result<()> {
        let milliseconds = i32::try_from(period.as_millis()).ok().filter(|milliseconds| *milliseconds > 0);
        let milliseconds = milliseconds.ok_or_else(|| {
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

    /// Stops the timer. Whether it is signaled stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to set it.
    #[doc(alias = "CancelWaitableTimer")]
    pub fn cancel(&self) -> Result<()> {
        sys::cancel_timer(self.handle()).map_err(|source| refused("the timer", call::TO_SET_TIMER, source))
    }
}

pub(crate) fn what(reset: ResetMode) -> What {
    What::Timer { manual_reset: reset == ResetMode::Manual }
}

resets!(Timer, what, "a timer");
object!(Timer, ObjectKind::Timer, rights::TIMER);
waits!(Timer, "the timer", "the timer expires");
