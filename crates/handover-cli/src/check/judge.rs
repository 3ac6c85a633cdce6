//! Judges a pair by the recordings of its runs. Each requirement is a function of the recordings alone.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::time::Duration;

use clap::ValueEnum;
use handover::inspect::observe::{Action, Change, Kind, Outcome, Step, Target};

use super::evidence::{count, evidence, kind_name, list, milliseconds, object_name, wait_function};
use super::record::{Breakage, Ending, ObjectId, Record, Recorded, is_wait};
use super::roles::{Roles, SignalBy, roles, signal};

/// How the child is to get its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// The child inherits the handle of an unnamed event
    Inheritance,
    /// The handle of an unnamed event is duplicated into the running child
    Duplication,
    /// The child opens the event by its name
    Naming,
}

/// Whether a requirement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// It can't be judged, usually because an earlier one fails.
    Open,
}

/// The verdict on one requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The name of the requirement in JSON.
    pub(crate) id: &'static str,
    pub(crate) requirement: &'static str,
    pub(crate) verdict: Verdict,
    /// The calls and the rows of handle tables that show it.
    pub(crate) evidence: Vec<String>,
    pub(crate) why: Option<String>,
    pub(crate) advice: Option<&'static str>,
}

/// A remark on something that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) id: &'static str,
    pub(crate) text: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) findings: Vec<Finding>,
    pub(crate) remarks: Vec<Remark>,
}

/// The recordings of a pair.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    pub(crate) strategy: Strategy,
    /// The run without any intervention.
    pub(crate) watched: Record,
    /// The run in which the parent was held at its signal, if it signals.
    pub(crate) held: Option<Record>,
    /// The runs in which something was broken, if the child gets a handle.
    pub(crate) broken: Vec<(Breakage, Record)>,
    pub(crate) timeout: Duration,
}

/// The outcome of one requirement, before it gets its name.
struct Ruling {
    verdict: Verdict,
    evidence: Vec<String>,
    why: Option<String>,
    advice: Option<&'static str>,
}

impl Ruling {
    fn holds(evidence: Vec<String>) -> Self {
        Self { verdict: Verdict::Holds, evidence, why: None, advice: None }
    }

    fn fails(evidence: Vec<String>, why: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Fails, evidence, why: Some(why.into()), advice: Some(advice) }
    }

    fn open(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Open, evidence: Vec::new(), why: Some(why.into()), advice: None }
    }
}

/// One run with its roles.
struct Case<'a> {
    strategy: Strategy,
    record: &'a Record,
    roles: &'a Roles,
}

/// Judges the runs.
pub(crate) fn judge(runs: &Runs) -> Judgement {
    let record = runs.held.as_ref().unwrap_or(&runs.watched);
    let Some(roles) = roles(record) else {
        return Judgement { findings: Vec::new(), remarks: Vec::new() };
    };
    let case = Case { strategy: runs.strategy, record, roles: &roles };
    let mut findings: Vec<Finding> = Vec::new();
    let mut add = |id, requirement, ruling: Ruling| {
        let Ruling { verdict, evidence, why, advice } = ruling;
        findings.push(Finding { id, requirement, verdict, evidence, why, advice });
        verdict == Verdict::Holds
    };
    let naming = runs.strategy == Strategy::Naming;
    let has_event = add(
        "creates-event",
        if naming { "The parent creates a named event" } else { "The parent creates an unnamed event" },
        case.creates_event(),
    );
    let has_child = add("starts-child", "The parent starts a child", case.starts_child());
    let not_judged = |why: &str| Ruling::open(format!("not judged, because {why}"));
    let without_event = || not_judged("there is no such event");
    let without_child = || not_judged("there is no child");
    let has_both = has_event && has_child;
    let first = || if has_event { without_child() } else { without_event() };
    let has_handle = add(
        "same-object",
        "The child has a handle to that very object",
        if has_both { case.has_handle() } else { first() },
    );
    let without_handle =
        || if has_both { not_judged("the child has no handle to the event") } else { first() };
    let is_acquired = add(
        "acquired",
        match runs.strategy {
            Strategy::Inheritance => "The child inherits the handle: it has it at its first instruction",
            Strategy::Duplication => {
                "The handle is duplicated: the child lacks it at first and gets it later"
            }
            Strategy::Naming => "The child opens the event by its name",
        },
        if has_handle { case.is_acquired() } else { without_handle() },
    );
    let waits = add(
        "waits",
        "The child waits for the event",
        if has_handle { case.waits() } else { without_handle() },
    );
    let signals = add(
        "signals",
        "The parent signals the event",
        if has_event { case.signals() } else { without_event() },
    );
    add(
        "exits-after-signal",
        "The child exits only after the signal",
        match (has_handle, waits, signals) {
            (false, ..) => without_handle(),
            (_, false, _) => not_judged("the child doesn't wait for the event"),
            (.., false) => not_judged("the parent doesn't signal the event"),
            _ => case.exits_after_signal(),
        },
    );
    let waits_for_child = if has_child { case.waits_for_child() } else { without_child() };
    add("waits-for-child", "The parent waits until the child exits", waits_for_child);
    let closes = if has_handle { case.closes() } else { without_handle() };
    add("closes", "Both close their handles to the event", closes);
    add("ends", "Both exit before the deadline, and no process is left", case.ends(runs.timeout));
    add("exit-codes", "Both exit with code 0", case.exit_codes());
    for (breakage, id, requirement) in [
        (
            Breakage::Handle(Change::Close),
            "handle-closed",
            "With its handle closed, the child reports no success",
        ),
        (
            Breakage::Handle(Change::Replace),
            "handle-replaced",
            "With another object under its handle, the child reports no success",
        ),
        (Breakage::ParentKilled, "parent-killed", "If the parent is killed, the child reports no success"),
    ] {
        let run = runs.broken.iter().find(|(other, _)| *other == breakage);
        let ruling = match run {
            _ if !has_handle => without_handle(),
            _ if !is_acquired => not_judged("the child gets its handle in another way"),
            None => not_judged("the run couldn't be made"),
            Some((_, record)) => reports_no_success(record),
        };
        add(id, requirement, ruling);
    }
    Judgement { findings, remarks: case.remarks(runs) }
}

