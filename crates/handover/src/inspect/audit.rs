//! `Audit`: finds out which handles the processes of a program inherit, and which of them are leaks.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::handle::escaped::Escaped;
use crate::inherit::standard_streams;
use crate::inspect::{HandleEntry, HandleTable, Unavailable};
use crate::process::{self, Child, Process};
use crate::sys::handoff::{Receiver, Sender, handoff};
use crate::sys::io::OwnedHandle;
use crate::sys::read_whole::read_whole;
use crate::sys::temporary_file::temporary_file;

/// The result of an [`Audit`]: the handles that each process of a program's tree inherited, and which of them are
/// leaks.
///
/// The program runs as usual, except that this process debugs it. Each process of its tree is stopped before its first
/// instruction, and the kernel is asked for the handles that the process has inherited. No code is injected into the
/// program, and no result is guessed. Use it in a test of your own program:
///
/// ```no_run
/// use std::time::Duration;
///
/// let audit = handover::inspect::Audit::new(std::process::Command::new("my-program")).run(Duration::from_secs(60))?;
/// assert!(audit.is_clean(), "{audit}");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The report also covers the command itself, which inherits from this process.
///
#[doc = include_str!("../../docs/audit.md")]
#[derive(Clone)]
#[non_exhaustive]
pub struct AuditReport {
    /// The exit status of the command.
    pub status: ExitStatus,
    /// The processes, in the order in which they were started. On Linux, a process that replaces itself by another
    /// program (`execve`) is listed again, and one that never executes a program isn't listed.
    pub processes: Vec<AuditedProcess>,
    /// The bytes that the processes wrote to their standard output, with [`Audit::capture_output`]; otherwise empty.
    pub stdout: Vec<u8>,
    /// The bytes that the processes wrote to their standard error, with [`Audit::capture_output`]; otherwise empty.
    pub stderr: Vec<u8>,
}

impl fmt::Debug for AuditReport {
    /// Shows the number of bytes of the output instead of the bytes, because they may be long or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, processes, stdout, stderr } = self;
        f.debug_struct("AuditReport")
            .field("status", status)
            .field("processes", processes)
            .field("stdout", &stdout.len())
            .field("stderr", &stderr.len())
            .finish()
    }
}

/// A process that was about to start a program, and the handles that it had then.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditedProcess {
    /// The process id.
    pub id: u32,
    /// The id of the parent process, as the system reports it.
    pub parent: u32,
    /// The path of the program, as the system reports it, or the reason why it is unavailable.
    pub program: Result<PathBuf, Unavailable>,
    /// The inherited handles, sorted by value, each with its origin.
    pub handles: Vec<(HandleEntry, Origin)>,
    /// The reason why some information is missing. Then handles that the missing part would have explained count as
    /// leaked.
    pub incomplete: Option<Unavailable>,
}

/// The reason why a process has a handle at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It is one of the process's standard streams, or on Windows its console.
    Stream,
    /// It is a second handle to a standard stream; on Windows only. There std's `Command` passes the parent's own
    /// stream (`Stdio::inherit`) to the child as a duplicate. If the parent's handle is inheritable too, the child
    /// inherits both.
    DuplicateStream,
    /// The parent listed it under this name: with this crate's [`Command`](crate::Command), or on Linux as a service
    /// manager does (`LISTEN_FDS`).
    Listed(String),
    /// The auditing process itself had inherited it, and passes it on. Only with [`Audit::ignore_inherited`]; with
    /// [`Audit::capture_output`], also the auditing process's own standard streams.
    OfAuditor,
    /// It leaked: no list contains it.
    Leaked,
}

impl AuditReport {
    /// Returns the leaked handles, each with the process that inherited it.
    pub fn leaks(&self) -> impl Iterator<Item = (&AuditedProcess, &HandleEntry)> {
        self.processes.iter().flat_map(|process| process.leaks().map(move |entry| (process, entry)))
    }

