//! Which handles the processes of a program inherit, and which of them nobody has listed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inspect::{HandleEntry, Unavailable};

/// What each process of a program's tree has inherited, and which of it are leaks.
///
/// The program runs as it always does, except that it has a debugger: this process. Each process of its tree is stopped
/// before its first instruction, and the kernel is asked what it has inherited. Nothing is put into the program, and
/// nothing about it is guessed. A test of one's own program:
///
/// ```no_run
/// use std::time::Duration;
///
/// let audit = handover::inspect::Audit::new(std::process::Command::new("my-program")).run(Duration::from_secs(60))?;
/// assert!(audit.is_clean(), "{audit}");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The command itself counts too: what it inherits comes from this process.
///
#[doc = include_str!("../../docs/audit.md")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditReport {
    /// How the command has ended.
    pub status: ExitStatus,
    /// The processes in the order in which they were started. On Linux a process that starts another program in its own
    /// place stands here once more, and one that never starts a program doesn't.
    pub processes: Vec<AuditedProcess>,
}

/// A process that was about to begin with a program, and what it had by then.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditedProcess {
    /// Its id.
    pub id: u32,
    /// The id of the process whose child it is, as the system tells.
    pub parent: u32,
    /// The file of its program, as the system tells, or why it doesn't.
    pub program: Result<PathBuf, Unavailable>,
    /// What it has inherited, by value.
    pub handles: Vec<(HandleEntry, Origin)>,
    /// Why not all could be seen. What would be listed for all that is known then counts as leaked.
    pub incomplete: Option<Unavailable>,
}

/// By what right a handle is in a process that has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It is one of its standard streams; on Windows also its console.
    Stream,
    /// It is a second handle to what it has as a standard stream. On Windows, std's `Command` copies a stream for a child
    /// that shares it, and the child inherits the original too if that is inheritable, as an inherited one is. Not on Linux.
    DuplicateStream,
    /// Its parent has listed it under this name: with this crate's [`Command`](crate::Command), or on Linux as a service
    /// manager does (`LISTEN_FDS`).
    Listed(String),
    /// Nobody has said anything about it.
    Leaked,
}

impl AuditReport {
    /// The handles that nobody has listed, each with the process that has inherited it.
    pub fn leaks(&self) -> impl Iterator<Item = (&AuditedProcess, &HandleEntry)> {
        self.processes.iter().flat_map(|started| started.leaks().map(move |entry| (started, entry)))
    }

    /// Whether everything was seen, and no leak among it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leaks().next().is_none() && self.processes.iter().all(|started| started.incomplete.is_none())
    }
}

impl AuditedProcess {
    /// The handles that nobody has listed for it.
    pub fn leaks(&self) -> impl Iterator<Item = &HandleEntry> {
        self.handles.iter().filter(|(_, standing)| *standing == Origin::Leaked).map(|(entry, _)| entry)
    }
}

/// A command whose processes will be looked at.
#[must_use = "nothing is started before `run`"]
pub struct Audit<'a> {
    command: Command,
    watch: Box<Watch<'a>>,
}

/// What is called with each process.
pub(crate) type Watch<'a> = dyn FnMut(&AuditedProcess) + 'a;

/// Where the thread that looks shows what it has seen; it goes on when whoever watches has seen it too.
pub(crate) struct Show {
    show: Sender<AuditedProcess>,
    seen: Receiver<()>,
}

/// The other half: shows it to what watches, on the caller's thread, to the end of the one that looks.
pub(crate) struct Gallery {
    shown: Receiver<AuditedProcess>,
    seen: Sender<()>,
}

pub(crate) fn gallery() -> (Show, Gallery) {
    let ((show, shown), (say, seen)) = (channel(), channel());
    (Show { show, seen }, Gallery { shown, seen: say })
}

impl Show {
    /// Whether somebody watches still.
    pub(crate) fn show(&self, started: AuditedProcess) -> bool {
        self.show.send(started).is_ok() && self.seen.recv().is_ok()
    }
}

impl Gallery {
    pub(crate) fn watch(self, watch: &mut Watch<'_>) -> Vec<AuditedProcess> {
        let mut all = Vec::new();
        for started in &self.shown {
            watch(&started);
            all.push(started);
            // If nobody hears it, the loop ends by that.
            let _ = self.seen.send(());
        }
        all
    }
}

impl fmt::Debug for Audit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditing").field("command", &self.command).finish_non_exhaustive()
    }
}

impl<'a> Audit<'a> {
    /// Begins with a command, as std starts it.
    pub fn new(command: Command) -> Self {
        Self { command, watch: Box::new(|_| {}) }
    }

