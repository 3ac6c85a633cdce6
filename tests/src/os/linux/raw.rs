//! Objects as the bare kernel has them, without the library that is tested.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use handover::ObjectKind;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use super::table;

/// An object by its name, as a test tells it, and by its kind.
pub type Object = (&'static str, OwnedFd, ObjectKind);

/// One of each kind that does no harm in another process and that the library didn't make.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn objects() -> Vec<Object> {
    let (socket, _) = std::os::unix::net::UnixStream::pair().expect("the system has room for sockets");
    vec![
        ("foreign event", event(), ObjectKind::Event),
        ("semaphore", semaphore(), ObjectKind::Semaphore),
        ("section", section(), ObjectKind::SharedMemory),
        ("memory that can shrink", memory(), ObjectKind::File),
        ("timer", timer(), ObjectKind::Timer),
        ("socket", socket.into(), ObjectKind::Socket),
    ]
}

/// What is power over a process.
#[must_use]
pub fn power() -> Vec<Object> {
    vec![("process", this_process(), ObjectKind::Process)]
}

/// An eventfd, without any mark of the library's.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("the system has room for an event")
}

/// A semaphore: an eventfd that a read takes one from.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn semaphore() -> OwnedFd {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE;
    eventfd(0, flags).expect("the system has room for a semaphore")
}

/// Memory of one page that whoever has it can make smaller under another's view.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn memory() -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("handover-tests", flags).expect("the system has room for memory");
    ftruncate(&memory, 4096).expect("the system has room for a page");
    memory
}

/// A section of one page: memory sealed against shrinking and growing.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn section() -> OwnedFd {
    let memory = memory();
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).expect("it can be sealed");
    memory
}

/// A timer.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn timer() -> OwnedFd {
    timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("the system has room for a timer")
}

/// A set of things to wait for, of which the library has no kind.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn epoll() -> OwnedFd {
    epoll::create(epoll::CreateFlags::CLOEXEC).expect("the system has room for it")
}

/// A pidfd of this process.
///
/// # Panics
///
/// If it can't be opened.
#[must_use]
pub fn this_process() -> OwnedFd {
    table::open(std::process::id()).expect("a process can open itself")
}

/// An anonymous pipe, the end to read from first.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("the system has room for a pipe")
}

/// Whether a section can be mapped for reading, or for writing too.
///
/// # Panics
///
/// If what was mapped can't be unmapped.
#[must_use]
pub fn can_map(section: &impl AsFd, writing: bool) -> bool {
    const LENGTH: usize = 4096;
    let access = if writing { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    // SAFETY: no place is asked for, so nothing of this process is mapped over.
    let view: Result<*mut c_void, _> =
        unsafe { mmap(std::ptr::null_mut(), LENGTH, access, MapFlags::SHARED, section, 0) };
    let Ok(view) = view else { return false };
    // SAFETY: the view was made just now, and nobody has a pointer into it.
    unsafe { munmap(view, LENGTH) }.expect("it is mapped");
    true
}

/// A file that C code has opened and left open for every program that is started from here, as most C code does.
///
/// # Panics
///
/// If there is no such file.
#[must_use]
pub fn opened_by_c() -> OwnedFd {
    // SAFETY: the path ends with NUL.
    let raw = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) };
    assert!(raw >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was made for us just now.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// A copy with a number that is at least this, and that crosses an exec.
///
/// # Panics
///
/// If this process can't have that number.
#[must_use]
pub fn copy_from(handle: &impl AsFd, least: u32) -> OwnedFd {
    let least = i32::try_from(least).expect("a small number");
    // SAFETY: the descriptor is borrowed, so it is open.
    let raw = unsafe { libc::fcntl(handle.as_fd().as_raw_fd(), libc::F_DUPFD, least) };
    assert!(raw >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was made for us just now.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Nothing that keeps what is written, open for appending.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn opened_for_appending() -> OwnedFd {
    std::fs::OpenOptions::new().append(true).open("/dev/null").expect("there is a null device").into()
}

/// Ends this thread without unwinding; of a process's first thread it leaves the others alone.
pub fn end_this_thread() -> ! {
    // SAFETY: the call doesn't return, and what this thread has on its stack is used by nobody else.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}