    /// Returns whether the report is complete and contains no leak.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leaks().next().is_none() && self.processes.iter().all(|process| process.incomplete.is_none())
    }
}

impl AuditedProcess {
    /// Returns the handles that leaked into this process.
    pub fn leaks(&self) -> impl Iterator<Item = &HandleEntry> {
        self.handles.iter().filter(|(_, origin)| *origin == Origin::Leaked).map(|(entry, _)| entry)
    }
}

/// An audit: a command to start, with its whole process tree under observation.
///
/// Create it with [`Audit::new`], and start it with [`Audit::run`], which returns an [`AuditReport`].
///
/// A test that fails if a child inherits unlisted handles:
/// [`examples/audit_in_a_test.rs`](https://docs.rs/crate/handover/latest/source/examples/audit_in_a_test.rs).
#[must_use = "an audit starts nothing until it is run"]
pub struct Audit<'a> {
    command: AuditCommand<'a>,
    captures_output: bool,
    watch: Box<Watch<'a>>,
    ignores_inherited: bool,
}

/// The command of an [`Audit`]: one of std's or of this crate's.
pub struct AuditCommand<'a>(pub(crate) Program<'a>);

impl fmt::Debug for AuditCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Program::Std(command) => command.fmt(f),
            Program::Own(command) => command.fmt(f),
        }
    }
}

pub(crate) enum Program<'a> {
    Std(Command),
    Own(process::command::Command<'a>),
}

impl From<Command> for AuditCommand<'_> {
    fn from(command: Command) -> Self {
        Self(Program::Std(command))
    }
}

impl<'a> From<process::command::Command<'a>> for AuditCommand<'a> {
    fn from(command: process::command::Command<'a>) -> Self {
        Self(Program::Own(command))
    }
}

impl Program<'_> {
    pub(crate) fn name(&self) -> &OsStr {
        match self {
            Self::Std(command) => command.get_program(),
            Self::Own(command) => command.get_program(),
        }
    }

    /// Directs the standard output and the standard error into these files.
    fn write_to(&mut self, [stdout, stderr]: [File; 2]) {
        match self {
            Self::Std(command) => drop(command.stdout(stdout).stderr(stderr)),
            Self::Own(command) => drop(command.stdout(stdout).stderr(stderr)),
        }
    }
}

/// The callback that gets each process.
pub(crate) type Watch<'a> = dyn FnMut(&AuditedProcess) + 'a;

/// The observing thread's half. It reports each process and waits until the callback has seen it.
pub(crate) struct Reporter {
    processes: Sender<AuditedProcess>,
    seen: Receiver<()>,
    of_auditor: Vec<HandleEntry>,
}

/// The calling thread's half. It passes each process to the callback until the observing thread ends.
pub(crate) struct Watcher {
    processes: Receiver<AuditedProcess>,
    seen: Sender<()>,
}

/// Creates both halves. `of_auditor` are the handles of this process that don't count as leaks.
pub(crate) fn report_channel(of_auditor: Vec<HandleEntry>) -> (Reporter, Watcher) {
    let ((process_sender, processes), (seen_sender, seen)) = (handoff(), handoff());
    (Reporter { processes: process_sender, seen, of_auditor }, Watcher { processes, seen: seen_sender })
}

impl Reporter {
    /// Reports a process. Returns false if the calling thread no longer watches.
    pub(crate) fn report(&self, mut process: AuditedProcess) -> bool {
        for (entry, origin) in &mut process.handles {
            if *origin == Origin::Leaked && self.of_auditor.iter().any(|own| is_passed_on(own, entry)) {
                *origin = Origin::OfAuditor;
            }
        }
        self.processes.send(process).is_ok() && self.seen.recv().is_some()
    }
}

/// Returns whether a handle of another process can be the one that this process has passed on. An inherited handle keeps
/// its value.
fn is_passed_on(own: &HandleEntry, other: &HandleEntry) -> bool {
    own.value == other.value && own.kind == other.kind && own.name == other.name
}

