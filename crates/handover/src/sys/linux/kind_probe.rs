//! Tells the kinds of anonymous inodes apart by system calls that change nothing, at a fraction of the cost of /proc.
//!
//! Eventfds, timerfds, pidfds and some twenty other kinds are anonymous inodes, which have no file type. One call knows a
//! timerfd for certain, and one a pidfd. No call does so for an eventfd. Two calls together do, because the kernel answers
//! each of them before the object's own code runs, or in that code's first line:
//!
//! 1. `write` of 8 bytes at an address that no memory of a process has: EFAULT if the descriptor was opened for writing
//!    and its kind can be written to at all, and otherwise EBADF or EINVAL. Of the kinds without a file type, these can be:
//!    eventfd, fanotify, BPF maps, programs and links, Landlock rulesets, and buffers or devices of a few drivers (VFIO,
//!    IIO, cachefiles). The kernel compares the address with the end of a process's memory before it calls the kind's code.
//!    Where it doesn't, as in 32-bit processes, an eventfd copies the number before it looks at its counter, so a full one
//!    doesn't block.
//! 2. `preadv2` of 1 byte with `RWF_NOWAIT`: EINVAL from an eventfd, whose code first compares the length with 8. All
//!    others of the list above answer EOPNOTSUPP before their code runs: they have no reads that can't wait. The other kinds
//!    that answer EINVAL, timerfd and signalfd, can't be written to.
//!
//! The type of the file comes first, also because both calls wait for the position of a file that another process reads.
//! No call asks all of this about several descriptors: `poll` asks the members of an epoll descriptor, too, which a
//! server in another process may not answer.
//!
//! A kind that this kernel doesn't have yet could answer in the same way. It would have to be a stream of 8-byte numbers.
//!
//! The mode of an eventfd, event or semaphore, can only be read in /proc. Objects of this crate carry a mark that says it;
//! see [`reset_mode`](super::reset_mode). A third call reads the mark, unless the object's sender has said that it is no
//! semaphore.
//!
//! Each unexpected answer, as from a filter of system calls or an emulator, only means that the kind isn't known. The caller
//! then reads it in /proc.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use libc::c_int;

use super::number::Number;
use super::reset_mode::{AUTO_RESET, F_GETSIG, MANUAL_RESET, SEMAPHORE};
use super::{Outcome, SysResult, ask, fault, last_error};
use crate::handle::ObjectKind;

/// The calls that recognize an eventfd, as one event. Tests can make each of them fail.
const EVENTFD: &str = "write+preadv2+fcntl";
/// The same without the call that reads the mark.
const EVENTFD_WITHOUT_MARK: &str = "write+preadv2";

/// The argument that a system looks at first in a `write`. QEMU's emulation of Linux looks at the memory, so the first of
/// the calls can't tell anything there.
const UNKNOWN: u8 = 0;
const DESCRIPTOR_FIRST: u8 = 1;
const MEMORY_FIRST: u8 = 2;

enum Answer {
    /// An eventfd, whose open file description has this mark. The mark says nothing else about it.
    Eventfd(c_int),
    /// An eventfd that is known to be no semaphore.
    Event,
    /// It can't be written to, so it is no eventfd.
    NotWritable,
    Unexpected,
}

impl Outcome for Answer {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Eventfd(mark) => write!(to, "eventfd, {mark}"),
            Self::Event => to.write_str("eventfd"),
            Self::NotWritable => to.write_str("no eventfd"),
            Self::Unexpected => to.write_str("unknown"),
        }
    }
}

/// Returns the kinds that an anonymous inode can be of: one if it is known, two if it is an eventfd without a mark, and none
/// if the kind can only be read in /proc. The caller knows that the descriptor's file has no type: a socket or a pipe could
/// lose a byte.
///
/// If `is_no_semaphore`, an eventfd is an event, and its mark isn't read.
pub(super) fn probe(number: Number, is_no_semaphore: bool) -> SysResult<&'static [ObjectKind]> {
    // Whether the kernel looks at a descriptor before it looks at the memory.
    static ORDER: AtomicU8 = AtomicU8::new(UNKNOWN);
    Ok(match unless_refused(ask_eventfd(number, is_no_semaphore, &ORDER), Answer::Unexpected)? {
        // A mark of another process may be wrong, and so may its word that an object is no semaphore. An eventfd that is marked as an event and counts is, to its owner here, an
        // event that another process sets again after each wait or reset. One that is marked as a semaphore and doesn't
        // count is a semaphore from which another process takes all the rest. The process that sent it can do both to any
        // eventfd, or let another process do it, because each process that has an eventfd can read and write it.
        Answer::Event | Answer::Eventfd(MANUAL_RESET | AUTO_RESET) => &[ObjectKind::Event],
        Answer::Eventfd(SEMAPHORE) => &[ObjectKind::Semaphore],
        Answer::Eventfd(_) => &[ObjectKind::Event, ObjectKind::Semaphore],
        Answer::Unexpected => &[],
        Answer::NotWritable if unless_refused(is_timer(number), false)? => &[ObjectKind::Timer],
        Answer::NotWritable if unless_refused(is_process(number), false)? => &[ObjectKind::Process],
        Answer::NotWritable => &[],
    })
}

