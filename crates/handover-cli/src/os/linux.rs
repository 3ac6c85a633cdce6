//! The parts of the program that are specific to Linux.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// Advice for the user when access to a process was denied.
pub(crate) const ACCESS_ADVICE: &str = "run this as that process's user, or as root with CAP_SYS_PTRACE; the process itself (PR_SET_DUMPABLE) or ptrace_scope can still refuse";

/// Whether the path leads to a FIFO.
pub(crate) fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
}

/// Splits an argument at its first equals sign.
pub(crate) fn split_at_equals(text: &OsStr) -> Option<(OsString, OsString)> {
    let mut parts =
        text.as_bytes().splitn(2, |byte| *byte == b'=').map(|part| OsString::from_vec(part.to_vec()));
    Some((parts.next()?, parts.next()?))
}

/// The call that starts a program.
pub(crate) const SPAWN_CALL: &str = "execve";

/// Returns the exit code to pass on. A command that was killed by a signal gives 128 plus the signal's number, as in
/// shells.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A command's process tree, while `handover run` waits for the command.
///
/// This process becomes the parent of processes that outlive their own parents (a subreaper). So it can end all of them
/// at the timeout, and it reaps them, as the first process of a container has to. Signals are passed on to the command.
pub(crate) mod tree {
    use std::os::fd::AsFd;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use handover::{Child, Command, Process};
    use rustix::process::{
        Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, pidfd_send_signal, waitid,
    };
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::iterator::Signals;

    use crate::exit::{Stop, code};

    /// How long to wait for killed processes to exit.
    const END_TIMEOUT: Duration = Duration::from_secs(10);

    /// The command, and the signals that arrived before it was started.
    #[derive(Debug, Default)]
    struct Target {
        command: Option<Process>,
        early: Vec<i32>,
    }

    #[derive(Debug)]
    pub(crate) struct Tree(Arc<Mutex<Target>>);

    impl Tree {
        /// Prepares this process. The signals of a terminal aren't passed on, because the command gets them too; only the
        /// first process of a PID namespace has no terminal of its own.
        pub(crate) fn prepare() -> Result<Self, Stop> {
            let failed = |what: &str, error: std::io::Error| {
                Stop::with_code(code::SETUP_FAILED, format_args!("cannot {what}: {error}"))
            };
            let this = getpid();
            adopt_orphans().map_err(|error| failed("become the parent of orphaned processes", error))?;
            let passed_on = [SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
            let of_terminal = [SIGINT, SIGQUIT];
            let is_first = this == Pid::INIT;
            let handled: Vec<i32> = passed_on
                .into_iter()
                .chain(of_terminal)
                .filter(|signal| !super::is_ignored(*signal))
                .collect();
            let mut signals = Signals::new(handled.into_iter().chain([SIGCHLD]))
                .map_err(|error| failed("handle signals", error))?;
            let target = Arc::new(Mutex::new(Target::default()));
            let shared = Arc::clone(&target);
            let act = move || {
                for signal in &mut signals {
                    let mut target = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&target.command, signal) {
                        (command, SIGCHLD) => reap_orphans(command.as_ref().map(Process::id)),
                        (_, SIGINT | SIGQUIT) if !is_first => {}
                        (Some(command), signal) => pass_on(command, signal),
                        (None, signal) => target.early.push(signal),
                    }
                }
            };
            let thread = std::thread::Builder::new().name("signals".into());
            thread.spawn(act).map_err(|error| failed("start a thread", error))?;
            Ok(Self(target))
        }

        pub(crate) fn spawn(&self, command: &mut Command<'_>) -> handover::Result<Child> {
            // A signal waits until the command can get it, and no orphan is reaped until the command is known.
            let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let child = command.spawn()?;
            for signal in target.early.drain(..) {
                pass_on(child.process(), signal);
            }
            target.command = Some(child.process().clone());
            Ok(child)
        }

        /// Kills all processes that the command has started, and waits until they have exited.
        pub(crate) fn end(self) {
            kill_children();
        }
    }

