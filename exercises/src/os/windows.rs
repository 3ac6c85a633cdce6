//! Pipes of Windows.

use std::fs::File;
use std::io;
use std::os::windows::io::FromRawHandle;
use std::ptr::{null, null_mut};

use windows_sys::Win32::System::Pipes::CreatePipe;

/// Creates a pipe with `CreatePipe`, and returns its reading and its writing end. Neither is inheritable. The caller owns
/// both.
///
/// # Errors
///
/// The error of the call.
#[allow(unsafe_code, reason = "no safe function of Rust 1.85 creates a pipe")]
pub fn pipe() -> io::Result<(File, File)> {
    let (mut reader, mut writer) = (null_mut(), null_mut());
    // SAFETY: both pointers are to variables of the right type, and null attributes are allowed.
    if unsafe { CreatePipe(&raw mut reader, &raw mut writer, null(), 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just created both handles for this process, and nothing else owns or closes them.
    let ends = unsafe { (File::from_raw_handle(reader), File::from_raw_handle(writer)) };
    Ok(ends)
}
