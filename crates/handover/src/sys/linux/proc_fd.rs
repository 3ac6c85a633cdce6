//! Another process's descriptors, as shown in `/proc` and compared with `kcmp`.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, OFlags, StatxFlags, statx};
use rustix::io::Errno;

use super::SysError;
use super::SysResult;
use super::handle::{is_section, kind_in, link_at, name_in_link, page_at, raw};
use super::io::Owned;
use super::value::number_of;
use super::{Answered, Argument, ask, call};
use crate::handle::{HandleValue, ObjectKind};

/// The information about one descriptor.
#[derive(Debug)]
pub(crate) struct Row {
    /// The kind, or the reason why it isn't known.
    pub(crate) kind: Result<ObjectKind, String>,
    /// The flags of the open file description, without `O_CLOEXEC`.
    pub(crate) flags: u32,
    /// Whether a started program inherits it: it lacks `FD_CLOEXEC`.
    pub(crate) inheritable: bool,
    /// The target of the link in `/proc/PID/fd`.
    pub(crate) link: String,
    /// The process that the descriptor refers to, if it is a process descriptor. The value is zero for a process
    /// without an id in this pid namespace, and negative for one that has exited and was waited for.
    pub(crate) process: Option<i32>,
    pub(crate) inode: Inode,
}

/// The identity of a file: its device and its inode number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    device: (u32, u32),
    number: u64,
}

