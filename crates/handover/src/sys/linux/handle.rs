//! Descriptors: copies, the flag that a child's program starts with, and what the kernel says about them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, SealFlags};
use rustix::io::{Errno, FdFlags};

use super::SysError;
use super::SysResult;
use super::io::Owned;
use super::rights::Rights;
use super::{Answered, Argument, Duplicated, Outcome, Slot, Table, ask, call, fault};
use crate::handle::{HandleValue, ObjectKind};

/// The type of the file system that shared memory is in.
#[allow(clippy::useless_conversion, reason = "the two crates' types are the same on some machines only")]
const TMPFS: rustix::fs::FsWord = libc::TMPFS_MAGIC as rustix::fs::FsWord;

/// Where descriptors begin that aren't standard streams.
pub(crate) const FIRST: RawFd = 3;

/// A value of this process's table as the API takes it.
fn raw(value: HandleValue) -> RawFd {
    RawFd::try_from(value.get()).expect("no value has more than 31 bits")
}

/// The descriptor that has this value, if there is one, for the length of a call.
fn borrowed(value: HandleValue) -> BorrowedFd<'static> {
    // SAFETY: it is no -1. The callers ask the kernel about a number that another process has told; if nothing has it,
    // the kernel answers so.
    unsafe { BorrowedFd::borrow_raw(raw(value)) }
}

/// The file through which this process's own descriptor can be opened once more. Of the thread, because the first one
/// of the process may have ended.
fn path_of(handle: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", handle.as_raw_fd())
}

/// What `fcntl` is asked to do.
pub(super) fn to(what: &'static str) -> (&'static str, Argument<'static>) {
    (what, Argument::Yes)
}

fn above_the_streams(handle: BorrowedFd<'_>) -> io::Result<Duplicated<'_, Owned>> {
    let copy = rustix::io::fcntl_dupfd_cloexec(handle, FIRST)?.into();
    Ok(Duplicated { copy, source: Slot::own(handle) })
}

const DUPLICATE: &str = "F_DUPFD_CLOEXEC";

/// A second descriptor of this process for the same object, which a program that is started doesn't get.
pub(crate) fn duplicate_here(handle: BorrowedFd<'_>, rights: Rights) -> SysResult<Owned> {
    match rights {
        Rights::Same => {
            let arguments = [("handle", handle.into()), to(DUPLICATE)];
            call("fcntl", &arguments, || above_the_streams(handle)).map(|made| made.copy)
        }
        Rights::ReadOnly => {
            let path = path_of(handle);
            let copy = call("open", &[("path", path.as_str().into()), to("O_RDONLY")], || {
                let copy = Owned::from(OwnedFd::from(File::open(&path)?));
                Ok(Duplicated { copy, source: Slot::own(handle) })
            })?;
            if copy.copy.as_raw_fd() >= FIRST {
                return Ok(copy.copy);
            }
            let arguments = [("handle", (&copy.copy).into()), to(DUPLICATE)];
            call("fcntl", &arguments, || above_the_streams(copy.copy.borrowed())).map(|made| made.copy)
        }
    }
}

/// The null device.
pub(super) fn open_null() -> SysResult<Owned> {
    call("open", &[("path", NULL.into()), to("O_RDWR")], || {
        Ok(OwnedFd::from(OpenOptions::new().read(true).write(true).open(NULL)?).into())
    })
}

const NULL: &str = "/dev/null";

/// Holds a number that nothing has.
pub(crate) fn reserve() -> SysResult<Owned> {
    let nothing = open_null()?;
    if nothing.as_raw_fd() >= FIRST {
        return Ok(nothing);
    }
    let arguments = [("handle", (&nothing).into()), to(DUPLICATE)];
    call("fcntl", &arguments, || above_the_streams(nothing.borrowed())).map(|made| made.copy)
}

/// A descriptor of this process for what another process has under this value. The other's isn't touched.
pub(crate) fn duplicate_from(process: BorrowedFd<'_>, value: HandleValue) -> SysResult<Owned> {
    use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
    let copy = call("pidfd_getfd", &[("handle", Argument::There(value, process))], || {
        let copy = pidfd_getfd(process, raw(value), PidfdGetfdFlags::empty())?.into();
        Ok(Duplicated { copy, source: Slot::new(value.get().into(), Table::Of(process)) })
    });
    copy.map(|made| made.copy)
}

/// Makes this process the owner of a descriptor that another process made for this one.
///
/// Three callers have the right to: [`crate::inherited`], for one that a started program would have got until a moment
/// ago, as one is that was handed down, and as std makes none; [`crate::Reported`], which stands for the promise
/// that another process told the number, and can be made elsewhere only by unsafe code; and the end of a channel that
/// a parent has handed down.
pub(crate) fn own(value: HandleValue) -> Owned {
    // SAFETY: the value was found open, and another process made the descriptor for this one, by the rules above; each
    // of them lets it be taken once.
    unsafe { OwnedFd::from_raw_fd(raw(value)) }.into()
}

/// Whether a descriptor is open and would go on to a started program, as one is that was handed down and not adopted
/// yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> SysResult<bool> {
    let flags = flags_of(borrowed(value))?;
    Ok(flags.is_some_and(|Flags(flags)| !flags.contains(FdFlags::CLOEXEC)))
}

