//! Descriptors: duplication, the close-on-exec flag, and the kernel's information about them.

use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{AtFlags, FileType, OFlags, SealFlags, StatxFlags};
use rustix::io::Errno;

use super::SysError;
use super::SysResult;
use super::io::Owned;
use super::kind_probe::probe;
use super::number::Number;
pub(super) use super::number::{raw, to};
use super::rights::Rights;
use super::{Answered, Argument, Duplicated, Outcome, Slot, Table, ask, call, fault};
use crate::handle::{HandleValue, ObjectKind};

/// The lowest descriptor number that isn't a standard stream.
pub(crate) const FIRST: RawFd = 3;

/// Makes an `fcntl` call whose argument is a number.
fn fcntl(number: Number, operation: libc::c_int, argument: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: all arguments are numbers, and each operation that this module names takes one or none, so the call
    // accesses no memory of this process. The kernel checks the descriptor's number.
    let answer = unsafe { libc::fcntl(number.0, operation, argument) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Returns the path by which this process's descriptor can be opened again. It is the path of the current thread,
/// because the main thread may have exited, and then `/proc/self` shows no descriptors.
fn path_of(Number(number): Number) -> String {
    format!("/proc/thread-self/fd/{number}")
}

fn duplicate_above(handle: BorrowedFd<'_>, lowest: RawFd) -> io::Result<Duplicated<'_, Owned>> {
    let copy = match rustix::io::fcntl_dupfd_cloexec(handle, lowest) {
        // The limit on descriptors allows no number that high, or none of those is free.
        Err(Errno::INVAL | Errno::MFILE) if lowest > FIRST => rustix::io::fcntl_dupfd_cloexec(handle, FIRST),
        copy => copy,
    };
    Ok(Duplicated { copy: copy?.into(), source: Slot::own(handle) })
}

const DUPLICATE: &str = "F_DUPFD_CLOEXEC";

/// Duplicates a descriptor within this process. The copy is close-on-exec and isn't at the number of a standard
/// stream.
pub(crate) fn duplicate_here(handle: BorrowedFd<'_>, rights: Rights) -> SysResult<Owned> {
    duplicate_at(handle, rights, FIRST)
}

/// Does the same with a number that is at least `lowest`, if such a number is free.
pub(super) fn duplicate_at(handle: BorrowedFd<'_>, rights: Rights, lowest: RawFd) -> SysResult<Owned> {
    match rights {
        Rights::Same => {
            let arguments = [("handle", handle.into()), to(DUPLICATE)];
            call("fcntl", &arguments, || duplicate_above(handle, lowest)).map(|made| made.copy)
        }
        Rights::ReadOnly => {
            let path = path_of(handle.into());
            let copy = call("open", &[("path", path.as_str().into()), to("O_RDONLY")], || {
                let copy = Owned::from(OwnedFd::from(File::open(&path)?));
                Ok(Duplicated { copy, source: Slot::own(handle) })
            })?;
            move_to(copy.copy, lowest)
        }
    }
}

/// Moves a new descriptor to another number if it has the number of a standard stream, because that stream of this
/// process was closed. The number must stay free: a child would take the descriptor for the stream.
pub(crate) fn out_of_the_streams(handle: Owned) -> SysResult<Owned> {
    move_to(handle, FIRST)
}

/// Moves a new descriptor to a number that is at least `lowest`, if such a number is free.
pub(super) fn move_to(handle: Owned, lowest: RawFd) -> SysResult<Owned> {
    if handle.as_raw_fd() >= lowest {
        return Ok(handle);
    }
    let arguments = [("handle", (&handle).into()), to(DUPLICATE)];
    call("fcntl", &arguments, || duplicate_above(handle.borrowed(), lowest)).map(|made| made.copy)
}

/// Opens the null device, as a standard stream or only to occupy a free number.
pub(crate) fn open_null(access: NullAccess) -> SysResult<Owned> {
    const NULL: &str = "/dev/null";
    let (is_read, access) = match access {
        NullAccess::Read => (true, to("O_RDONLY")),
        NullAccess::Write => (false, to("O_WRONLY")),
    };
    let null: Owned = call("open", &[("path", NULL.into()), access], || {
        Ok(OwnedFd::from(OpenOptions::new().read(is_read).write(!is_read).open(NULL)?).into())
    })?;
    out_of_the_streams(null)
}

/// How to open the null device.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NullAccess {
    Read,
    Write,
}

/// Duplicates the descriptor with this value out of another process. The other process's descriptor doesn't change.
pub(crate) fn duplicate_from(process: BorrowedFd<'_>, value: HandleValue) -> SysResult<Owned> {
    use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
    let copy = call("pidfd_getfd", &[("handle", Argument::InProcess(value, process))], || {
        let copy = pidfd_getfd(process, raw(value), PidfdGetfdFlags::empty())?.into();
        Ok(Duplicated { copy, source: Slot::new(value.get().into(), Table::Of(process)) })
    });
    copy.map(|made| made.copy)
}

/// Makes an owner of a descriptor that has none, such as one that another process made for this one.
///
/// Three callers may do this, and each takes a descriptor once:
///
/// 1. The inherited objects: a handle that is in the manifest and was inheritable a moment ago. Descriptors that std
///    or this crate opens in this process never are.
/// 2. [`HandleValue::adopt`](crate::HandleValue::adopt), whose `unsafe` states that another process made the
///    descriptor for this one.
/// 3. `Stdio::from_raw_fd`, whose `unsafe` states that the descriptor is open and has no other owner.
pub(crate) fn own(value: HandleValue) -> Owned {
    // SAFETY: the callers, listed above, have checked that the descriptor is open. It was made for this process by
    // another one, so no other owner exists in this process, and each caller takes a value only once; or their caller
    // has promised both.
    unsafe { OwnedFd::from_raw_fd(raw(value)) }.into()
}

/// Returns whether a descriptor is open and a started program would inherit it. This holds for an inherited
/// descriptor that hasn't been adopted yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> SysResult<bool> {
    Ok(flags_of(value)?.is_some_and(|flags| !flags.is_close_on_exec()))
}

/// The descriptor flags.
struct Flags(libc::c_int);

impl Flags {
    fn is_close_on_exec(&self) -> bool {
        self.0 & libc::FD_CLOEXEC != 0
    }
}

impl Outcome for Flags {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(if self.is_close_on_exec() { "FD_CLOEXEC" } else { "no flag" })
    }
}

