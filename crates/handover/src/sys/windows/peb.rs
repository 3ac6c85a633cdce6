//! What a process was given to begin with: its parent, its standard streams, its environment. It stands in
//! that process's memory, so nothing of it is believed but what the callers compare with the kernel's word.

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

use super::grow_buffer::with_room;
use super::{Argument, Length, Outcome, SysError, SysResult, ask, handle, succeeded};

/// Where the words stand, in bytes from the beginning. The same since Windows Vista, for processes of this
/// one's width: one of another width has them elsewhere, or not yet. The streams are input, output, error and
/// the console.
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

/// The call that reads what is judged here.
const READ: &str = "ReadProcessMemory";

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
pub(crate) fn basic(process: BorrowedHandle<'_>) -> SysResult<Basic> {
    ask("NtQueryInformationProcess", &[("", Argument::Process(process))], || {
        let mut answer = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: the handle is borrowed, so it is open; the structure is the one of this class, with its own
        // size.
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
pub(crate) fn read(process: BorrowedHandle<'_>, basic: Basic) -> SysResult<Parameters> {
    let record = word(process, basic.record, at::PARAMETERS)?;
    let mut streams = [0; 4];
    for (stream, at) in streams.iter_mut().zip(at::STREAMS) {
        *stream = word(process, record, at)?;
    }
    let environment = word(process, record, at::ENVIRONMENT)?;
    Ok(Parameters { streams, environment: block(process, environment)? })
}

/// A word behind an address that the process has told.
fn word(process: BorrowedHandle<'_>, from: usize, at: usize) -> SysResult<usize> {
    let address = (from != 0).then(|| from.checked_add(at)).flatten();
    let address = address
        .ok_or_else(|| SysError::unexpected(READ, "the process has no record of its parameters yet"))?;
    let mut bytes = [0; size_of::<usize>()];
    memory(process, address, &mut bytes)?;
    Ok(usize::from_ne_bytes(bytes))
}

/// The environment: up to the place where a variable would begin, and there is NUL.
fn block(process: BorrowedHandle<'_>, from: usize) -> SysResult<Vec<u16>> {
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
        address = address
            .checked_add(bytes.len())
            .ok_or_else(|| SysError::unexpected(READ, "there is no such memory"))?;
        if address % 2 != 0 {
            break;
        }
    }
    Err(SysError::unexpected(READ, "the environment has no end"))
}

/// All of these bytes, or an error.
fn memory(process: BorrowedHandle<'_>, address: usize, bytes: &mut [u8]) -> SysResult<()> {
    let arguments = [
        ("of", Argument::Process(process)),
        ("from", Argument::Raw(address as u64)),
        ("length", bytes.len().into()),
    ];
    let Length(read) = ask(READ, &arguments, || {
        let mut read = 0;
        // SAFETY: the handle is borrowed, so it is open; the address is only a number here, which the kernel
        // looks up over there; the bytes are a live place of that size.
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
        Err(SysError::unexpected(READ, "the memory of the process ends too early"))
    }
}

/// The file of its program.
pub(crate) fn program(process: BorrowedHandle<'_>) -> SysResult<PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    struct Program(PathBuf);
    impl Outcome for Program {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:?}", self.0)
        }
    }
    const ASK: &str = "QueryFullProcessImageNameW";
    // No path is longer than 32767 units.
    let found = with_room(ASK, 260, 1 << 16, |path: &mut [u16]| {
        let room = u32::try_from(path.len()).map_err(|error| SysError::new(ASK, io::Error::other(error)))?;
        let arguments = [("of", Argument::Process(process)), ("room", room.into())];
        ask(ASK, &arguments, || {
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
                Err(error) if super::code(&error) == Some(ERROR_INSUFFICIENT_BUFFER) => Ok(None),
                Err(error) => Err(error),
            }
        })
    })?;
    Ok(found.0)
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsHandle;
    use std::ptr::null;

    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    };

    use super::*;
    use crate::sys::handle::duplicate_here;
    use crate::sys::process::current;

    /// Memory with nothing behind it.
    struct Pages(*mut u8);

    impl Pages {
        const SIZE: usize = 0x1_0000;

        fn new() -> Self {
            // SAFETY: the call takes numbers, and lays the pages where nothing else is.
            let room = unsafe { VirtualAlloc(null(), 2 * Self::SIZE, MEM_RESERVE, PAGE_READWRITE) };
            // SAFETY: they were reserved just now, and nobody has used them.
            unsafe { VirtualFree(room, 0, MEM_RELEASE) };
            // SAFETY: as above; where something else has come meanwhile, the call fails.
            let base = unsafe { VirtualAlloc(room, Self::SIZE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) };
            assert!(!base.is_null(), "{}", io::Error::last_os_error());
            Self(base.cast())
        }

        /// Puts a text at the end of what has memory, and says where it begins.
        fn put(&self, text: &str) -> usize {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_ne_bytes).collect();
            let at = self.0.wrapping_add(Self::SIZE - units.len());
            // SAFETY: the text lies within the pages, which nobody else knows.
            unsafe { at.copy_from_nonoverlapping(units.as_ptr(), units.len()) };
            at.expose_provenance()
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the pages are ours, and nobody has a reference into them.
            unsafe { VirtualFree(self.0.cast(), 0, MEM_RELEASE) };
        }
    }

    #[test]
    fn an_environment_is_read_to_its_end_and_no_page_further() -> io::Result<()> {
        let pages = Pages::new();
        let read = |text: &str| block(current(), pages.put(text)).map(|units| units.len());
        // A variable with its NUL, of which the one that ends the block isn't part.
        assert_eq!(read("A=1\0\0")?, 4);
        assert_eq!(read("A=1\0B=2\0\0")?, 8);
        assert_eq!(read("\0")?, 0);
        // Over the border of two pages that have memory.
        assert_eq!(read(&format!("A={}\0\0", "x".repeat(3000)))?, 3003);
        // One without an end. Wine answers for memory that isn't there; then the block ends there.
        let beyond = memory(current(), pages.put(""), &mut [0; 2]);
        assert_eq!(read("A=1\0B=2").is_err(), beyond.is_err());
        assert_eq!(block(current(), 0)?, []);
        Ok(())
    }

    #[test]
    fn a_word_behind_nothing_is_an_error() {
        assert!(word(current(), 0, 8).is_err());
        assert!(word(current(), usize::MAX, 8).is_err());
        assert!(memory(current(), 8, &mut [0; 8]).is_err());
    }

    #[test]
    fn this_process_is_as_it_is_described() -> io::Result<()> {
        let this = duplicate_here(current(), None, false)?;
        assert_eq!(program(this.as_handle())?, std::env::current_exe()?);
        let basic = basic(this.as_handle())?;
        assert_eq!(basic.parent, crate::sys::process::parent_id()?);
        let parameters = read(this.as_handle(), basic)?;
        let text = String::from_utf16_lossy(&parameters.environment);
        let is_path = |variable: &str| variable.to_ascii_uppercase().starts_with("PATH=");
        assert!(text.split('\0').any(is_path), "{text:?}");
        assert!(program(crate::sys::create_object::event(true)?.as_handle()).is_err());
        Ok(())
    }
}
