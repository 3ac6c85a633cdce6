//! Semaphores.

use super::ObjectHandle;
use super::macros::{object, waits};
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::{call, rights};

/// A count in the kernel: a wait takes one from it, and waits while there is none.
///
/// It travels with the rights to wait and to release (on Windows, `Access::SEMAPHORE_USE`).
///
/// ```
/// use handover::Semaphore;
///
/// let places = Semaphore::new(2)?;
/// assert!(places.try_wait()? && places.try_wait()? && !places.try_wait()?);
/// places.release(1)?;
/// assert!(places.try_wait()?);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Semaphore objects](https://learn.microsoft.com/windows/win32/sync/semaphore-objects);
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html) in semaphore mode, which knows no maximum
#[derive(Debug)]
#[doc(alias = "CreateSemaphore", alias = "EFD_SEMAPHORE")]
pub struct Semaphore {
    held: ObjectHandle,
}

/// The largest count, and on Windows the largest maximum.
pub(crate) const LARGEST: u32 = 0x7fff_ffff;

impl Semaphore {
    /// Makes a semaphore with this count.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] for a count over 2,147,483,647.
    pub fn new(count: u32) -> Result<Self> {
        ObjectHandle::unnamed(what(count, LARGEST)?).map(Self::of)
    }

    /// Adds to the count: so many waiters go on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it would become more than the maximum, or zero is added; [`Error::AccessDenied`] if this
    /// handle came without the right to release it.
    #[doc(alias = "ReleaseSemaphore")]
    pub fn release(&self, count: u32) -> Result<()> {
        self.add(count).map(drop)
    }

    pub(crate) fn add(&self, count: u32) -> Result<sys::Before> {
        let invalid = |why: &str| Error::invalid(format!("a release of {count}"), why);
        let number = i32::try_from(count).ok().filter(|count| *count > 0);
        let number =
            number.ok_or_else(|| invalid("is out of range; expected a count from 1 to 2147483647"))?;
        match sys::release_semaphore(self.handle(), number) {
            Ok(before) => Ok(before),
            Err(error) if sys::is_too_many(&error) => Err(invalid("would exceed the semaphore's maximum")),
            Err(source) => Err(refused("the semaphore", call::TO_RELEASE, source)),
        }
    }
}

pub(crate) fn what(count: u32, maximum: u32) -> Result<What> {
    let invalid =
        |why: &str| Error::invalid(format!("a semaphore with count {count} and maximum {maximum}"), why);
    let limit = i32::try_from(maximum).ok().filter(|maximum| *maximum > 0);
    let limit = limit.ok_or_else(|| invalid("is invalid; expected a maximum from 1 to 2147483647"))?;
    let initial = i32::try_from(count).ok().filter(|initial| *initial <= limit);
    let initial = initial.ok_or_else(|| invalid("is invalid; expected a count up to the maximum"))?;
    Ok(What::Semaphore { initial, maximum: limit })
}

object!(Semaphore, ObjectKind::Semaphore, rights::SEMAPHORE);
waits!(Semaphore, "the semaphore", "the semaphore's count is above zero");
