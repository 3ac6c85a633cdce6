//! Runs a pair once and records it, with one intervention at most.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handover::inspect::HandleTable;
use handover::inspect::observe::{Action, Change, Event, Kind, Next, Outcome, Session, Step};
use handover::{HandleValue, ObjectKind, Process};

use super::record::{Breakage, Broken, Ending, Hold, Kernel, Objects, Record, Row, is_wait};
use super::roles::{EventKey, SignalBy, is_the_signal};

/// The checker's intervention in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// Nothing: it only records.
    Watch,
    /// Holds the parent at its signal.
    Hold { event: EventKey, by: SignalBy },
    /// Breaks something once the child has a handle to the event. A parent that is to be killed is held at its signal, if
    /// it gets there before.
    Break { event: EventKey, moment: Moment, breakage: Breakage, by: Option<SignalBy> },
}

/// The moment at which something is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the first instruction of the program that has inherited the handle, after `after` programs of the same
    /// process that had it too.
    FirstInstruction { after: usize },
    /// When a call of the child has opened the handle.
    Opened,
    /// When the creator of the object begins to wait for it, after this number of earlier waits.
    CreatorWaits { after: usize },
}

/// How long the parent is held after the child has begun to wait.
const HOLD: Duration = Duration::from_secs(1);
/// How long the parent is held if the child doesn't wait.
const LONGEST_HOLD: Duration = Duration::from_secs(4);
/// How long a thread gets to make its next system call.
const NEXT_CALL: Duration = Duration::from_secs(5);
/// The most steps that are recorded, so that a pair that never waits doesn't use up the memory.
const MAX_STEPS: usize = 500_000;

struct Live<'a>(&'a Session);

impl Kernel for Live<'_> {
    fn table(&self, process: u32) -> Vec<Row> {
        let table = Process::open_for_query(process).and_then(|process| HandleTable::of(&process));
        let Ok(table) = table else { return Vec::new() };
        let streams = self.0.streams(process);
        let row = |entry: &handover::inspect::HandleEntry| Row {
            value: entry.value(),
            kind: entry.kind().map_or("?", ObjectKind::name).to_owned(),
            access: entry.rights(),
            inheritable: entry.is_inheritable(),
            is_stream: streams.contains(&entry.value()),
            name: entry.name().ok().flatten().map(str::to_owned),
            object: None,
        };
        table.entries().iter().map(row).collect()
    }

    fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> bool {
        self.0.is_same(one, other).ok().flatten().unwrap_or_default()
    }

    fn environment(&self, process: u32) -> Option<String> {
        self.0.environment(process)
    }
}

/// The parent while it is held.
struct Holding {
    thread: u32,
    step: usize,
    since: Instant,
    until: Instant,
    /// The process that waits for the event, since when, and its time limit.
    waits: Option<(u32, Instant, Option<Duration>)>,
}

/// Runs the command, and records it until all processes have exited or the time limit passes.
///
/// The pair's output goes to standard error if it is to be shown. Standard output has the result alone.
pub(crate) fn watch(
    command: &[OsString],
    plan: Plan,
    timeout: Duration,
    shows_output: bool,
) -> handover::Result<Record> {
    let began = Instant::now();
    let deadline = began + timeout;
    let mut builder = Command::new(&command[0]);
    builder.args(&command[1..]);
    let output = || if shows_output { Stdio::from(std::io::stderr()) } else { Stdio::null() };
    builder.stdin(Stdio::null()).stdout(output()).stderr(output());
    crate::os::set_apart(&mut builder);
    let mut run = Run {
        session: Session::start(builder, deadline)?,
        plan,
        objects: Objects::default(),
        record: Record {
            steps: Vec::new(),
            objects: Vec::new(),
            hold: None,
            broken: None,
            ending: Ending::AllExited,
            time: Duration::ZERO,
        },
        timeout,
        living: BTreeSet::new(),
        processes: Vec::new(),
        others_live: false,
        holding: None,
        paused: None,
        closed: 0,
        kills_at: None,
        programs: 0,
        waits: 0,
    };
    loop {
        let is_held = run.holding.is_some() || run.paused.is_some();
        let pause = is_held.then(|| Instant::now() + Duration::from_millis(10));
        match run.session.next(pause.map_or(deadline, |pause| pause.min(deadline)))? {
            Next::Event(event) => run.take(event)?,
            Next::AllExited => break,
            Next::TimedOut => run.end_pause()?,
        }
        run.end_hold()?;
        if Instant::now() >= deadline {
            run.record.ending = Ending::TimedOut;
            break;
        }
        if run.record.steps.len() >= MAX_STEPS {
            run.record.ending = Ending::TooManyCalls;
            break;
        }
    }
    let record = run.finish(began.elapsed());
    crate::os::end_escaped_processes();
    Ok(record)
}