/// Returns the flags of a descriptor, or `None` if it isn't open.
fn flags_of(number: impl Into<Number>) -> SysResult<Option<Flags>> {
    let number = number.into();
    ask("fcntl", &[number.argument(), to("F_GETFD")], || match fcntl(number, libc::F_GETFD, 0) {
        Ok(flags) => Ok(Some(Flags(flags))),
        Err(error) if is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    })
}

/// Makes a descriptor close-on-exec, before it gets an owner.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> SysResult<()> {
    let number = Number::from(value);
    let Flags(flags) = open_flags_of(number)?;
    call("fcntl", &[number.argument(), to("F_SETFD FD_CLOEXEC")], || {
        fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC).map(drop)
    })
}

/// Checks that a descriptor is open.
pub(crate) fn check_open(handle: BorrowedFd<'_>) -> SysResult<()> {
    open_flags_of(handle.into()).map(drop)
}

/// Returns the flags of a descriptor, which must be open.
fn open_flags_of(number: Number) -> SysResult<Flags> {
    ask("fcntl", &[number.argument(), to("F_GETFD")], || fcntl(number, libc::F_GETFD, 0).map(Flags))
}

/// The access mode and status flags of an open file description.
pub(super) struct Opened(pub(super) OFlags);

impl Outcome for Opened {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:#x}", self.0.bits())
    }
}

/// Returns the access mode and status flags of a descriptor.
pub(super) fn ask_how_opened(handle: BorrowedFd<'_>) -> SysResult<OFlags> {
    let arguments = [("handle", handle.into()), to("F_GETFL")];
    ask("fcntl", &arguments, || Ok(Opened(rustix::fs::fcntl_getfl(handle)?))).map(|Opened(flags)| flags)
}

/// Returns the seals of memory: the operations that are forbidden for every process.
pub(super) fn seals_of(handle: BorrowedFd<'_>) -> SysResult<SealFlags> {
    seals_at(handle.into())
}

fn seals_at(number: Number) -> SysResult<SealFlags> {
    struct Seals(SealFlags);
    impl Outcome for Seals {
        #[inline]
        fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "{:#x}", self.0.bits())
        }
    }
    let seals = ask("fcntl", &[number.argument(), to("F_GET_SEALS")], || {
        let seals = fcntl(number, libc::F_GET_SEALS, 0)?;
        Ok(Seals(SealFlags::from_bits_retain(seals.unsigned_abs())))
    });
    seals.map(|Seals(seals)| seals)
}

