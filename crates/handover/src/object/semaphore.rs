//! The semaphore: a count that waits decrement and releases increment.

use super::ObjectHandle;
use super::macros::{object, waits};
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::{call, rights};

/// A semaphore: a count in the kernel that a wait decrements. While the count is zero, waits block.
///
/// Use it to limit how many threads or processes use a resource at once, or to count available items. A shared
/// semaphore carries the rights to wait and to release (on Windows, `Access::SEMAPHORE_USE`).
///
/// Dropping a `Semaphore` closes this process's handle. It doesn't release a count that this process has acquired.
///
/// ```
/// use handover::Semaphore;
///
/// let permits = Semaphore::new(2)?;
/// assert!(permits.try_wait()? && permits.try_wait()? && !permits.try_wait()?);
/// permits.release(1)?;
/// assert!(permits.try_wait()?);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Semaphore objects](https://learn.microsoft.com/windows/win32/sync/semaphore-objects);
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html) in semaphore mode, which has no configurable
/// maximum
#[doc(alias = "CreateSemaphore", alias = "EFD_SEMAPHORE")]
pub struct Semaphore {
    handle: ObjectHandle,
}

/// The largest count that a semaphore can start with. On Windows also the largest maximum.
pub(crate) const LARGEST: u32 = 0x7fff_ffff;

impl Semaphore {
    /// Creates a semaphore with this initial count.
    ///
    /// The caller owns it; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the count is over 2,147,483,647; [`Error::System`] if the system has no resources for
    /// another object.
    pub fn new(count: u32) -> Result<Self> {
        ObjectHandle::unnamed(what(count, LARGEST)?).map(Self::of)
    }

    /// Adds `count` to the semaphore's count, which releases up to `count` waiters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `count` is zero, or the semaphore's count would exceed its maximum;
    /// [`Error::AccessDenied`] if the handle lacks the right to release the semaphore.
    ///
    /// [ReleaseSemaphore](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-releasesemaphore)
    #[doc(alias = "ReleaseSemaphore")]
    pub fn release(&self, count: u32) -> Result<()> {
        self.add(count).map(drop)
    }

    pub(crate) fn add(&self, count: u32) -> Result<sys::Before> {
        let invalid = |reason: &str| Error::invalid(format!("a release of {count}"), reason);
        let number = i32::try_from(count).ok().filter(|count| *count > 0);
        let number =
            number.ok_or_else(|| invalid("is out of range; expected a count from 1 to 2147483647"))?;
        match sys::release_semaphore(self.handle(), number) {
            Ok(before) => Ok(before),
            Err(error) if sys::is_too_many(&error) => {
                Err(invalid("would raise the count above the semaphore's maximum; release fewer"))
            }
            Err(source) => Err(refused("the semaphore", call::TO_RELEASE, source)),
        }
    }
}

pub(crate) fn what(count: u32, maximum: u32) -> Result<What> {
    let invalid = |reason: &str| {
        Error::invalid(format!("a semaphore with count {count} and maximum {maximum}"), reason)
    };
    let limit = i32::try_from(maximum).ok().filter(|maximum| *maximum > 0);
    let limit = limit.ok_or_else(|| invalid("has an invalid maximum; expected 1 to 2147483647"))?;
    let initial = i32::try_from(count).ok().filter(|initial| *initial <= limit);
    let initial = initial.ok_or_else(|| invalid("starts above its maximum; choose a smaller count"))?;
    Ok(What::Semaphore { initial, maximum: limit })
}

object!(Semaphore, ObjectKind::Semaphore, rights::SEMAPHORE);
waits!(
    Semaphore,
    "the semaphore",
    "the semaphore's count to rise above zero",
    "the semaphore's count is above zero",
    "the process that would release it exits first",
    "takes one from the count"
);