/// A call of the child at which its parent is killed, because the child couldn't run without it before.
#[derive(Debug, Clone, Copy)]
enum KillsAt {
    FirstCall,
    /// The first call on the event, whose handle another process has put into the child.
    FirstUse,
}

struct Run {
    session: Session,
    plan: Plan,
    objects: Objects,
    record: Record,
    timeout: Duration,
    /// The processes that haven't exited.
    living: BTreeSet<u32>,
    /// All processes, in the order of their first steps.
    processes: Vec<u32>,
    /// Whether one of them isn't the parent.
    others_live: bool,
    holding: Option<Holding>,
    /// The parent's thread after it has started a process, and until when it is held there.
    paused: Option<(u32, Instant)>,
    /// How many handles of the event the parent has begun to close.
    closed: usize,
    /// The call of the child at which the parent is to be killed, once the child has the handle.
    kills_at: Option<KillsAt>,
    /// How many programs have begun with a handle to the event, in the child.
    programs: usize,
    /// How often the creator of the object has begun to wait for it.
    waits: usize,
}

impl Run {
    /// Ends the session, which kills the processes that are left, and returns the recording.
    fn finish(self, time: Duration) -> Record {
        let Self { objects, record, .. } = self;
        Record { objects: objects.all, time, ..record }
    }

    fn take(&mut self, event: Event) -> handover::Result<()> {
        let recorded = self.objects.record(event, &Live(&self.session));
        match recorded.event.step {
            Step::Started { .. } | Step::Forked { .. } => self.living.insert(recorded.event.process),
            Step::Exited { .. } => self.living.remove(&recorded.event.process),
            _ => false,
        };
        if !self.processes.contains(&recorded.event.process) {
            self.processes.push(recorded.event.process);
        }
        self.record.steps.push(recorded);
        let parent = self.record.parent();
        self.others_live = self.living.iter().any(|process| Some(*process) != parent);
        self.pause_for_semaphore()?;
        match self.plan {
            Plan::Watch => Ok(()),
            Plan::Hold { event, by } => {
                self.hold_at_signal(event, by);
                Ok(())
            }
            Plan::Break { event, moment, breakage, by } if self.record.broken.is_none() => {
                if let Some(by) = by.filter(|_| breakage == Breakage::ParentKilled)
                    && self.reaches_signal(event, by)
                {
                    self.session.hold();
                }
                self.break_at(event, moment, breakage)
            }
            Plan::Break { event, breakage: Breakage::Handle(Change::Close), .. }
                if crate::os::CLOSED_VALUES_ARE_REUSED =>
            {
                self.close_again(event)
            }
            Plan::Break { .. } => Ok(()),
        }
    }

    /// Closes the handle once more when the child is about to use it, because the system itself may have opened another one
    /// of that value in the child meanwhile.
    fn close_again(&mut self, key: EventKey) -> handover::Result<()> {
        let (Some(step), Some(broken)) = (self.record.steps.last(), &self.record.broken) else {
            return Ok(());
        };
        let Some(object) = key.find(&self.objects.all, &self.processes) else { return Ok(()) };
        let is_use = step.calls().is_some() && step.event.process == broken.process;
        let used: Vec<HandleValue> = broken
            .handles
            .iter()
            .copied()
            .filter(|value| step.objects.contains(&((*value).into(), object)))
            .collect();
        if is_use {
            let process = broken.process;
            self.change(process, &used, Change::Close)?;
        }
        Ok(())
    }

