//! Which handles the processes of a program inherit, and which of them nobody has listed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::{Entry, Error, HandleValue, Result, Untold, os};

/// What each process of a program's tree has inherited, and which of it are leaks.
///
/// The program runs as it always does, except that it has a debugger: this process. Each process of its tree is stopped
/// before its first instruction, and the kernel is asked what it has inherited. Nothing is put into the program, and
/// nothing about it is guessed. A test of one's own program:
///
/// ```no_run
/// use std::time::Duration;
///
/// let audit = handover::Audit::of(std::process::Command::new("my-program")).run(Duration::from_secs(60))?;
/// assert!(audit.is_clean(), "{audit}");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The command itself counts too: what it inherits comes from this process.
///
#[doc = include_str!("../docs/audit.md")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Audit {
    /// How the command has ended.
    pub status: ExitStatus,
    /// The processes in the order in which they were started. On Linux a process that starts another program in its own
    /// place stands here once more, and one that never starts a program doesn't.
    pub started: Vec<Started>,
}

/// A process that was about to begin with a program, and what it had by then.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Started {
    /// Its id.
    pub id: u32,
    /// The id of the process whose child it is, as the system tells.
    pub parent: u32,
    /// The file of its program, as the system tells, or why it doesn't.
    pub program: Result<PathBuf, Untold>,
    /// What it has inherited, by value.
    pub arrived: Vec<(Entry, Standing)>,
    /// Why not all could be seen. What would be listed for all that is known then counts as leaked.
    pub untold: Option<Untold>,
}

/// By what right a handle is in a process that has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is one of its standard streams; on Windows also its console.
    Stream,
    /// It is a second handle to what it has as a standard stream. On Windows, std's `Command` copies a stream for a child
    /// that shares it, and the child inherits the original too if that is inheritable, as an inherited one is. Not on Linux.
    StreamTwice,
    /// Its parent has listed it under this name: with this crate's [`Command`](crate::Command), or on Linux as a service
    /// manager does (`LISTEN_FDS`).
    Listed(String),
    /// Nobody has said anything about it.
    Leaked,
}

impl Audit {
    /// Begins with a command, as std starts it.
    pub fn of<'a>(command: Command) -> Auditing<'a> {
        Auditing { command, watch: Box::new(|_| {}) }
    }

    /// The handles that nobody has listed, each with the process that has inherited it.
    pub fn leaks(&self) -> impl Iterator<Item = (&Started, &Entry)> {
        self.started.iter().flat_map(|started| started.leaks().map(move |entry| (started, entry)))
    }

    /// Whether everything was seen, and no leak among it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leaks().next().is_none() && self.started.iter().all(|started| started.untold.is_none())
    }
}

impl Started {
    /// The handles that nobody has listed for it.
    pub fn leaks(&self) -> impl Iterator<Item = &Entry> {
        self.arrived.iter().filter(|(_, standing)| *standing == Standing::Leaked).map(|(entry, _)| entry)
    }
}

/// A command whose processes will be looked at.
#[must_use = "nothing is started before `run`"]
pub struct Auditing<'a> {
    command: Command,
    watch: Box<Watch<'a>>,
}

/// What is called with each process.
pub(crate) type Watch<'a> = dyn FnMut(&Started) + 'a;

/// Where the thread that looks shows what it has seen; it goes on when whoever watches has seen it too.
pub(crate) struct Show {
    show: Sender<Started>,
    seen: Receiver<()>,
}

/// The other half: shows it to what watches, on the caller's thread, to the end of the one that looks.
pub(crate) struct Gallery {
    shown: Receiver<Started>,
    seen: Sender<()>,
}

pub(crate) fn gallery() -> (Show, Gallery) {
    let ((show, shown), (say, seen)) = (channel(), channel());
    (Show { show, seen }, Gallery { shown, seen: say })
}

impl Show {
    /// Whether somebody watches still.
    pub(crate) fn show(&self, started: Started) -> bool {
        self.show.send(started).is_ok() && self.seen.recv().is_ok()
    }
}

impl Gallery {
    pub(crate) fn watch(self, watch: &mut Watch<'_>) -> Vec<Started> {
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

impl fmt::Debug for Auditing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditing").field("command", &self.command).finish_non_exhaustive()
    }
}

