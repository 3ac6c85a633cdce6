//! What only Windows' objects can do: travel with fewer rights, and limit a semaphore's count.

use super::Mutex;
use crate::error::Result;
use crate::handle::Access;
use crate::object::semaphore;
use crate::object::{BorrowedObject, Event, ObjectHandle, Semaphore, SharedMemory, Timer};
use crate::sys::io::HasHandle;

impl BorrowedObject<'_> {
    /// Shares the object with these rights alone, instead of those that it travels with by default.
    ///
    /// If the handle lacks one of them, the object's security descriptor has to grant it, as for
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle);
    /// otherwise sharing fails.
    ///
    /// ```
    /// use handover::os::windows::Access;
    /// use handover::{BorrowedObject, Event};
    ///
    /// let ready = Event::manual_reset()?;
    /// let wait_only = BorrowedObject::from(&ready).with_access(Access::SYNCHRONIZE);
    /// # Ok::<(), handover::Error>(())
    /// ```
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub const fn with_access(self, access: Access) -> Self {
        self.with_rights(Some(access))
    }
}

macro_rules! with_access {
    ($($type:ident),*) => {$(
        impl $type {
            /// Returns this object for another process, with these rights alone.
            #[must_use]
            #[cfg_attr(docsrs, doc(cfg(windows)))]
            pub fn with_access(&self, access: Access) -> BorrowedObject<'_> {
                BorrowedObject::typed(self.held().handle(), Some(access))
            }
        }
    )*};
}

with_access!(Event, Mutex, Semaphore, SharedMemory, Timer);

/// Semaphores with a maximum, which Linux doesn't know.
impl Semaphore {
    /// Creates a semaphore with this count, which can't become more than the maximum.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the count is more than the maximum, or the
    /// maximum is zero or over 2,147,483,647.
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn with_maximum(count: u32, maximum: u32) -> Result<Self> {
        ObjectHandle::unnamed(semaphore::what(count, maximum)?).map(Self::of)
    }

    /// Releases as [`release`](Self::release) does, and returns the count before.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn release_returning_previous(&self, count: u32) -> Result<u32> {
        Ok(u32::try_from(self.add(count)?).unwrap_or(0))
    }
}