/// Returns another answer if a filter or an emulator refuses the call.
fn unless_refused<T>(answer: SysResult<T>, otherwise: T) -> SysResult<T> {
    use rustix::io::Errno;
    let refusals = [Errno::NOSYS, Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP];
    match answer {
        Err(error) if Errno::from_io_error(&error).is_some_and(|error| refusals.contains(&error)) => {
            Ok(otherwise)
        }
        other => other,
    }
}

/// Asks whether a descriptor is an eventfd, and for its mark unless it is known to be no semaphore.
fn ask_eventfd(number: Number, is_no_semaphore: bool, order: &AtomicU8) -> SysResult<Answer> {
    let calls = if is_no_semaphore { EVENTFD_WITHOUT_MARK } else { EVENTFD };
    ask(calls, &[number.argument()], || {
        // libc's `write` isn't used, because the sanitizers of memory reject the address before the call.
        let write_nothing = |number: c_int| {
            let no_memory = std::ptr::without_provenance::<u8>(usize::MAX - 0xfff);
            // SAFETY: the kernel checks the descriptor's number. It reads no memory at that address, because the last page
            // of the address space belongs to no process, and fails.
            match unsafe { libc::syscall(libc::SYS_write, number, no_memory, size_of::<u64>()) } {
                -1 => Some(last_error()),
                _ => None,
            }
        };
        if order.load(Relaxed) == UNKNOWN {
            let is_descriptor_first = write_nothing(-1) == Some(libc::EBADF);
            order.store(if is_descriptor_first { DESCRIPTOR_FIRST } else { MEMORY_FIRST }, Relaxed);
        }
        if order.load(Relaxed) != DESCRIPTOR_FIRST {
            return Ok(Answer::Unexpected);
        }
        match write_nothing(number.0) {
            Some(libc::EFAULT) => {}
            Some(libc::EINVAL | libc::EBADF) => return Ok(Answer::NotWritable),
            _ => return Ok(Answer::Unexpected),
        }
        fault(calls)?;
        let mut byte = 0_u8;
        let buffer = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // The offset of -1, in two halves, is that of the descriptor, which an eventfd doesn't have.
        let (one, half): (usize, libc::c_long) = (1, -1);
        // SAFETY: the pointer refers to one live structure, whose pointer refers to one live and writable byte. The kernel
        // checks the number.
        let read = unsafe {
            libc::syscall(libc::SYS_preadv2, number.0, &raw const buffer, one, half, half, libc::RWF_NOWAIT)
        };
        if read != -1 || last_error() != libc::EINVAL {
            return Ok(Answer::Unexpected);
        }
        if is_no_semaphore {
            return Ok(Answer::Event);
        }
        fault(EVENTFD)?;
        // Not `libc::fcntl`, which first finds out which of its operations takes which argument.
        // SAFETY: all arguments are numbers, and the kernel checks that of the descriptor.
        let mark = unsafe { libc::syscall(libc::SYS_fcntl, number.0, F_GETSIG) };
        Ok(match c_int::try_from(mark) {
            Ok(mark) if mark != -1 => Answer::Eventfd(mark),
            _ => Answer::Unexpected,
        })
    })
}

/// Returns whether a descriptor is a timer. The call fails for every other kind.
fn is_timer(number: Number) -> SysResult<bool> {
    ask("timerfd_gettime", &[number.argument()], || {
        let mut time = MaybeUninit::<libc::itimerspec>::zeroed();
        // SAFETY: the pointer refers to live, writable memory of the structure's size. The kernel checks the number.
        Ok(unsafe { libc::timerfd_gettime(number.0, time.as_mut_ptr()) } == 0)
    })
}

