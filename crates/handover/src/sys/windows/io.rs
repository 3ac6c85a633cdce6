//! std's handle types, under the names that the platform-independent code uses.

pub use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::os::windows::io::{AsRawHandle, IntoRawHandle, RawHandle};

use windows_sys::Win32::Foundation::CloseHandle;
use windows_sys::Win32::Networking::WinSock::{WSAGetLastError, closesocket};

pub(crate) use crate::sys::owned_handle::Owned;

/// The system call that closes a handle. A socket also has state in Winsock, which `CloseHandle` would leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Handle,
    Socket,
}

impl Close {
    /// The call for most handles.
    pub(crate) const HANDLE: Self = Self::Handle;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handle => "CloseHandle",
            Self::Socket => "closesocket",
        }
    }

    /// Closes a handle.
    pub(crate) fn close(self, handle: OwnedHandle) -> std::io::Result<()> {
        let raw = handle.into_raw_handle();
        match self {
            // SAFETY: `into_raw_handle` has just released ownership of the handle to this function. It was passed by
            // value, so nothing borrows it and nothing else closes it.
            Self::Handle => super::succeeded(unsafe { CloseHandle(raw) }),
            // SAFETY: `into_raw_handle` has just released ownership of the socket to this function. It was passed by
            // value, so nothing borrows it and nothing else closes it.
            Self::Socket => match unsafe { closesocket(raw.expose_provenance()) } {
                0 => Ok(()),
                _ => Err(last_winsock_error()),
            },
        }
    }
}

/// Returns Winsock's last error, which must be asked for right after the call.
pub(super) fn last_winsock_error() -> std::io::Error {
    // SAFETY: the call takes no arguments, and returns a number of this thread.
    std::io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

impl AsHandle for Owned {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.borrowed()
    }
}

impl AsRawHandle for Owned {
    fn as_raw_handle(&self) -> RawHandle {
        self.borrowed().as_raw_handle()
    }
}

/// A type that contains a handle.
pub(crate) trait HasHandle {
    /// Borrows the handle for as long as its owner lives.
    fn handle(&self) -> BorrowedHandle<'_>;
}

impl<T: AsHandle + ?Sized> HasHandle for T {
    fn handle(&self) -> BorrowedHandle<'_> {
        self.as_handle()
    }
}

/// Implements std's `AsHandle` and `AsRawHandle` for a type by the handle in one of its fields.
macro_rules! as_handle {
    ($type:ty, $field:ident $(. $more:ident)*) => {
        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                $crate::sys::io::HasHandle::handle(&self.$field$(.$more)*)
            }
        }

        impl std::os::windows::io::AsRawHandle for $type {
            fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
                std::os::windows::io::AsRawHandle::as_raw_handle(&$crate::sys::io::HasHandle::handle(self))
            }
        }
    };
}

pub(crate) use as_handle;
