//! What objects can do here beyond other systems: carry fewer rights, be opened with those that are asked for.

use super::name;
use crate::object::semaphore;
use crate::sys::io::HasHandle;
use crate::sys::named::What;
use crate::{Access, AsName, Event, Found, Kind, Mutex, Result, Section, Semaphore, Share, Timer};

impl Share<'_> {
    /// Shares with these rights alone, instead of what the object travels with by default. Windows only.
    ///
    /// Rights that the handle doesn't carry are asked of the object's security descriptor, as
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle)
    /// does; if it doesn't grant them, sharing fails.
    ///
    /// ```
    /// use handover::{Access, Event, Share};
    ///
    /// let ready = Event::manual_reset()?;
    /// let wait_only = Share::from(&ready).only(Access::SYNCHRONIZE);
    /// # Ok::<(), handover::Error>(())
    /// ```
    #[must_use]
    pub const fn only(self, access: Access) -> Self {
        self.with_rights(Some(access))
    }
}

macro_rules! with_access {
    ($($type:ident, $kind:expr, $what:expr;)*) => {$(
        impl $type {
            /// This object for another process, with these rights alone. Windows only.
            #[must_use]
            pub fn only(&self, access: Access) -> Share<'_> {
                Share::typed(self.held().handle(), Some(access))
            }

            /// Opens the one of this name with these rights. Windows only.
            ///
            /// # Errors
            ///
            /// [`Error::NoSuchObject`](crate::Error::NoSuchObject) if nothing has the name; [`Error::NameOfAnotherKind`](crate::Error::NameOfAnotherKind); [`Error::System`](crate::Error::System) with
            /// the access that was asked for if the object doesn't let this user in;
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) for what can't be a name.
            pub fn open_named_with(name: &(impl AsName + ?Sized), access: Access) -> Result<Self> {
                name::open($what, $kind, name, Some(access)).map(Self::of)
            }
        }
    )*};
}

with_access! {
    Event, Kind::Event, What::Event { manual_reset: true };
    Mutex, Kind::Mutex, What::Mutex;
    Semaphore, Kind::Semaphore, What::Semaphore { initial: 0, maximum: 1 };
    Section, Kind::Section, What::Section(1);
    Timer, Kind::Timer, What::Timer { manual_reset: true };
}

/// With a maximum, which other systems don't know.
impl Semaphore {
    /// Makes a semaphore with this count, which can't become more than the maximum. Windows only.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the count is more than the maximum, the maximum is zero or over 2,147,483,647.
    pub fn with_maximum(count: u32, maximum: u32) -> Result<Self> {
        name::create_unnamed(semaphore::what(count, maximum)?).map(Self::of)
    }

    /// As [`create_named`](Self::create_named), with a maximum. Windows only.
    ///
    /// # Errors
    ///
    /// As [`create_named`](Self::create_named) and [`with_maximum`](Self::with_maximum).
    pub fn create_named_with_maximum(
        name: &(impl AsName + ?Sized),
        count: u32,
        maximum: u32,
    ) -> Result<Self> {
        name::create(semaphore::what(count, maximum)?, name).map(Self::of)
    }

    /// As [`create_or_open_named`](Self::create_or_open_named), with a maximum if it is created. Windows only.
    ///
    /// # Errors
    ///
    /// As [`create_or_open_named`](Self::create_or_open_named) and [`with_maximum`](Self::with_maximum).
    pub fn create_or_open_named_with_maximum(
        name: &(impl AsName + ?Sized),
        count: u32,
        maximum: u32,
    ) -> Result<(Self, Found)> {
        let (held, found) = name::create_or_open(semaphore::what(count, maximum)?, name)?;
        Ok((Self::of(held), found))
    }

    /// As [`release`](Self::release), and says what the count was before. Windows only.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    pub fn release_and_count(&self, count: u32) -> Result<u32> {
        Ok(u32::try_from(self.add(count)?).unwrap_or(0))
    }
}
