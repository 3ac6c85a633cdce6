//! Telling sockets from other handles.

use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use windows_sys::Win32::Networking::WinSock::{SO_TYPE, SOL_SOCKET, getsockopt};

/// Whether Winsock takes the handle for a socket. A process that has not started Winsock has no sockets.
pub(crate) fn is_socket(handle: BorrowedHandle<'_>) -> bool {
    let mut kind = [0_u8; 4];
    let mut length = 4;
    // SAFETY: Winsock checks the number; the place for the answer has the length that is passed with it.
    let answer = unsafe {
        getsockopt(
            handle.as_raw_handle().expose_provenance(),
            SOL_SOCKET,
            SO_TYPE,
            kind.as_mut_ptr(),
            &raw mut length,
        )
    };
    answer == 0
}
