//! Text as the API takes it, and what only the system knows about text.

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

/// UTF-16 with the NUL that ends it.
pub(crate) fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain(Some(0)).collect()
}

/// The order in which the system keeps the names of environment variables, blind to case.
pub(crate) fn compare_ignoring_case(left: &[u16], right: &[u16]) -> Ordering {
    let length = |text: &[u16]| i32::try_from(text.len()).unwrap_or(i32::MAX);
    // SAFETY: both texts are passed with their lengths, and are only read.
    let answer =
        unsafe { CompareStringOrdinal(left.as_ptr(), length(left), right.as_ptr(), length(right), 1) };
    match answer {
        CSTR_LESS_THAN => Ordering::Less,
        CSTR_EQUAL => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

/// Whether two names are one variable's.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    let units = |text: &OsStr| text.encode_wide().collect::<Vec<u16>>();
    compare_ignoring_case(&units(one), &units(other)).is_eq()
}

/// This process's environment block: each variable ends with NUL, and the block with one more.
pub(crate) fn own_environment() -> SysResult<Vec<u16>> {
    ask("GetEnvironmentStringsW", &[], || {
        // SAFETY: the call takes nothing; it makes a copy for the caller, who frees it.
        let block = unsafe { GetEnvironmentStringsW() };
        if block.is_null() { Err(io::Error::last_os_error()) } else { Ok(Units(copied(block))) }
    })
    .map(|Units(units)| units)
}

struct Units(Vec<u16>);

impl Outcome for Units {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} units", self.0.len())
    }
}

/// A copy of such a block, which is freed.
fn copied(block: *mut u16) -> Vec<u16> {
    let unit = |at: usize| {
        // SAFETY: nothing is read behind the NUL where a variable would begin, which ends the block.
        unsafe { block.wrapping_add(at).read() }
    };
    let mut length = 0;
    while unit(length) != 0 {
        while unit(length) != 0 {
            length += 1;
        }
        length += 1;
    }
    // SAFETY: so far, the block was found to reach.
    let copy = unsafe { std::slice::from_raw_parts(block, length + 1) }.to_vec();
    // SAFETY: the block is the call's copy for us, and nobody uses it any more.
    unsafe { FreeEnvironmentStringsW(block) };
    copy
}

/// The folder of the system's own programs.
pub(crate) fn system_directory() -> SysResult<PathBuf> {
    folder("GetSystemDirectoryW", |buffer, length| {
        // SAFETY: the buffer has that length, and the call writes no more.
        unsafe { GetSystemDirectoryW(buffer, length) }
    })
}

/// The folder of Windows.
pub(crate) fn windows_directory() -> SysResult<PathBuf> {
    folder("GetWindowsDirectoryW", |buffer, length| {
        // SAFETY: the buffer has that length, and the call writes no more.
        unsafe { GetWindowsDirectoryW(buffer, length) }
    })
}

/// Asks for a path, with a larger buffer if the first is too small.
fn folder(name: &'static str, get: impl Fn(*mut u16, u32) -> u32) -> SysResult<PathBuf> {
    with_room(name, 260, 1 << 16, |buffer: &mut [u16]| {
        let room =
            u32::try_from(buffer.len()).map_err(|error| SysError::new(name, io::Error::other(error)))?;
        let answer = ask(name, &[("room", room.into())], || {
            let answer = get(buffer.as_mut_ptr(), room);
            if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
        })?;
        // How long it is, or how much room it takes.
        Ok((answer < room).then(|| OsString::from_wide(&buffer[..answer as usize]).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_folders_are_where_its_files_are() -> io::Result<()> {
        assert!(system_directory()?.join("kernel32.dll").is_file());
        let windows = windows_directory()?;
        assert!(windows.is_absolute() && windows.is_dir());
        Ok(())
    }

    #[test]
    fn a_path_that_needs_more_room_gets_it() -> io::Result<()> {
        // As the calls do: how much is written, or how much room it takes, with the NUL.
        let long = |buffer: *mut u16, length: u32| {
            if length <= 1000 {
                return 1001;
            }
            // SAFETY: the buffer has that length, which is more.
            unsafe { std::slice::from_raw_parts_mut(buffer, 1000) }.fill(u16::from(b'n'));
            1000
        };
        assert_eq!(folder("a test", long)?.as_os_str().len(), 1000);
        assert!(folder("a test", |_, _| 0).is_err());
        // It just doesn't fit, or just does.
        let exact =
            |needed: u32| move |_: *mut u16, room: u32| if needed < room { needed } else { needed + 1 };
        assert_eq!(folder("a test", exact(260))?.as_os_str().len(), 260);
        assert_eq!(folder("a test", exact(259))?.as_os_str().len(), 259);
        Ok(())
    }

    #[test]
    fn an_environment_ends_with_two_nuls() -> io::Result<()> {
        let block = own_environment()?;
        let at_its_end = block.len() - 2;
        assert!(block.windows(2).position(|pair| pair == [0, 0]).is_some_and(|place| place == at_its_end));
        Ok(())
    }
}
