//! Reads descriptor tables from the kernel, without the library under test.
//!
//! It contains unsafe code because it makes system calls directly, like the library's `sys`.

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

/// A descriptor of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The descriptor's number in that process.
    pub value: u32,
    /// The flags of its open file description, including the access mode.
    pub access: u32,
    /// Whether the descriptor lacks close-on-exec, so that every child inherits it.
    pub inheritable: bool,
}

const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// Waits until a process that is in the middle of `execve` has begun to run, and the kernel has closed its
/// close-on-exec descriptors.
///
/// The parent's spawn returns when the first of these descriptors is closed, so a reader could still see the others.
/// The program's arguments appear in `/proc` only afterwards.
fn let_begin(process: u32) {
    let page = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    // A process that has exited has no arguments either.
    let has_ended = || page("status").lines().all(|line| !line.starts_with("State:") || line.contains('Z'));
    let is_beginning = || page("cmdline").is_empty() && !has_ended();
    for _ in 0..1000 {
        if !is_beginning() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the descriptors of a process; empty, if the process doesn't exist.
#[must_use]
pub fn of(process: u32) -> Vec<Entry> {
    let_begin(process);
    let Ok(folder) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let itself = format!("/proc/{process}/fd");
    let entry = |value: u32| {
        // Skips the descriptor by which this function reads this process's own table.
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

/// Returns the number of this process's descriptors.
#[must_use]
pub fn count() -> usize {
    of(std::process::id()).len()
}

/// Returns the number of this process's threads.
///
/// # Panics
///
/// Panics if /proc can't be read.
#[must_use]
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// Returns the entry of one descriptor of a process, if it is open.
#[must_use]
pub fn entry(process: u32, value: u32) -> Option<Entry> {
    of(process).into_iter().find(|entry| entry.value == value)
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("a process id")).expect("a process id isn't zero")
}

/// Opens a process by its id.
///
/// # Errors
///
/// Returns the system's error if the process doesn't exist.
pub fn open(process: u32) -> rustix::io::Result<OwnedFd> {
    pidfd_open(pid(process), PidfdFlags::empty())
}

/// Kills a process.
///
/// # Panics
///
/// Panics if it can't be killed.
pub fn kill(process: u32) {
    let process = open(process).expect("the process is there");
    pidfd_send_signal(process, Signal::KILL).expect("it is this user's");
}

/// Returns whether a process exits within this time. A process that can't be opened has exited.
///
/// # Panics
///
/// Panics if the wait fails.
#[must_use]
pub fn ends_within(process: u32, milliseconds: u32) -> bool {
    let Ok(process) = open(process) else { return true };
    let time = Timespec::try_from(Duration::from_millis(milliseconds.into())).expect("a short time");
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&time)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.expect("a process can be waited for") > 0,
        }
    }
}

/// Returns the numbers of the descriptors by which a process refers to this open file description.
///
/// # Panics
///
/// Panics if the kernel refuses to compare.
#[must_use]
pub fn values_of(object: &impl AsFd, process: u32) -> Vec<u32> {
    let own = value(object);
    let is_same = |entry: &Entry| is_same_elsewhere(std::process::id(), own, process, entry.value);
    of(process).into_iter().filter(is_same).map(|entry| entry.value).collect()
}

/// Returns the number of a descriptor of this process.
///
/// # Panics
///
/// Panics if it is negative, which no open descriptor is.
#[must_use]
pub fn value(handle: &impl AsFd) -> u32 {
    u32::try_from(handle.as_fd().as_raw_fd()).expect("a descriptor isn't negative")
}

fn raw(value: u32) -> RawFd {
    RawFd::try_from(value).expect("a descriptor has 31 bits")
}

/// Returns whether descriptors of two processes refer to the same open file description; false, if one of them isn't
/// open.
///
/// # Panics
///
/// Panics if the kernel refuses to compare, which requires the right to debug both processes.
#[must_use]
pub fn is_same_elsewhere(process: u32, value: u32, other_process: u32, other_value: u32) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    // SAFETY: the call takes only integers.
    let answer =
        unsafe { libc::syscall(libc::SYS_kcmp, process, other_process, KCMP_FILE, value, other_value) };
    match std::io::Error::last_os_error().raw_os_error() {
        _ if answer >= 0 => answer == 0,
        Some(libc::EBADF | libc::ESRCH) => false,
        other => panic!("kcmp of processes {process} and {other_process}: error {other:?}"),
    }
}

/// Returns whether two descriptors of this process refer to the same open file description.
#[must_use]
pub fn same_object(one: &impl AsFd, other: &impl AsFd) -> bool {
    let this = std::process::id();
    is_same_elsewhere(this, value(one), this, value(other))
}

/// Copies another process's descriptor into this process.
///
/// # Errors
///
/// Returns the system's error if the descriptor isn't open in that process.
pub fn pull(process: u32, value: u32) -> rustix::io::Result<OwnedFd> {
    pidfd_getfd(open(process)?, raw(value), PidfdGetfdFlags::empty())
}