    /// Has this called for each process while it stands still before its first instruction. The whole tree waits for it.
    pub fn watch(mut self, watch: impl FnMut(&AuditedProcess) + 'a) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Starts the command, and returns when no process of its tree is left. Whatever comes in between, an error, the
    /// deadline, a panic of what watches or the end of this process: no process of the tree outlives it.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if processes were left at the deadline, which were ended then; [`Error::System`] if the command
    /// can't be started or the system doesn't let this process be its debugger; [`Error::InvalidInput`] for a command
    /// with a stream that is a pipe to this process, of which nobody would have the other end.
    #[doc(alias("DEBUG_PROCESS", "WaitForDebugEvent", "PTRACE_SEIZE"))]
    pub fn run(mut self, deadline: Duration) -> Result<AuditReport> {
        let until = Instant::now().checked_add(deadline);
        match super::imp::audit::run(self.command, until, &mut *self.watch)? {
            Some((status, started)) => Ok(AuditReport { status, processes: started }),
            None => Err(Error::TimedOut {
                waiting_for: "the end of the command and of all that it has started".into(),
                timeout: deadline,
            }),
        }
    }
}

/// What the system tells of a process that is about to begin.
pub(crate) struct Seen {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    pub(crate) program: Result<PathBuf, Unavailable>,
    pub(crate) inherited: Result<Vec<HandleEntry>, Unavailable>,
    pub(crate) streams: Result<Vec<HandleValue>, Unavailable>,
    /// What has the same object as a stream.
    pub(crate) twice: Vec<HandleValue>,
    pub(crate) listed: Result<Vec<(String, HandleValue)>, Unavailable>,
}

impl From<Seen> for AuditedProcess {
    fn from(seen: Seen) -> Self {
        let mut untold = None;
        let streams = known(seen.streams, &mut untold);
        let listed = known(seen.listed, &mut untold);
        let mut inherited = known(seen.inherited, &mut untold);
        inherited.sort_unstable_by_key(HandleEntry::value);
        let standing = |entry: &HandleEntry| {
            if streams.contains(&entry.value()) {
                return Origin::Stream;
            }
            if let Some((name, _)) = listed.iter().find(|(_, value)| *value == entry.value()) {
                return Origin::Listed(name.clone());
            }
            if seen.twice.contains(&entry.value()) { Origin::DuplicateStream } else { Origin::Leaked }
        };
        let handles = inherited.into_iter().map(|entry| (standing(&entry), entry));
        let handles = handles.map(|(standing, entry)| (entry, standing)).collect();
        Self { id: seen.id, parent: seen.parent, program: seen.program, handles, incomplete: untold }
    }
}

/// What is known of it, and the reason if it is nothing; the last reason is the one that hides most.
fn known<T>(told: Result<Vec<T>, Unavailable>, untold: &mut Option<Unavailable>) -> Vec<T> {
    told.unwrap_or_else(|why| {
        *untold = Some(why);
        Vec::new()
    })
}

impl fmt::Display for AuditReport {
    /// A line for each process, and under it one for each leak.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaks, started) = (self.leaks().count(), self.processes.len());
        write!(f, "{leaks} handle{} leaked into {started} process", if leaks == 1 { "" } else { "s" })?;
        f.write_str(if started == 1 { "" } else { "es" })?;
        self.processes.iter().try_for_each(|started| write!(f, "\n{started}"))
    }
}

impl fmt::Display for AuditedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id)?;
        if let Ok(program) = &self.program {
            write!(f, " ({})", program.display())?;
        }
        let count =
            |is: fn(&Origin) -> bool| self.handles.iter().filter(|(_, standing)| is(standing)).count();
        write!(
            f,
            ", child of {}: {} for its streams, {} listed, {} leaked",
            self.parent,
            count(|standing| matches!(standing, Origin::Stream | Origin::DuplicateStream)),
            count(|standing| matches!(standing, Origin::Listed(_))),
            count(|standing| *standing == Origin::Leaked)
        )?;
        if let Some(why) = &self.incomplete {
            write!(f, "\n  not all could be seen: {why}")?;
        }
        for leak in self.leaks() {
            write!(f, "\n  leaked: {:#x}, ", leak.value())?;
            match leak.kind() {
                Ok(kind) => write!(f, "{kind}")?,
                Err(why) => write!(f, "of a kind that isn't known: {why}")?,
            }
            if let Ok(Some(name)) = leak.name() {
                write!(f, ", {name}")?;
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

    fn untold(why: &str) -> Unavailable {
        Unavailable { why: why.into() }
    }

    fn seen() -> Seen {
        Seen {
            id: 8,
            parent: 4,
            program: Ok("program".into()),
            inherited: Ok([12, 8, 16].map(entry).to_vec()),
            streams: Ok(vec![value(8)]),
            twice: Vec::new(),
            listed: Ok(vec![("ready".into(), value(16)), ("gone".into(), value(20))]),
        }
    }

    #[test]
    fn each_handle_has_its_standing() {
        let started = AuditedProcess::from(seen());
        let standings: Vec<_> =
            started.handles.iter().map(|(entry, standing)| (entry.value().get(), standing.clone())).collect();
        let listed = Origin::Listed("ready".into());
        assert_eq!(standings, [(8, Origin::Stream), (12, Origin::Leaked), (16, listed)]);
        let audit = AuditReport { status: ExitStatus::default(), processes: vec![started] };
        assert!(!audit.is_clean());
        assert_eq!(
            audit.to_string(),
            "1 handle leaked into 1 process\n\
             process 8 (program), child of 4: 1 for its streams, 1 listed, 1 leaked\n  leaked: 0xc, an event"
        );
    }

    #[test]
    fn what_was_not_seen_is_not_clean() {
        let blind = AuditedProcess::from(Seen { inherited: Err(untold("no table")), ..seen() });
        assert_eq!((blind.handles.len(), blind.incomplete.clone()), (0, Some(untold("no table"))));
        let audit = AuditReport { status: ExitStatus::default(), processes: vec![blind] };
        assert_eq!((audit.leaks().count(), audit.is_clean()), (0, false));
        assert!(audit.to_string().contains("not all could be seen: no table"), "{audit}");
        let started = AuditedProcess::from(Seen { listed: Err(untold("no environment")), ..seen() });
        assert_eq!(started.leaks().count(), 2);
    }
}
