//! Calls that neither std nor rustix offers, by which a test changes its own process.
//!
//! It contains unsafe code because it makes system calls directly, like the library's `sys`.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Ignores SIGCHLD, so that the kernel reaps this process's children.
pub(super) fn ignore_children() {
    // SAFETY: SIG_IGN installs no handler, so no code runs in signal context.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Forks a process that sleeps for this time and exits, and returns its id.
pub(super) fn fork_that_sleeps(time: Duration) -> u32 {
    // SAFETY: between `fork` and `_exit` the child only sleeps, which takes no lock that another thread of the parent
    // may have held.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    if id == 0 {
        std::thread::sleep(time);
        // SAFETY: the call only ends the forked process, without running its exit handlers.
        unsafe { libc::_exit(0) };
    }
    id.unsigned_abs()
}

/// Adds a closure to a command, which each new process calls before it executes its program.
pub(super) fn before_the_program(
    command: &mut std::process::Command,
    hook: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the tests' closures make only system calls, allocate nothing and take no lock.
    unsafe { command.pre_exec(hook) };
}

/// Closes the descriptors with these numbers, or sets close-on-exec on them.
pub(super) fn close_descriptors(first: u32, last: u32, at_exec: bool) -> std::io::Result<()> {
    let flags = if at_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: all arguments are numbers. The test calls this in a new process, which has a table of its own and executes
    // its program or exits afterwards.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Puts an inheritable copy of a descriptor at a number.
pub(super) fn place(descriptor: &OwnedFd, number: i32) -> std::io::Result<()> {
    // SAFETY: all arguments are numbers. The test calls this in a new process, which has a table of its own and executes
    // its program afterwards.
    let outcome = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    if outcome == number { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Goes on in a forked process, and exits in this one.
pub(super) fn go_on_in_a_fork() -> std::io::Result<()> {
    // SAFETY: both processes only make system calls afterwards: this one exits, and the other one executes a program.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => Ok(()),
        // SAFETY: the call only ends this process, without running its exit handlers.
        _ => unsafe { libc::_exit(0) },
    }
}

fn only(signal: i32) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is writable memory for a signal set, which the call initializes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialized by `sigemptyset`.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set was initialized by `sigemptyset`.
    unsafe { set.assume_init() }
}

/// Unblocks SIGTERM and sets its default action, which kills the process, regardless of the settings that this program
/// has inherited.
pub(super) fn reset_term() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the pointer for the previous set may be NULL.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
    // SAFETY: SIG_DFL installs no handler, so no code runs in signal context.
    let before = unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Blocks SIGTERM in this thread.
pub(super) fn block_term() {
    let set = only(libc::SIGTERM);
    // SAFETY: the set lives through the call, and the pointer for the previous set may be NULL.
    let outcome = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut()) };
    assert_eq!(outcome, 0);
}

/// Returns whether SIGTERM arrives at this thread within two seconds.
pub(super) fn term_arrives() -> bool {
    let (set, time) = (only(libc::SIGTERM), libc::timespec { tv_sec: 2, tv_nsec: 0 });
    // SAFETY: `set` and `time` live through the call, and the pointer for the signal's information may be NULL.
    let signal = unsafe { libc::sigtimedwait(&raw const set, null_mut(), &raw const time) };
    signal == libc::SIGTERM
}

/// Runs the work in a forked process, and returns whether it returns true within this time.
pub(super) fn in_fork(time: Duration, work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the calling tests make sure that no other thread of this process holds a lock that the work needs in the
    // child.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    if id == 0 {
        let code = i32::from(!work());
        // SAFETY: the call only ends the forked process, without running its exit handlers.
        unsafe { libc::_exit(code) };
    }
    let started = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: `id` is this process's own child, and `status` is writable memory for the result.
        match unsafe { libc::waitpid(id, &raw mut status, libc::WNOHANG) } {
            0 if started.elapsed() > time => {
                // SAFETY: the call takes only integers. The child hasn't been waited for, so its id can't have been
                // reused.
                unsafe { libc::kill(id, libc::SIGKILL) };
                return false;
            }
            0 => std::thread::sleep(Duration::from_millis(5)),
            _ => return status == 0,
        }
    }
}

/// Attaches to a process as a debugger. Returns whether that is allowed.
pub(super) fn attach_debugger(process: u32) -> bool {
    let id = libc::pid_t::try_from(process).unwrap();
    let nothing = null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE reads and writes no memory of either process.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, id, nothing, nothing) == 0 }
}