/// The flags of a descriptor.
struct Flags(FdFlags);

impl Outcome for Flags {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(if self.0.contains(FdFlags::CLOEXEC) { "FD_CLOEXEC" } else { "no flag" })
    }
}

/// Those flags; `None` if it isn't open.
fn flags_of(handle: BorrowedFd<'_>) -> SysResult<Option<Flags>> {
    ask("fcntl", &[("handle", handle.into()), to("F_GETFD")], || match rustix::io::fcntl_getfd(handle) {
        Ok(flags) => Ok(Some(Flags(flags))),
        Err(Errno::BADF) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Keeps a descriptor that is about to be owned from programs that are started.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> SysResult<()> {
    let handle = borrowed(value);
    let Flags(flags) = ask("fcntl", &[("handle", handle.into()), to("F_GETFD")], || {
        Ok(Flags(rustix::io::fcntl_getfd(handle)?))
    })?;
    call("fcntl", &[("handle", handle.into()), to("F_SETFD FD_CLOEXEC")], || {
        Ok(rustix::io::fcntl_setfd(handle, flags | FdFlags::CLOEXEC)?)
    })
}

/// Whether a descriptor is open.
pub(crate) fn check_open(handle: BorrowedFd<'_>) -> SysResult<()> {
    ask("fcntl", &[("handle", handle.into()), to("F_GETFD")], || Ok(Flags(rustix::io::fcntl_getfd(handle)?)))
        .map(drop)
}

/// How a descriptor was opened, and what it does.
pub(super) struct Opened(pub(super) OFlags);

impl Outcome for Opened {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:#x}", self.0.bits())
    }
}

/// Asks for that.
pub(super) fn ask_how_opened(handle: BorrowedFd<'_>) -> SysResult<OFlags> {
    let arguments = [("handle", handle.into()), to("F_GETFL")];
    ask("fcntl", &arguments, || Ok(Opened(rustix::fs::fcntl_getfl(handle)?))).map(|Opened(flags)| flags)
}

/// What nobody can do any more with memory.
pub(super) fn seals_of(handle: BorrowedFd<'_>) -> SysResult<SealFlags> {
    struct Seals(SealFlags);
    impl Outcome for Seals {
        fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "{:#x}", self.0.bits())
        }
    }
    let arguments = [("handle", handle.into()), to("F_GET_SEALS")];
    ask("fcntl", &arguments, || Ok(Seals(rustix::fs::fcntl_get_seals(handle)?))).map(|Seals(seals)| seals)
}