impl Watcher {
    pub(crate) fn watch(self, watch: &mut Watch<'_>) -> Vec<AuditedProcess> {
        let mut all = Vec::new();
        while let Some(process) = self.processes.recv() {
            watch(&process);
            all.push(process);
            // If this fails, the observing thread has ended, and the next iteration ends the loop.
            let _ = self.seen.send(());
        }
        all
    }
}

impl fmt::Debug for Audit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("command", &self.command).finish_non_exhaustive()
    }
}

impl<'a> Audit<'a> {
    /// Creates an audit of a command: a [`std::process::Command`], or this crate's [`Command`](crate::Command), each
    /// started in its own way.
    pub fn new(command: impl Into<AuditCommand<'a>>) -> Self {
        Self {
            command: command.into(),
            captures_output: false,
            watch: Box::new(|_| {}),
            ignores_inherited: false,
        }
    }

    /// Collects what the command's processes write to their standard output and standard error, in
    /// [`AuditReport::stdout`] and [`AuditReport::stderr`]. The streams are files, so no process waits for a reader.
    pub fn capture_output(mut self) -> Self {
        self.captures_output = true;
        self
    }

    /// Sets a callback that is called with each process while it is stopped before its first instruction. The whole
    /// tree waits for it.
    pub fn watch(mut self, watch: impl FnMut(&AuditedProcess) + 'a) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Sets that inheritable handles of this process don't count as leaks ([`Origin::OfAuditor`]). A test runner or a shell
    /// may have leaked them into this process, and the audited program can't help that.
    pub fn ignore_inherited(mut self) -> Self {
        self.ignores_inherited = true;
        self
    }

    /// Starts the command, and waits until all processes of its tree have exited, for at most `timeout`.
    ///
    /// No process of the tree outlives this call. On an error, at the timeout, if the callback panics, or if this
    /// process exits, the remaining processes are killed.
    ///
    /// On Windows this process is the debugger
    /// ([`DEBUG_PROCESS`](https://learn.microsoft.com/en-us/windows/win32/procthread/process-creation-flags)), on Linux
    /// the tracer ([`ptrace`](https://man7.org/linux/man-pages/man2/ptrace.2.html)).
    ///
    /// # Errors
    ///
    /// - [`Error::TimedOut`] if processes were still running at the timeout. They have been killed.
    /// - [`Error::System`] if the command can't be started, or the system doesn't let this process debug it.
    /// - [`Error::InvalidInput`] if one of the command's streams is a pipe to this process, which would never read or
    ///   write it, or if the command has a channel; on Windows also if this is a 32-bit program and a process of the tree is
    ///   a 64-bit one.
    #[doc(alias("DEBUG_PROCESS", "WaitForDebugEvent", "PTRACE_SEIZE"))]
    pub fn run(mut self, timeout: Duration) -> Result<AuditReport> {
        let until = Instant::now().checked_add(timeout);
        let of_auditor = match (self.ignores_inherited, self.captures_output) {
            (true, _) => inheritable()?,
            // On Windows std passes on this process's own streams although the command has others, if they are inheritable.
            (false, true) if matches!(self.command.0, Program::Std(_)) => own_streams()?,
            (false, _) => Vec::new(),
        };
        let mut program = self.command.0;
        if matches!(&program, Program::Own(command) if !command.attachments.is_empty()) {
            return Err(Error::invalid(
                format!("the program {:?}", program.name()),
                "has a channel to this process, but an audit doesn't use it; remove it from the command",
            ));
        }
        let failed = |error| Error::system("the file for the command's output", error);
        let output = if self.captures_output {
            let file = || temporary_file().map_err(failed);
            let [(stdout, to_stdout), (stderr, to_stderr)] = [file()?, file()?];
            program.write_to([to_stdout, to_stderr].map(|file| OwnedHandle::from(file).into()));
            Some([stdout, stderr])
        } else {
            None
        };
        match super::imp::audit::run(program, until, &mut *self.watch, of_auditor)? {
            Some((status, processes)) => {
                let [stdout, stderr] = match output.map(|files| files.map(read_whole)) {
                    Some([stdout, stderr]) => [stdout.map_err(failed)?, stderr.map_err(failed)?],
                    None => Default::default(),
                };
                Ok(AuditReport { status, processes, stdout, stderr })
            }
            None => Err(Error::TimedOut {
                waiting_for:
                    "the command and all of its descendants to exit; those that were left have been killed"
                        .into(),
                timeout,
            }),
        }
    }
}

/// Closes this process's ends of the child's piped streams, and returns whether there were any.
pub(crate) fn close_pipes(child: &mut Child) -> bool {
    let [input, output, error] =
        [child.stdin.take().is_some(), child.stdout.take().is_some(), child.stderr.take().is_some()];
    input || output || error
}

pub(crate) fn piped(context: String) -> Error {
    Error::invalid(
        context,
        "has a pipe to this process as a standard stream, but an audit doesn't use such pipes; use Audit::capture_output, Stdio::null() or a file",
    )
}

/// Returns those of this process's standard streams that are inheritable.
fn own_streams() -> Result<Vec<HandleEntry>> {
    let streams = standard_streams()?;
    Ok(inheritable()?.into_iter().filter(|entry| streams.contains(&entry.value)).collect())
}

/// Returns the inheritable handles of this process.
fn inheritable() -> Result<Vec<HandleEntry>> {
    let table = HandleTable::of(&Process::open_for_query(std::process::id())?)?;
    Ok(table.entries().iter().filter(|entry| entry.inheritable).cloned().collect())
}

/// The information that the system has about a process that is about to start.
pub(crate) struct ProcessSnapshot {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    pub(crate) program: Result<PathBuf, Unavailable>,
    pub(crate) inherited: Result<Vec<HandleEntry>, Unavailable>,
    pub(crate) streams: Result<Vec<HandleValue>, Unavailable>,
    /// The handles that refer to the same object as one of the streams.
    pub(crate) duplicate_streams: Vec<HandleValue>,
    pub(crate) listed: Result<Vec<(String, HandleValue)>, Unavailable>,
}

impl From<ProcessSnapshot> for AuditedProcess {
    fn from(snapshot: ProcessSnapshot) -> Self {
        let mut incomplete = None;
        let streams = list_or_incomplete(snapshot.streams, &mut incomplete);
        let listed = list_or_incomplete(snapshot.listed, &mut incomplete);
        let mut inherited = list_or_incomplete(snapshot.inherited, &mut incomplete);
        inherited.sort_unstable_by_key(HandleEntry::value);
        let origin = |entry: &HandleEntry| {
            if streams.contains(&entry.value()) {
                return Origin::Stream;
            }
            if let Some((name, _)) = listed.iter().find(|(_, value)| *value == entry.value()) {
                return Origin::Listed(name.clone());
            }
            if snapshot.duplicate_streams.contains(&entry.value()) {
                Origin::DuplicateStream
            } else {
                Origin::Leaked
            }
        };
        let handles = inherited.into_iter().map(|entry| (origin(&entry), entry));
        let handles = handles.map(|(origin, entry)| (entry, origin)).collect();
        Self { id: snapshot.id, parent: snapshot.parent, program: snapshot.program, handles, incomplete }
    }
}

/// Returns the list, or an empty one if it is unavailable, and then stores the reason in `incomplete`. A later reason
/// replaces an earlier one, so the callers begin with the least important list.
fn list_or_incomplete<T>(list: Result<Vec<T>, Unavailable>, incomplete: &mut Option<Unavailable>) -> Vec<T> {
    list.unwrap_or_else(|reason| {
        *incomplete = Some(reason);
        Vec::new()
    })
}

impl fmt::Display for AuditReport {
    /// Writes a line for each process, and below it a line for each leak.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaks, processes) = (self.leaks().count(), self.processes.len());
        write!(f, "{leaks} handle{} leaked into {processes} process", if leaks == 1 { "" } else { "s" })?;
        f.write_str(if processes == 1 { "" } else { "es" })?;
        self.processes.iter().try_for_each(|process| write!(f, "\n{process}"))
    }
}

