//! The start parameters of a process: its parent, its standard streams and its environment. They are read from that
//! process's memory, so callers trust only the parts that they compare with the kernel's information.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::path::PathBuf;
use std::ptr::{null_mut, with_exposed_provenance};

use windows_sys::Wdk::System::Threading::{
    NtQueryInformationProcess, ProcessBasicInformation, ProcessWow64Information,
};
use windows_sys::Win32::Foundation::ERROR_INSUFFICIENT_BUFFER;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Threading::{
    PROCESS_BASIC_INFORMATION, PROCESS_NAME_WIN32, QueryFullProcessImageNameW,
};

use super::grow_buffer::with_room;
use super::{Argument, Length, Outcome, SysError, SysResult, ask, handle, succeeded};

/// The offsets of the fields in bytes. They have been the same since Windows Vista, for processes of the same width
/// as this one. A process of another width has other offsets. The streams are input, output, error and the console.
#[cfg(target_pointer_width = "64")]
mod offset {
    pub(super) const PARAMETERS: usize = 0x20;
    pub(super) const STREAMS: [usize; 4] = [0x20, 0x28, 0x30, 0x10];
    pub(super) const ENVIRONMENT: usize = 0x80;
    pub(super) const COMMAND_LINE: usize = 0x70;
}
#[cfg(target_pointer_width = "32")]
mod offset {
    pub(super) const PARAMETERS: usize = 0x10;
    pub(super) const STREAMS: [usize; 4] = [0x18, 0x1c, 0x20, 0x10];
    pub(super) const ENVIRONMENT: usize = 0x48;
    pub(super) const COMMAND_LINE: usize = 0x40;
}

/// The call that reads the values that are checked in this module.
const READ: &str = "ReadProcessMemory";

/// The kernel's basic information about a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basic {
    /// The id of the parent: the process that created it, or the one that its creator named as the parent.
    pub(crate) parent: u32,
    /// The address of the process environment block (PEB).
    peb: usize,
}

impl Outcome for Basic {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "child of process {}, PEB at {:#x}", self.parent, self.peb)
    }
}

/// The start parameters in a process's PEB.
#[derive(Debug)]
pub(crate) struct Parameters {
    /// The handle values of the three streams and the console. A value may stand for no handle.
    pub(crate) streams: [usize; 4],
    /// The environment variables, each with its terminating NUL.
    pub(crate) environment: Vec<u16>,
}

/// Queries the basic information about a process.
pub(crate) fn basic(process: BorrowedHandle<'_>) -> SysResult<Basic> {
    ask("NtQueryInformationProcess", &[("", Argument::Process(process))], || {
        let mut answer = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. `answer` is the
        // structure of this information class, it is live and writable, and the length is its size.
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
        Ok(Basic { parent, peb: answer.PebBaseAddress.addr() })
    })
}

/// Returns whether a process is a 64-bit one and this is a 32-bit build, which can't read its start parameters.
pub(crate) fn is_wider(process: BorrowedHandle<'_>) -> SysResult<bool> {
    // On 32-bit Windows, no process is a 32-bit one on a wider system, this one included.
    Ok(cfg!(target_pointer_width = "32") && is_narrow(super::process::current())? && !is_narrow(process)?)
}

/// Returns whether a process is a 32-bit one on a 64-bit system.
pub(crate) fn is_narrow(process: BorrowedHandle<'_>) -> SysResult<bool> {
    let arguments = [("", Argument::Process(process)), ("is narrow", Argument::Yes)];
    ask("NtQueryInformationProcess", &arguments, || {
        let mut peb = 0_usize;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. The answer to this
        // information class has the size of a pointer, `peb` is live and writable, and the length is its size.
        let status = unsafe {
            NtQueryInformationProcess(
                process.as_raw_handle(),
                ProcessWow64Information,
                (&raw mut peb).cast(),
                super::size_of_u32::<usize>(),
                null_mut(),
            )
        };
        handle::succeeded_nt(status)?;
        Ok(peb != 0)
    })
}

/// Reads the start parameters.
pub(crate) fn read(process: BorrowedHandle<'_>, basic: Basic) -> SysResult<Parameters> {
    let parameters = word(process, basic.peb, offset::PARAMETERS)?;
    let mut streams = [0; 4];
    for (stream, at) in streams.iter_mut().zip(offset::STREAMS) {
        *stream = word(process, parameters, at)?;
    }
    let environment = word(process, parameters, offset::ENVIRONMENT)?;
    Ok(Parameters { streams, environment: block(process, environment)? })
}

/// Reads the command line.
pub(crate) fn command_line(process: BorrowedHandle<'_>, basic: Basic) -> SysResult<Vec<u16>> {
    let parameters = word(process, basic.peb, offset::PARAMETERS)?;
    // A `UNICODE_STRING`: the length in bytes, which are the low 16 bits, and the address.
    let length = word(process, parameters, offset::COMMAND_LINE)? & 0xffff;
    let from = word(process, parameters, offset::COMMAND_LINE + size_of::<usize>())?;
    let mut bytes = vec![0; length];
    memory(process, from, &mut bytes)?;
    Ok(bytes.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]])).collect())
}

/// Reads a pointer-sized word of the other process, at an offset from an address that was read from its memory.
fn word(process: BorrowedHandle<'_>, from: usize, at: usize) -> SysResult<usize> {
    let address = (from != 0).then(|| from.checked_add(at)).flatten();
    let address =
        address.ok_or_else(|| SysError::unexpected(READ, "the process has no start parameters yet"))?;
    let mut bytes = [0; size_of::<usize>()];
    memory(process, address, &mut bytes)?;
    Ok(usize::from_ne_bytes(bytes))
}

