//! Describes what a system call of a traced process does with descriptors.
//!
//! All memory of the process that is read here may change or be invalid. Then the call is described with less, or not at all.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::handle::HandleValue;
use crate::inspect::observe::{Action, Call, Inherits, Kind, Outcome, Target};
use crate::sys::clock;
use crate::sys::handle::{link_at, page_at};
use crate::sys::proc_fd;
use crate::sys::tracee_memory::read;

/// A thread that is stopped at a system call.
pub(super) struct At<'a> {
    pub(super) process: u32,
    pub(super) thread: u32,
    /// The children of the process that haven't exited.
    pub(super) children: &'a [u32],
    /// The memory of named objects that the process has mapped: address and length.
    pub(super) maps: &'a [(u64, u64)],
}

/// A call before which a thread is stopped.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) call: Call,
    number: i64,
    arguments: [u64; 6],
}

impl Pending {
    /// Returns the length of the memory that a call maps.
    pub(super) fn length(&self) -> u64 {
        self.arguments[1]
    }
}

/// Returns the lower 32 bits, as the kernel reads an argument of type `int`.
fn int(argument: u64) -> i32 {
    let bytes = argument.to_le_bytes();
    i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn unsigned(argument: u64) -> u32 {
    unsigned_of(int(argument))
}

/// Returns the same bits as an unsigned number.
fn unsigned_of(number: i32) -> u32 {
    u32::from_ne_bytes(number.to_ne_bytes())
}

/// Returns the descriptor in an argument, unless it is negative.
fn handle(argument: u64) -> Option<HandleValue> {
    HandleValue::new(u64::try_from(int(argument)).ok()?).ok()
}

/// Returns the number at an offset.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    number(bytes, at).map(i32::from_ne_bytes)
}

fn long_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_ne_bytes)
}

/// The longest path, with its NUL.
const PATH_MAX: usize = 4096;
/// The most descriptors in a list that are looked at.
const MAX_LIST: u64 = 4096;

const O_NONBLOCK: u32 = 0o4000;

