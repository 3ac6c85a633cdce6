//! What a process was given to begin with: its parent, its standard streams, its environment. It stands in that process's
//! memory, so nothing of it is believed but what the callers compare with the kernel's word.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::path::PathBuf;
use std::ptr::{null_mut, with_exposed_provenance};

use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::ERROR_INSUFFICIENT_BUFFER;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Threading::{
    PROCESS_BASIC_INFORMATION, PROCESS_NAME_WIN32, QueryFullProcessImageNameW,
};

use super::{Argument, Length, Outcome, ask, handle, succeeded};

/// Where the words stand, in bytes from the beginning. The same since Windows Vista, for processes of this one's width:
/// one of another width has them elsewhere, or not yet.
/// The streams are input, output, error and the console.
#[cfg(target_pointer_width = "64")]
mod at {
    pub(super) const PARAMETERS: usize = 0x20;
    pub(super) const STREAMS: [usize; 4] = [0x20, 0x28, 0x30, 0x10];
    pub(super) const ENVIRONMENT: usize = 0x80;
}
#[cfg(target_pointer_width = "32")]
mod at {
    pub(super) const PARAMETERS: usize = 0x10;
    pub(super) const STREAMS: [usize; 4] = [0x18, 0x1c, 0x20, 0x10];
    pub(super) const ENVIRONMENT: usize = 0x48;
}

/// What the kernel knows of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basic {
    /// The id of the process that created it, or that its creator named.
    pub(crate) parent: u32,
    /// Where its record of itself stands.
    record: usize,
}

impl Outcome for Basic {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "child of process {}, record at {:#x}", self.parent, self.record)
    }
}

/// What the process's record of itself says.
#[derive(Debug)]
pub(crate) struct Parameters {
    /// The three streams and the console: numbers, or what stands for none.
    pub(crate) streams: [usize; 4],
    /// The variables, each with the NUL that ends it.
    pub(crate) environment: Vec<u16>,
}

/// What the kernel knows of it.
pub(crate) fn basic(process: BorrowedHandle<'_>) -> io::Result<Basic> {
    ask("NtQueryInformationProcess", &[("", Argument::Process(process))], || {
        let mut answer = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: the handle is borrowed, so it is open; the structure is the one of this class, with its own size.
        let status = unsafe {
            NtQueryInformationProcess(
                process.as_raw_handle(),
                ProcessBasicInformation,
                (&raw mut answer).cast(),
                super::size_of_u32::<PROCESS_BASIC_INFORMATION>(),
                null_mut(),
            )
        };
        handle::succeeded_nt(status)?;
        let parent = u32::try_from(answer.InheritedFromUniqueProcessId).map_err(io::Error::other)?;
        Ok(Basic { parent, record: answer.PebBaseAddress.addr() })
    })
}

/// Reads them.
pub(crate) fn read(process: BorrowedHandle<'_>, basic: Basic) -> io::Result<Parameters> {
    let record = word(process, basic.record, at::PARAMETERS)?;
    let mut streams = [0; 4];
    for (stream, at) in streams.iter_mut().zip(at::STREAMS) {
        *stream = word(process, record, at)?;
    }
    let environment = word(process, record, at::ENVIRONMENT)?;
    Ok(Parameters { streams, environment: block(process, environment)? })
}

/// A word behind an address that the process has told.
fn word(process: BorrowedHandle<'_>, from: usize, at: usize) -> io::Result<usize> {
    let address = (from != 0).then(|| from.checked_add(at)).flatten();
    let address =
        address.ok_or_else(|| io::Error::other("the process has no record of its parameters yet"))?;
    let mut bytes = [0; size_of::<usize>()];
    memory(process, address, &mut bytes)?;
    Ok(usize::from_ne_bytes(bytes))
}

/// The environment: up to the place where a variable would begin, and there is NUL.
fn block(process: BorrowedHandle<'_>, from: usize) -> io::Result<Vec<u16>> {
    /// More than any environment has.
    const MOST: usize = 4 << 20;
    const PAGE: usize = 4096;
    if from == 0 {
        return Ok(Vec::new());
    }
    let mut units: Vec<u16> = Vec::new();
    let mut page = [0; PAGE];
    let mut address = from;
    while units.len() < MOST {
        // Not beyond the page, because the next may not be there.
        let bytes = &mut page[..PAGE - address % PAGE];
        memory(process, address, bytes)?;
        for unit in bytes.chunks_exact(2) {
            let unit = u16::from_ne_bytes([unit[0], unit[1]]);
            if unit == 0 && units.last().is_none_or(|before| *before == 0) {
                return Ok(units);
            }
            units.push(unit);
        }
        address =
            address.checked_add(bytes.len()).ok_or_else(|| io::Error::other("there is no such memory"))?;
        if address % 2 != 0 {
            break;
        }
    }
    Err(io::Error::other("the environment has no end"))
}

/// All of these bytes, or an error.
fn memory(process: BorrowedHandle<'_>, address: usize, bytes: &mut [u8]) -> io::Result<()> {
    let arguments = [
        ("of", Argument::Process(process)),
        ("from", Argument::Raw(address as u64)),
        ("length", bytes.len().into()),
    ];
    let Length(read) = ask("ReadProcessMemory", &arguments, || {
        let mut read = 0;
        // SAFETY: the handle is borrowed, so it is open; the address is only a number here, which the kernel looks up over
        // there; the bytes are a live place of that size.
        let answer = unsafe {
            ReadProcessMemory(
                process.as_raw_handle(),
                with_exposed_provenance(address),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &raw mut read,
            )
        };
        succeeded(answer)?;
        Ok(Length(read))
    })?;
    if read == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::other("the memory of the process ends too early"))
    }
}

/// The file of its program.
pub(crate) fn program(process: BorrowedHandle<'_>) -> io::Result<PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    struct Program(PathBuf);
    impl Outcome for Program {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:?}", self.0)
        }
    }
    let mut path = vec![0; 260];
    loop {
        let room = u32::try_from(path.len()).map_err(io::Error::other)?;
        let arguments = [("of", Argument::Process(process)), ("room", room.into())];
        let found = ask("QueryFullProcessImageNameW", &arguments, || {
            let mut length = room;
            // SAFETY: the handle is borrowed, so it is open; the path is a live place of so many units.
            let answer = unsafe {
                QueryFullProcessImageNameW(
                    process.as_raw_handle(),
                    PROCESS_NAME_WIN32,
                    path.as_mut_ptr(),
                    &raw mut length,
                )
            };
            match succeeded(answer) {
                Ok(()) => {
                    let path = path.get(..length as usize).unwrap_or_default();
                    Ok(Some(Program(std::ffi::OsString::from_wide(path).into())))
                }
                // No path is longer than 32767 units.
                Err(error)
                    if super::code(&error) == Some(ERROR_INSUFFICIENT_BUFFER) && path.len() < 1 << 16 =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })?;
        match found {
            Some(Program(path)) => return Ok(path),
            None => path.resize(path.len() * 4, 0),
        }
    }
}