/// Returns whether a descriptor is a pidfd. The call fails with EBADF for every other kind, and otherwise says that the
/// process is no child of this one, or hasn't exited. With `WNOWAIT`, a child that has exited stays to be waited for.
fn is_process(number: Number) -> SysResult<bool> {
    ask("waitid", &[number.argument()], || {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the pointer refers to live, writable memory of the structure's size. The kernel checks the number.
        if unsafe { libc::waitid(libc::P_PIDFD, number.0.unsigned_abs(), info.as_mut_ptr(), options) } == 0 {
            return Ok(true);
        }
        Ok(last_error() == libc::ECHILD)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::{Duration, Instant};

    use rustix::fs::{MemfdFlags, OFlags, SealFlags};
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

    use super::super::create_object::{What, create};
    use super::super::handle::{ask_type, kind_in_proc, kind_of, page_of, possible_kinds};
    use super::super::io::Owned;
    use super::super::reset_mode::mark;
    use super::*;

    /// How often each object is asked about in each way.
    const TIMES: usize = 2_000;

    /// Makes a system call that returns a descriptor. Returns `None` if this kernel or this user can't have one.
    fn opened(answer: libc::c_long) -> Option<OwnedFd> {
        let number = RawFd::try_from(answer).ok().filter(|number| *number >= 0)?;
        // SAFETY: the call has just returned the descriptor, so it is open and no other object owns it.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Makes a system call whose arguments are numbers, or addresses of memory that the caller keeps.
    macro_rules! open {
        ($call:ident $(, $argument:expr)*) => {
            // SAFETY: the arguments are numbers, or addresses of live memory of the size that the call reads.
            opened(unsafe { libc::syscall(libc::$call $(, $argument)*) })
        };
    }

    fn eventfd(count: u64, flags: c_int) -> OwnedFd {
        let eventfd = open!(SYS_eventfd2, 0, flags | libc::EFD_CLOEXEC).expect("the system has room for it");
        // Only an empty counter has room for all.
        rustix::io::write(&eventfd, &count.to_ne_bytes()).expect("the counter has room");
        eventfd
    }

    fn timer(clock: TimerfdClockId, first: i64, period: i64) -> OwnedFd {
        let timer = rustix::time::timerfd_create(clock, TimerfdFlags::CLOEXEC).expect("there is room for it");
        let time = |nanoseconds| Timespec {
            tv_sec: nanoseconds / 1_000_000_000,
            tv_nsec: nanoseconds % 1_000_000_000,
        };
        let new = Itimerspec { it_interval: time(period), it_value: time(first) };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &new).expect("it can be set");
        timer
    }

    /// Returns an anonymous inode of each kind that this kernel lets this user create, each with its name.
    fn anonymous() -> Vec<(String, OwnedFd)> {
        const FULL: u64 = u64::MAX - 1;
        let mut all: Vec<(String, OwnedFd)> = Vec::new();
        for flags in [0, libc::EFD_NONBLOCK, libc::EFD_SEMAPHORE, libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE] {
            for count in [0, 1, 2, FULL] {
                all.push((format!("eventfd {flags:#x} {count}"), eventfd(count, flags)));
            }
        }
        for clock in [TimerfdClockId::Realtime, TimerfdClockId::Monotonic, TimerfdClockId::Boottime] {
            for (first, period) in [(0, 0), (1, 0), (1, 1_000_000), (3_600_000_000_000, 0)] {
                all.push((format!("timerfd {clock:?} {first} {period}"), timer(clock, first, period)));
            }
        }
        let mut add = |name: &str, object: Option<OwnedFd>| match object {
            Some(object) => all.push((name.to_owned(), object)),
            None => eprintln!("this kernel or this user can't create: {name}"),
        };
        let signals = 1_u64 << (libc::SIGUSR2 - 1);
        add("signalfd", open!(SYS_signalfd4, -1, &raw const signals, 8, libc::SFD_CLOEXEC));
        add("epoll", open!(SYS_epoll_create1, libc::EPOLL_CLOEXEC));
        add("inotify", open!(SYS_inotify_init1, libc::IN_CLOEXEC));
        // FAN_REPORT_FID, which a user without privileges may have; FAN_CLASS_CONTENT, which answers permission events.
        for (name, flags) in
            [("fanotify", 0x200), ("fanotify, content", 0x4), ("fanotify, non-blocking", 0x202)]
        {
            add(name, open!(SYS_fanotify_init, flags | 1, libc::O_RDWR));
        }
        add("pidfd", open!(SYS_pidfd_open, std::process::id(), 0));
        add(
            "pidfd of a thread",
            open!(SYS_pidfd_open, rustix::thread::gettid().as_raw_nonzero().get(), libc::O_EXCL),
        );
        add(
            "pidfd of the parent",
            open!(
                SYS_pidfd_open,
                rustix::process::getppid().map_or(1, |parent| parent.as_raw_nonzero().get()),
                0
            ),
        );
        let mut child = std::process::Command::new("true").spawn().expect("the program exists");
        add("pidfd of a child", open!(SYS_pidfd_open, child.id(), libc::O_NONBLOCK));
        child.wait().expect("it exits");
        add("userfaultfd", open!(SYS_userfaultfd, libc::O_CLOEXEC | 1));
        add("io_uring", {
            let mut parameters = [0_u64; 15];
            open!(SYS_io_uring_setup, 1, parameters.as_mut_ptr())
        });
        add("landlock", {
            let attributes = 1_u64;
            open!(SYS_landlock_create_ruleset, &raw const attributes, 8, 0)
        });
        add("fscontext", open!(SYS_fsopen, c"tmpfs".as_ptr(), 1));
        add("perf event", {
            // PERF_TYPE_SOFTWARE, the size of the first version of the structure, PERF_COUNT_SW_CPU_CLOCK.
            let mut attributes = [0_u64; 8];
            attributes[0] = u64::from_ne_bytes(ints(1, 64));
            open!(SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 8)
        });
        add("BPF map", {
            // BPF_MAP_CREATE of an array with one entry of 4 bytes.
            let mut attributes = [0_u64; 16];
            (attributes[0], attributes[1]) = (u64::from_ne_bytes(ints(2, 4)), u64::from_ne_bytes(ints(4, 1)));
            open!(SYS_bpf, 0, attributes.as_ptr(), 72)
        });
        add("BPF program", {
            // BPF_PROG_LOAD of a socket filter: r0 = 0; exit.
            let program = [0xb7_u64, 0x95_u64];
            let mut attributes = [0_u64; 16];
            attributes[0] = u64::from_ne_bytes(ints(1, 2));
            attributes[1] = program.as_ptr().expose_provenance() as u64;
            attributes[2] = c"GPL".as_ptr().expose_provenance() as u64;
            open!(SYS_bpf, 5, attributes.as_ptr(), 72)
        });
        add("seccomp listener", seccomp_listener());
        add("KVM", kvm());
        all
    }

    fn ints(one: u32, two: u32) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&one.to_ne_bytes());
        bytes[4..].copy_from_slice(&two.to_ne_bytes());
        bytes
    }

    /// Returns the listener of a filter on a thread that has exited: all calls are allowed but one that nothing makes.
    fn seccomp_listener() -> Option<OwnedFd> {
        let filter = || {
            // Load the number of the call; if it is `acct`, notify; allow.
            let jump = libc::sock_filter {
                code: 0x15,
                jt: 0,
                jf: 1,
                k: u32::try_from(libc::SYS_acct).expect("a small number"),
            };
            let other = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
            let mut steps = [other(0x20, 0), jump, other(0x06, 0x7fc0_0000), other(0x06, 0x7fff_0000)];
            let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
            rustix::thread::set_no_new_privs(true).ok()?;
            // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
            open!(SYS_seccomp, 1, 8, &raw const program)
        };
        std::thread::spawn(filter).join().ok()?
    }

    /// Returns a virtual machine, if this machine can have one.
    fn kvm() -> Option<OwnedFd> {
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm").ok()?;
        // KVM_CREATE_VM
        open!(SYS_ioctl, kvm.as_raw_fd(), 0xae01, 0)
    }

    /// Returns objects that have a file type, each with the kinds that it can be of.
    fn files() -> Vec<(String, OwnedFd, &'static [ObjectKind])> {
        const FILE: &[ObjectKind] = &[ObjectKind::File];
        const SOCKET: &[ObjectKind] = &[ObjectKind::Socket];
        const MEMORY: &[ObjectKind] = &[ObjectKind::File, ObjectKind::SharedMemory];
        let mut all: Vec<(String, OwnedFd, &[ObjectKind])> = Vec::new();
        let mut add = |name: &str, object: Option<OwnedFd>, kinds| match object {
            Some(object) => all.push((name.to_owned(), object, kinds)),
            None => eprintln!("this kernel or this user can't create: {name}"),
        };
        let memory = |flags| rustix::fs::memfd_create("handover-tests", flags).ok();
        add("memory", memory(MemfdFlags::CLOEXEC), MEMORY);
        let sealed = memory(MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("there is room for it");
        rustix::fs::fcntl_add_seals(&sealed, SealFlags::SHRINK).expect("it can be sealed");
        add("shared memory", Some(sealed), MEMORY);
        add("huge memory", memory(MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB), MEMORY);
        add("secret memory", open!(SYS_memfd_secret, 0), MEMORY);
        let (reader, writer) = rustix::pipe::pipe().expect("there is room for it");
        add("reader of a pipe", Some(reader), FILE);
        add("writer of a pipe", Some(writer), FILE);
        let (one, other) = UnixStream::pair().expect("there is room for it");
        add("Unix stream", Some(one.into()), SOCKET);
        add(
            "closed Unix stream",
            {
                drop(other);
                UnixStream::pair().ok().map(|(one, _)| one.into())
            },
            SOCKET,
        );
        add("Unix datagram socket", UnixDatagram::unbound().ok().map(Into::into), SOCKET);
        add("Unix listener", UnixListener::bind(temporary("listener")).ok().map(Into::into), SOCKET);
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback exists");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound"));
        add("TCP listener", Some(listener.into()), SOCKET);
        add("TCP stream", stream.ok().map(Into::into), SOCKET);
        add("UDP socket", UdpSocket::bind("127.0.0.1:0").ok().map(Into::into), SOCKET);
        for (name, family, kind, protocol) in [
            ("netlink", libc::AF_NETLINK, libc::SOCK_RAW, 0),
            ("raw IP", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
            ("IPv6", libc::AF_INET6, libc::SOCK_DGRAM, 0),
            ("packets", libc::AF_PACKET, libc::SOCK_RAW, 0),
            ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            ("crypto", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ] {
            add(name, open!(SYS_socket, family, kind, protocol), SOCKET);
        }
        let folder = std::env::temp_dir();
        add("folder", File::open(&folder).ok().map(Into::into), FILE);
        add("path", rustix::fs::open(&folder, OFlags::PATH, rustix::fs::Mode::empty()).ok(), FILE);
        let file = temporary("file");
        add(
            "file",
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&file)
                .ok()
                .map(Into::into),
            MEMORY,
        );
        add("file for appending", OpenOptions::new().append(true).open(&file).ok().map(Into::into), MEMORY);
        let fifo = temporary("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("a FIFO");
        add("FIFO", OpenOptions::new().read(true).write(true).open(&fifo).ok().map(Into::into), FILE);
        for device in ["null", "zero", "full", "urandom", "ptmx", "tty", "fuse", "net/tun", "kvm", "kmsg"] {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
            add(device, options.open(Path::new("/dev").join(device)).ok().map(Into::into), FILE);
        }
        add(
            "mq",
            open!(SYS_mq_open, c"handover-tests".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, 0),
            MEMORY,
        );
        add("namespace", File::open("/proc/self/ns/net").ok().map(Into::into), MEMORY);
        add("mount", open!(SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), libc::O_CLOEXEC), FILE);
        add(
            "memory of this process",
            OpenOptions::new().read(true).write(true).open("/proc/self/mem").ok().map(Into::into),
            MEMORY,
        );
        for name in ["listener", "file", "fifo"] {
            let _ = std::fs::remove_file(temporary(name));
        }
        // SAFETY: the name is a C string.
        unsafe { libc::syscall(libc::SYS_mq_unlink, c"handover-tests".as_ptr()) };
        all
    }

    fn temporary(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("handover-kinds-{}-{name}", std::process::id()))
    }

    fn number(object: &impl AsFd) -> Number {
        object.as_fd().into()
    }

    /// Returns all that the kernel shows of a descriptor, but the time that is left of a timer and how often it went off.
    fn state(object: &impl AsFd) -> String {
        let page = page_of(number(object)).expect("/proc shows it");
        let page = String::from_utf8_lossy(&page).into_owned();
        let lines = page.lines().filter(|line| !line.starts_with("it_value") && !line.starts_with("ticks"));
        let ask = |operation| {
            // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
            unsafe { libc::fcntl(object.as_fd().as_raw_fd(), operation) }
        };
        let flags = [F_GETSIG, libc::F_GETFD, libc::F_GETFL].map(ask);
        format!("{flags:?} {:?}", lines.collect::<Vec<_>>())
    }

    fn set_mark(object: &OwnedFd, signal: c_int) {
        let copy = Owned::from(object.try_clone().expect("there is room for it"));
        mark(&copy, signal).expect("each open file can have it");
    }

    fn probed(number: Number) -> &'static [ObjectKind] {
        probe(number, false).expect("no call is made to fail")
    }

    /// Returns the answer for an object whose sender says that it is no semaphore.
    fn probed_as_no_semaphore(number: Number) -> &'static [ObjectKind] {
        probe(number, true).expect("no call is made to fail")
    }

    fn is_eventfd(name: &str) -> bool {
        name.starts_with("eventfd")
    }

    #[test]
    fn probes_agree_with_proc_for_each_anonymous_inode_and_change_nothing() {
        let started = Instant::now();
        let all = anonymous();
        assert!(all.len() >= 30, "{}", all.len());
        for (name, object) in &all {
            let certain = kind_in_proc(number(object)).expect("/proc shows it");
            let before = state(object);
            for _ in 0..TIMES {
                let kinds = probed(number(object));
                match kinds {
                    [] => assert!(matches!(certain, ObjectKind::Other(_)), "{name}: {certain}"),
                    [kind] => assert_eq!(*kind, certain, "{name}"),
                    _ => assert!(is_eventfd(name) && kinds.contains(&certain), "{name}: {kinds:?}"),
                }
                // Without a mark, the mode of an eventfd isn't guessed, and the kinds that one call knows are known.
                assert_eq!(kinds.len() == 2, is_eventfd(name), "{name}");
                assert_eq!(kinds.is_empty(), matches!(certain, ObjectKind::Other(_)), "{name}");
                // The sender's word makes an eventfd an event, and changes the answer for no other kind.
                let expected = if is_eventfd(name) { &[ObjectKind::Event] } else { kinds };
                assert_eq!(probed_as_no_semaphore(number(object)), expected, "{name}");
            }
            assert_eq!(state(object), before, "{name}");
            assert_eq!(kind_of(object.as_fd()).expect("it is open"), certain, "{name}");
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    #[test]
    fn marks_are_believed_of_eventfds_only() {
        for signal in [MANUAL_RESET, AUTO_RESET, SEMAPHORE, 1, 34, 59, 63, 64] {
            for (name, object) in &anonymous() {
                let certain = kind_in_proc(number(object)).expect("/proc shows it");
                set_mark(object, signal);
                let before = state(object);
                for _ in 0..TIMES / 10 {
                    let expected: &[ObjectKind] = match (&certain, signal) {
                        (ObjectKind::Event | ObjectKind::Semaphore, MANUAL_RESET | AUTO_RESET) => {
                            &[ObjectKind::Event]
                        }
                        (ObjectKind::Event | ObjectKind::Semaphore, SEMAPHORE) => &[ObjectKind::Semaphore],
                        (ObjectKind::Event | ObjectKind::Semaphore, _) => {
                            &[ObjectKind::Event, ObjectKind::Semaphore]
                        }
                        (ObjectKind::Other(_), _) => &[],
                        (certain, _) => std::slice::from_ref(certain),
                    };
                    assert_eq!(probed(number(object)), expected, "{name} {signal}");
                    let expected = if is_eventfd(name) { &[ObjectKind::Event] } else { expected };
                    assert_eq!(probed_as_no_semaphore(number(object)), expected, "{name} {signal}");
                }
                assert_eq!(state(object), before, "{name}");
            }
        }
    }

    #[test]
    fn own_objects_are_known_without_proc() {
        for what in [
            What::Event { manual_reset: false },
            What::Event { manual_reset: true },
            What::Semaphore { initial: 3, maximum: 5 },
            What::Timer { manual_reset: false },
            What::Timer { manual_reset: true },
        ] {
            let object = create(what).expect("there is room for it");
            let copy = object.borrowed().try_clone_to_owned().expect("there is room for it");
            assert_eq!(probed(number(&copy)), [what.kind()], "{what:?}");
            // Another program's change of the status flags changes nothing.
            rustix::fs::fcntl_setfl(&copy, OFlags::empty()).expect("flags can be set");
            assert_eq!(
                possible_kinds(object.borrowed(), false).expect("it is open"),
                [what.kind()],
                "{what:?}"
            );
        }
    }

    #[test]
    fn objects_with_a_file_type_are_told_by_it_alone() {
        for (name, object, kinds) in &files() {
            let signals = [None, Some(MANUAL_RESET), Some(SEMAPHORE)];
            // Nothing is marked that is only a path.
            for signal in
                signals.into_iter().take(if matches!(name.as_str(), "path" | "mount") { 1 } else { 3 })
            {
                if let Some(signal) = signal {
                    set_mark(object, signal);
                }
                let before = state(object);
                for _ in 0..TIMES / 10 {
                    for is_no_semaphore in [false, true] {
                        let found = possible_kinds(object.as_fd(), is_no_semaphore).expect("it is open");
                        assert!(found == *kinds, "{name}: {found:?}");
                    }
                    assert!(kinds.contains(&kind_of(object.as_fd()).expect("it is open")), "{name}");
                }
                assert_eq!(state(object), before, "{name}");
            }
        }
    }

    /// Linux before 6.11 takes only an empty path.
    #[test]
    fn type_of_a_file_is_the_same_with_and_without_a_path() {
        let files = files().into_iter().map(|(name, object, _)| (name, object));
        for (name, object) in files.chain(anonymous()) {
            let before = state(&object);
            let with_path = ask_type(object.as_fd(), false).expect("it is open");
            match ask_type(object.as_fd(), true) {
                Ok(without_path) => assert_eq!(without_path, with_path, "{name}"),
                Err(error) => assert_eq!(error.source.raw_os_error(), Some(libc::EFAULT), "{name}"),
            }
            assert_eq!(state(&object), before, "{name}");
        }
    }

    #[test]
    #[cfg(feature = "faults")]
    fn kernel_that_wants_a_path_is_given_one_from_then_on() {
        use super::super::handle::type_of;
        use crate::faults::{Turn, taking};
        for (name, object, _) in &files() {
            let takes_no_path = AtomicBool::new(true);
            let asked = || type_of(object.as_fd(), &takes_no_path).expect("it is open");
            let (first, was_taken) = taking([Turn::fails("statx", 0..1, libc::EFAULT)], asked);
            assert!(was_taken && !takes_no_path.load(Relaxed), "{name}");
            assert_eq!(first, ask_type(object.as_fd(), false).expect("it is open"), "{name}");
            // The second failure is that of a call with a path, which is returned.
            let refused =
                || type_of(object.as_fd(), &takes_no_path).map_err(|error| error.source.raw_os_error());
            let (second, _) = taking([Turn::fails("statx", 0..1, libc::EFAULT)], refused);
            assert_eq!(second, Err(Some(libc::EFAULT)), "{name}");
        }
    }

    #[test]
    fn descriptor_that_is_only_a_path_is_no_event() {
        let event = eventfd(1, 0);
        let path = format!("/proc/self/fd/{}", event.as_raw_fd());
        let path = rustix::fs::open(path, OFlags::PATH, rustix::fs::Mode::empty()).expect("a path to it");
        assert_eq!(probed(number(&path)), []);
        assert_eq!(probed_as_no_semaphore(number(&path)), []);
        assert_eq!(
            kind_of(path.as_fd()).expect("it is open"),
            kind_in_proc(number(&path)).expect("it is open")
        );
        assert!(matches!(kind_of(path.as_fd()), Ok(ObjectKind::Other(_))));
    }

    #[test]
    fn closed_descriptor_has_no_kind() {
        let event = eventfd(0, 0);
        // A number that nothing else uses meanwhile.
        let high = rustix::io::fcntl_dupfd_cloexec(&event, 900).expect("the number is free");
        let value = crate::handle::HandleValue::try_from(u64::from(high.as_raw_fd().unsigned_abs()))
            .expect("a value");
        drop(high);
        assert_eq!(probed(value.into()), []);
        assert_eq!(probed_as_no_semaphore(value.into()), []);
    }

    /// Four threads use an eventfd while others ask what it is. Each number that is added is read once.
    #[test]
    fn probes_of_an_eventfd_in_use_take_and_add_nothing() {
        for (flags, signal) in [
            (libc::EFD_NONBLOCK, Some(MANUAL_RESET)),
            (libc::EFD_NONBLOCK, None),
            (libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE, Some(SEMAPHORE)),
            (libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE, None),
        ] {
            let event = eventfd(0, flags);
            if let Some(signal) = signal {
                set_mark(&event, signal);
            }
            let expected = probed(number(&event));
            assert!(!expected.is_empty());
            let (added, read, is_done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
            let take_all = || {
                while let Some(count) = taken(event.as_fd()) {
                    read.fetch_add(count, Relaxed);
                }
            };
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for count in 1..5_000 {
                            rustix::io::write(&event, &count_of(count).to_ne_bytes())
                                .expect("the counter has room");
                            added.fetch_add(count_of(count), Relaxed);
                        }
                    });
                    scope.spawn(|| {
                        while !is_done.load(Relaxed) {
                            take_all();
                        }
                    });
                }
                let probes = [(); 2].map(|()| {
                    scope.spawn(|| {
                        for _ in 0..10_000 {
                            assert_eq!(probed(number(&event)), expected);
                            assert_eq!(probed_as_no_semaphore(number(&event)), [ObjectKind::Event]);
                        }
                    })
                });
                for probe in probes {
                    let failed = probe.join().is_err();
                    assert!(!failed, "a probe gave another answer");
                }
                is_done.store(true, Relaxed);
            });
            take_all();
            assert_eq!(read.load(Relaxed), added.load(Relaxed));
        }
    }

    fn count_of(number: u64) -> u64 {
        number % 7 + 1
    }

    fn taken(event: BorrowedFd<'_>) -> Option<u64> {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).ok().map(|_| u64::from_ne_bytes(count))
    }

    /// Another thread's read and write of a blocking eventfd wait, and a probe doesn't.
    #[test]
    fn probes_of_a_blocking_eventfd_never_wait() {
        for (count, flags) in
            [(0, 0), (u64::MAX - 1, 0), (0, libc::EFD_SEMAPHORE), (u64::MAX - 1, libc::EFD_SEMAPHORE)]
        {
            let event = eventfd(count, flags);
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| match count {
                    0 => taken(event.as_fd()).is_some(),
                    _ => rustix::io::write(&event, &1_u64.to_ne_bytes()).is_ok(),
                });
                let started = Instant::now();
                for _ in 0..TIMES {
                    assert_eq!(probed(number(&event)).len(), 2);
                    assert_eq!(probed_as_no_semaphore(number(&event)).len(), 1);
                }
                assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
                assert!(!waiter.is_finished(), "the control: the other thread still waits");
                // It goes on once the counter has something, or has room.
                match count {
                    0 => assert!(rustix::io::write(&event, &1_u64.to_ne_bytes()).is_ok()),
                    _ => assert!(taken(event.as_fd()).is_some()),
                }
                assert!(waiter.join().expect("it doesn't panic"));
            });
        }
    }

    #[test]
    fn timer_that_is_asked_about_counts_each_period_once() {
        const PERIOD: i64 = 1_000_000;
        let (asked, control) = (
            timer(TimerfdClockId::Monotonic, PERIOD, PERIOD),
            timer(TimerfdClockId::Monotonic, PERIOD, PERIOD),
        );
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(100) {
            assert_eq!(probed(number(&asked)), [ObjectKind::Timer]);
        }
        let counts = [&asked, &control].map(|timer| taken(timer.as_fd()).expect("it has gone off"));
        assert!(counts[0].abs_diff(counts[1]) <= 10 && counts[0] >= 90, "{counts:?}");
    }

    #[test]
    fn child_that_has_exited_is_still_waited_for() {
        let mut child = std::process::Command::new("true").spawn().expect("the program exists");
        let process = open!(SYS_pidfd_open, child.id(), 0).expect("the child isn't waited for");
        let started = Instant::now();
        let has_exited = || {
            let mut polled = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&Timespec::default())).expect("it can be polled") == 1
        };
        while !has_exited() {
            assert_eq!(probed(number(&process)), [ObjectKind::Process]);
            assert!(started.elapsed() < Duration::from_secs(10));
        }
        for _ in 0..TIMES {
            assert_eq!(probed(number(&process)), [ObjectKind::Process]);
        }
        assert!(child.wait().expect("it is still a zombie").success());
        assert_eq!(probed(number(&process)), [ObjectKind::Process]);
    }

    #[test]
    fn nothing_is_believed_of_a_system_that_looks_at_the_memory_first() {
        let event = create(What::Event { manual_reset: true }).expect("there is room for it");
        let ask = |order| (ask_eventfd(event.borrowed().into(), false, &order), order.into_inner());
        assert!(matches!(ask(AtomicU8::new(MEMORY_FIRST)), (Ok(Answer::Unexpected), MEMORY_FIRST)));
        let order = AtomicU8::new(MEMORY_FIRST);
        assert!(matches!(ask_eventfd(event.borrowed().into(), true, &order), Ok(Answer::Unexpected)));
        for order in [UNKNOWN, DESCRIPTOR_FIRST] {
            // QEMU runs the tests too, and is found out.
            let (answer, order) = ask(AtomicU8::new(order));
            assert!(matches!(answer, Ok(Answer::Eventfd(MANUAL_RESET))) || order == MEMORY_FIRST);
        }
    }

    /// A filter or an older kernel can refuse each of the calls. Then /proc is asked, and the answer is the same.
    #[test]
    #[cfg(feature = "faults")]
    fn each_refused_call_is_replaced_by_proc() {
        use crate::faults::{Turn, taking};
        let (event, semaphore) =
            (What::Event { manual_reset: true }, What::Semaphore { initial: 1, maximum: 1 });
        for code in [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::ENOTSUP] {
            for what in [event, semaphore, What::Timer { manual_reset: false }] {
                let object = create(what).expect("there is room for it");
                let calls: &[(&'static str, u32)] = match what {
                    What::Timer { .. } => &[(EVENTFD, 0), ("timerfd_gettime", 0)],
                    _ => &[(EVENTFD, 0), (EVENTFD, 1), (EVENTFD, 2)],
                };
                for (call, index) in calls.iter().copied() {
                    let turn = || [Turn::fails(call, index..index + 1, code)];
                    assert_eq!(
                        taking(turn(), || probed(object.borrowed().into())),
                        (&[][..], true),
                        "{what:?} {call} {index}"
                    );
                    let (kind, was_taken) = taking(turn(), || kind_of(object.borrowed()));
                    assert_eq!((kind.ok(), was_taken), (Some(what.kind()), true), "{what:?} {call} {index}");
                }
            }
            // The sender's word doesn't replace a refused call.
            let semaphore = create(semaphore).expect("there is room for it");
            for index in 0..2 {
                let turn = [Turn::fails(EVENTFD_WITHOUT_MARK, index..index + 1, code)];
                let kinds = taking(turn, || probed_as_no_semaphore(semaphore.borrowed().into()));
                assert_eq!(kinds, (&[][..], true), "{index}");
            }
            let this = open!(SYS_pidfd_open, std::process::id(), 0).expect("this process exists");
            let (kind, was_taken) = taking([Turn::fails("waitid", 0..1, code)], || kind_of(this.as_fd()));
            assert_eq!((kind.ok(), was_taken), (Some(ObjectKind::Process), true));
        }
    }
}
