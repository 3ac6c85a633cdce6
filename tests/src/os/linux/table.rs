//! Descriptor tables as the kernel has them, seen from outside and without the library that is tested.
//!
//! Unsafe, like the library's `sys`, for the same reason: these are system calls.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_getfd, pidfd_open,
    pidfd_send_signal, setrlimit,
};

pub use super::raw::semaphore;

/// One descriptor of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number in that process.
    pub value: u32,
    /// The flags of its open file description, among them whether it can be read and written.
    pub access: u32,
    /// Whether a child created with inheritance of all would get it.
    pub inheritable: bool,
}

const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// Waits until a program that is being started has begun, and the kernel has closed what doesn't go on to it.
///
/// Whoever has started it is told so by one of the descriptors that are closed then, and can look before the kernel
/// comes to the next. The program's arguments are there only afterwards.
fn let_begin(process: u32) {
    let page = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    // One that has ended has none any more.
    let has_ended = || page("status").lines().all(|line| !line.starts_with("State:") || line.contains('Z'));
    let is_beginning = || page("cmdline").is_empty() && !has_ended();
    for _ in 0..1000 {
        if !is_beginning() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The descriptors of a process; none, if there is no such process.
#[must_use]
pub fn of(process: u32) -> Vec<Entry> {
    let_begin(process);
    let Ok(folder) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let itself = format!("/proc/{process}/fd");
    let entry = |value: u32| {
        // Looking into this process's own table takes one of its places.
        let link = std::fs::read_link(format!("/proc/{process}/fd/{value}")).ok()?;
        if link.as_os_str() == itself.as_str() {
            return None;
        }
        let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{value}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
        Some(Entry { value, access: flags & !CLOSE_ON_EXEC, inheritable: flags & CLOSE_ON_EXEC == 0 })
    };
    let mut entries: Vec<Entry> =
        folder.filter_map(|name| entry(name.ok()?.file_name().to_str()?.parse().ok()?)).collect();
    entries.sort_unstable_by_key(|entry| entry.value);
    entries
}

/// How many descriptors this process has.
#[must_use]
pub fn count() -> usize {
    of(std::process::id()).len()
}

/// The entry of one descriptor of a process, if it has it.
#[must_use]
pub fn entry(process: u32, value: u32) -> Option<Entry> {
    of(process).into_iter().find(|entry| entry.value == value)
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("a process id")).expect("a process id isn't zero")
}

/// A process by its id.
///
/// # Errors
///
/// The system's, if there is no such process.
pub fn open(process: u32) -> rustix::io::Result<OwnedFd> {
    pidfd_open(pid(process), PidfdFlags::empty())
}

/// Ends a process.
///
/// # Panics
///
/// If it can't be ended.
pub fn kill(process: u32) {
    let process = open(process).expect("the process is there");
    pidfd_send_signal(process, Signal::KILL).expect("it is this user's");
}

/// Whether a process ends within this time; one that can't be opened has ended.
///
/// # Panics
///
/// If the system can't wait.
#[must_use]
pub fn ends_within(process: u32, milliseconds: u32) -> bool {
    let Ok(process) = open(process) else { return true };
    let time = Timespec::try_from(Duration::from_millis(milliseconds.into())).expect("a short time");
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&time)) {
            Err(Errno::INTR) => {}
            came => return came.expect("a process can be waited for") > 0,
        }
    }
}

/// The numbers under which a process has this very object: this open file description.
///
/// # Panics
///
/// If the kernel doesn't tell.
#[must_use]
pub fn values_of(object: &impl AsFd, process: u32) -> Vec<u32> {
    let own = value(object);
    let is_same = |entry: &Entry| is_same_elsewhere(std::process::id(), own, process, entry.value);
    of(process).into_iter().filter(is_same).map(|entry| entry.value).collect()
}

/// The number of a descriptor of this process.
///
/// # Panics
///
/// If it is negative, which no descriptor is.
#[must_use]
pub fn value(handle: &impl AsFd) -> u32 {
    u32::try_from(handle.as_fd().as_raw_fd()).expect("a descriptor isn't negative")
}

fn raw(value: u32) -> RawFd {
    RawFd::try_from(value).expect("a descriptor has 31 bits")
}

/// Whether two processes have one object, under these numbers. A descriptor that isn't open is none.
///
/// # Panics
///
/// If the kernel doesn't compare: it lets a process look only at those that it could debug.
#[must_use]
pub fn is_same_elsewhere(process: u32, value: u32, other_process: u32, other_value: u32) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    // SAFETY: the call takes numbers.
    let answer =
        unsafe { libc::syscall(libc::SYS_kcmp, process, other_process, KCMP_FILE, value, other_value) };
    match std::io::Error::last_os_error().raw_os_error() {
        _ if answer >= 0 => answer == 0,
        Some(libc::EBADF | libc::ESRCH) => false,
        other => panic!("kcmp of processes {process} and {other_process}: error {other:?}"),
    }
}