impl At<'_> {
    fn read(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        if address == 0 { None } else { read(self.process, address, length).ok() }
    }

    /// Returns the link of a descriptor in `/proc`.
    fn link(&self, value: HandleValue) -> Option<PathBuf> {
        link_at(Path::new(&format!("/proc/{}/fd/{value}", self.thread))).ok()
    }

    /// Returns the kind of a descriptor's object, if it is one of those that are reported.
    fn kind(&self, value: HandleValue) -> Option<Kind> {
        let link = self.link(value)?;
        let link = link.to_string_lossy();
        match &*link {
            "anon_inode:[eventfd]" => Some(Kind::Event),
            "anon_inode:[timerfd]" => Some(Kind::Timer),
            "anon_inode:[pidfd]" => Some(Kind::Process),
            link if link.starts_with("pidfd:") => Some(Kind::Process),
            link if link.starts_with("pipe:") => Some(Kind::Pipe),
            link if link.starts_with("socket:") => Some(Kind::Socket),
            link if link.starts_with("/dev/shm/") => Some(kind_of_shared(link)),
            link if link.starts_with("/memfd:") => Some(Kind::SharedMemory),
            link if link.starts_with('/') => {
                let path = format!("/proc/{}/fd/{value}", self.thread);
                proc_fd::file_at(&path).ok().filter(|(is_fifo, _)| *is_fifo).map(|_| Kind::NamedPipe)
            }
            _ => None,
        }
    }

    /// Returns the value of a line of a descriptor's fdinfo.
    fn info(&self, value: HandleValue, name: &str) -> Vec<String> {
        let page = page_at(Path::new(&format!("/proc/{}/fdinfo/{value}", self.thread))).unwrap_or_default();
        let page = String::from_utf8_lossy(&page);
        page.lines().filter_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned()).collect()
    }

    fn blocks(&self, value: HandleValue) -> bool {
        let flags = self.info(value, "flags:");
        let flags = flags.first().and_then(|flags| u32::from_str_radix(flags, 8).ok());
        flags.is_none_or(|flags| flags & O_NONBLOCK == 0)
    }

    /// Returns the process behind a process descriptor.
    fn process_of(&self, value: HandleValue) -> Option<u32> {
        self.info(value, "Pid:").first()?.parse().ok()
    }

    /// Returns a path of the process as an absolute one.
    fn path(&self, folder: i32, address: u64) -> Option<String> {
        let bytes = self.read(address, PATH_MAX)?;
        let text = bytes.split(|byte| *byte == 0).next()?;
        let path = Path::new(std::ffi::OsStr::from_bytes(text));
        if text.is_empty() {
            return None;
        }
        let folder = match folder {
            _ if path.is_absolute() => PathBuf::from("/"),
            libc::AT_FDCWD => link_at(Path::new(&format!("/proc/{}/cwd", self.thread))).ok()?,
            folder => link_at(Path::new(&format!("/proc/{}/fd/{folder}", self.thread))).ok()?,
        };
        Some(folder.join(path).to_string_lossy().into_owned())
    }

    /// Returns a time of the process: seconds, and a fraction in this number of units a second.
    fn time(&self, address: u64, units: u64) -> Option<Duration> {
        let bytes = self.read(address, 16)?;
        let (seconds, fraction) = (long_at(&bytes, 0)?, long_at(&bytes, 8)?);
        let nanoseconds = fraction.checked_mul(1_000_000_000 / units)?;
        Some(Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
    }

    fn timespec(&self, address: u64) -> Option<Duration> {
        self.time(address, 1_000_000_000)
    }

    /// Returns how long it is until a time of a clock.
    fn until(&self, address: u64, is_wall: bool) -> Option<Duration> {
        Some(self.timespec(address)?.saturating_sub(clock::now(is_wall)?))
    }

    fn wait(&self, handles: impl IntoIterator<Item = HandleValue>, timeout: Option<Duration>) -> Action {
        let mut targets = Vec::new();
        let mut processes = Vec::new();
        for value in handles {
            match self.kind(value) {
                Some(Kind::Process) => processes.extend(self.process_of(value)),
                _ => targets.push(value.into()),
            }
        }
        if targets.is_empty() && processes.is_empty() {
            if let Some(time) = timeout {
                return Action::Sleep { time };
            }
        }
        Action::Wait { targets, processes, threads: Vec::new(), timeout }
    }

    /// Returns the descriptors in a list of `struct pollfd` that are to become readable.
    fn polled(&self, address: u64, count: u64) -> Option<Vec<HandleValue>> {
        let count = usize::try_from(count.min(MAX_LIST)).ok()?;
        let bytes = self.read(address, count * 8)?;
        let mut values = Vec::new();
        for entry in bytes.chunks_exact(8) {
            let events = i16::from_ne_bytes(number(entry, 4)?);
            if events & (libc::POLLIN | libc::POLLPRI) != 0 {
                values.extend(u64::try_from(int_at(entry, 0)?).ok().and_then(|it| HandleValue::new(it).ok()));
            }
        }
        Some(values)
    }

    /// Returns the descriptors in a set of `select`.
    fn selected(&self, address: u64, count: u64) -> Vec<HandleValue> {
        let length = usize::try_from(count.min(MAX_LIST).div_ceil(64) * 8).unwrap_or_default();
        let bytes = self.read(address, length).unwrap_or_default();
        let is_in = |bit: &u64| {
            let byte = usize::try_from(*bit / 8).ok().and_then(|at| bytes.get(at));
            byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        };
        (0..count.min(MAX_LIST)).filter(is_in).filter_map(|bit| HandleValue::new(bit).ok()).collect()
    }

    /// Returns the descriptors that an epoll descriptor waits for.
    fn registered(&self, epoll: HandleValue) -> Vec<HandleValue> {
        let lines = self.info(epoll, "tfd:");
        let value = |line: &String| line.split_whitespace().next()?.parse().ok();
        lines.iter().filter_map(value).filter_map(|number| HandleValue::new(number).ok()).collect()
    }

    fn sum_of_buffers(&self, address: u64, count: u64) -> u64 {
        let count = usize::try_from(count.min(1024)).unwrap_or_default();
        let bytes = self.read(address, count * 16).unwrap_or_default();
        bytes.chunks_exact(16).filter_map(|buffer| long_at(buffer, 8)).sum()
    }

    fn reads(&self, value: HandleValue, length: u64, never_blocks: bool) -> Option<Action> {
        let blocks = |at: &Self| !never_blocks && at.blocks(value);
        if self.link(value).is_none() {
            // The call fails, which shows a wrong number.
            return Some(Action::Read { handle: value, length, blocks: false });
        }
        match self.kind(value)? {
            Kind::Event | Kind::Timer => {
                let timeout = if blocks(self) { None } else { Some(Duration::ZERO) };
                Some(Action::Wait {
                    targets: vec![value.into()],
                    processes: Vec::new(),
                    threads: Vec::new(),
                    timeout,
                })
            }
            Kind::Pipe | Kind::NamedPipe | Kind::Socket => {
                Some(Action::Read { handle: value, length, blocks: blocks(self) })
            }
            _ => None,
        }
    }

    fn writes(&self, value: HandleValue, length: u64) -> Option<Action> {
        if self.link(value).is_none() {
            return Some(Action::Write { handle: value, length });
        }
        match self.kind(value)? {
            Kind::Event => Some(Action::Signal { target: value.into() }),
            Kind::Pipe | Kind::NamedPipe | Kind::Socket => Some(Action::Write { handle: value, length }),
            _ => None,
        }
    }

    fn opens(&self, folder: i32, path: u64, flags: u32) -> Option<Action> {
        let path = self.path(folder, path)?;
        let kind = if path.starts_with("/dev/shm/") {
            kind_of_shared(&path)
        } else {
            let seen = format!("/proc/{}/root{path}", self.thread);
            let is_fifo = proc_fd::file_at(&seen).is_ok_and(|(is_fifo, _)| is_fifo);
            is_fifo.then_some(Kind::NamedPipe)?
        };
        let flags = int(flags.into());
        if flags & libc::O_CREAT != 0 && kind != Kind::NamedPipe {
            return Some(Action::Create {
                kind,
                name: Some(path),
                inheritable: flags & libc::O_CLOEXEC == 0,
            });
        }
        let access = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => "read",
            libc::O_WRONLY => "write",
            _ => "read, write",
        };
        Some(Action::Open { kind, name: path, access: access.into(), handle: None })
    }

    /// Returns the name in an address of a Unix socket. An abstract one begins with `@`, as tools show it.
    fn socket_name(&self, address: u64, length: u64) -> Option<String> {
        let bytes = self.read(address, usize::try_from(length).ok()?.min(128))?;
        if u16::from_ne_bytes(number(&bytes, 0)?) != 1 {
            return None;
        }
        match bytes.get(2..)? {
            [] => None,
            [0, name @ ..] => Some(format!("@{}", String::from_utf8_lossy(name))),
            path => {
                let path = path.split(|byte| *byte == 0).next()?;
                Some(String::from_utf8_lossy(path).into_owned())
            }
        }
    }

    /// Returns the descriptors that a message carries.
    fn carried(&self, message: u64) -> Vec<HandleValue> {
        self.try_carried(message).unwrap_or_default()
    }

    fn try_carried(&self, message: u64) -> Option<Vec<HandleValue>> {
        const HEADER: usize = 16;
        let message = self.read(message, 56)?;
        let length = usize::try_from(long_at(&message, 40)?).ok()?.min(1 << 16);
        let control = self.read(long_at(&message, 32)?, length)?;
        let mut values = Vec::new();
        let mut rest = &control[..];
        while let Some(length) = long_at(rest, 0).and_then(|length| usize::try_from(length).ok()) {
            let Some(entry) = rest.get(..length).filter(|entry| entry.len() >= HEADER) else { break };
            if (int_at(entry, 8)?, int_at(entry, 12)?) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let numbers = entry[HEADER..].chunks_exact(4).filter_map(|number| int_at(number, 0));
                values.extend(numbers.filter_map(|it| HandleValue::new(u64::try_from(it).ok()?).ok()));
            }
            rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        Some(values)
    }

    fn pair(&self, address: u64) -> Option<Vec<HandleValue>> {
        let bytes = self.read(address, 8)?;
        [0, 4].iter().map(|at| HandleValue::new(u64::try_from(int_at(&bytes, *at)?).ok()?).ok()).collect()
    }

    fn in_range(&self, first: u64, last: u64) -> Vec<HandleValue> {
        let (_, values) = proc_fd::values_of(self.process).unwrap_or_default();
        let range = u64::from(unsigned(first))..=u64::from(unsigned(last));
        values.into_iter().filter(|value| range.contains(&u64::from(value.get()))).collect()
    }

    /// Returns the mapped object that contains an address.
    fn mapped(&self, address: u64) -> Option<Target> {
        let is_in =
            |(start, length): &&(u64, u64)| (*start..start.saturating_add(*length)).contains(&address);
        self.maps.iter().find(is_in).map(|(start, _)| Target::Mapped(*start))
    }
}