impl fmt::Display for AuditedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id)?;
        if let Ok(program) = &self.program {
            write!(f, " ({})", Escaped(program.display()))?;
        }
        let count = |is: fn(&Origin) -> bool| self.handles.iter().filter(|(_, origin)| is(origin)).count();
        write!(
            f,
            ", child of {}: {} for its streams, {} listed, {} leaked",
            self.parent,
            count(|origin| matches!(origin, Origin::Stream | Origin::DuplicateStream)),
            count(|origin| matches!(origin, Origin::Listed(_))),
            count(|origin| *origin == Origin::Leaked)
        )?;
        match count(|origin| *origin == Origin::OfAuditor) {
            0 => {}
            count => write!(f, ", {count} that the auditing process had inherited itself")?,
        }
        if let Some(reason) = &self.incomplete {
            write!(f, "\n  incomplete: {}", Escaped(reason))?;
        }
        for leak in self.leaks() {
            write!(f, "\n  leaked: {:#x}, ", leak.value())?;
            match leak.kind() {
                Ok(kind) => write!(f, "{kind}")?,
                Err(reason) => write!(f, "of an unknown kind ({reason})")?,
            }
            if let Ok(Some(name)) = leak.name() {
                write!(f, ", {}", Escaped(name))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::ObjectKind;

    fn value(number: u64) -> HandleValue {
        HandleValue::try_from(number).expect("a value")
    }

    fn entry(number: u64) -> HandleEntry {
        HandleEntry {
            value: value(number),
            kind: Ok(ObjectKind::Event),
            access: 0,
            inheritable: true,
            protected: false,
            name: Ok(None),
        }
    }

    fn report(processes: Vec<AuditedProcess>) -> AuditReport {
        AuditReport { status: ExitStatus::default(), processes, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn incomplete(reason: &str) -> Unavailable {
        Unavailable { reason: reason.into() }
    }

    fn snapshot() -> ProcessSnapshot {
        ProcessSnapshot {
            id: 8,
            parent: 4,
            program: Ok("program".into()),
            inherited: Ok([12, 8, 16].map(entry).to_vec()),
            streams: Ok(vec![value(8)]),
            duplicate_streams: Vec::new(),
            listed: Ok(vec![("ready".into(), value(16)), ("gone".into(), value(20))]),
        }
    }

    #[test]
    fn each_handle_gets_its_origin() {
        let process = AuditedProcess::from(snapshot());
        let origins: Vec<_> =
            process.handles.iter().map(|(entry, origin)| (entry.value().get(), origin.clone())).collect();
        let listed = Origin::Listed("ready".into());
        assert_eq!(origins, [(8, Origin::Stream), (12, Origin::Leaked), (16, listed)]);
        let audit = report(vec![process]);
        assert!(!audit.is_clean());
        assert_eq!(
            audit.to_string(),
            "1 handle leaked into 1 process\n\
             process 8 (program), child of 4: 1 for its streams, 1 listed, 1 leaked\n  leaked: 0xc, an event"
        );
    }

    #[test]
    fn incomplete_report_is_not_clean() {
        let blind =
            AuditedProcess::from(ProcessSnapshot { inherited: Err(incomplete("no table")), ..snapshot() });
        assert_eq!((blind.handles.len(), blind.incomplete.clone()), (0, Some(incomplete("no table"))));
        let audit = report(vec![blind]);
        assert_eq!((audit.leaks().count(), audit.is_clean()), (0, false));
        assert!(audit.to_string().contains("incomplete: no table"), "{audit}");
        let process =
            AuditedProcess::from(ProcessSnapshot { listed: Err(incomplete("no environment")), ..snapshot() });
        assert_eq!(process.leaks().count(), 2);
    }
}