impl Case<'_> {
    fn of(&self, process: u32) -> impl Iterator<Item = (usize, &Recorded)> {
        self.record.of_process(process)
    }

    /// The evidence for a step.
    fn shown(&self, index: usize) -> Vec<String> {
        vec![evidence(self.record, self.roles, index)]
    }

    fn event(&self) -> ObjectId {
        self.roles.event.unwrap_or_default()
    }

    fn child(&self) -> u32 {
        self.roles.child.unwrap_or_default()
    }

    /// Returns the step at which a handle to an object, or its mapping, first came to a process by a call.
    fn opened(&self, process: u32, object: ObjectId) -> Option<usize> {
        self.of(process)
            .find(|(_, step)| {
                let opens = matches!(step.returned(), Some((_, Outcome::Opened(_) | Outcome::Mapped(_))));
                opens && step.is_about(object)
            })
            .map(|(index, _)| index)
    }

    /// Returns the first program of the process, and the rows of its table that are handles to the object.
    fn inherited(&self, process: u32, object: ObjectId) -> Option<(usize, Vec<String>)> {
        let has_row = |step: &Recorded| step.rows.iter().any(|row| row.object == Some(object));
        let (index, step) = self.of(process).find(|(_, step)| has_row(step))?;
        let rows = step.rows.iter().filter(|row| row.object == Some(object));
        let shown = |row: &super::record::Row| {
            format!(
                "{}: handle {} ({}, {}) in the table of the child before its first instruction",
                milliseconds(step.event.at),
                row.value,
                row.kind,
                row.access
            )
        };
        Some((index, rows.map(shown).collect()))
    }

    /// Returns the step that made the child.
    fn birth(&self, process: u32) -> Option<usize> {
        let is_birth =
            |step: &Recorded| matches!(step.event.step, Step::Started { .. } | Step::Forked { .. });
        self.of(process).find(|(_, step)| is_birth(step)).map(|(index, _)| index)
    }

    /// Whether the child is a copy of its parent, which has begun no program of its own.
    fn is_copy(&self, process: u32) -> bool {
        !self.of(process).any(|(_, step)| matches!(step.event.step, Step::Started { .. }))
    }

    /// Returns the names of the event, with that of a socket over which the child has received it.
    fn names(&self) -> Vec<String> {
        let Some(event) = self.roles.event else { return Vec::new() };
        let mut names = self.record.objects[event].names.clone();
        names.extend(self.served_name());
        names
    }

    /// Returns the name of the socket to which the child has connected and from which it has received the event. This
    /// crate's named events on Linux are served so.
    fn served_name(&self) -> Option<String> {
        let (child, event) = (self.roles.child?, self.roles.event?);
        let (index, step) = self.of(child).find(|(_, step)| {
            matches!(step.returned(), Some((call, _)) if matches!(call.action, Action::Receive { .. }))
                && step.is_about(event)
        })?;
        let Some((Action::Receive { handle, .. }, _)) =
            step.returned().map(|(call, outcome)| (&call.action, outcome))
        else {
            return None;
        };
        let before = self.of(child).filter(|(other, _)| *other < index);
        let connect = before.filter_map(|(_, step)| match step.returned()? {
            (call, Outcome::Done(_)) => match &call.action {
                Action::Open { name, handle: Some(socket), .. } if socket == handle => Some(name.clone()),
                _ => None,
            },
            _ => None,
        });
        connect.last()
    }

    fn creates_event(&self) -> Ruling {
        let Some(event) = self.roles.event else {
            let created = self.record.objects.iter().any(|object| object.creator == self.roles.child);
            let why = if created && self.roles.child.is_some() {
                "the parent created no event, semaphore, pipe or socket; only the child created one"
            } else {
                "the parent created no event, semaphore, pipe or socket"
            };
            return Ruling::fails(
                Vec::new(),
                why,
                "create the event in the parent, before you start the child",
            );
        };
        let created = self.record.steps.iter().position(|step| {
            matches!(step.returned(), Some((call, _)) if matches!(call.action, Action::Create { .. }))
                && step.is_about(event)
        });
        // A FIFO is created without a handle.
        let created = created.or_else(|| {
            self.record.steps.iter().position(|step| match step.returned() {
                Some((call, Outcome::Done(_))) => match &call.action {
                    Action::Create { name: Some(name), .. } => {
                        self.record.objects[event].names.contains(name)
                    }
                    _ => false,
                },
                _ => false,
            })
        });
        let shown = created.map(|index| self.shown(index)).unwrap_or_default();
        let names = self.names();
        match (self.strategy, names.first()) {
            (Strategy::Naming, None) => Ruling::fails(
                shown,
                format!("the {} has no name", kind_name(self.record.objects[event].kind)),
                "create the event with a name, so that the child can open it",
            ),
            (Strategy::Inheritance | Strategy::Duplication, Some(name)) => Ruling::fails(
                shown,
                format!("the {} has the name {name:?}", kind_name(self.record.objects[event].kind)),
                "create the event without a name: the exercise shares an object that nobody can look up",
            ),
            _ => Ruling::holds(shown),
        }
    }

    fn starts_child(&self) -> Ruling {
        let Some(child) = self.roles.child else {
            return Ruling::fails(
                Vec::new(),
                "the parent started no process after it had created the event",
                "start the child with fork and exec, posix_spawn, or your language's function for it",
            );
        };
        let program = self.of(child).find(|(_, step)| matches!(step.event.step, Step::Started { .. }));
        match program.map(|(index, _)| index).or_else(|| self.birth(child)) {
            Some(index) => Ruling::holds(self.shown(index)),
            None => Ruling::open("the start of the child wasn't seen"),
        }
    }

    fn has_handle(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        if let Some((_, rows)) = self.inherited(child, event) {
            return Ruling::holds(rows);
        }
        if let Some(index) = self.opened(child, event) {
            return Ruling::holds(self.shown(index));
        }
        let waits = |(_, step): &(usize, &Recorded)| step.calls().is_some_and(|call| is_wait(&call.action));
        let is_own = |step: &Recorded| {
            step.objects.iter().any(|(_, object)| {
                let object = &self.record.objects[*object];
                object.creator == Some(child) && object.kind == self.record.objects[event].kind
            })
        };
        if self.is_copy(child) {
            let used = self.of(child).find(|(_, step)| step.is_about(event));
            if let Some((index, _)) = used {
                return Ruling::holds(self.shown(index));
            }
        }
        if let Some((index, _)) = self.of(child).filter(waits).find(|(_, step)| is_own(step)) {
            return Ruling::fails(
                self.shown(index),
                "the child waits for an object that it created itself",
                "use the handle that the parent shares; a second object of the same kind is never signaled",
            );
        }
        let failed = self.of(child).find(|(_, step)| match step.returned() {
            Some((call, Outcome::Failed(_))) => is_wait(&call.action) || is_open(&call.action),
            _ => false,
        });
        if let Some((index, _)) = failed {
            return Ruling::fails(
                self.shown(index),
                "the call with which the child acquires the event or waits for it fails",
                "check that the child reads the number or name exactly as the parent writes it, and that the handle \
                 still exists",
            );
        }
        let early = self.last_close_before(self.roles.parent, event, self.birth(child));
        if let Some(index) = early {
            return Ruling::fails(
                self.shown(index),
                "the parent closed its last handle before the child was started",
                "keep the handle open until the child has exited",
            );
        }
        if self.strategy == Strategy::Inheritance && !self.was_inheritable(event) {
            return Ruling::fails(
                Vec::new(),
                "the parent's handle is not inheritable",
                "create it without EFD_CLOEXEC or O_CLOEXEC, or clear FD_CLOEXEC with fcntl(F_SETFD) before the child \
                 starts its program",
            );
        }
        Ruling::fails(
            Vec::new(),
            "no handle of the child is to that object",
            match self.strategy {
                Strategy::Inheritance => "make the handle inheritable, and don't let the spawn close it",
                Strategy::Duplication => {
                    "send the handle over a Unix socket (SCM_RIGHTS), or let the child take it with pidfd_getfd"
                }
                Strategy::Naming => "open the object in the child by the name that the parent gave it",
            },
        )
    }

    /// Returns the close of the last handle of a process to an object, if it came before a step.
    fn last_close_before(&self, process: u32, object: ObjectId, step: Option<usize>) -> Option<usize> {
        let mut open = BTreeSet::new();
        let mut last = None;
        for (index, step) in self.of(process).take_while(|(index, _)| step.is_none_or(|step| *index < step)) {
            let targets =
                step.objects.iter().filter(|(_, other)| *other == object).map(|(target, _)| *target);
            match step.returned() {
                Some((call, Outcome::Done(_))) if matches!(call.action, Action::Close { .. }) => {
                    for target in targets {
                        open.remove(&target);
                    }
                    last = open.is_empty().then_some(index).filter(|_| step.is_about(object)).or(last);
                }
                Some(_) => open.extend(targets),
                None => {}
            }
        }
        last.filter(|_| open.is_empty())
    }

    /// Returns whether a handle of the parent to the object was inheritable at any moment.
    fn was_inheritable(&self, object: ObjectId) -> bool {
        self.record.steps.iter().any(|step| {
            step.is_about(object)
                && match step.returned() {
                    Some((call, Outcome::Opened(_))) => match &call.action {
                        Action::Create { inheritable, .. } => *inheritable,
                        _ => false,
                    },
                    Some((call, _)) => matches!(call.action, Action::SetInheritable { on: true, .. }),
                    None => false,
                }
        })
    }

    fn is_acquired(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        let inherited = self.inherited(child, event);
        let opened = self.opened(child, event);
        match self.strategy {
            Strategy::Inheritance => match (inherited, opened) {
                (Some((_, rows)), _) => Ruling::holds(rows),
                (None, _) if self.is_copy(child) => {
                    Ruling::holds(self.birth(child).map(|index| self.shown(index)).unwrap_or_default())
                }
                (None, Some(index)) => Ruling::fails(
                    self.shown(index),
                    "the handle wasn't in the child's table at its first instruction; a later call brought it",
                    "create the handle inheritable before you start the child, and pass its number",
                ),
                (None, None) => Ruling::open("it wasn't seen how the handle came to the child"),
            },
            Strategy::Duplication | Strategy::Naming if inherited.is_some() => Ruling::fails(
                inherited.map(|(_, rows)| rows).unwrap_or_default(),
                "the child has inherited the handle",
                "create the handle with EFD_CLOEXEC or O_CLOEXEC, so that the child gets it by the exercise's strategy alone",
            ),
            Strategy::Duplication => match opened {
                Some(index) => {
                    let action = self.record.steps[index].returned().map(|(call, _)| &call.action);
                    let is_copy = matches!(action, Some(Action::Receive { .. } | Action::Duplicate { .. }));
                    if is_copy && self.served_name().is_none_or(|name| !self.is_published(&name)) {
                        Ruling::holds(self.shown(index))
                    } else {
                        Ruling::fails(
                            self.shown(index),
                            "the child opened the object by a name instead of receiving a duplicate",
                            "send the handle over a Unix socket (SCM_RIGHTS), or let the child take it with pidfd_getfd",
                        )
                    }
                }
                None => Ruling::fails(
                    Vec::new(),
                    "the child is a copy of its parent and has the handle from the start",
                    "start a program of its own, with a handle that is not inheritable, and duplicate it afterwards",
                ),
            },
            Strategy::Naming => match opened {
                Some(index) => {
                    let action = self.record.steps[index].returned().map(|(call, _)| &call.action);
                    let is_open = matches!(
                        action,
                        Some(Action::Open { .. } | Action::Map { .. } | Action::Create { .. })
                    );
                    if is_open || self.served_name().is_some() {
                        Ruling::holds(self.shown(index))
                    } else {
                        Ruling::fails(
                            self.shown(index),
                            "the child got the handle without a name",
                            "open the object in the child by its name",
                        )
                    }
                }
                None => Ruling::fails(
                    Vec::new(),
                    "the child is a copy of its parent and has the handle from the start",
                    "start a program of its own, which opens the object by its name",
                ),
            },
        }
    }

    /// Returns whether a process of the pair has given a socket this name.
    fn is_published(&self, name: &str) -> bool {
        self.record.steps.iter().any(|step| {
            matches!(step.returned(), Some((call, Outcome::Done(_)))
                if matches!(&call.action, Action::Publish { name: other, .. } if other == name))
        })
    }

    fn waits(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        if let Some((index, _)) = self.of(child).find(|(_, step)| step.begins_wait_for(event)) {
            return Ruling::holds(self.shown(index));
        }
        let sleeps = self
            .of(child)
            .find(|(_, step)| step.calls().is_some_and(|call| matches!(call.action, Action::Sleep { .. })));
        let why = match sleeps {
            Some(_) => "the child sleeps instead of waiting for the event",
            None => "the child makes no call that waits for the event",
        };
        Ruling::fails(
            sleeps.map(|(index, _)| self.shown(index)).unwrap_or_default(),
            why,
            "wait with a blocking read of the eventfd, or with poll and then read",
        )
    }

    fn signals(&self) -> Ruling {
        let Some((index, _)) = signal(self.record, self.roles) else {
            return Ruling::fails(
                Vec::new(),
                "no process but the child signals the event",
                "after the child has been started, write the number 1 as eight bytes to the eventfd",
            );
        };
        let step = &self.record.steps[index];
        if step.event.process != self.roles.parent {
            return Ruling::fails(
                self.shown(index),
                format!("process {} signals it, which is not the parent", step.event.process),
                "signal the event in the parent",
            );
        }
        let born = self.roles.child.and_then(|child| self.birth(child));
        if born.is_none_or(|born| index < born) {
            return Ruling::fails(
                self.shown(index),
                "the parent signals the event before there is a child",
                "signal it after the child has been started: otherwise the child has nothing to wait for",
            );
        }
        Ruling::holds(self.shown(index))
    }

    fn exits_after_signal(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        let Some(hold) = &self.record.hold else {
            return Ruling::open("the parent couldn't be held at its signal");
        };
        let ended_early = self.of(child).find(|(index, step)| {
            *index < hold.end
                && step.is_about(event)
                && matches!(step.returned(), Some((call, Outcome::Signaled | Outcome::Done(1..)))
                    if is_wait(&call.action))
        });
        if let Some((index, _)) = self.record.exit(child).filter(|(index, _)| *index < hold.end) {
            let mut shown = self.shown(index);
            shown.extend(self.shown(hold.step));
            return Ruling::fails(
                shown,
                format!(
                    "the child exited although the checker held the parent at its signal for {}",
                    milliseconds(hold.time)
                ),
                "check the result of the wait; a wait that times out or fails is no signal",
            );
        }
        if let Some((index, _)) = ended_early {
            return Ruling::fails(
                self.shown(index),
                "the child's wait ended before the parent's signal",
                "create the event in the state that isn't signaled, and let only the parent signal it",
            );
        }
        let last = self.of(child).filter(|(index, _)| *index < hold.end);
        let waits = last.filter(|(_, step)| step.begins_wait_for(event)).last();
        let Some((index, step)) = waits else {
            return Ruling::fails(
                self.shown(hold.step),
                format!(
                    "the checker held the parent at its signal for {}, and the child didn't begin to wait",
                    milliseconds(hold.time)
                ),
                "let the child wait for the event as soon as it has the handle",
            );
        };
        let mut shown = self.shown(index);
        shown.push(format!(
            "the parent was held at its signal for {}, and the child was still in {}",
            milliseconds(hold.time),
            wait_function(step)
        ));
        Ruling::holds(shown)
    }

    fn waits_for_child(&self) -> Ruling {
        let child = self.child();
        // A shell between the two can be the parent's own child.
        let mut family = BTreeSet::from([child]);
        for step in self.record.steps.iter().rev() {
            if let Step::Forked { parent } | Step::Started { parent, .. } = step.event.step
                && family.contains(&step.event.process)
                && parent != self.roles.parent
            {
                family.insert(parent);
            }
        }
        let waited = self.of(self.roles.parent).find(|(_, step)| match step.returned() {
            Some((call, Outcome::Signaled)) => match &call.action {
                Action::Wait { processes, .. } => processes.iter().any(|process| family.contains(process)),
                _ => false,
            },
            _ => false,
        });
        match waited {
            Some((index, _)) => Ruling::holds(self.shown(index)),
            None if self.record.exit(self.roles.parent).is_none() => {
                Ruling::open("not judged, because the parent didn't exit before the deadline")
            }
            None => Ruling::fails(
                Vec::new(),
                "the parent makes no call that waits for the child's end",
                "wait for the child with waitpid, or your language's function for it, and look at its status",
            ),
        }
    }

    fn closes(&self) -> Ruling {
        let mut shown = Vec::new();
        let mut left = Vec::new();
        for (name, process) in [("parent", self.roles.parent), ("child", self.child())] {
            let Some((_, exit)) =
                self.of(process).find(|(_, step)| matches!(step.event.step, Step::Exited { .. }))
            else {
                return Ruling::open(format!("not judged, because the {name} didn't exit by itself"));
            };
            let handles: Vec<u32> = exit
                .objects
                .iter()
                .filter(|(_, object)| *object == self.event())
                .filter_map(|(target, _)| match target {
                    Target::Handle(value) => Some(value.get()),
                    Target::Mapped(_) => None,
                })
                .collect();
            if !handles.is_empty() {
                left.push(format!("the {name} exits with {} open", list("handle", &handles)));
            }
            let close = self.of(process).filter(|(_, step)| {
                step.is_about(self.event())
                    && matches!(step.returned(), Some((call, _)) if matches!(call.action, Action::Close { .. }))
            });
            shown.extend(close.last().map(|(index, _)| evidence(self.record, self.roles, index)));
        }
        if left.is_empty() {
            Ruling::holds(shown)
        } else {
            Ruling::fails(shown, left.join("; "), "close each handle to the event before the process exits")
        }
    }

    fn ends(&self, timeout: Duration) -> Ruling {
        let left: Vec<u32> = self
            .record
            .processes()
            .into_iter()
            .filter(|process| self.record.exit(*process).is_none())
            .collect();
        if self.record.ending == Ending::TimedOut {
            let shown = left.iter().filter_map(|process| {
                let (index, _) = self.of(*process).last()?;
                Some(evidence(self.record, self.roles, index))
            });
            return Ruling::fails(
                shown.collect(),
                format!(
                    "after {} {} still ran and had to be killed; the last step of each is shown",
                    milliseconds(timeout),
                    list("process", &left)
                ),
                "give each wait a time limit, and find out for which object the process waits",
            );
        }
        let Some((end, _)) = self.record.exit(self.roles.parent) else {
            return Ruling::open("the parent's end wasn't seen");
        };
        /// A child that exits by itself soon after its parent is no process that is left.
        const SOON: Duration = Duration::from_secs(2);
        let at = self.record.steps[end].event.at;
        let late =
            self.record.steps[end..].iter().enumerate().rev().find(|(_, step)| {
                matches!(step.event.step, Step::Exited { .. }) && step.event.at > at + SOON
            });
        match late {
            Some((index, step)) => Ruling::fails(
                self.shown(end + index),
                format!(
                    "process {} lived on for {} after the parent's end",
                    step.event.process,
                    milliseconds(step.event.at - at)
                ),
                "wait for each process that you start",
            ),
            None => Ruling::holds(self.shown(end)),
        }
    }

    fn exit_codes(&self) -> Ruling {
        let mut shown = Vec::new();
        let mut wrong = Vec::new();
        let child = self.roles.child.map(|child| ("child", child));
        for (name, process) in [("parent", self.roles.parent)].into_iter().chain(child) {
            match self.record.exit(process) {
                Some((index, status)) => {
                    shown.push(evidence(self.record, self.roles, index));
                    if !status.success() {
                        wrong.push(format!("the {name} {}", ended(status)));
                    }
                }
                None => return Ruling::open(format!("not judged, because the {name} didn't exit by itself")),
            }
        }
        if wrong.is_empty() {
            Ruling::holds(shown)
        } else {
            Ruling::fails(shown, wrong.join("; "), "exit with code 0 when everything has worked")
        }
    }

    fn remarks(&self, runs: &Runs) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let mut add = |id, text: String| remarks.push(Remark { id, text });
        let (Some(event), Some(child)) = (self.roles.event, self.roles.child) else { return remarks };
        let object = &self.record.objects[event];
        if !matches!(object.kind, Kind::Event) {
            add(
                "stand-in",
                format!(
                    "{} serves as the event; {}",
                    object_name(object.kind),
                    match object.kind {
                        Kind::Semaphore => "each signal releases one waiter",
                        _ => "an event can also be set again, reset, and awaited by several processes",
                    }
                ),
            );
        }
        if let Some((_, SignalBy::Close { .. })) = signal(self.record, self.roles) {
            add(
                "signal-by-close",
                "the close of the last other end is the signal, so the child can't tell it from the parent's death".into(),
            );
        }
        let leaked: Vec<String> = self
            .of(child)
            .find(|(_, step)| !step.rows.is_empty())
            .map(|(_, step)| &step.rows)
            .into_iter()
            .flatten()
            .filter(|row| row.value.get() > 2 && row.object != Some(event))
            .filter(|row| !self.is_used(child, row.value.into()))
            .map(|row| {
                let name = row.name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
                format!("{} ({}{name})", row.value, row.kind)
            })
            .collect();
        if !leaked.is_empty() {
            add(
                "leak",
                format!("the child has inherited handles that it doesn't use: {}", leaked.join("; ")),
            );
        }
        if let Some(text) = self.inheritable_afterwards(child, event) {
            add("inheritable", text);
        }
        let endless = self.of(child).find(|(_, step)| {
            step.begins_wait_for(event)
                && step.calls().is_some_and(|call| match &call.action {
                    Action::Wait { timeout, .. } => timeout.is_none(),
                    Action::Read { blocks, .. } | Action::Receive { blocks, .. } => *blocks,
                    _ => false,
                })
        });
        // A call after a wait with a time limit doesn't block, whatever its own arguments say.
        let limited = self.of(child).find(|(_, step)| {
            step.begins_wait_for(event)
                && step.calls().is_some_and(
                    |call| matches!(call.action, Action::Wait { timeout: Some(time), .. } if !time.is_zero()),
                )
        });
        if let (Some((_, step)), None) = (endless, limited) {
            add("no-timeout", format!("the child waits without a time limit ({})", wait_function(step)));
        }
        if self.strategy == Strategy::Inheritance
            && let Some(value) = self.constant(child, event)
        {
            add(
                "constant",
                format!(
                    "the child knows the number {value} without being told, so it is a fixed constant in both programs; it \
                         breaks as soon as the parent has another file open"
                ),
            );
        }
        let writable = self.of(child).find_map(|(_, step)| {
            step.rows.iter().find(|row| {
                row.object == Some(event)
                    && matches!(object.kind, Kind::Pipe | Kind::NamedPipe)
                    && row.access.contains("write")
            })
        });
        if let Some(row) = writable {
            add(
                "access",
                format!(
                    "the child also has the writing end (handle {}), so it never sees the end of the stream",
                    row.value
                ),
            );
        }
        for (breakage, record) in &runs.broken {
            let Some(broken) = &record.broken else { continue };
            let failed = record.exit(broken.process).is_some_and(|(_, status)| !status.success());
            let parent_ok = record
                .parent()
                .and_then(|parent| record.exit(parent))
                .is_some_and(|(_, status)| status.success());
            if failed && parent_ok && *breakage == Breakage::Handle(Change::Close) {
                add(
                    "status-ignored",
                    "the parent exits with code 0 although its child failed; look at the status that the wait returns".into(),
                );
            }
        }
        remarks
    }

    /// Returns whether a process uses a handle in any call.
    fn is_used(&self, process: u32, target: Target) -> bool {
        self.of(process).any(|(_, step)| {
            let is_close = matches!(&step.event.step, Step::Calls(call) | Step::Returned(call, _)
                if matches!(call.action, Action::Close { .. } | Action::SetInheritable { .. }));
            !is_close && super::record::mentioned(&step.event.step).contains(&target)
        })
    }

    /// Returns whether a handle to the event stayed inheritable in the child.
    fn inheritable_afterwards(&self, child: u32, event: ObjectId) -> Option<String> {
        let is_set = |value: Target| {
            self.of(child).any(|(_, step)| match step.returned() {
                Some((call, _)) => match &call.action {
                    Action::SetInheritable { handles, on: false } => {
                        handles.iter().any(|other| Target::Handle(*other) == value)
                    }
                    _ => false,
                },
                None => false,
            })
        };
        let (_, step) =
            self.of(child).find(|(_, step)| step.rows.iter().any(|row| row.object == Some(event)))?;
        let row = step
            .rows
            .iter()
            .find(|row| row.object == Some(event) && row.inheritable && !is_set(row.value.into()))?;
        Some(format!(
            "handle {} stays inheritable in the child, so programs that it starts get it too; set FD_CLOEXEC",
            row.value
        ))
    }

    /// Returns the handle's number if the child can't have learned it.
    fn constant(&self, child: u32, event: ObjectId) -> Option<u32> {
        let (_, step) =
            self.of(child).find(|(_, step)| step.rows.iter().any(|row| row.object == Some(event)))?;
        let values: Vec<u32> =
            step.rows.iter().filter(|row| row.object == Some(event)).map(|row| row.value.get()).collect();
        if values.iter().all(|value| *value <= 2) {
            return None;
        }
        let Step::Started { arguments, .. } = &step.event.step else { return None };
        let environment = step.environment.as_ref()?;
        let texts = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let told =
            texts.chain([environment.clone()]).any(|text| values.iter().any(|value| tells(&text, *value)));
        // Anything that it reads from another object can contain the number.
        let reads = self.of(child).any(|(_, step)| match step.returned() {
            Some((call, Outcome::Done(1..) | Outcome::Opened(_))) => {
                matches!(call.action, Action::Read { .. } | Action::Receive { .. } | Action::Map { .. })
                    && !step.is_about(event)
            }
            _ => false,
        });
        (!told && !reads).then(|| values[0])
    }
}