fn kind_of_shared(path: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.starts_with("sem.") { Kind::Semaphore } else { Kind::SharedMemory }
}

fn milliseconds(argument: u64) -> Option<Duration> {
    u64::try_from(int(argument)).ok().map(Duration::from_millis)
}

/// Whether a clone makes a thread.
fn is_thread(flags: u64) -> bool {
    flags & u64::from(unsigned_of(libc::CLONE_THREAD)) != 0
}

/// Returns a call that newer architectures lack as the call that replaced it, with its arguments.
#[cfg(target_arch = "x86_64")]
fn modern(number: i64, arguments: [u64; 6]) -> (i64, [u64; 6]) {
    let [a, b, c, d, ..] = arguments;
    let here = u64::from(unsigned_of(libc::AT_FDCWD));
    match number {
        libc::SYS_open => (libc::SYS_openat, [here, a, b, c, 0, 0]),
        libc::SYS_creat => {
            let flags = unsigned_of(libc::O_CREAT | libc::O_WRONLY);
            (libc::SYS_openat, [here, a, flags.into(), b, 0, 0])
        }
        libc::SYS_pipe => (libc::SYS_pipe2, [a, 0, 0, 0, 0, 0]),
        libc::SYS_eventfd => (libc::SYS_eventfd2, [a, 0, 0, 0, 0, 0]),
        libc::SYS_dup2 => (libc::SYS_dup3, [a, b, 0, 0, 0, 0]),
        libc::SYS_mknod => (libc::SYS_mknodat, [here, a, b, c, 0, 0]),
        libc::SYS_link => (libc::SYS_linkat, [here, a, here, b, 0, 0]),
        libc::SYS_rename => (libc::SYS_renameat2, [here, a, here, b, 0, 0]),
        libc::SYS_fork | libc::SYS_vfork => (libc::SYS_clone, [0; 6]),
        libc::SYS_accept => (libc::SYS_accept4, [a, b, c, 0, 0, 0]),
        libc::SYS_epoll_wait => (libc::SYS_epoll_pwait, [a, b, c, d, 0, 0]),
        _ => (number, arguments),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn modern(number: i64, arguments: [u64; 6]) -> (i64, [u64; 6]) {
    (number, arguments)
}

/// The flags of a call that makes a process, with which it would escape its tracer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// They are the first argument of `clone`.
    Argument { call: libc::c_long, arguments: [u64; 3] },
    /// They are at this address, for `clone3`.
    Memory { address: u64, flags: u64 },
}

/// Returns the flags that keep a new process or thread traced, if the call asks for an untraced one.
pub(super) fn escape(at: &At<'_>, number: u64, [a, b, c, ..]: [u64; 6]) -> Option<Escape> {
    let untraced = u64::from(unsigned_of(libc::CLONE_UNTRACED));
    match i64::try_from(number).ok()? {
        libc::SYS_clone if a & untraced != 0 => {
            Some(Escape::Argument { call: libc::SYS_clone, arguments: [a & !untraced, b, c] })
        }
        libc::SYS_clone3 => {
            let flags = long_at(&at.read(a, 8)?, 0)?;
            (flags & untraced != 0).then_some(Escape::Memory { address: a, flags: flags & !untraced })
        }
        _ => None,
    }
}

/// Describes the call before which a thread is stopped, if it does something with handles.
pub(super) fn describe(at: &At<'_>, number: u64, arguments: [u64; 6]) -> Option<Pending> {
    let (number, arguments) = modern(i64::try_from(number).ok()?, arguments);
    let [a, b, c, d, e, f] = arguments;
    let dont_wait = libc::MSG_DONTWAIT;
    let (function, action) = match number {
        libc::SYS_eventfd2 => {
            let inheritable = int(b) & libc::EFD_CLOEXEC == 0;
            ("eventfd2", Action::Create { kind: Kind::Event, name: None, inheritable })
        }
        libc::SYS_pipe2 => {
            let inheritable = int(b) & libc::O_CLOEXEC == 0;
            ("pipe2", Action::Create { kind: Kind::Pipe, name: None, inheritable })
        }
        libc::SYS_socketpair => {
            let inheritable = int(b) & libc::SOCK_CLOEXEC == 0;
            ("socketpair", Action::Create { kind: Kind::Socket, name: None, inheritable })
        }
        libc::SYS_socket => {
            let inheritable = int(b) & libc::SOCK_CLOEXEC == 0;
            ("socket", Action::Create { kind: Kind::Socket, name: None, inheritable })
        }
        libc::SYS_accept4 => {
            let inheritable = int(d) & libc::SOCK_CLOEXEC == 0;
            ("accept4", Action::Create { kind: Kind::Socket, name: None, inheritable })
        }
        libc::SYS_memfd_create => {
            let inheritable = unsigned(b) & libc::MFD_CLOEXEC == 0;
            ("memfd_create", Action::Create { kind: Kind::SharedMemory, name: None, inheritable })
        }
        libc::SYS_mknodat if unsigned(c) & libc::S_IFMT == libc::S_IFIFO => {
            let name = Some(at.path(int(a), b)?);
            ("mknodat", Action::Create { kind: Kind::NamedPipe, name, inheritable: false })
        }
        libc::SYS_openat => ("openat", at.opens(int(a), b, unsigned(c))?),
        libc::SYS_openat2 => ("openat2", at.opens(int(a), b, unsigned(long_at(&at.read(c, 8)?, 0)?))?),
        libc::SYS_linkat | libc::SYS_renameat2 => {
            let name = at.path(int(c), d).filter(|name| name.starts_with("/dev/shm/"))?;
            let function = if number == libc::SYS_linkat { "linkat" } else { "renameat2" };
            (function, Action::Publish { handle: None, from: at.path(int(a), b), name })
        }
        libc::SYS_bind => {
            ("bind", Action::Publish { handle: handle(a), from: None, name: at.socket_name(b, c)? })
        }
        libc::SYS_connect => {
            let (name, access) = (at.socket_name(b, c)?, "read, write".into());
            ("connect", Action::Open { kind: Kind::Socket, name, access, handle: handle(a) })
        }
        libc::SYS_mmap => {
            let value = handle(e).filter(|_| int(d) & libc::MAP_SHARED != 0)?;
            at.kind(value).filter(|kind| matches!(kind, Kind::Semaphore | Kind::SharedMemory))?;
            ("mmap", Action::Map { handle: value })
        }
        libc::SYS_dup => ("dup", duplicate(at.process, a)?),
        libc::SYS_dup3 => ("dup3", duplicate(at.process, a)?),
        libc::SYS_fcntl => match int(b) {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => ("fcntl", duplicate(at.process, a)?),
            libc::F_SETFD => {
                let on = int(c) & libc::FD_CLOEXEC == 0;
                ("fcntl", Action::SetInheritable { handles: vec![handle(a)?], on })
            }
            _ => return None,
        },
        libc::SYS_ioctl => match unsigned(b) {
            0x5450 => ("ioctl", Action::SetInheritable { handles: vec![handle(a)?], on: true }),
            0x5451 => ("ioctl", Action::SetInheritable { handles: vec![handle(a)?], on: false }),
            _ => return None,
        },
        libc::SYS_pidfd_open => {
            ("pidfd_open", Action::OpenProcess { process: unsigned(a), access: "all".into() })
        }
        libc::SYS_pidfd_getfd => {
            let from = at.process_of(handle(a)?)?;
            ("pidfd_getfd", Action::Duplicate { from, value: handle(b)?, to: at.process, access: None })
        }
        libc::SYS_clone if !is_thread(a) => ("clone", Action::Spawn { inherits: Inherits::Everything }),
        libc::SYS_clone3 if !is_thread(long_at(&at.read(a, 8)?, 0)?) => {
            ("clone3", Action::Spawn { inherits: Inherits::Everything })
        }
        // No write can succeed with an address in the kernel's half. This crate asks for an object's kind so.
        libc::SYS_write if b > i64::MAX.unsigned_abs() => return None,
        libc::SYS_write => ("write", at.writes(handle(a)?, c)?),
        libc::SYS_writev => ("writev", at.writes(handle(a)?, at.sum_of_buffers(b, c))?),
        libc::SYS_sendto => ("sendto", at.writes(handle(a)?, c)?),
        libc::SYS_read => ("read", at.reads(handle(a)?, c, false)?),
        libc::SYS_readv => ("readv", at.reads(handle(a)?, at.sum_of_buffers(b, c), false)?),
        libc::SYS_preadv2 => {
            let never_blocks = int(f) & libc::RWF_NOWAIT != 0;
            let length = at.sum_of_buffers(b, c);
            // This crate's second question about the kind: an eventfd refuses to be read by the byte.
            if never_blocks && length == 1 {
                return None;
            }
            ("preadv2", at.reads(handle(a)?, length, never_blocks)?)
        }
        libc::SYS_recvfrom => ("recvfrom", at.reads(handle(a)?, c, int(d) & dont_wait != 0)?),
        libc::SYS_sendmsg => {
            let (value, handles) = (handle(a)?, at.carried(b));
            let action = if handles.is_empty() {
                let message = at.read(b, 56)?;
                let length = at.sum_of_buffers(long_at(&message, 16)?, long_at(&message, 24)?);
                at.writes(value, length)?
            } else {
                Action::Send { handle: value, handles }
            };
            ("sendmsg", action)
        }
        libc::SYS_recvmsg => {
            let value = handle(a)?;
            let blocks = int(c) & dont_wait == 0 && at.blocks(value);
            ("recvmsg", Action::Receive { handle: value, blocks })
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => ("poll", at.wait(at.polled(a, b).unwrap_or_default(), milliseconds(c))),
        libc::SYS_ppoll => {
            let timeout = if c == 0 { None } else { at.timespec(c) };
            ("ppoll", at.wait(at.polled(a, b).unwrap_or_default(), timeout))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => {
            let timeout = if e == 0 { None } else { at.time(e, 1_000_000) };
            ("select", at.wait(at.selected(b, a), timeout))
        }
        libc::SYS_pselect6 => {
            let timeout = if e == 0 { None } else { at.timespec(e) };
            ("pselect6", at.wait(at.selected(b, a), timeout))
        }
        libc::SYS_epoll_pwait => ("epoll_pwait", at.wait(at.registered(handle(a)?), milliseconds(d))),
        libc::SYS_epoll_pwait2 => {
            let timeout = if d == 0 { None } else { at.timespec(d) };
            ("epoll_pwait2", at.wait(at.registered(handle(a)?), timeout))
        }
        libc::SYS_futex => ("futex", futex(at, arguments)?),
        libc::SYS_wait4 => {
            let processes = match int(a) {
                id @ 1.. => vec![unsigned_of(id)],
                _ => at.children.to_vec(),
            };
            ("wait4", exits(processes, c))
        }
        libc::SYS_waitid => {
            let processes = match unsigned(a) {
                libc::P_PID => vec![unsigned(b)],
                libc::P_PIDFD => at.process_of(handle(b)?).into_iter().collect(),
                _ => at.children.to_vec(),
            };
            ("waitid", exits(processes, d))
        }
        libc::SYS_close => ("close", Action::Close { handles: vec![handle(a)?] }),
        libc::SYS_close_range => {
            let handles = at.in_range(a, b);
            let cloexec = libc::CLOSE_RANGE_CLOEXEC;
            let action = if unsigned(c) & cloexec != 0 {
                Action::SetInheritable { handles, on: false }
            } else {
                Action::Close { handles }
            };
            ("close_range", action)
        }
        libc::SYS_nanosleep => ("nanosleep", Action::Sleep { time: at.timespec(a)? }),
        libc::SYS_clock_nanosleep => {
            let is_absolute = int(b) & libc::TIMER_ABSTIME != 0;
            let time =
                if is_absolute { at.until(c, int(a) == libc::CLOCK_REALTIME)? } else { at.timespec(c)? };
            ("clock_nanosleep", Action::Sleep { time })
        }
        _ => return None,
    };
    Some(Pending { call: Call { function, action }, number, arguments })
}

fn duplicate(process: u32, value: u64) -> Option<Action> {
    Some(Action::Duplicate { from: process, value: handle(value)?, to: process, access: None })
}

fn exits(processes: Vec<u32>, options: u64) -> Action {
    let timeout = (int(options) & libc::WNOHANG != 0).then_some(Duration::ZERO);
    Action::Wait { targets: Vec::new(), processes, threads: Vec::new(), timeout }
}

fn futex(at: &At<'_>, [address, operation, _, time, ..]: [u64; 6]) -> Option<Action> {
    let target = at.mapped(address)?;
    let is_wall = int(operation) & libc::FUTEX_CLOCK_REALTIME != 0;
    let wait =
        |timeout| Action::Wait { targets: vec![target], processes: Vec::new(), threads: Vec::new(), timeout };
    match int(operation) & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAIT => Some(wait(if time == 0 { None } else { at.timespec(time) })),
        // Its time is absolute.
        libc::FUTEX_WAIT_BITSET => Some(wait(if time == 0 { None } else { at.until(time, is_wall) })),
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => Some(Action::Signal { target }),
        _ => None,
    }
}

/// Describes how a call returned.
pub(super) fn outcome(at: &At<'_>, pending: &Pending, result: i64, is_error: bool) -> Outcome {
    if is_error {
        let code = i32::try_from(-result).unwrap_or(i32::MAX);
        let is_wait = matches!(pending.call.action, Action::Wait { .. });
        return match code {
            libc::EAGAIN | libc::ETIMEDOUT if is_wait => Outcome::TimedOut,
            code => Outcome::Failed(code),
        };
    }
    let [a, b, c, d, ..] = pending.arguments;
    let opened = |result: i64| {
        let value = u64::try_from(result).ok().and_then(|number| HandleValue::new(number).ok());
        Outcome::Opened(value.into_iter().collect())
    };
    match &pending.call.action {
        Action::Create { .. } => match pending.number {
            libc::SYS_pipe2 => Outcome::Opened(at.pair(a).unwrap_or_default()),
            libc::SYS_socketpair => Outcome::Opened(at.pair(d).unwrap_or_default()),
            libc::SYS_mknodat => Outcome::Done(0),
            _ => opened(result),
        },
        Action::Open { handle: None, .. } | Action::Duplicate { .. } | Action::OpenProcess { .. } => {
            opened(result)
        }
        Action::Map { .. } => Outcome::Mapped(u64::from_ne_bytes(result.to_ne_bytes())),
        Action::Receive { .. } => Outcome::Opened(at.carried(b)),
        Action::Wait { timeout, .. } => match pending.number {
            // The call returns zero in both cases; the process id is in the answer.
            libc::SYS_waitid if *timeout == Some(Duration::ZERO) => {
                match at.read(c, 20).and_then(|answer| int_at(&answer, 16)) {
                    Some(0) => Outcome::TimedOut,
                    _ => Outcome::Signaled,
                }
            }
            libc::SYS_waitid | libc::SYS_futex => Outcome::Signaled,
            _ if result == 0 => Outcome::TimedOut,
            _ => Outcome::Signaled,
        },
        _ => Outcome::Done(result),
    }
}