/// Waits for the exit of a traced process, and reaps it only after a delay, so that its own parent sees the exit late.
pub(super) fn reap_late(process: u32, late: Duration) {
    let mut what = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `what` is writable memory for the result; WNOWAIT leaves the process waitable.
    let outcome =
        unsafe { libc::waitid(libc::P_PID, process, what.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    std::thread::sleep(late);
    // SAFETY: `what` is writable memory for the result; the process is traced by this one, and has not been reaped yet.
    let outcome = unsafe { libc::waitid(libc::P_PID, process, what.as_mut_ptr(), libc::WEXITED) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Spawns a program by `posix_spawn`, in which the child runs in the parent's memory until it execs.
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
    // SAFETY: the texts end with NUL, the lists end with a null pointer, and all of them live through the call. The
    // actions and attributes may be NULL.
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

/// Makes this process the tracer of a command from its start, before the audit can be.
pub(super) fn trace_from_the_start(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let ask = || {
        // SAFETY: PTRACE_TRACEME takes no further arguments.
        let outcome = unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
        if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes only a system call, which is allowed between `fork` and `execve`.
    unsafe { command.pre_exec(ask) };
}

static OWN: AtomicI32 = AtomicI32::new(0);
static HANDLED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

extern "C" fn note(_: libc::c_int) {
    // SAFETY: the call has no arguments, and is async-signal-safe.
    let is_elsewhere = unsafe { libc::getpid() } != OWN.load(Relaxed);
    HANDLED[usize::from(is_elsewhere)].fetch_add(1, Relaxed);
}

/// Installs a handler for SIGUSR1 that counts.
pub(super) fn handle_usr1() {
    // SAFETY: the call has no arguments.
    OWN.store(unsafe { libc::getpid() }, Relaxed);
    // SAFETY: the handler only calls `getpid` and increments an atomic, and both are async-signal-safe.
    let before = unsafe { libc::signal(libc::SIGUSR1, note as *const () as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Returns how often SIGUSR1 was handled in this process, and how often in another process that shares this memory.
pub(super) fn handled() -> [usize; 2] {
    HANDLED.each_ref().map(|count| count.load(Relaxed))
}

/// Sends SIGUSR1 to all processes of this process's group.
pub(super) fn send_usr1_to_the_group() {
    // SAFETY: the call takes only integers.
    assert_eq!(unsafe { libc::kill(0, libc::SIGUSR1) }, 0);
}

/// Ignores SIGHUP.
pub(super) fn ignore_hup() {
    // SAFETY: SIG_IGN installs no handler, so no code runs in signal context.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Returns whether this process is dumpable: debuggers can attach and `/proc` shows it to its user.
pub(super) fn is_dumpable() -> bool {
    // SAFETY: PR_GET_DUMPABLE takes no further arguments and changes nothing.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// Sets a variable of this process. Call it only in tests in which no C code reads the environment.
pub(super) fn set_variable(name: &str, value: &str) {
    // SAFETY: in the calling tests only std accesses the environment, under its own lock.
    unsafe { std::env::set_var(name, value) };
}

/// Returns whether this process has a child that no code has waited for.
pub(super) fn has_children() -> bool {
    let mut what = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: `what` is writable memory for the result; WNOWAIT leaves each child waitable.
    let outcome = unsafe { libc::waitid(libc::P_ALL, 0, what.as_mut_ptr(), options) };
    outcome == 0
}

/// Makes these system calls fail with an error code in this process and its children, as a sandbox may do.
pub(super) fn refuse(calls: &[libc::c_long], code: i32) {
    const NUMBER: u32 = 0;
    let statement = |code: u32, jt, k| libc::sock_filter { code: code.try_into().unwrap(), jt, jf: 0, k };
    let answer = |answer| statement(libc::BPF_RET | libc::BPF_K, 0, answer);
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, NUMBER)];
    for (index, call) in calls.iter().enumerate() {
        // Jumps over the other comparisons and the first answer.
        let to_refusal = u8::try_from(calls.len() - index).unwrap();
        let number = u32::try_from(*call).unwrap();
        filter.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_refusal, number));
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter.push(answer(libc::SECCOMP_RET_ERRNO | code.unsigned_abs()));
    let program = libc::sock_fprog { len: filter.len().try_into().unwrap(), filter: filter.as_mut_ptr() };
    // SAFETY: the operation takes numbers only.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0);
    // SAFETY: the program and its statements live through the call, which copies them. Each jump stays inside.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// A lease on a file: the kernel makes each process wait that opens the file, until the lease is dropped.
pub(super) struct Lease(std::fs::File);

impl Lease {
    pub(super) fn take(path: &std::path::Path) -> Self {
        use std::os::fd::AsRawFd;
        // SAFETY: SIG_IGN installs no handler. By SIGIO, the kernel asks for the lease.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        let file = std::fs::File::open(path).unwrap();
        // SAFETY: all arguments are numbers, and the descriptor is open.
        let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
        Self(file)
    }

    /// Returns whether a process waits for the file.
    pub(super) fn is_asked_for(&self) -> bool {
        use std::os::fd::AsRawFd;
        // SAFETY: all arguments are numbers, and the descriptor is open.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GETLEASE) != libc::F_WRLCK }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        // Closing the file isn't enough: a process that is blocked before its `execve` has it open too.
        // SAFETY: all arguments are numbers, and the descriptor is open.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

/// Makes the next children of this process the first ones of a new PID namespace.
pub(super) fn enter_pid_namespace() {
    // SAFETY: the argument is a number; the call changes where children are created, and no memory.
    let outcome = unsafe { libc::unshare(libc::CLONE_NEWPID) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