/// Returns the numbers of a process's descriptors, and the id of the thread through which `/proc` shows them.
pub(crate) fn values_of(process: u32) -> SysResult<(u32, Vec<HandleValue>)> {
    let values = values_in(process, process)?;
    if !values.is_empty() {
        return Ok((process, values));
    }
    // The first thread may have exited before the others; `/proc` then shows no descriptors for it.
    let folder = format!("/proc/{process}/task");
    let mut threads: Vec<u32> = Vec::new();
    ask("readdir", &[("path", folder.as_str().into())], || {
        for entry in std::fs::read_dir(&folder)? {
            threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(threads.len())
    })?;
    for thread in threads {
        // A thread that has exited meanwhile is skipped.
        match values_in(thread, process) {
            Ok(values) if !values.is_empty() => return Ok((thread, values)),
            _ => {}
        }
    }
    Ok((process, values))
}

fn values_in(thread: u32, process: u32) -> SysResult<Vec<HandleValue>> {
    let folder = format!("/proc/{thread}/fd");
    let folder: Owned =
        call("open", &[("path", folder.as_str().into())], || Ok(OwnedFd::from(File::open(&folder)?).into()))?;
    // Reading this process's own table opens a descriptor in it, which is left out of the result.
    let own = (process == std::process::id()).then(|| number_of(folder.borrowed()));
    let mut numbers = Vec::new();
    ask("readdir", &[("handle", (&folder).into())], || {
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = rustix::fs::RawDir::new(folder.borrowed(), buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let number = entry?.file_name().to_str().ok().and_then(|name| name.parse::<u64>().ok());
            numbers.extend(number.filter(|number| Some(*number) != own));
        }
        Ok(numbers.len())
    })?;
    numbers.sort_unstable();
    Ok(numbers.into_iter().filter_map(|number| HandleValue::new(number).ok()).collect())
}

/// Returns the information about one descriptor of a thread's process, or `None` if it has been closed meanwhile.
pub(crate) fn row(thread: u32, value: HandleValue) -> SysResult<Option<Row>> {
    match read_row(thread, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn read_row(thread: u32, value: HandleValue) -> SysResult<Row> {
    let path = format!("/proc/{thread}/fd/{value}");
    let link = link_at(Path::new(&path))?.to_string_lossy().into_owned();
    let page = page_at(Path::new(&format!("/proc/{thread}/fdinfo/{value}")))?;
    let line = |name: &str| {
        let mut lines = page.split(|byte| *byte == b'\n');
        let found = lines.find_map(|line| line.strip_prefix(name.as_bytes()));
        found.and_then(|rest| std::str::from_utf8(rest.trim_ascii()).ok())
    };
    let flags = line("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
    let flags = flags
        .ok_or_else(|| SysError::unexpected("read", "the fdinfo file of the descriptor has no flags"))?;
    let cloexec = OFlags::CLOEXEC.bits();
    // With this flag, the call doesn't ask a network file server, which may not answer.
    let status = ask("statx", &[("path", path.as_str().into())], || {
        Ok(Answered(statx(CWD, &path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?))
    });
    let (mut inode, mut kind) = (Inode::default(), Ok(ObjectKind::File));
    match status {
        Ok(Answered(status)) => {
            inode = Inode { device: (status.stx_dev_major, status.stx_dev_minor), number: status.stx_ino };
            match FileType::from_raw_mode(status.stx_mode.into()) {
                FileType::Socket => kind = Ok(ObjectKind::Socket),
                // Other regular files can't be sealed, or are memory that was opened by a path and counts as a file.
                FileType::RegularFile if link.starts_with("/memfd:") => {
                    kind = kind_of_memory(&path).map_err(|error| format!("whether it is sealed: {error}"));
                }
                FileType::Unknown => {
                    kind =
                        Ok(kind_in(&page).unwrap_or_else(|| ObjectKind::Other(name_in_link(&link).into())));
                }
                _ => {}
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        // Without `statx`, the link or the fdinfo file still shows most kinds.
        Err(_) if link.starts_with("socket:") => kind = Ok(ObjectKind::Socket),
        Err(_) if link.starts_with("pipe:") => {}
        Err(error) => {
            kind = kind_in(&page).ok_or_else(|| error.to_string());
        }
    }
    let is_process = kind.as_ref().is_ok_and(|kind| *kind == ObjectKind::Process);
    Ok(Row {
        process: line("Pid:").filter(|_| is_process).and_then(|id| id.parse().ok()),
        kind,
        flags: flags & !cloexec,
        inheritable: flags & cloexec == 0,
        link,
        inode,
    })
}

/// Returns whether the path leads to a FIFO, and its identity. With a link in `/proc/PID/fd` it is the open file's.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) fn file_at(path: &str) -> SysResult<(bool, Inode)> {
    let status = ask("statx", &[("path", path.into())], || {
        Ok(Answered(statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?))
    })?;
    let Answered(status) = status;
    let inode = Inode { device: (status.stx_dev_major, status.stx_dev_minor), number: status.stx_ino };
    Ok((FileType::from_raw_mode(status.stx_mode.into()) == FileType::Fifo, inode))
}

/// Returns whether a memory file is shared memory or a plain file. The seals can be queried only through a
/// descriptor, so the file is opened for a moment.
fn kind_of_memory(path: &str) -> SysResult<ObjectKind> {
    let mut options = OpenOptions::new();
    // The number may refer to another file by now. The flags keep the open from blocking, and a terminal from
    // becoming this process's controlling terminal.
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let memory: Owned =
        call("open", &[("path", path.into())], || Ok(OwnedFd::from(options.open(path)?).into()))?;
    Ok(if is_section(memory.borrowed())? { ObjectKind::SharedMemory } else { ObjectKind::File })
}

/// Compares the open file descriptions behind two descriptors. The order is the kernel's own; equal means that they
/// are the same. Returns `None` if a descriptor is closed or its process has exited.
pub(crate) fn compare(
    (thread, value): (u32, HandleValue),
    (other_thread, other_value): (u32, HandleValue),
) -> SysResult<Option<Ordering>> {
    const FILE: libc::c_int = 0;
    let arguments = [
        ("process", Argument::ProcessId(thread)),
        ("handle", value.into()),
        ("process", Argument::ProcessId(other_thread)),
        ("handle", other_value.into()),
    ];
    // A 64-bit number would take the place of two arguments on a 32-bit machine.
    let (number, other_number) = (raw(value), raw(other_value));
    let compared = ask("kcmp", &arguments, || {
        // SAFETY: all arguments of `kcmp` are numbers, and the call accesses no memory of this process.
        let answer =
            unsafe { libc::syscall(libc::SYS_kcmp, thread, other_thread, FILE, number, other_number) };
        match answer {
            0 => Ok(Answered(Ordering::Equal)),
            1 => Ok(Answered(Ordering::Less)),
            2 => Ok(Answered(Ordering::Greater)),
            _ => Err(io::Error::last_os_error()),
        }
    });
    match compared {
        Ok(Answered(order)) => Ok(Some(order)),
        // `ESRCH` says that the process has exited.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::BADF | Errno::SRCH)) => Ok(None),
        Err(error) => Err(error),
    }
}