/// Whether two descriptors of this process refer to one object.
#[must_use]
pub fn same_object(one: &impl AsFd, other: &impl AsFd) -> bool {
    let this = std::process::id();
    is_same_elsewhere(this, value(one), this, value(other))
}

/// A copy of another process's descriptor.
///
/// # Errors
///
/// The system's, if it isn't open over there.
pub fn pull(process: u32, value: u32) -> rustix::io::Result<OwnedFd> {
    pidfd_getfd(open(process)?, raw(value), PidfdGetfdFlags::empty())
}

/// Closes a descriptor by its number, as code does that closes what isn't its own.
///
/// # Panics
///
/// If it isn't open.
pub fn close_value(value: u32) {
    assert!(entry(std::process::id(), value).is_some(), "descriptor {value} isn't open");
    // SAFETY: no Rust object owns the descriptor: it came by inheritance and was not adopted.
    drop(unsafe { OwnedFd::from_raw_fd(raw(value)) });
}

/// A descriptor by its number, for as long as the caller keeps it open.
#[must_use]
pub fn borrowed(value: u32) -> BorrowedFd<'static> {
    // SAFETY: the callers are tests that own what they name.
    unsafe { BorrowedFd::borrow_raw(raw(value)) }
}

/// A descriptor that isn't open: what a program has that closed one too early.
#[must_use]
pub fn closed_handle() -> BorrowedFd<'static> {
    // SAFETY: it breaks the promise that the descriptor is open on purpose, to see it noticed; no table here is so large
    // that another gets this number.
    unsafe { BorrowedFd::borrow_raw(0x7_fff0) }
}

/// Whether a descriptor of this process crosses an exec.
///
/// # Panics
///
/// If it isn't open.
#[must_use]
pub fn is_inheritable(handle: &impl AsFd) -> bool {
    !fcntl_getfd(handle).expect("it is open").contains(FdFlags::CLOEXEC)
}

/// Lets a descriptor cross an exec, as code that nobody should write does.
///
/// # Panics
///
/// If it isn't open.
pub fn make_inheritable(handle: &impl AsFd) {
    fcntl_setfd(handle, FdFlags::empty()).expect("it is open");
}

/// Lets this process have so many descriptors.
///
/// # Panics
///
/// If the system doesn't let it.
pub fn make_room(handles: usize) {
    let wanted = Some(u64::try_from(handles).expect("a small number"));
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current < wanted {
        setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit })
            .expect("up to the hard limit it can");
    }
}

/// Lets this process open no more than so many descriptors from now on.
///
/// # Panics
///
/// If the system doesn't let it.
pub fn leave_room_for(more: usize) {
    let taken: Vec<u32> = of(std::process::id()).iter().map(|entry| entry.value).collect();
    // The limit is one for numbers: those beyond it that are open stay open.
    let last = (0..).filter(|number| !taken.contains(number)).nth(more).expect("there is no end of numbers");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(last.into()), ..limit })
        .expect("one can always have less");
}

/// Keeps from all that this process starts what whoever has started the tests has left open.
pub fn keep_what_is_left_open() {
    for entry in of(std::process::id()).iter().filter(|entry| entry.value > 2) {
        let kept = fcntl_setfd(borrowed(entry.value), FdFlags::CLOEXEC);
        kept.expect("it is open");
    }
}

/// Keeps the same from what this process starts, beside its streams: done for each test already.
pub const fn keep_what_came() {}

/// Lets no child have this process's streams beside its own: none does.
pub const fn keep_streams() {}

/// Whether this is Wine, which lacks some of what Windows can.
#[must_use]
pub const fn is_wine() -> bool {
    false
}

/// The ids of the processes that are children of another, also of those that have ended and weren't waited for.
///
/// # Panics
///
/// If the system doesn't tell.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
        // Behind the name, in which anything can stand.
        let rest = stat.rsplit_once(") ").expect("the name stands in parentheses").1;
        rest.split(' ').nth(1).is_some_and(|word| word.parse() == Ok(parent))
    };
    let processes = std::fs::read_dir("/proc").expect("the system tells");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(is_child).collect()
}

/// Reads where there is no memory, which ends this process.
pub fn touch_no_memory() -> ! {
    // SAFETY: it breaks the promise that there is something to read on purpose: the system ends the process.
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
    panic!("there is memory at 8");
}
