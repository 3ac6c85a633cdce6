//! std's descriptor types, under the names that the platform-independent code uses.

pub use std::os::fd::{AsFd as AsHandle, BorrowedFd as BorrowedHandle, OwnedFd as OwnedHandle};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

pub(crate) use crate::sys::owned_handle::Owned;

/// The system call that closes a descriptor: one for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Close;

#[allow(clippy::unused_self, reason = "on Windows there are two calls")]
impl Close {
    /// The call for most handles.
    pub(crate) const HANDLE: Self = Self;

    pub(crate) fn name(self) -> &'static str {
        "close"
    }

    /// Closes a descriptor.
    pub(crate) fn close(self, descriptor: OwnedHandle) -> std::io::Result<()> {
        // SAFETY: `into_raw_fd` has just released ownership of the descriptor to this function. It was passed by value,
        // so nothing borrows it and nothing else closes it.
        let answer = unsafe { libc::close(descriptor.into_raw_fd()) };
        // Linux closes the descriptor even if it reports an error.
        if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl AsHandle for Owned {
    fn as_fd(&self) -> BorrowedHandle<'_> {
        self.borrowed()
    }
}

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.borrowed().as_raw_fd()
    }
}

/// A type that contains a descriptor.
pub(crate) trait HasHandle {
    /// Borrows the descriptor for as long as its owner lives.
    fn handle(&self) -> BorrowedHandle<'_>;
}

impl<T: AsHandle + ?Sized> HasHandle for T {
    fn handle(&self) -> BorrowedHandle<'_> {
        self.as_fd()
    }
}

/// Implements std's `AsFd` and `AsRawFd` for a type by the descriptor in one of its fields.
macro_rules! as_handle {
    ($type:ty, $field:ident $(. $more:ident)*) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                $crate::sys::io::HasHandle::handle(&self.$field$(.$more)*)
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&$crate::sys::io::HasHandle::handle(self))
            }
        }
    };
}

pub(crate) use as_handle;

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    #[test]
    fn close_fails_on_a_descriptor_that_is_already_closed() -> std::io::Result<()> {
        // Far above the numbers that other tests in this process get, so none of them reuses it after the close.
        const FAR: RawFd = 900;
        let null = std::fs::File::open("/dev/null")?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&null, FAR)?;
        let number = copy.as_raw_fd();
        Close.close(copy)?;
        assert_eq!(rustix::io::fcntl_getfd(&null)?, rustix::io::FdFlags::CLOEXEC);
        // SAFETY: the descriptor with this number has just been closed, and no other test gets a number that high, so
        // no other owner exists. The new owner is only closed.
        let again = Close.close(unsafe { OwnedHandle::from_raw_fd(number) });
        assert_eq!(again.map_err(|error| error.raw_os_error()), Err(Some(libc::EBADF)));
        Ok(())
    }
}