/// Returns the file status of a descriptor.
pub(super) fn status_of(handle: BorrowedFd<'_>) -> SysResult<libc::stat64> {
    status_at(handle.into())
}

/// Returns the size in bytes of the file or memory with this handle value.
pub(crate) fn size_of_value(value: HandleValue) -> SysResult<u64> {
    status_at(value.into()).map(|status| status.st_size.unsigned_abs())
}

fn status_at(number: Number) -> SysResult<libc::stat64> {
    let status = ask("fstat", &[number.argument()], || {
        let mut status = MaybeUninit::<libc::stat64>::zeroed();
        // SAFETY: the pointer refers to live, writable memory of the structure's size. The kernel checks the number.
        if unsafe { libc::fstat64(number.0, status.as_mut_ptr()) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the structure consists of integers, so the zeroed memory was already a valid value, and the
        // successful call has filled it.
        Ok(Answered(unsafe { status.assume_init() }))
    });
    status.map(|Answered(status)| status)
}

/// Converts the type of a file system, a number of 32 bits for which each C library and architecture has another type.
macro_rules! magic {
    ($number:expr) => {{
        #[allow(
            trivial_numeric_casts,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::unnecessary_cast,
            reason = "no such number has more than 32 bits"
        )]
        let number = $number as u32;
        number
    }};
}
pub(super) use magic;

/// Returns the type of the file system that a descriptor's file is in: one of the kernel's magic numbers.
pub(super) fn file_system_of(handle: BorrowedFd<'_>) -> SysResult<u32> {
    file_system_at(handle.into())
}

fn file_system_at(number: Number) -> SysResult<u32> {
    let kind = ask("fstatfs", &[number.argument()], || {
        let mut status = MaybeUninit::<libc::statfs64>::zeroed();
        // SAFETY: the pointer refers to live, writable memory of the structure's size. The kernel checks the number.
        if unsafe { libc::fstatfs64(number.0, status.as_mut_ptr()) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the structure consists of integers, so the zeroed memory was already a valid value, and the
        // successful call has filled it.
        let status = unsafe { status.assume_init() };
        Ok(Answered(magic!(status.f_type)))
    });
    kind.map(|Answered(kind)| kind)
}

/// Returns the kind of object that a descriptor refers to, as the kernel reports it.
///
/// To the kernel, an event and a semaphore are both an eventfd, in two modes. The marks of this crate's objects tell them
/// apart. For an eventfd without a mark, only the descriptor's fdinfo file does, since Linux 6.5. On older kernels such a
/// semaphore is reported as an event; see [`can_be`].
pub(crate) fn kind_of(handle: BorrowedFd<'_>) -> SysResult<ObjectKind> {
    kind_at(handle.into())
}

/// Returns the kind of object that this process owns.
pub(crate) fn kind_of_owned(descriptor: &Owned) -> SysResult<ObjectKind> {
    kind_of(descriptor.borrowed())
}

/// Returns whether an object of this kind is more than its descriptor, so that a plain descriptor can't own it. On Linux
/// none is.
pub(crate) fn is_more_than_a_handle(_: &ObjectKind) -> bool {
    false
}

/// Returns the kinds that a descriptor's object can be of, which costs a fraction of [`kind_of`] and needs no descriptor. If it
/// is one kind, that is the object's. Returns none if only `kind_of` tells.
///
/// If `is_no_semaphore`, an eventfd is an event, and its mark isn't read.
pub(crate) fn possible_kinds(
    handle: BorrowedFd<'_>,
    is_no_semaphore: bool,
) -> SysResult<&'static [ObjectKind]> {
    /// Whether the kernel takes no path for an empty one, as since Linux 6.11. Then it needn't read the path.
    static TAKES_NO_PATH: AtomicBool = AtomicBool::new(true);
    let status = type_of(handle, &TAKES_NO_PATH);
    let Ok((mask, mode)) = status else { return kinds_by_link(handle) };
    if mask & StatxFlags::TYPE.bits() == 0 {
        return kinds_by_link(handle);
    }
    Ok(match FileType::from_raw_mode(mode.into()) {
        FileType::Socket => &[ObjectKind::Socket],
        FileType::RegularFile => &[ObjectKind::File, ObjectKind::SharedMemory],
        FileType::Unknown => probe(handle.into(), is_no_semaphore)?,
        _ => &[ObjectKind::File],
    })
}