/// Closes a descriptor by its number, without owning it.
///
/// # Panics
///
/// Panics if it isn't open.
pub fn close_value(value: u32) {
    assert!(entry(std::process::id(), value).is_some(), "descriptor {value} isn't open");
    // SAFETY: no Rust object owns the descriptor: this process inherited it and has not adopted it.
    drop(unsafe { OwnedFd::from_raw_fd(raw(value)) });
}

/// Borrows a descriptor by its number. The caller keeps it open.
#[must_use]
pub fn borrowed(value: u32) -> BorrowedFd<'static> {
    // SAFETY: each caller is a test that keeps the descriptor open while it uses the result.
    unsafe { BorrowedFd::borrow_raw(raw(value)) }
}

/// Returns a descriptor that isn't open, as a program has that closed one too early.
#[must_use]
pub fn closed_handle() -> BorrowedFd<'static> {
    // SAFETY: this breaks the rule that a borrowed descriptor is open, on purpose: the tests expect an error. No test
    // opens enough descriptors for another one to get this number.
    unsafe { BorrowedFd::borrow_raw(0x7_fff0) }
}

/// Returns whether a descriptor of this process lacks close-on-exec.
///
/// # Panics
///
/// Panics if it isn't open.
#[must_use]
pub fn is_inheritable(handle: &impl AsFd) -> bool {
    !fcntl_getfd(handle).expect("it is open").contains(FdFlags::CLOEXEC)
}

/// Clears close-on-exec, as careless code in the same process might.
///
/// # Panics
///
/// Panics if it isn't open.
pub fn make_inheritable(handle: &impl AsFd) {
    fcntl_setfd(handle, FdFlags::empty()).expect("it is open");
}

/// Raises this process's limit of descriptors to at least this number.
///
/// # Panics
///
/// Panics if the hard limit is lower.
pub fn make_room(handles: usize) {
    let wanted = Some(u64::try_from(handles).expect("a small number"));
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current < wanted {
        setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit }).expect("the hard limit allows it");
    }
}

/// Lets this process and its children open this many descriptors, or as many as this user may. Returns how many.
///
/// # Panics
///
/// Panics if the system refuses what the hard limit allows.
#[must_use]
pub fn make_most_room(handles: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(handles).expect("a small number");
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|maximum| maximum.max(wanted)) };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return handles;
    }
    let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).expect("the hard limit allows it");
    usize::try_from(most).expect("a small number")
}

/// Lowers this process's limit of descriptors so that it can open at most `more` of them, until the result is dropped.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn limit_to(more: usize) -> Limit {
    let before = getrlimit(Resource::Nofile);
    leave_room_for(more);
    Limit(before)
}

/// A lowered limit of descriptors. Dropping it restores the limit.
#[derive(Debug)]
pub struct Limit(Rlimit);

impl Drop for Limit {
    fn drop(&mut self) {
        // The hard limit was not lowered, so this can't fail.
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

/// Lowers this process's limit of descriptors so that it can open at most `more` of them.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn leave_room_for(more: usize) {
    let taken: Vec<u32> = of(std::process::id()).iter().map(|entry| entry.value).collect();
    // The limit is one for descriptor numbers; open descriptors beyond it stay open.
    let last =
        (0..).filter(|number| !taken.contains(number)).nth(more).expect("there are infinitely many numbers");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(last.into()), ..limit })
        .expect("a limit can always be lowered");
}

/// Sets close-on-exec on descriptors that the parent of the test program has leaked into it.
pub fn keep_what_is_left_open() {
    for entry in of(std::process::id()).iter().filter(|entry| entry.value > 2) {
        let kept = fcntl_setfd(borrowed(entry.value), FdFlags::CLOEXEC);
        kept.expect("it is open");
    }
}

/// Does nothing: each test has done it already by [`keep_what_is_left_open`].
pub const fn keep_what_came() {}

/// Does nothing: on Linux, no child inherits this process's streams beside its own.
pub const fn keep_streams() {}

/// Returns whether this process runs under Wine.
#[must_use]
pub const fn is_wine() -> bool {
    false
}

/// Returns the number of threads by which Wine's thread pool waits for this process's handles.
#[must_use]
pub const fn wine_pool_waiters() -> usize {
    0
}

/// Returns the ids of a process's children, including zombies.
///
/// # Panics
///
/// Panics if `/proc` can't be read.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
        // The fields after the process's name, which may contain any character.
        let rest = stat.rsplit_once(") ").expect("the name is in parentheses").1;
        rest.split(' ').nth(1).is_some_and(|word| word.parse() == Ok(parent))
    };
    let processes = std::fs::read_dir("/proc").expect("`/proc` can be read");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(is_child).collect()
}

/// Reads from an unmapped address, which kills this process.
pub fn touch_no_memory() -> ! {
    // SAFETY: this breaks the rule that the address is readable, on purpose: the system kills the process.
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
    panic!("there is memory at 8");
}
