//! Descriptors: copies, the flag that a child's program starts with, and what the kernel says about them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{FileType, Mode, OFlags, SealFlags};
use rustix::io::{Errno, FdFlags};

use super::fault;
use super::rights::Rights;
use crate::{HandleValue, Kind};

/// The type of the file system that shared memory is in.
#[allow(clippy::useless_conversion, reason = "the two crates' types are the same on some machines only")]
const TMPFS: rustix::fs::FsWord = libc::TMPFS_MAGIC as rustix::fs::FsWord;

/// Where descriptors begin that aren't standard streams.
pub(crate) const FIRST: RawFd = 3;

/// A value of this process's table as the API takes it.
fn raw(value: HandleValue) -> RawFd {
    // No value has more than 31 bits.
    RawFd::try_from(value.get()).unwrap_or(-1)
}

/// The descriptor that has this value, if there is one, for the length of a call.
fn borrowed(value: HandleValue) -> BorrowedFd<'static> {
    // SAFETY: it is no -1. The callers ask the kernel about a number that another process has told; if nothing has it,
    // the kernel answers so.
    unsafe { BorrowedFd::borrow_raw(raw(value)) }
}

/// Does something with the descriptor that has this value, without owning it.
pub(crate) fn with_borrowed<T>(value: HandleValue, work: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    work(borrowed(value))
}

/// The file through which this process's own descriptor can be opened once more. Of the thread, because the first one
/// of the process may have ended.
fn path_of(handle: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", handle.as_raw_fd())
}

/// A second descriptor of this process for the same object, which a program that is started doesn't get.
pub(crate) fn duplicate_here(handle: BorrowedFd<'_>, rights: Rights) -> io::Result<OwnedFd> {
    match rights {
        Rights::Same => {
            fault("fcntl")?;
            Ok(rustix::io::fcntl_dupfd_cloexec(handle, FIRST)?)
        }
        Rights::ReadOnly => {
            fault("open")?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let copy = rustix::fs::open(path_of(handle), flags, Mode::empty())?;
            if copy.as_raw_fd() >= FIRST {
                Ok(copy)
            } else {
                Ok(rustix::io::fcntl_dupfd_cloexec(copy, FIRST)?)
            }
        }
    }
}

/// Holds a number that nothing has.
pub(crate) fn reserve() -> io::Result<OwnedFd> {
    fault("open")?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    if nothing.as_raw_fd() >= FIRST {
        return Ok(nothing);
    }
    fault("fcntl")?;
    Ok(rustix::io::fcntl_dupfd_cloexec(nothing, FIRST)?)
}

/// A descriptor of this process for what another process has under this value. The other's isn't touched.
pub(crate) fn duplicate_from(process: BorrowedFd<'_>, value: HandleValue) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
    fault("pidfd_getfd")?;
    Ok(pidfd_getfd(process, raw(value), PidfdGetfdFlags::empty())?)
}

/// Makes this process the owner of a descriptor that another process made for this one.
///
/// Three callers have the right to: [`crate::inherited`], for one that a started program would have got until a moment
/// ago, as one is that was handed down, and as std makes none; [`crate::Told`], which stands for the promise
/// that another process told the number, and can be made elsewhere only by unsafe code; and the end of a channel that
/// a parent has handed down.
pub(crate) fn own(value: HandleValue) -> OwnedFd {
    // SAFETY: the value was found open, and another process made the descriptor for this one, by the rules above; each
    // of them lets it be taken once.
    unsafe { OwnedFd::from_raw_fd(raw(value)) }
}

/// Whether a descriptor is open and would go on to a started program, as one is that was handed down and not adopted
/// yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> io::Result<bool> {
    fault("fcntl")?;
    match rustix::io::fcntl_getfd(borrowed(value)) {
        Ok(flags) => Ok(!flags.contains(FdFlags::CLOEXEC)),
        Err(Errno::BADF) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a descriptor whose number was told can be one that nobody owns. Nothing is put into a running process here, so
/// it has come with the start, and goes on to started programs until it is taken. What std and this crate make doesn't.
pub(crate) fn is_still_anybodys(value: HandleValue) -> bool {
    is_open_and_inheritable(value).unwrap_or(false)
}

/// Keeps a descriptor that is about to be owned from programs that are started.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> io::Result<()> {
    fault("fcntl")?;
    let flags = rustix::io::fcntl_getfd(borrowed(value))?;
    Ok(rustix::io::fcntl_setfd(borrowed(value), flags | FdFlags::CLOEXEC)?)
}