    /// Holds the parent after it has started a process, until that process waits for a semaphore. A semaphore for which no
    /// process waits is signaled without any call, and nothing would show the signal.
    fn pause_for_semaphore(&mut self) -> handover::Result<()> {
        let Some(step) = self.record.steps.last() else { return Ok(()) };
        let is_semaphore = |object: usize| self.objects.all[object].kind == Kind::Semaphore;
        let is_wait = step.calls().is_some_and(|call| is_wait(&call.action))
            && step.objects.iter().any(|(_, object)| is_semaphore(*object));
        match (&step.event.step, self.paused) {
            (Step::Forked { parent }, None) if Some(*parent) == self.record.parent() => {
                if (0..self.objects.all.len()).any(is_semaphore) {
                    self.paused =
                        Some((step.event.thread, Instant::now() + LONGEST_HOLD.min(self.timeout / 4)));
                    self.session.hold();
                }
                Ok(())
            }
            (_, Some((thread, until))) if is_wait || !self.others_live || Instant::now() >= until => {
                self.paused = None;
                self.session.release(thread)
            }
            _ => Ok(()),
        }
    }

    fn hold_at_signal(&mut self, key: EventKey, by: SignalBy) {
        let Some(object) = key.find(&self.objects.all, &self.processes) else { return };
        let index = self.record.steps.len() - 1;
        let step = &self.record.steps[index];
        let (process, thread) = (step.event.process, step.event.thread);
        if let Some(holding) = &mut self.holding {
            match &step.event.step {
                // The child gets the time that it would sleep anyway.
                Step::Calls(call) => match &call.action {
                    Action::Sleep { time } => {
                        holding.until = holding.until.max(Instant::now() + *time + HOLD);
                    }
                    action if is_wait(action) && step.is_about(object) && holding.waits.is_none() => {
                        let timeout = match action {
                            Action::Wait { timeout, .. } => *timeout,
                            _ => None,
                        };
                        holding.waits = Some((process, Instant::now(), timeout));
                    }
                    _ => {}
                },
                Step::Exited { .. } if holding.waits.is_some_and(|(waits, ..)| waits == process) => {
                    holding.waits = None;
                    holding.until = Instant::now();
                }
                // Nothing is left that the hold could show.
                Step::Exited { .. } if !self.others_live => holding.until = Instant::now(),
                _ => {}
            }
            return;
        }
        if self.record.hold.is_some() || !self.reaches_signal(key, by) {
            return;
        }
        let waits = self.waiting_for(object, process);
        self.session.hold();
        let since = Instant::now();
        let longest = if self.others_live { LONGEST_HOLD.min(self.timeout / 2) } else { Duration::ZERO };
        self.holding = Some(Holding { thread, step: index, since, until: since + longest, waits });
    }

    /// Returns whether the last step is the parent's signal.
    fn reaches_signal(&mut self, key: EventKey, by: SignalBy) -> bool {
        let Some(parent) = self.processes.get(key.creator).copied() else { return false };
        let Some(step) = self.record.steps.last() else { return false };
        let Some(object) = key.find(&self.objects.all, &self.processes) else { return false };
        let Some(call) = step.calls() else { return false };
        if !step.is_about(object) || step.event.process != parent {
            return false;
        }
        let closed = self.closed;
        self.closed += usize::from(matches!(call.action, Action::Close { .. }));
        is_the_signal(by, step, object, closed)
    }

    /// Returns the process that is in a wait for the object now.
    fn waiting_for(&self, object: usize, but: u32) -> Option<(u32, Instant, Option<Duration>)> {
        let mut last = std::collections::BTreeMap::new();
        for step in &self.record.steps {
            last.insert(step.event.thread, step);
        }
        let step =
            last.into_values().find(|step| step.event.process != but && step.begins_wait_for(object))?;
        let timeout = match step.calls().map(|call| &call.action) {
            Some(Action::Wait { timeout, .. }) => *timeout,
            _ => None,
        };
        Some((step.event.process, Instant::now(), timeout))
    }