    /// Kills all children of this process, and waits until they have exited.
    pub(crate) fn kill_children() {
        let started = Instant::now();
        while started.elapsed() < END_TIMEOUT {
            let children = children();
            if children.is_empty() {
                return;
            }
            for child in children {
                let _ = kill_process(child, Signal::KILL);
                reap(child);
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Makes this process the parent of processes that outlive their own parents.
    pub(crate) fn adopt_orphans() -> std::io::Result<()> {
        Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
    }

    fn pass_on(command: &Process, signal: i32) {
        // It fails only if the command has exited.
        let _ = Signal::from_named_raw(signal).map(|signal| pidfd_send_signal(command.as_fd(), signal));
    }

    /// Reaps all children but the command, whose exit status the library reads.
    fn reap_orphans(command: Option<u32>) {
        let is_command = |child: &Pid| command == Some(child.as_raw_pid().unsigned_abs());
        children().into_iter().filter(|child| !is_command(child)).for_each(reap);
    }

    fn reap(child: Pid) {
        let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// Returns the children of this process, also those that have exited. Without `/proc`, the list is empty.
    fn children() -> Vec<Pid> {
        let this = getpid().as_raw_pid().to_string();
        let is_child = |id: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // The fields after the process's name, which may contain any character.
            let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            rest.split(' ').nth(1) == Some(this.as_str())
        };
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        ids.filter(|id| is_child(id)).filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }
}

/// Prepares this process for a pair that is checked: processes that escape their tracer become children of this process, and
/// the pair's own descriptors get numbers of two digits. A child that reads a smaller number in the wrong base, or that has
/// it as a constant, is right by luck.
pub(crate) fn prepare_check() -> Result<(), crate::exit::Stop> {
    let failed = |what, error| {
        crate::exit::Stop::with_code(crate::exit::code::SETUP_FAILED, format_args!("cannot {what}: {error}"))
    };
    tree::adopt_orphans().map_err(|error| failed("become the parent of orphaned processes", error))?;
    occupy_low_numbers().map_err(|error| failed("occupy the low descriptors", error))
}

/// Opens `/dev/null` under all free descriptors below 11. The pair inherits them, and they stay open until this process
/// exits.
fn occupy_low_numbers() -> std::io::Result<()> {
    use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
    const FIRST_FREE: i32 = 11;
    let null = std::fs::File::open("/dev/null")?;
    rustix::io::fcntl_setfd(&null, rustix::io::FdFlags::empty())?;
    let mut next = OwnedFd::from(null);
    while next.as_raw_fd() < FIRST_FREE {
        let copy = rustix::io::dup(&next)?;
        let _ = std::mem::replace(&mut next, copy).into_raw_fd();
    }
    Ok(())
}

/// Gives the command a process group of its own, so that a signal to its whole group spares this process.
pub(crate) fn set_apart(command: &mut std::process::Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Kills the processes that have escaped their tracer.
pub(crate) fn end_escaped_processes() {
    tree::kill_children();
}

/// Lets the command decide what the terminal's signals do: this process goes on, and reports how the command ended.
pub(crate) fn leave_terminal_signals_to_command() {
    use signal_hook::consts::{SIGINT, SIGQUIT};
    for signal in [SIGINT, SIGQUIT] {
        if !is_ignored(signal) {
            // If it fails, the signal ends this process, as without the call.
            let _ = signal_hook::flag::register(signal, std::sync::Arc::default());
        }
    }
}

/// Handles the signals whose inherited or default action would harm: the kernel keeps no exit status of a child if SIGCHLD
/// is ignored, and SIGXFSZ kills.
pub(crate) fn reset_signals() {
    let signal = signal_hook::consts::SIGCHLD;
    if is_ignored(signal) {
        // If it fails, the library says why no child can be started.
        let _ = signal_hook::flag::register(signal, std::sync::Arc::default());
    }
    // A limit on file sizes is an error of the write, and kills no process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Returns whether this process has been started with this signal ignored. The command inherits that, unless this
/// process handles the signal.
fn is_ignored(signal: i32) -> bool {
    let page = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = page.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (signal - 1) & 1 == 1
}

/// The parts of advice, in `handover check`, that name the system's calls.
pub(crate) mod advice {
    pub(crate) const EVENTS: &str = "event, semaphore, pipe or socket";
    pub(crate) const SPAWN: &str =
        "start the child with fork and exec, posix_spawn, or your language's function for it";
    pub(crate) const CHILD_NOT_FOUND: &str = "check that the path of the child's program is right, and look at the error with which exec or posix_spawn returns";
    pub(crate) const MAKE_INHERITABLE: &str = "create it without EFD_CLOEXEC or O_CLOEXEC, or clear FD_CLOEXEC with fcntl(F_SETFD) before the child starts its program";
    pub(crate) const DUPLICATE: &str =
        "send the handle over a Unix socket (SCM_RIGHTS), or let the child take it with pidfd_getfd";
    pub(crate) const DONT_INHERIT: &str = "create the handle with EFD_CLOEXEC or O_CLOEXEC, so that the child gets it by the exercise's strategy alone";
    pub(crate) const WAIT: &str = "wait with a blocking read of the eventfd, or with poll and then read; check that the child reads the handle's number exactly as the parent writes it";
    pub(crate) const SIGNAL: &str =
        "after the child has been started, write the number 1 as eight bytes to the eventfd";
    pub(crate) const WAIT_FOR_CHILD: &str =
        "wait for the child with waitpid, or your language's function for it, and look at its status";
    pub(crate) const REPLACED: &str = "replaced by a socket";
    pub(crate) const CHECK_RESULTS: &str = "check the result of each call in the child, and the number of bytes of each read (poll also reports a closed descriptor, as POLLNVAL); exit with another code if one fails";
    pub(crate) const CLEAR_INHERIT: &str = "set FD_CLOEXEC";
    pub(crate) const ONE_SIGNAL: &str = "a read of an eventfd takes the signal away from the others; wait with poll alone, which leaves it, or close the \
         last writing end of a pipe";
    pub(crate) const LEAST_ACCESS: &str = "an eventfd can't be shared for waiting alone, because its descriptors can all be written; share the reading end of a \
         pipe, and close the writing end in the child";
    pub(crate) const MUTEX: &str = "put a pthread mutex that is shared between processes (PTHREAD_PROCESS_SHARED) into memory of memfd_create or \
         shm_open";
    pub(crate) const ABANDONED: &str = "make the mutex robust (PTHREAD_MUTEX_ROBUST), and exit with code 4 if the lock returns EOWNERDEAD; flock and fcntl \
         locks don't tell";
    pub(crate) const OWN_HANDLE_ONLY: &str = "create each handle with EFD_CLOEXEC or O_CLOEXEC, and clear FD_CLOEXEC in the new process alone, between fork and exec";
    pub(crate) const INHERIT: &str = "make the handle inheritable, and don't let the spawn close it";
    pub(crate) const NO_PSEUDO_HANDLE: &str =
        "give the child the parent's process id, for which it opens a process descriptor";
    /// Whether a parent can limit the time of its wait for a child. `waitpid` has no time limit.
    pub(crate) const PARENT_CAN_LIMIT_ITS_WAIT: bool = false;

    /// Returns nothing: a descriptor that is sent has the access of the original.
    pub(crate) fn excess_of(_: &handover::inspect::observe::Action) -> Option<&'static str> {
        None
    }
}

/// Whether a new process runs only after a call of its parent has returned.
pub(crate) const PARENT_STARTS_FIRST_THREAD: bool = false;

/// Whether the system opens handles in a new process that stay open, under the lowest free values.
pub(crate) const CLOSED_VALUES_ARE_REUSED: bool = false;

/// Returns false: a read at the end of a pipe succeeds with no bytes.
pub(crate) fn is_end_of_pipe(_: i32) -> bool {
    false
}

/// Returns the status of a process that has exited with a code.
#[cfg(test)]
pub(crate) fn exit_status(code: u8) -> ExitStatus {
    ExitStatusExt::from_raw(i32::from(code) << 8)
}

/// The system's name.
pub(crate) const SYSTEM: &str = "Linux";

/// Gives an event to a running child in a message that carries the file descriptor.
pub(crate) mod duplication {
    use handover::{Channel, Child, Command, Event, Message};

    use crate::exit::Stop;
    use crate::record::roles::{EVENT, TIMEOUT, channel_of};

    /// Gives the child a channel to the parent.
    pub(crate) fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.channel()
    }

    /// Sends the event, in the parent.
    pub(crate) fn give(event: &Event, child: &mut Child) -> Result<(), Stop> {
        Ok(channel_of(child)?.send(Message::default().with(EVENT, event))?)
    }

    /// Receives the event, in the child.
    pub(crate) fn receive() -> Result<Event, Stop> {
        Ok(Channel::parent()?.recv_timeout(TIMEOUT)?.take(EVENT)?)
    }
}

/// The commands that build and start the programs of `handover new`.
pub(crate) mod template {
    pub(crate) const BUILD_C: &str = "make";
    pub(crate) const BUILD_CPP: &str = "make";
    pub(crate) const PARENT_IN_C: &str = "./parent";
    pub(crate) const PARENT_IN_RUST: &str = "target/debug/parent";
    pub(crate) const PARENT_IN_PYTHON: &str = "python3 parent.py";
}

/// Returns whether a handle with these rights can only wait. A descriptor that can't be written can't signal.
pub(crate) fn can_only_wait(access: &str) -> bool {
    !access.split(", ").any(|right| right == "write")
}