/// Returns the type of a descriptor's file, as [`ask_type`] does, and notes whether the kernel takes no path.
pub(super) fn type_of(handle: BorrowedFd<'_>, takes_no_path: &AtomicBool) -> SysResult<(u32, u16)> {
    let is_without_path = takes_no_path.load(Relaxed);
    match ask_type(handle, is_without_path) {
        Err(error) if is_without_path && error.source.raw_os_error() == Some(libc::EFAULT) => {
            takes_no_path.store(false, Relaxed);
            ask_type(handle, false)
        }
        answer => answer,
    }
}

/// Asks for the type of a descriptor's file. Returns the mask of the fields that the kernel has filled in, and the mode.
pub(super) fn ask_type(handle: BorrowedFd<'_>, is_without_path: bool) -> SysResult<(u32, u16)> {
    let status = ask("statx", &[("handle", handle.into())], || {
        let path = if is_without_path { std::ptr::null() } else { c"".as_ptr() };
        // With the second flag, the call doesn't ask the server of a network or user-space file system, which may not
        // answer.
        let flags = (AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC).bits();
        let mut status = MaybeUninit::<rustix::fs::Statx>::uninit();
        // SAFETY: `path` is null or an empty C string, of which the kernel refuses the one that it doesn't take. `status` is
        // live and writable, and has the layout of the kernel's structure. The other arguments are numbers.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_statx,
                handle.as_raw_fd(),
                path,
                flags,
                StatxFlags::TYPE.bits(),
                status.as_mut_ptr(),
            )
        };
        if answer == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a successful call fills in the whole structure.
        let status = unsafe { status.assume_init_ref() };
        Ok(Answered((status.stx_mask, status.stx_mode)))
    });
    status.map(|Answered(status)| status)
}

/// Returns the same as [`possible_kinds`] if a file system doesn't let this user ask for a file's type, or a filter refuses
/// the call.
fn kinds_by_link(handle: BorrowedFd<'_>) -> SysResult<&'static [ObjectKind]> {
    Ok(match &link_of(handle.into())?[..] {
        // Only the kernel's own objects have links that are no path.
        [b'/', ..] => &[ObjectKind::File, ObjectKind::SharedMemory],
        link if link.starts_with(b"socket:[") => &[ObjectKind::Socket],
        link if link.starts_with(b"pipe:[") => &[ObjectKind::File],
        _ => &[],
    })
}

/// Returns the first bytes of the target of a descriptor's link in /proc.
fn link_of(number: Number) -> SysResult<SmallText> {
    let mut path = SmallText::EMPTY;
    // The number has at most ten digits, so the path just fits.
    let _ = write!(path, "/proc/thread-self/fd/{}\0", number.0);
    ask("readlink", &[number.argument()], || {
        let path = CStr::from_bytes_with_nul(&path).map_err(io::Error::other)?;
        let mut link = SmallText::EMPTY;
        link.length = rustix::fs::readlinkat_raw(rustix::fs::CWD, path, &mut link.bytes[..])?;
        Ok(link)
    })
}

/// Some bytes without an allocation.
struct SmallText {
    bytes: [u8; 32],
    length: usize,
}

impl SmallText {
    const EMPTY: Self = Self { bytes: [0; 32], length: 0 };
}

impl std::ops::Deref for SmallText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for SmallText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Outcome for SmallText {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:?}", String::from_utf8_lossy(self))
    }
}

/// Returns the kind of object that the descriptor with this value refers to, if it is open.
pub(crate) fn kind_of_value(value: HandleValue) -> SysResult<ObjectKind> {
    kind_at(value.into())
}

fn kind_at(number: Number) -> SysResult<ObjectKind> {
    let status = status_at(number)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Socket => return Ok(ObjectKind::Socket),
        FileType::RegularFile => {
            return Ok(if is_section_at(number)? { ObjectKind::SharedMemory } else { ObjectKind::File });
        }
        FileType::Unknown => {}
        _ => return Ok(ObjectKind::File),
    }
    // Only anonymous inodes have no file type: they aren't in a file system that has files.
    if let [kind] = probe(number, false)? {
        return Ok(kind.clone());
    }
    kind_in_proc(number)
}