/// Whether a descriptor is open.
pub(crate) fn check_open(handle: BorrowedFd<'_>) -> io::Result<()> {
    fault("fcntl")?;
    rustix::io::fcntl_getfd(handle)?;
    Ok(())
}

/// The kernel's answer to what a descriptor refers to.
///
/// An event and a semaphore are one kind of thing to the kernel, in two modes, and only its page about the descriptor
/// tells them apart (since Linux 6.5; before that, either is an event).
pub(crate) fn kind_of(handle: BorrowedFd<'_>) -> io::Result<Kind> {
    fault("fstat")?;
    let status = rustix::fs::fstat(handle)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Socket => return Ok(Kind::Socket),
        FileType::RegularFile => {
            fault("fcntl")?;
            return Ok(if is_section(handle) { Kind::Section } else { Kind::File });
        }
        FileType::Unknown => {}
        _ => return Ok(Kind::File),
    }
    // It is of no file system that has files.
    let page = page_of(handle)?;
    if let Some(kind) = kind_in(&page) {
        return Ok(kind);
    }
    // Any other kind has a name in its link.
    fault("readlink")?;
    let link = rustix::fs::readlink(path_of(handle), Vec::new())?.into_string().map_err(io::Error::other)?;
    Ok(Kind::Other(name_in_link(&link).into()))
}

/// Whether it is memory that nobody can shrink behind the back of who looks at it. Other memory is a file.
pub(super) fn is_section(file: impl AsFd) -> bool {
    let seals = rustix::fs::fcntl_get_seals(&file);
    // In a file system of huge pages, whoever has it can take parts of the memory away all the same.
    let is_memory = || rustix::fs::fstatfs(&file).is_ok_and(|system| system.f_type == TMPFS);
    seals.is_ok_and(|seals| seals.contains(SealFlags::SHRINK)) && is_memory()
}

/// The kind of what is in no file system, if the kernel's page about the descriptor has what only that kind has.
pub(super) fn kind_in(page: &[u8]) -> Option<Kind> {
    let line = |word: &[u8]| page.split(|byte| *byte == b'\n').find(|line| line.starts_with(word));
    let has = |word: &[u8]| line(word).is_some();
    if has(b"eventfd-count:") {
        // Without the line, the kernel doesn't say.
        let is_semaphore =
            line(b"eventfd-semaphore:").is_some_and(|line| line.trim_ascii_end().ends_with(b"1"));
        return Some(if is_semaphore { Kind::Semaphore } else { Kind::Event });
    }
    if has(b"Pid:") {
        return Some(Kind::Process);
    }
    (has(b"clockid:") && has(b"settime flags:")).then_some(Kind::Timer)
}

/// The kernel's name for any other kind, by the link to the descriptor.
pub(super) fn name_in_link(link: &str) -> &str {
    let name = link.strip_prefix("anon_inode:").unwrap_or(link);
    name.trim_start_matches('[').trim_end_matches(']')
}

/// What an eventfd has.
pub(crate) fn count_of_eventfd(handle: BorrowedFd<'_>) -> io::Result<u64> {
    let page = page_of(handle)?;
    let page = String::from_utf8_lossy(&page);
    let count = page.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
    let count = count.and_then(|count| u64::from_str_radix(count.trim(), 16).ok());
    count.ok_or_else(|| io::Error::other("the page about the eventfd doesn't say what it has"))
}

/// The kernel's page about a descriptor, or its first lines.
fn page_of(handle: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let path = format!("/proc/thread-self/fdinfo/{}", handle.as_raw_fd());
    fault("open")?;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    fault("read")?;
    let mut page = Vec::with_capacity(512);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut page))?;
    Ok(page)
}

/// The same of the descriptor that has this value.
pub(crate) fn kind_of_value(value: HandleValue) -> io::Result<Kind> {
    kind_of(borrowed(value))
}

/// One of the standard streams of this process, if it is open.
pub(crate) fn standard_stream(which: usize) -> io::Result<Option<BorrowedFd<'static>>> {
    let number = RawFd::try_from(which).map_err(io::Error::other)?;
    // SAFETY: as std does for its own handles of the standard streams: they are the process's for all its life. A
    // program that closes one gets an error from the kernel for the number.
    let stream = unsafe { BorrowedFd::borrow_raw(number) };
    fault("fcntl")?;
    match rustix::io::fcntl_getfd(stream) {
        Ok(_) => Ok(Some(stream)),
        Err(Errno::BADF) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a call failed because the descriptor isn't open.
pub(crate) fn is_invalid_handle(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BADF)
}