/// Returns whether a text contains the number as a word: in decimal, hex or octal.
fn tells(text: &str, value: u32) -> bool {
    let forms = [format!("{value}"), format!("{value:x}"), format!("0x{value:x}"), format!("{value:o}")];
    let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| {
        let word = word.to_ascii_lowercase();
        let digits = word.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        forms.contains(&word) || forms.iter().any(|form| form == digits) || {
            let trimmed = word.trim_start_matches('0');
            !trimmed.is_empty() && forms.iter().any(|form| form == trimmed)
        }
    })
}

/// Returns whether a call acquires an object that exists.
fn is_open(action: &Action) -> bool {
    matches!(action, Action::Open { .. } | Action::Duplicate { .. } | Action::OpenProcess { .. })
}

/// Says how a process ended.
fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with code {code}"),
        None => format!("was killed ({status})"),
    }
}

/// Judges a run in which something was broken.
fn reports_no_success(record: &Record) -> Ruling {
    let Some(broken) = &record.broken else {
        return Ruling::open("not judged, because the child didn't get the handle in this run");
    };
    let what = match broken.breakage {
        _ if broken.done.is_none() => {
            return Ruling::open("left out, because this machine doesn't support it");
        }
        Breakage::Handle(_) if broken.handles.is_empty() => {
            return Ruling::open("left out, because the child uses the object without a handle");
        }
        _ if broken.done == Some(false) => return Ruling::open("the handle couldn't be changed"),
        Breakage::Handle(change) => {
            let values: Vec<u32> = broken.handles.iter().map(|value| value.get()).collect();
            let verb = if change == Change::Close { "closed" } else { "replaced by a socket" };
            format!("{} of process {} {verb}", list("handle", &values), broken.process)
        }
        Breakage::ParentKilled => "the parent was killed".to_owned(),
    };
    match record.exit(broken.process) {
        None => Ruling::holds(vec![format!(
            "{what}: the child hung, and was ended after {}",
            milliseconds(record.time)
        )]),
        Some((_, status)) if status.success() => Ruling::fails(
            vec![format!("{what}: the child {}", ended(status))],
            "the child reports success although it can't have seen the signal",
            "check the result of each call in the child, and the number of bytes of each read; exit with another code if \
             one fails",
        ),
        Some((_, status)) => Ruling::holds(vec![format!("{what}: the child {}", ended(status))]),
    }
}

/// Returns the number of findings with a verdict, for the summary.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let of = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let mut text = format!("{} hold", count(of(Verdict::Holds), "requirement"));
    for (verdict, words) in [(Verdict::Fails, "fail"), (Verdict::Open, "not judged")] {
        if of(verdict) > 0 {
            text += &format!(", {} {words}", of(verdict));
        }
    }
    text
}