    fn end_pause(&mut self) -> handover::Result<()> {
        match self.paused.take_if(|(_, until)| Instant::now() >= *until) {
            Some((thread, _)) => self.session.release(thread),
            None => Ok(()),
        }
    }

    /// Lets the parent go on when it has been held for long enough.
    fn end_hold(&mut self) -> handover::Result<()> {
        let Some(holding) = &self.holding else { return Ok(()) };
        let now = Instant::now();
        // A child with a short time limit must not reach it because of the hold.
        let is_long_enough = holding.waits.is_some_and(|(_, since, timeout)| {
            let time =
                timeout.filter(|timeout| !timeout.is_zero()).map_or(HOLD, |timeout| HOLD.min(timeout / 2));
            now.duration_since(since) >= time
        });
        if !is_long_enough && now < holding.until {
            return Ok(());
        }
        let (thread, step, time) = (holding.thread, holding.step, now.duration_since(holding.since));
        self.record.hold = Some(Hold { step, time, end: self.record.steps.len() });
        self.holding = None;
        self.session.release(thread)
    }

    fn break_at(&mut self, key: EventKey, moment: Moment, breakage: Breakage) -> handover::Result<()> {
        let Some(parent) = self.processes.get(key.creator).copied() else { return Ok(()) };
        let Some(object) = key.find(&self.objects.all, &self.processes) else { return Ok(()) };
        let Some(step) = self.record.steps.last() else { return Ok(()) };
        let process = step.event.process;
        if let Moment::CreatorWaits { after } = moment {
            if process == parent && step.begins_wait_for(object) {
                let before = self.waits;
                self.waits += 1;
                if let Some(owner) = self.objects.holder(object, parent).filter(|_| before == after) {
                    self.session.kill(owner);
                    self.record.broken =
                        Some(Broken { breakage, process: owner, handles: Vec::new(), done: Some(true) });
                }
            }
            return Ok(());
        }
        // A handle that the parent puts into the child is changed there.
        let process = step.given_to().unwrap_or(process);
        if process == parent {
            return Ok(());
        }
        let handles = self.objects.handles(process, object);
        let is_now = match (&step.event.step, moment) {
            (Step::Started { .. }, Moment::FirstInstruction { after }) => {
                let had_before = self.programs;
                self.programs += usize::from(!handles.is_empty());
                let is_now = !handles.is_empty() && had_before == after;
                if is_now && breakage == Breakage::ParentKilled && crate::os::PARENT_STARTS_FIRST_THREAD {
                    self.kills_at = Some(KillsAt::FirstCall);
                    return Ok(());
                }
                is_now
            }
            // The child doesn't know yet that it has the handle.
            (Step::Returned(..), Moment::Opened)
                if breakage == Breakage::ParentKilled && step.given_to().is_some() =>
            {
                self.kills_at = Some(KillsAt::FirstUse);
                return Ok(());
            }
            (Step::Calls(_), _) => match self.kills_at {
                Some(KillsAt::FirstCall) => true,
                Some(KillsAt::FirstUse) => step.is_about(object),
                None => false,
            },
            (Step::Returned(call, Outcome::Opened(opened)), Moment::Opened) => {
                !matches!(call.action, Action::Create { .. })
                    && opened.iter().any(|value| handles.contains(value))
            }
            (Step::Returned(_, Outcome::Mapped(_)), Moment::Opened) => {
                breakage == Breakage::ParentKilled && step.is_about(object)
            }
            _ => false,
        };
        if !is_now {
            return Ok(());
        }
        let done = match breakage {
            Breakage::ParentKilled | Breakage::OwnerKilled => {
                self.session.kill(parent);
                Some(true)
            }
            Breakage::Handle(change) => self.change(process, &handles, change)?,
        };
        self.record.broken = Some(Broken { breakage, process, handles, done });
        Ok(())
    }

    fn change(
        &mut self,
        process: u32,
        handles: &[HandleValue],
        change: Change,
    ) -> handover::Result<Option<bool>> {
        let mut done = Some(true);
        for value in handles {
            let changed = self.session.change(process, *value, change, Instant::now() + NEXT_CALL)?;
            done = done.zip(changed).map(|(before, now)| before && now);
        }
        Ok(done)
    }
}