impl<'a> Auditing<'a> {
    /// Has this called for each process while it stands still before its first instruction. The whole tree waits for it.
    pub fn watch(mut self, watch: impl FnMut(&Started) + 'a) -> Self {
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
    pub fn run(mut self, deadline: Duration) -> Result<Audit> {
        let until = Instant::now().checked_add(deadline);
        match os::audit::run(self.command, until, &mut *self.watch)? {
            Some((status, started)) => Ok(Audit { status, started }),
            None => Err(Error::TimedOut {
                what: "the end of the command and of all that it has started".into(),
                after: deadline,
            }),
        }
    }
}

/// What the system tells of a process that is about to begin.
pub(crate) struct Seen {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    pub(crate) program: Result<PathBuf, Untold>,
    pub(crate) inherited: Result<Vec<Entry>, Untold>,
    pub(crate) streams: Result<Vec<HandleValue>, Untold>,
    /// What has the same object as a stream.
    pub(crate) twice: Vec<HandleValue>,
    pub(crate) listed: Result<Vec<(String, HandleValue)>, Untold>,
}

impl From<Seen> for Started {
    fn from(seen: Seen) -> Self {
        let mut untold = None;
        let streams = known(seen.streams, &mut untold);
        let listed = known(seen.listed, &mut untold);
        let mut inherited = known(seen.inherited, &mut untold);
        inherited.sort_unstable_by_key(Entry::value);
        let standing = |entry: &Entry| {
            if streams.contains(&entry.value()) {
                return Standing::Stream;
            }
            if let Some((name, _)) = listed.iter().find(|(_, value)| *value == entry.value()) {
                return Standing::Listed(name.clone());
            }
            if seen.twice.contains(&entry.value()) { Standing::StreamTwice } else { Standing::Leaked }
        };
        let arrived = inherited.into_iter().map(|entry| (standing(&entry), entry));
        let arrived = arrived.map(|(standing, entry)| (entry, standing)).collect();
        Self { id: seen.id, parent: seen.parent, program: seen.program, arrived, untold }
    }
}

/// What is known of it, and the reason if it is nothing; the last reason is the one that hides most.
fn known<T>(told: Result<Vec<T>, Untold>, untold: &mut Option<Untold>) -> Vec<T> {
    told.unwrap_or_else(|why| {
        *untold = Some(why);
        Vec::new()
    })
}

impl fmt::Display for Audit {
    /// A line for each process, and under it one for each leak.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaks, started) = (self.leaks().count(), self.started.len());
        write!(f, "{leaks} handle{} leaked into {started} process", if leaks == 1 { "" } else { "s" })?;
        f.write_str(if started == 1 { "" } else { "es" })?;
        self.started.iter().try_for_each(|started| write!(f, "\n{started}"))
    }
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id)?;
        if let Ok(program) = &self.program {
            write!(f, " ({})", program.display())?;
        }
        let count =
            |is: fn(&Standing) -> bool| self.arrived.iter().filter(|(_, standing)| is(standing)).count();
        write!(
            f,
            ", child of {}: {} for its streams, {} listed, {} leaked",
            self.parent,
            count(|standing| matches!(standing, Standing::Stream | Standing::StreamTwice)),
            count(|standing| matches!(standing, Standing::Listed(_))),
            count(|standing| *standing == Standing::Leaked)
        )?;
        if let Some(why) = &self.untold {
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
    use crate::Kind;

    fn value(number: u64) -> HandleValue {
        HandleValue::try_from(number).expect("a value")
    }

    fn entry(number: u64) -> Entry {
        Entry {
            value: value(number),
            kind: Ok(Kind::Event),
            access: 0,
            inheritable: true,
            protected: false,
            name: Ok(None),
        }
    }

    fn untold(why: &str) -> Untold {
        Untold { why: why.into() }
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
        let started = Started::from(seen());
        let standings: Vec<_> =
            started.arrived.iter().map(|(entry, standing)| (entry.value().get(), standing.clone())).collect();
        let listed = Standing::Listed("ready".into());
        assert_eq!(standings, [(8, Standing::Stream), (12, Standing::Leaked), (16, listed)]);
        let audit = Audit { status: ExitStatus::default(), started: vec![started] };
        assert!(!audit.is_clean());
        assert_eq!(
            audit.to_string(),
            "1 handle leaked into 1 process\n\
             process 8 (program), child of 4: 1 for its streams, 1 listed, 1 leaked\n  leaked: 0xc, an event"
        );
    }

    #[test]
    fn what_was_not_seen_is_not_clean() {
        let blind = Started::from(Seen { inherited: Err(untold("no table")), ..seen() });
        assert_eq!((blind.arrived.len(), blind.untold.clone()), (0, Some(untold("no table"))));
        let audit = Audit { status: ExitStatus::default(), started: vec![blind] };
        assert_eq!((audit.leaks().count(), audit.is_clean()), (0, false));
        assert!(audit.to_string().contains("not all could be seen: no table"), "{audit}");
        let started = Started::from(Seen { listed: Err(untold("no environment")), ..seen() });
        assert_eq!(started.leaks().count(), 2);
    }
}
