//! What a program does to itself with calls that neither std nor rustix has.
//!
//! Unsafe, like the library's `sys`, for the same reason: these are system calls.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// No longer hears of its children's ends.
pub(super) fn ignore_children() {
    // SAFETY: no handler is installed, so no code of ours runs in one.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// A copy of this process that sleeps for this time and ends. Says its id.
pub(super) fn copy_that_sleeps(time: Duration) -> u32 {
    // SAFETY: the copy makes only calls that are allowed where other threads' locks may be held for ever.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    if id == 0 {
        std::thread::sleep(time);
        // SAFETY: the call only ends the copy.
        unsafe { libc::_exit(0) };
    }
    id.unsigned_abs()
}

fn only(signal: i32) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the place is live, and the call fills it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled just now.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set was filled just now.
    unsafe { set.assume_init() }
}

/// Lets SIGTERM in, and it ends the process, whatever whoever has started this program thought of it.
pub(super) fn let_term_in() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the old one isn't asked for.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
    // SAFETY: no handler is installed, so no code of ours runs in one.
    let before = unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Keeps SIGTERM from this thread until it asks.
pub(super) fn block_term() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the old one isn't asked for.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
}

/// Whether SIGTERM comes to this thread within two seconds.
pub(super) fn term_comes() -> bool {
    let (set, time) = (only(libc::SIGTERM), libc::timespec { tv_sec: 2, tv_nsec: 0 });
    // SAFETY: both live through the call, and what is known of the signal isn't asked for.
    let came = unsafe { libc::sigtimedwait(&raw const set, null_mut(), &raw const time) };
    came == libc::SIGTERM
}

/// Does something in a copy of this process, and says whether it went well, within so much time.
pub(super) fn in_a_copy(time: Duration, work: impl FnOnce() -> bool) -> bool {
    // SAFETY: no other thread of this process holds a lock that the copy needs; the tests that ask see to that.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    if id == 0 {
        let code = i32::from(!work());
        // SAFETY: the call only ends the copy.
        unsafe { libc::_exit(code) };
    }
    let started = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: the copy is this process's own child, and the answer has a live place.
        match unsafe { libc::waitpid(id, &raw mut status, libc::WNOHANG) } {
            0 if started.elapsed() > time => {
                // SAFETY: the call takes numbers; nobody has waited for the copy, so the id is its own.
                unsafe { libc::kill(id, libc::SIGKILL) };
                return false;
            }
            0 => std::thread::sleep(Duration::from_millis(5)),
            _ => return status == 0,
        }
    }
}

/// Looks at a process as a debugger does, if that is allowed.
pub(super) fn look_at(process: u32) -> bool {
    let id = libc::pid_t::try_from(process).unwrap();
    let nothing = null_mut::<libc::c_void>();
    // SAFETY: nothing is read or written in that process.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, id, nothing, nothing) == 0 }
}

/// Hears of the end of a process that is looked at, so late after it, and only then do others.
pub(super) fn hear_late(process: u32, late: Duration) {
    let mut what = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the answer has a live place; the process stays as it is.
    let outcome =
        unsafe { libc::waitid(libc::P_PID, process, what.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    std::thread::sleep(late);
    // SAFETY: as above.
    let outcome = unsafe { libc::waitid(libc::P_PID, process, what.as_mut_ptr(), libc::WEXITED) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Starts a program as C libraries do: the child runs in the parent's memory until it is the program.
pub(super) fn posix_spawn(
    program: &std::path::Path,
    arguments: &[std::ffi::OsString],
) -> rustix::process::Pid {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let text = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).expect("without NUL");
    let program = text(program.as_os_str());
    let texts: Vec<CString> = arguments.iter().map(|argument| text(argument)).collect();
    let arguments: Vec<*mut libc::c_char> = std::iter::once(program.as_ptr())
        .chain(texts.iter().map(|text| text.as_ptr()))
        .map(<*const libc::c_char>::cast_mut)
        .chain([null_mut()])
        .collect();
    let environment = [null_mut()];
    let mut child = 0;
    // SAFETY: the texts end with NUL and the lists with a null pointer, and all of them live through the call.
    let outcome = unsafe {
        libc::posix_spawn(
            &raw mut child,
            program.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    assert_eq!(outcome, 0);
    rustix::process::Pid::from_raw(child).expect("a child has an id")
}

/// Makes this process the tracer of a command before anybody else can be.
pub(super) fn trace_from_the_start(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let ask = || {
        // SAFETY: the request takes nothing.
        let outcome = unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
        if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: in the new process, only a system call is made.
    unsafe { command.pre_exec(ask) };
}

static OWN: AtomicI32 = AtomicI32::new(0);
static HANDLED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

extern "C" fn note(_: libc::c_int) {
    // SAFETY: the call takes nothing, and may be made in a handler.
    let is_elsewhere = unsafe { libc::getpid() } != OWN.load(Relaxed);
    HANDLED[usize::from(is_elsewhere)].fetch_add(1, Relaxed);
}

/// Handles SIGUSR1 from now on.
pub(super) fn handle_usr1() {
    // SAFETY: the call takes nothing.
    OWN.store(unsafe { libc::getpid() }, Relaxed);
    // SAFETY: what is done in the handler may be done in one.
    let before = unsafe { libc::signal(libc::SIGUSR1, note as *const () as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
}

/// How often SIGUSR1 was handled in this process, and in this memory in another process.
pub(super) fn handled() -> [usize; 2] {
    HANDLED.each_ref().map(|count| count.load(Relaxed))
}

/// Sends SIGUSR1 to all processes of this one's group.
pub(super) fn send_usr1_to_the_group() {
    // SAFETY: the call takes numbers.
    assert_eq!(unsafe { libc::kill(0, libc::SIGUSR1) }, 0);
}

/// Doesn't hear of SIGHUP any more.
pub(super) fn ignore_hup() {
    // SAFETY: no handler is installed, so no code of ours runs in one.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Whether debuggers and `/proc` may look at this process as at any.
pub(super) fn can_be_looked_at() -> bool {
    // SAFETY: the call only asks.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// Sets a variable of this process. No C code of a test that asks reads one.
pub(super) fn set_variable(name: &str, value: &str) {
    // SAFETY: what reads variables in such a test is Rust's, under one lock.
    unsafe { std::env::set_var(name, value) };
}
