//! Descriptors as std has them, under the names that the code for all systems uses.

pub use std::os::fd::{AsFd as AsHandle, BorrowedFd as BorrowedHandle, OwnedFd as OwnedHandle};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

pub(crate) use crate::sys::owned_handle::Owned;

/// What closes a descriptor.
pub(crate) const CLOSE: &str = "close";

/// Closes a descriptor.
pub(crate) fn close(descriptor: OwnedHandle) -> std::io::Result<()> {
    // SAFETY: its owner has given it up just now, and nobody borrows it any more.
    let answer = unsafe { libc::close(descriptor.into_raw_fd()) };
    // Whatever it answers, the descriptor is closed.
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
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

/// The descriptor inside whatever has one.
pub(crate) trait HasHandle {
    /// It, for as long as its owner lives.
    fn handle(&self) -> BorrowedHandle<'_>;
}

impl<T: AsHandle + ?Sized> HasHandle for T {
    fn handle(&self) -> BorrowedHandle<'_> {
        self.as_fd()
    }
}

/// Lets std's trait have what is inside a type of ours.
macro_rules! as_handle {
    ($type:ty, $field:ident $(. $more:ident)*) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                $crate::sys::io::HasHandle::handle(&self.$field$(.$more)*)
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
    fn a_close_says_whether_there_was_anything_to_close() -> std::io::Result<()> {
        // Far above what another test of this process is given.
        const FAR: RawFd = 900;
        let null = std::fs::File::open("/dev/null")?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&null, FAR)?;
        let number = copy.as_raw_fd();
        close(copy)?;
        assert_eq!(rustix::io::fcntl_getfd(&null)?, rustix::io::FdFlags::CLOEXEC);
        // SAFETY: nobody else has the number, and what owns it now only closes it.
        let again = close(unsafe { OwnedHandle::from_raw_fd(number) });
        assert_eq!(again.map_err(|error| error.raw_os_error()), Err(Some(libc::EBADF)));
        Ok(())
    }
}