/// What the kernel says of what a descriptor refers to.
pub(super) fn status_of(handle: BorrowedFd<'_>) -> SysResult<rustix::fs::Stat> {
    let status = ask("fstat", &[("handle", handle.into())], || Ok(Answered(rustix::fs::fstat(handle)?)));
    status.map(|Answered(status)| status)
}

/// Whether what a descriptor refers to is in a file system of this type.
fn is_in(handle: BorrowedFd<'_>, system: rustix::fs::FsWord) -> SysResult<bool> {
    ask("fstatfs", &[("handle", handle.into())], || Ok(rustix::fs::fstatfs(handle)?.f_type == system))
}

/// The kernel's answer to what a descriptor refers to.
///
/// An event and a semaphore are one kind of thing to the kernel, in two modes, and only its page about the descriptor
/// tells them apart (since Linux 6.5; before that, either is an event).
pub(crate) fn kind_of(handle: BorrowedFd<'_>) -> SysResult<ObjectKind> {
    let status = status_of(handle)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Socket => return Ok(ObjectKind::Socket),
        FileType::RegularFile => {
            return Ok(if is_section(handle)? { ObjectKind::SharedMemory } else { ObjectKind::File });
        }
        FileType::Unknown => {}
        _ => return Ok(ObjectKind::File),
    }
    // It is of no file system that has files.
    let page = page_of(handle)?;
    if let Some(kind) = kind_in(&page) {
        return Ok(kind);
    }
    // Any other kind has a name in its link.
    let link = link_at(Path::new(&path_of(handle)))?.into_os_string();
    let link = link.into_string().map_err(|_| SysError::unexpected("readlink", "the link is not UTF-8"))?;
    Ok(ObjectKind::Other(name_in_link(&link).into()))
}

/// Whether it is memory that nobody can shrink behind the back of who looks at it. Other memory is a file.
pub(super) fn is_section(file: BorrowedFd<'_>) -> SysResult<bool> {
    let is_sealed = match seals_of(file) {
        Ok(seals) => seals.contains(SealFlags::SHRINK),
        // It isn't of a kind that could be. The second is said of what was opened by its path alone.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::BADF)) => false,
        Err(error) => return Err(error),
    };
    // In a file system of huge pages, whoever has it can take parts of the memory away all the same.
    Ok(is_sealed && is_in(file, TMPFS)?)
}

/// The kind of what is in no file system, if the kernel's page about the descriptor has what only that kind has.
pub(super) fn kind_in(page: &[u8]) -> Option<ObjectKind> {
    let line = |word: &[u8]| page.split(|byte| *byte == b'\n').find(|line| line.starts_with(word));
    let has = |word: &[u8]| line(word).is_some();
    if has(b"eventfd-count:") {
        // Without the line, the kernel doesn't say.
        let is_semaphore =
            line(b"eventfd-semaphore:").is_some_and(|line| line.trim_ascii_end().ends_with(b"1"));
        return Some(if is_semaphore { ObjectKind::Semaphore } else { ObjectKind::Event });
    }
    if has(b"Pid:") {
        return Some(ObjectKind::Process);
    }
    (has(b"clockid:") && has(b"settime flags:")).then_some(ObjectKind::Timer)
}

/// The kernel's name for any other kind, by the link to the descriptor.
pub(super) fn name_in_link(link: &str) -> &str {
    let name = link.strip_prefix("anon_inode:").unwrap_or(link);
    name.trim_start_matches('[').trim_end_matches(']')
}

/// What an eventfd has.
pub(crate) fn count_of_eventfd(handle: BorrowedFd<'_>) -> SysResult<u64> {
    let page = page_of(handle)?;
    let page = String::from_utf8_lossy(&page);
    let count = page.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
    let count = count.and_then(|count| u64::from_str_radix(count.trim(), 16).ok());
    count.ok_or_else(|| SysError::unexpected("read", "the page about the eventfd has no count"))
}

