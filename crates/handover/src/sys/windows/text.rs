//! Text in the form that Win32 takes, and comparisons that depend on the system.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use windows_sys::Win32::Globalization::{CSTR_EQUAL, CSTR_LESS_THAN, CompareStringOrdinal};
use windows_sys::Win32::System::Environment::{FreeEnvironmentStringsW, GetEnvironmentStringsW};
use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetWindowsDirectoryW};

use super::grow_buffer::with_room;
use super::{Outcome, SysError, SysResult, ask};

/// Converts a text to UTF-16 with a terminating NUL.
pub(crate) fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain(Some(0)).collect()
}

/// Compares two names of environment variables as the system does: by code unit, ignoring case.
pub(crate) fn compare_ignoring_case(left: &[u16], right: &[u16]) -> Ordering {
    let length = |text: &[u16]| i32::try_from(text.len()).unwrap_or(i32::MAX);
    // SAFETY: each pointer is passed with at most the number of units behind it, and the call only reads them.
    let answer =
        unsafe { CompareStringOrdinal(left.as_ptr(), length(left), right.as_ptr(), length(right), 1) };
    match answer {
        CSTR_LESS_THAN => Ordering::Less,
        CSTR_EQUAL => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

/// Returns whether two names denote the same environment variable.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    compare_variables(one, other).is_eq()
}

/// Compares the names of two environment variables, ignoring case.
pub(crate) fn compare_variables(one: &OsStr, other: &OsStr) -> Ordering {
    let units = |text: &OsStr| text.encode_wide().collect::<Vec<u16>>();
    compare_ignoring_case(&units(one), &units(other))
}

/// Returns this process's environment block. Each variable ends with NUL, and the block with one more.
pub(crate) fn own_environment() -> SysResult<Vec<u16>> {
    ask("GetEnvironmentStringsW", &[], || {
        // SAFETY: the call takes no arguments. It returns a copy of the environment, which the caller owns and has to
        // free.
        let block = unsafe { GetEnvironmentStringsW() };
        if block.is_null() { Err(io::Error::last_os_error()) } else { Ok(Units(copied(block))) }
    })
    .map(|Units(units)| units)
}

/// UTF-16 code units.
struct Units(Vec<u16>);

impl Outcome for Units {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} units", self.0.len())
    }
}

/// Copies an environment block and frees the original.
fn copied(block: *mut u16) -> Vec<u16> {
    let unit = |at: usize| {
        // SAFETY: the loops below read only up to the block's last NUL, where another variable would begin, so `at`
        // is within the block.
        unsafe { block.wrapping_add(at).read() }
    };
    let mut length = 0;
    while unit(length) != 0 {
        while unit(length) != 0 {
            length += 1;
        }
        length += 1;
    }
    // SAFETY: the loops above have read all units from `block` up to this length, so they are one initialized range
    // within the block.
    let copy = unsafe { std::slice::from_raw_parts(block, length + 1) }.to_vec();
    // SAFETY: `GetEnvironmentStringsW` returned the block to this process, it has been copied, and nothing uses it
    // afterwards.
    unsafe { FreeEnvironmentStringsW(block) };
    copy
}

/// Returns the system directory, which contains the system's own programs.
pub(crate) fn system_directory() -> SysResult<PathBuf> {
    folder("GetSystemDirectoryW", |buffer, length| {
        // SAFETY: `folder` passes a writable buffer and its length, and the call writes no more units than that.
        unsafe { GetSystemDirectoryW(buffer, length) }
    })
}

/// Returns the Windows directory.
pub(crate) fn windows_directory() -> SysResult<PathBuf> {
    folder("GetWindowsDirectoryW", |buffer, length| {
        // SAFETY: `folder` passes a writable buffer and its length, and the call writes no more units than that.
        unsafe { GetWindowsDirectoryW(buffer, length) }
    })
}

/// Queries a path, and repeats the call with a larger buffer if the path didn't fit.
fn folder(name: &'static str, get: impl Fn(*mut u16, u32) -> u32) -> SysResult<PathBuf> {
    with_room(name, 260, 1 << 16, |buffer: &mut [u16]| {
        let length =
            u32::try_from(buffer.len()).map_err(|error| SysError::new(name, io::Error::other(error)))?;
        let answer = ask(name, &[("room", length.into())], || {
            let answer = get(buffer.as_mut_ptr(), length);
            if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
        })?;
        // The answer is the length of the path, or the required size of the buffer if it was too small.
        Ok((answer < length).then(|| OsString::from_wide(&buffer[..answer as usize]).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_contain_the_systems_files() -> io::Result<()> {
        assert!(system_directory()?.join("kernel32.dll").is_file());
        let windows = windows_directory()?;
        assert!(windows.is_absolute() && windows.is_dir());
        Ok(())
    }

    #[test]
    fn folder_grows_the_buffer_for_a_longer_path() -> io::Result<()> {
        // Like the real calls, it returns the written length, or the required size including the NUL.
        let long = |buffer: *mut u16, length: u32| {
            if length <= 1000 {
                return 1001;
            }
            // SAFETY: the buffer is writable and `length` units long, which is more than 1000 here.
            unsafe { std::slice::from_raw_parts_mut(buffer, 1000) }.fill(u16::from(b'n'));
            1000
        };
        assert_eq!(folder("a test", long)?.as_os_str().len(), 1000);
        assert!(folder("a test", |_, _| 0).is_err());
        // These paths just fit or just don't.
        let exact =
            |needed: u32| move |_: *mut u16, length: u32| if needed < length { needed } else { needed + 1 };
        assert_eq!(folder("a test", exact(260))?.as_os_str().len(), 260);
        assert_eq!(folder("a test", exact(259))?.as_os_str().len(), 259);
        Ok(())
    }

    #[test]
    fn environment_block_ends_with_two_nuls() -> io::Result<()> {
        let block = own_environment()?;
        let last_two = block.len() - 2;
        assert!(block.windows(2).position(|pair| pair == [0, 0]).is_some_and(|index| index == last_two));
        Ok(())
    }
}