/// Reads the environment block, up to the NUL where another variable would begin.
fn block(process: BorrowedHandle<'_>, from: usize) -> SysResult<Vec<u16>> {
    /// A limit in UTF-16 units that no environment reaches.
    const MOST: usize = 4 << 20;
    const PAGE: usize = 4096;
    if from == 0 {
        return Ok(Vec::new());
    }
    let mut units: Vec<u16> = Vec::new();
    let mut page = [0; PAGE];
    let mut address = from;
    while units.len() < MOST {
        // Each read ends at a page border, because the next page may not be mapped.
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
            .ok_or_else(|| SysError::unexpected(READ, "the environment reaches beyond the address space"))?;
        if address % 2 != 0 {
            break;
        }
    }
    Err(SysError::unexpected(READ, "the environment has no terminating NUL"))
}

/// Reads memory of the other process. Fails if not all bytes can be read.
pub(crate) fn memory(process: BorrowedHandle<'_>, address: usize, bytes: &mut [u8]) -> SysResult<()> {
    let arguments = [
        ("of", Argument::Process(process)),
        ("from", Argument::Raw(address as u64)),
        ("length", bytes.len().into()),
    ];
    let Length(read) = ask(READ, &arguments, || {
        let mut read = 0;
        // SAFETY: the handle is borrowed, so it is open. The address isn't used in this process; the kernel looks it
        // up in the other one. `bytes` is live and writable, and its length is passed with it.
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
        Err(SysError::unexpected(READ, "the process has less memory at that address"))
    }
}

/// Returns the path of the process's executable.
pub(crate) fn program(process: BorrowedHandle<'_>) -> SysResult<PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    struct Program(PathBuf);
    impl Outcome for Program {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:?}", self.0)
        }
    }
    const ASK: &str = "QueryFullProcessImageNameW";
    // A path has at most 32767 UTF-16 units.
    let found = with_room(ASK, 260, 1 << 16, |path: &mut [u16]| {
        let size = u32::try_from(path.len()).map_err(|error| SysError::new(ASK, io::Error::other(error)))?;
        let arguments = [("of", Argument::Process(process)), ("room", size.into())];
        ask(ASK, &arguments, || {
            let mut length = size;
            // SAFETY: the handle is borrowed, so it is open. `path` is live and writable, and `length` is its number
            // of units.
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

    /// Mapped pages that are followed by unmapped ones.
    struct Pages(*mut u8);

    impl Pages {
        const SIZE: usize = 0x1_0000;

        fn new() -> Self {
            // SAFETY: with a null address, the system chooses a free range, so no existing mapping is replaced.
            let range = unsafe { VirtualAlloc(null(), 2 * Self::SIZE, MEM_RESERVE, PAGE_READWRITE) };
            // SAFETY: this range was reserved just now, and nothing uses it.
            unsafe { VirtualFree(range, 0, MEM_RELEASE) };
            // SAFETY: the range was free a moment ago. If another mapping has taken it meanwhile, the call fails and
            // replaces nothing.
            let base = unsafe { VirtualAlloc(range, Self::SIZE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) };
            assert!(!base.is_null(), "{}", io::Error::last_os_error());
            Self(base.cast())
        }

        /// Writes a text to the end of the mapped pages, and returns its address.
        fn put(&self, text: &str) -> usize {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_ne_bytes).collect();
            let at = self.0.wrapping_add(Self::SIZE - units.len());
            // SAFETY: the destination has as many bytes as the text and ends where the mapped pages end. Only this
            // test accesses the pages, and they don't overlap with the source.
            unsafe { at.copy_from_nonoverlapping(units.as_ptr(), units.len()) };
            at.expose_provenance()
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: this object allocated the pages and is their only owner, and no reference into them exists.
            unsafe { VirtualFree(self.0.cast(), 0, MEM_RELEASE) };
        }
    }

    #[test]
    fn environment_is_read_to_its_end_and_not_beyond_its_last_page() -> io::Result<()> {
        let pages = Pages::new();
        let read = |text: &str| block(current(), pages.put(text)).map(|units| units.len());
        // The result has the NUL of each variable, and not the one that ends the block.
        assert_eq!(read("A=1\0\0")?, 4);
        assert_eq!(read("A=1\0B=2\0\0")?, 8);
        assert_eq!(read("\0")?, 0);
        // The text crosses the border between two mapped pages.
        assert_eq!(read(&format!("A={}\0\0", "x".repeat(3000)))?, 3003);
        // The text has no terminating NUL. Wine may return zeros for unmapped memory, and then the block ends there.
        let beyond = memory(current(), pages.put(""), &mut [0; 2]);
        assert_eq!(read("A=1\0B=2").is_err(), beyond.is_err());
        assert_eq!(block(current(), 0)?, [0_u16; 0]);
        Ok(())
    }

    #[test]
    fn word_at_an_unusable_address_is_an_error() {
        assert!(word(current(), 0, 8).is_err());
        assert!(word(current(), usize::MAX, 8).is_err());
        assert!(memory(current(), 8, &mut [0; 8]).is_err());
    }

    #[test]
    fn start_parameters_of_this_process_are_correct() -> io::Result<()> {
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