/// The kernel's page about a descriptor, or its first lines.
fn page_of(handle: BorrowedFd<'_>) -> SysResult<Vec<u8>> {
    let path = format!("/proc/thread-self/fdinfo/{}", handle.as_raw_fd());
    ask_page(Path::new(&path), || {
        // One event has two calls that can fail in different ways, so a test can let each of them.
        fault("read")?;
        let file = File::open(&path)?;
        let mut page = Vec::with_capacity(512);
        rustix::io::read(&file, rustix::buffer::spare_capacity(&mut page))?;
        Ok(page)
    })
}

/// Reads one of the kernel's pages, which leaves nothing open: one event for all of it.
fn ask_page(path: &Path, read: impl FnOnce() -> io::Result<Vec<u8>>) -> SysResult<Vec<u8>> {
    ask("read", &[("path", path.into())], || read().map(Page)).map(|Page(page)| page)
}

/// The kernel's page of this path.
pub(crate) fn page_at(path: &Path) -> SysResult<Vec<u8>> {
    ask_page(path, || std::fs::read(path))
}

/// Where one of the kernel's links leads.
pub(crate) fn link_at(path: &Path) -> SysResult<PathBuf> {
    struct Link(PathBuf);
    impl Outcome for Link {
        fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "{:?}", self.0)
        }
    }
    ask("readlink", &[("path", path.into())], || std::fs::read_link(path).map(Link)).map(|Link(to)| to)
}

struct Page(Vec<u8>);

impl Outcome for Page {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} bytes", self.0.len())
    }
}

/// The same of the descriptor that has this value.
pub(crate) fn kind_of_value(value: HandleValue) -> SysResult<ObjectKind> {
    kind_of(borrowed(value))
}

/// One of the standard streams of this process, if it is open.
pub(crate) fn standard_stream(which: usize) -> SysResult<Option<BorrowedFd<'static>>> {
    let number = RawFd::try_from(which).expect("there are three streams");
    // SAFETY: as std does for its own handles of the standard streams: they are the process's for all its life. A
    // program that closes one gets an error from the kernel for the number.
    let stream = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(flags_of(stream)?.map(|_| stream))
}

/// Whether a call failed because the descriptor isn't open.
pub(crate) fn is_invalid_handle(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BADF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_all_that_it_has() {
        for (page, kind) in [
            ("pos:\t0\neventfd-count:  0\neventfd-semaphore: 0\n", Some(ObjectKind::Event)),
            ("eventfd-count:  0\neventfd-semaphore: 1\n", Some(ObjectKind::Semaphore)),
            ("Pid:\t77\nNSpid:\t77\n", Some(ObjectKind::Process)),
            ("clockid: 1\nticks: 0\nsettime flags: 01\n", Some(ObjectKind::Timer)),
            ("clockid: 1\n", None),
            ("settime flags: 01\n", None),
            ("pos:\t0\n", None),
        ] {
            assert_eq!(kind_in(page.as_bytes()), kind, "{page}");
        }
    }

    #[test]
    #[cfg(feature = "faults")]
    fn a_number_that_is_no_streams_is_held_by_one_call() {
        let (held, calls) = crate::faults::run(None, reserve);
        assert!(held.is_ok_and(|held| held.as_raw_fd() >= FIRST));
        assert_eq!(calls, 1);
    }

    #[test]
    fn what_is_opened_for_this_process_is_no_childs() -> io::Result<()> {
        let null = open_null()?;
        let copies = [
            duplicate_here(null.borrowed(), Rights::Same)?,
            duplicate_here(null.borrowed(), Rights::ReadOnly)?,
            reserve()?,
            null,
        ];
        for copy in &copies {
            assert_eq!(rustix::io::fcntl_getfd(copy.borrowed())?, FdFlags::CLOEXEC);
            assert!(copy.as_raw_fd() >= FIRST);
        }
        let is_open_for = |place: usize| rustix::fs::fcntl_getfl(copies[place].borrowed());
        assert_eq!(is_open_for(1)? & OFlags::RWMODE, OFlags::RDONLY);
        assert_eq!(is_open_for(3)? & OFlags::RWMODE, OFlags::RDWR);
        Ok(())
    }
}