/// Returns the kind of an anonymous inode, as /proc shows it.
pub(super) fn kind_in_proc(number: Number) -> SysResult<ObjectKind> {
    let page = page_of(number)?;
    if let Some(kind) = kind_in(&page) {
        return Ok(kind);
    }
    // Other kinds of anonymous inodes are named in the link.
    let link = link_at(Path::new(&path_of(number)))?.into_os_string();
    let link = link.into_string().map_err(|_| SysError::unexpected("readlink", "the link is not UTF-8"))?;
    Ok(ObjectKind::Other(name_in_link(&link).into()))
}

/// Returns whether a file is shared memory: memory that no process can shrink while others access it. Other memory
/// counts as a file.
#[cfg(feature = "inspect")]
pub(super) fn is_section(file: BorrowedFd<'_>) -> SysResult<bool> {
    is_section_at(file.into())
}

fn is_section_at(file: Number) -> SysResult<bool> {
    let is_sealed = match seals_at(file) {
        Ok(seals) => seals.contains(SealFlags::SHRINK),
        // The file isn't of a kind that can be sealed (EINVAL), or was opened with `O_PATH` (EBADF).
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::BADF)) => false,
        Err(error) => return Err(error),
    };
    // In a file system of huge pages, a process can remove parts of the memory even if it is sealed, so only tmpfs
    // counts.
    Ok(is_sealed && file_system_at(file)? == magic!(libc::TMPFS_MAGIC))
}

/// Returns the kind of an anonymous inode, if the fdinfo file of its descriptor has lines that only one kind has.
pub(super) fn kind_in(page: &[u8]) -> Option<ObjectKind> {
    let line = |word: &[u8]| page.split(|byte| *byte == b'\n').find(|line| line.starts_with(word));
    let has = |word: &[u8]| line(word).is_some();
    if has(b"eventfd-count:") {
        let Some(mode) = line(b"eventfd-semaphore:") else {
            IS_MODE_HIDDEN.store(true, Relaxed);
            return Some(ObjectKind::Event);
        };
        let is_semaphore = mode.trim_ascii_end().ends_with(b"1");
        return Some(if is_semaphore { ObjectKind::Semaphore } else { ObjectKind::Event });
    }
    if has(b"Pid:") {
        return Some(ObjectKind::Process);
    }
    (has(b"clockid:") && has(b"settime flags:")).then_some(ObjectKind::Timer)
}

/// Whether an eventfd was seen whose mode the kernel doesn't show, as before Linux 6.5.
static IS_MODE_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Returns whether an object that was reported as the kind `found` can be of the expected kind. The kinds are equal, or
/// the object is an eventfd whose mode the kernel doesn't show: then it is reported as an event, and may be a
/// semaphore.
pub(crate) fn can_be(found: &ObjectKind, expected: &ObjectKind) -> bool {
    let is_hidden = || IS_MODE_HIDDEN.load(Relaxed);
    found == expected || (*found == ObjectKind::Event && *expected == ObjectKind::Semaphore && is_hidden())
}

/// Returns the kernel's name for any other kind, from the descriptor's link.
pub(super) fn name_in_link(link: &str) -> &str {
    let name = link.strip_prefix("anon_inode:").unwrap_or(link);
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Returns the counter of an eventfd.
pub(crate) fn count_of_eventfd(handle: BorrowedFd<'_>) -> SysResult<u64> {
    let page = page_of(handle.into())?;
    let page = String::from_utf8_lossy(&page);
    let count = page.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
    let count = count.and_then(|count| u64::from_str_radix(count.trim(), 16).ok());
    count.ok_or_else(|| SysError::unexpected("read", "the fdinfo file of the eventfd has no count"))
}

/// Returns the fdinfo file of a descriptor, or its first lines.
pub(super) fn page_of(Number(number): Number) -> SysResult<Vec<u8>> {
    let path = format!("/proc/thread-self/fdinfo/{number}");
    ask_page(Path::new(&path), || {
        // The event covers two calls, `open` and `read`. Tests can make the second one fail separately here.
        fault("read")?;
        let file = File::open(&path)?;
        let mut page = Vec::with_capacity(512);
        rustix::io::read(&file, rustix::buffer::spare_capacity(&mut page))?;
        Ok(page)
    })
}

/// Reads a /proc file with `read`, as one event. The file is closed again, so the event has no effects.
fn ask_page(path: &Path, read: impl FnOnce() -> io::Result<Vec<u8>>) -> SysResult<Vec<u8>> {
    ask("read", &[("path", path.into())], || read().map(Page)).map(|Page(page)| page)
}

/// Returns the content of a /proc file.
pub(crate) fn page_at(path: &Path) -> SysResult<Vec<u8>> {
    ask_page(path, || std::fs::read(path))
}

/// Returns the target of a /proc link.
pub(crate) fn link_at(path: &Path) -> SysResult<PathBuf> {
    struct Link(PathBuf);
    impl Outcome for Link {
        #[inline]
        fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "{:?}", self.0)
        }
    }
    ask("readlink", &[("path", path.into())], || std::fs::read_link(path).map(Link)).map(|Link(to)| to)
}

