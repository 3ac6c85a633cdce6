//! Kernel objects made by bare system calls, without the library under test.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use handover::ObjectKind;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use super::{expect, table};

/// An object with its name in a test and its kind.
pub type Object = (&'static str, OwnedFd, ObjectKind);

/// Returns one object of each kind that gives no power over a process, made without the library.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn objects() -> Vec<Object> {
    let (socket, _) = std::os::unix::net::UnixStream::pair().expect("the system has room for sockets");
    vec![
        ("foreign event", event(), ObjectKind::Event),
        ("semaphore", semaphore(), expect::kind_of_semaphore()),
        ("section", section(), ObjectKind::SharedMemory),
        ("memory that can shrink", memory(), ObjectKind::File),
        ("timer", timer(), ObjectKind::Timer),
        ("socket", socket.into(), ObjectKind::Socket),
    ]
}

/// Returns objects that give power over a process.
#[must_use]
pub fn power() -> Vec<Object> {
    vec![("process", this_process(), ObjectKind::Process)]
}

/// Creates an eventfd, without the library's marks.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("the system has room for an event")
}

/// Creates a semaphore: an eventfd from which each read takes 1.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn semaphore() -> OwnedFd {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE;
    eventfd(0, flags).expect("the system has room for a semaphore")
}

/// Creates one page of memory that its owner can shrink under another process's view.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn memory() -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("handover-tests", flags).expect("the system has room for memory");
    ftruncate(&memory, 4096).expect("the system has room for a page");
    memory
}

/// Creates shared memory of one page, sealed against shrinking and growing.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn section() -> OwnedFd {
    let memory = memory();
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).expect("it can be sealed");
    memory
}

/// Creates a timer.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn timer() -> OwnedFd {
    timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("the system has room for a timer")
}

/// Creates an epoll instance, for which the library has no kind.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn epoll() -> OwnedFd {
    epoll::create(epoll::CreateFlags::CLOEXEC).expect("the system can create it")
}

/// Creates a descriptor that reads signals, for which the library has no kind.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn signalfd() -> OwnedFd {
    let signals = 1_u64 << (libc::SIGUSR2 - 1);
    // SAFETY: the address is that of a live set of signals of 8 bytes.
    let raw = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const signals, 8, libc::SFD_CLOEXEC) };
    let raw = i32::try_from(raw).expect("a descriptor");
    assert!(raw >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call succeeded, so the descriptor is open and no other object owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Creates an inotify instance, for which the library has no kind.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn inotify() -> OwnedFd {
    rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).expect("the system can create it")
}

/// Sets the signal that an open file description would send, in which the library keeps its marks.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn set_mark(object: &impl AsFd, signal: i32) {
    const F_SETSIG: i32 = 10;
    // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
    let answer = unsafe { libc::fcntl(object.as_fd().as_raw_fd(), F_SETSIG, signal) };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Opens a pidfd of this process.
///
/// # Panics
///
/// Panics if it can't be opened.
#[must_use]
pub fn this_process() -> OwnedFd {
    table::open(std::process::id()).expect("a process can open itself")
}

/// Creates an anonymous pipe and returns its read end and write end.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("the system has room for a pipe")
}

/// Returns whether shared memory can be mapped for reading, or also for writing.
///
/// # Panics
///
/// Panics if munmap fails.
#[must_use]
pub fn can_map(section: &impl AsFd, writing: bool) -> bool {
    const LENGTH: usize = 4096;
    let access = if writing { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    // SAFETY: the kernel chooses an unused address, so the call maps over no memory of this process.
    let view: Result<*mut c_void, _> =
        unsafe { mmap(std::ptr::null_mut(), LENGTH, access, MapFlags::SHARED, section, 0) };
    let Ok(view) = view else { return false };
    // SAFETY: the view was mapped by this function with this length, and no pointer into it exists.
    unsafe { munmap(view, LENGTH) }.expect("it is mapped");
    true
}

/// Opens a file without close-on-exec, as most C code does, so that every child inherits it.
///
/// # Panics
///
/// Panics if the file doesn't exist.
#[must_use]
pub fn opened_by_c() -> OwnedFd {
    // SAFETY: the path is a C string literal, which ends with NUL.
    let raw = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) };
    assert!(raw >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `open` succeeded, so the descriptor is open and no other object owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Duplicates a descriptor to a number of at least `least`, without close-on-exec.
///
/// # Panics
///
/// Panics if this process can't have that number.
#[must_use]
pub fn copy_from(handle: &impl AsFd, least: u32) -> OwnedFd {
    let least = i32::try_from(least).expect("a small number");
    // SAFETY: the descriptor is borrowed, so it is open.
    let raw = unsafe { libc::fcntl(handle.as_fd().as_raw_fd(), libc::F_DUPFD, least) };
    assert!(raw >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `fcntl` succeeded, so the new descriptor is open and no other object owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Opens the null device for appending.
///
/// # Panics
///
/// Panics if it can't be opened.
#[must_use]
pub fn opened_for_appending() -> OwnedFd {
    std::fs::OpenOptions::new().append(true).open("/dev/null").expect("the null device exists").into()
}

/// Returns whether a descriptor is readable now.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn is_signaled(handle: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(handle, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).expect("an open descriptor can be polled") == 1
}

/// Ends this thread without unwinding. If it is the process's first thread, the other threads go on.
pub fn end_this_thread() -> ! {
    // SAFETY: the call doesn't return, and no other thread uses this thread's stack.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the call doesn't return")
}

/// Makes an open file description non-blocking, as another program with a copy of the descriptor can.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn set_nonblocking(descriptor: &impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(descriptor).expect("an open descriptor has flags");
    rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK).expect("the flag can be set");
}

/// Makes a command's process kill itself before it executes its program.
pub fn die_before_the_program(command: &mut std::process::Command) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::os::unix::process::CommandExt;
    let die = || Ok(kill_process(getpid(), Signal::KILL)?);
    // SAFETY: the closure makes only system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(die) };
}

/// Adds a function of a test to a command. It may not take locks that other threads of the test hold.
pub fn pre_exec(
    command: &mut handover::Command<'_>,
    function: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the functions of the tests make system calls, and use the allocator, which the C library allows here. They
    // close only descriptors that nothing else uses in the new process.
    unsafe { command.pre_exec(function) };
}

/// Closes all descriptors from this number on, as the function of a test does in a new process.
pub fn close_from(first: u32) {
    // SAFETY: all arguments are numbers. The owners of the descriptors never run in a new process.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Lets a program inherit all descriptors from this number on, as the function of a test does in a new process.
pub fn make_inheritable_from(first: i32) {
    for number in first..256 {
        // SAFETY: all arguments are numbers. The flag has no effect on other calls.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    }
}

/// Makes a standard stream of a descriptor's number.
#[must_use]
pub fn stdio_of_number(descriptor: OwnedFd) -> handover::Stdio {
    // SAFETY: the number is that of an open descriptor, whose owner has just given it up.
    unsafe { handover::Stdio::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(descriptor)) }
}
