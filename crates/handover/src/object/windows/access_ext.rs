//! Features that only Windows objects have: sharing with chosen rights, and semaphores with a maximum.

use super::Mutex;
use crate::error::Result;
use crate::handle::Access;
use crate::object::semaphore;
use crate::object::{BorrowedObject, Event, ObjectHandle, Semaphore, SharedMemory, Timer};
use crate::sys::io::HasHandle;

impl BorrowedObject<'_> {
    /// Shares the object with exactly these rights, instead of the default rights of its kind.
    ///
    /// Use it to give a less trusted process fewer rights. If this process's handle lacks one of the rights, the
    /// object's security descriptor must grant it, as for
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle).
    /// Otherwise the call that shares the object fails.
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
            /// Borrows this object, to share it with exactly these rights. The same as
            /// [`BorrowedObject::with_access`](crate::BorrowedObject::with_access).
            #[must_use]
            #[cfg_attr(docsrs, doc(cfg(windows)))]
            pub fn with_access(&self, access: Access) -> BorrowedObject<'_> {
                BorrowedObject::typed(self.object_handle().handle(), Some(access))
            }
        }
    )*};
}

with_access!(Event, Mutex, Semaphore, SharedMemory, Timer);

/// Semaphores with a maximum, which Linux doesn't have.
impl Semaphore {
    /// Creates a semaphore with this initial count, and a maximum that its count can't exceed.
    ///
    /// The caller owns it; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the count is more than the maximum, or the
    /// maximum is zero or over 2,147,483,647.
    ///
    /// [CreateSemaphore](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-createsemaphorea)
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn with_maximum(count: u32, maximum: u32) -> Result<Self> {
        ObjectHandle::unnamed(semaphore::what(count, maximum)?).map(Self::of)
    }

    /// Adds `count` to the semaphore's count, as [`release`](Self::release) does, and returns the previous count.
    ///
    /// # Errors
    ///
    /// The errors of [`release`](Self::release).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn release_returning_previous(&self, count: u32) -> Result<u32> {
        Ok(u32::try_from(self.add(count)?).unwrap_or(0))
    }
}
