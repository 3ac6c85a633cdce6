//! Semaphores.

use std::os::windows::io::AsHandle;

use super::held::{Held, object, opens, refused, waits};
use crate::sys::named::{self as sys, What};
use crate::{Access, AsName, Error, Found, Kind, Result, name};

/// A count in the kernel: a wait takes one from it, and waits while there is none.
///
/// It travels with the rights to wait and to release ([`Access::SEMAPHORE_USE`]).
///
/// ```
/// use handover::Semaphore;
///
/// let places = Semaphore::new(2, 2)?;
/// assert!(places.try_wait()? && places.try_wait()? && !places.try_wait()?);
/// assert_eq!(places.release(1)?, 0);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Semaphore objects](https://learn.microsoft.com/windows/win32/sync/semaphore-objects)
#[derive(Debug)]
#[doc(alias = "CreateSemaphore")]
pub struct Semaphore {
    held: Held,
}

impl Semaphore {
    /// Makes a semaphore with this count, which can't become more than the maximum.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the count is more than the maximum, the maximum is zero or over 2,147,483,647.
    pub fn new(count: u32, maximum: u32) -> Result<Self> {
        name::create_unnamed(what(count, maximum)?).map(Self::created)
    }

    /// Makes a semaphore that other processes find by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if anything has the name, of whatever kind and made by whomever; otherwise as
    /// [`new`](Self::new).
    pub fn create_named(name: &(impl AsName + ?Sized), count: u32, maximum: u32) -> Result<Self> {
        name::create(what(count, maximum)?, name).map(Self::created)
    }

    /// Makes a semaphore of this name, or opens the one that is there, with its own count and maximum, and says which.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if something of another kind has the name, or something that doesn't let this user in;
    /// otherwise as [`new`](Self::new).
    pub fn create_or_open_named(
        name: &(impl AsName + ?Sized),
        count: u32,
        maximum: u32,
    ) -> Result<(Self, Found)> {
        let (handle, found) = name::create_or_open(what(count, maximum)?, name)?;
        Ok((Self::created(handle), found))
    }

    /// Adds to the count, and says what it was before. So many waiters go on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it would become more than the maximum, or zero is added; [`Error::MissingRight`] if this
    /// handle came without [`Access::SEMAPHORE_MODIFY_STATE`].
    #[doc(alias = "ReleaseSemaphore")]
    pub fn release(&self, count: u32) -> Result<u32> {
        let invalid = |why: &str| Error::invalid(format!("the release of {count}"), why);
        let number = i32::try_from(count).ok().filter(|count| *count > 0);
        let number = number.ok_or_else(|| invalid("expected a number from 1 to 2147483647"))?;
        match sys::release_semaphore(self.as_handle(), number) {
            Ok(before) => Ok(u32::try_from(before).unwrap_or(0)),
            Err(error) if sys::is_too_many(&error) => Err(invalid("the semaphore's maximum is less")),
            Err(source) => {
                Err(refused("ReleaseSemaphore", "the semaphore", "SEMAPHORE_MODIFY_STATE", source))
            }
        }
    }
}

fn what(count: u32, maximum: u32) -> Result<What> {
    let invalid =
        |why: &str| Error::invalid(format!("a semaphore of {count} with the maximum {maximum}"), why);
    let limit = i32::try_from(maximum).ok().filter(|maximum| *maximum > 0);
    let limit = limit.ok_or_else(|| invalid("expected a maximum from 1 to 2147483647"))?;
    let initial = i32::try_from(count).ok().filter(|initial| *initial <= limit);
    let initial = initial.ok_or_else(|| invalid("expected a count up to the maximum"))?;
    Ok(What::Semaphore { initial, maximum: limit })
}

object!(Semaphore, Kind::Semaphore, Access::SEMAPHORE_USE);
waits!(Semaphore, "the semaphore", "a place in the semaphore");
opens!(Semaphore, Kind::Semaphore, What::Semaphore { initial: 0, maximum: 1 }, "SEMAPHORE_USE");