struct Page(Vec<u8>);

impl Outcome for Page {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} bytes", self.0.len())
    }
}

/// Returns whether more of the standard input can follow a read of nothing. On Linux that is the end of file.
pub(crate) fn input_goes_on() -> bool {
    false
}

/// Returns a standard stream of this process, or `None` if it isn't open.
pub(crate) fn standard_stream(which: usize) -> SysResult<Option<BorrowedFd<'static>>> {
    let number = RawFd::try_from(which).expect("there are three streams");
    if flags_of(Number(number))?.is_none() {
        return Ok(None);
    }
    // SAFETY: the descriptor is open, as the kernel has just said. Standard streams belong to the process and stay open
    // as long as it runs, which std's own handles to them rely on in the same way.
    Ok(Some(unsafe { BorrowedFd::borrow_raw(number) }))
}

/// Returns whether this process has the standard stream and would pass it on to a program that it executes.
///
/// A descriptor that is close-on-exec isn't a stream: std and this crate open all theirs in this way, and get the number
/// of a stream if that stream of this process was closed.
pub(crate) fn is_inheritable_stream(which: usize) -> SysResult<bool> {
    let number = Number(RawFd::try_from(which).expect("there are three streams"));
    Ok(flags_of(number)?.is_some_and(|flags| !flags.is_close_on_exec()))
}

/// Returns whether an error code says that no descriptor or no memory is free, which may change.
pub(crate) fn is_out_of_room(code: i32) -> bool {
    matches!(code, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
}

/// Returns whether a call failed because the descriptor isn't open.
pub(crate) fn is_invalid_handle(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BADF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_recognized_by_all_lines_that_it_has() {
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
    fn eventfd_of_hidden_mode_can_be_a_semaphore() {
        let (event, semaphore) = (ObjectKind::Event, ObjectKind::Semaphore);
        assert_eq!(kind_in(b"eventfd-count:  0\n"), Some(event.clone()));
        assert!(can_be(&event, &semaphore) && can_be(&event, &event));
        assert!(!can_be(&semaphore, &event) && !can_be(&event, &ObjectKind::Timer));
        // Other tests of this process see the kernel as it is.
        IS_MODE_HIDDEN.store(false, Relaxed);
        assert!(!can_be(&event, &semaphore));
    }

    #[test]
    #[cfg(feature = "faults")]
    fn null_device_above_the_streams_takes_one_call() {
        let (held, calls) = crate::faults::run(None, || open_null(NullAccess::Read));
        assert!(held.is_ok_and(|held| held.as_raw_fd() >= FIRST));
        assert_eq!(calls, 1);
    }

    #[test]
    fn opened_descriptors_are_close_on_exec_and_above_the_streams() -> io::Result<()> {
        let null = open_null(NullAccess::Write)?;
        let copies = [
            duplicate_here(null.borrowed(), Rights::Same)?,
            duplicate_here(null.borrowed(), Rights::ReadOnly)?,
            open_null(NullAccess::Read)?,
            null,
        ];
        for copy in &copies {
            assert_eq!(rustix::io::fcntl_getfd(copy.borrowed())?, rustix::io::FdFlags::CLOEXEC);
            assert!(copy.as_raw_fd() >= FIRST);
        }
        let is_open_for = |index: usize| rustix::fs::fcntl_getfl(copies[index].borrowed());
        assert_eq!(is_open_for(1)? & OFlags::RWMODE, OFlags::RDONLY);
        assert_eq!(is_open_for(2)? & OFlags::RWMODE, OFlags::RDONLY);
        assert_eq!(is_open_for(3)? & OFlags::RWMODE, OFlags::WRONLY);
        Ok(())
    }
}
