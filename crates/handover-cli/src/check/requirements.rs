//! The requirements of the exercises: one function for each.

use std::collections::BTreeSet;
use std::time::Duration;

use handover::inspect::observe::{Action, Call, Inherits, Outcome, Step, Target};

use super::case::Case;
use super::evidence::{ended, evidence, kind_name, list, milliseconds, wait_function};
use super::judge::{Ruling, Strategy};
use super::record::{Ending, ObjectId, Recorded, is_wait, signaled};
use super::roles::signal;
use crate::os::advice;

const OWN_OBJECT: &str = "the child waits for an object that it created itself";
const OWN_OBJECT_ADVICE: &str =
    "use the handle that the parent shares; a second object of the same kind is never signaled";

impl Case<'_> {
    pub(super) fn creates_event(&self) -> Ruling {
        let Some(event) = self.roles.event else {
            let created = self.record.objects.iter().any(|object| object.creator == self.roles.child);
            let why = if created && self.roles.child.is_some() {
                format!("the parent created no {}; only the child created one", advice::EVENTS)
            } else {
                format!("the parent created no {}", advice::EVENTS)
            };
            return Ruling::fails(
                Vec::new(),
                why,
                "create the event in the parent, before you start the child; if the command is a script that starts the parent, give \
                 the parent itself",
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
                "create the event without a name: the exercise shares an object that can't be looked up",
            ),
            _ => Ruling::holds(shown),
        }
    }

    pub(super) fn starts_child(&self) -> Ruling {
        let Some(child) = self.roles.child else {
            if let Some(index) = self.failed_spawn() {
                return Ruling::fails(
                    self.shown(index),
                    "the call with which the parent starts a process fails",
                    advice::CHILD_NOT_FOUND,
                );
            }
            let why = if self.record.processes().len() > 1 {
                "the parent started no process after it had created the event"
            } else {
                "the parent started no process"
            };
            return Ruling::fails(Vec::new(), why, advice::SPAWN);
        };
        let program = self.of(child).find(|(_, step)| matches!(step.event.step, Step::Started { .. }));
        // On Linux the process exists before it begins its program.
        let steps = BTreeSet::from_iter(self.birth(child).into_iter().chain(program.map(|(index, _)| index)));
        if steps.is_empty() {
            return Ruling::open("the start of the child wasn't seen");
        }
        if let Some(index) = self.exits_before_a_program(child) {
            let steps = steps.into_iter().chain([index]).flat_map(|index| self.shown(index));
            return Ruling::fails(
                steps.collect(),
                "the child begins no program: it is a copy of the parent, and exits with an error",
                advice::CHILD_NOT_FOUND,
            );
        }
        Ruling::holds(steps.into_iter().flat_map(|index| self.shown(index)).collect())
    }

    /// Returns the parent's last call that was to start a process and failed.
    fn failed_spawn(&self) -> Option<usize> {
        let failed = self.of(self.roles.parent).filter(|(_, step)| match step.returned() {
            Some((call, Outcome::Failed(_))) => matches!(call.action, Action::Spawn { .. }),
            _ => false,
        });
        failed.last().map(|(index, _)| index)
    }

    /// Returns the exit with an error of a copy of the parent that has neither begun a program nor waited. It is seen if
    /// `exec` fails.
    fn exits_before_a_program(&self, child: u32) -> Option<usize> {
        if !self.is_copy(child)
            || self.of(child).any(|(_, step)| step.calls().is_some_and(|call| is_wait(&call.action)))
        {
            return None;
        }
        let (index, status) = self.record.exit(child)?;
        (!status.success()).then_some(index)
    }

    pub(super) fn has_handle(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        if let Some((_, rows)) = self.inherited(child, event) {
            return Ruling::holds(rows);
        }
        if let Some(index) = self.opened(child, event) {
            return Ruling::holds(self.shown(index));
        }
        if self.is_copy(child) {
            let used = self.of(child).find(|(_, step)| step.is_about(event));
            if let Some((index, _)) = used {
                return Ruling::holds(self.shown(index));
            }
        }
        if let Some(index) = self.waits_for_own(child, event) {
            return Ruling::fails(self.shown(index), OWN_OBJECT, OWN_OBJECT_ADVICE);
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
                advice::MAKE_INHERITABLE,
            );
        }
        if let Some(ruling) = self.is_left_out_at_spawn() {
            return ruling;
        }
        let itself = self.of(self.roles.parent).find(|(_, step)| {
            step.is_about(event)
                && step.given_to().is_none()
                && matches!(step.returned(), Some((call, Outcome::Opened(_)))
                    if matches!(call.action, Action::Duplicate { .. }))
        });
        if let (Strategy::Duplication, Some((index, _))) = (self.strategy, itself) {
            return Ruling::fails(
                self.shown(index),
                "the parent duplicated the handle into its own table, where the child can't use it",
                advice::DUPLICATE,
            );
        }
        let own = self.of(child).find(|(_, step)| match step.returned() {
            Some((call, _)) => match call.action {
                Action::Duplicate { from, to, .. } => from == child && to == child,
                _ => false,
            },
            None => false,
        });
        if let (Strategy::Duplication, Some((index, _))) = (self.strategy, own) {
            return Ruling::fails(
                self.shown(index),
                "the child duplicates a handle of its own table instead of the parent's",
                advice::NO_PSEUDO_HANDLE,
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
        Ruling::fails(
            Vec::new(),
            "no handle of the child is to that object",
            match self.strategy {
                Strategy::Inheritance => "make the handle inheritable, and don't let the spawn close it",
                Strategy::Duplication => advice::DUPLICATE,
                Strategy::Naming => "open the object in the child by the name that the parent gave it",
                Strategy::Any => {
                    "let the child inherit the handle, send it a duplicate, or open the object by its name"
                }
            },
        )
    }

    /// Fails if the parent's handle is inheritable, and the call that starts the child leaves it out.
    fn is_left_out_at_spawn(&self) -> Option<Ruling> {
        if self.strategy != Strategy::Inheritance {
            return None;
        }
        let birth = self.birth(self.child())?;
        let spawns = self.of(self.roles.parent).filter_map(|(index, step)| match &step.calls()?.action {
            Action::Spawn { inherits } if index < birth => Some((index, inherits)),
            _ => None,
        });
        match spawns.last()? {
            (index, Inherits::Nothing) => Some(Ruling::fails(
                self.shown(index),
                "the parent starts the child without inheriting any handle",
                advice::INHERIT,
            )),
            (index, Inherits::Listed(_)) => Some(Ruling::fails(
                self.shown(index),
                "the parent starts the child with a list of handles, in which that of the event is missing",
                advice::INHERIT,
            )),
            (_, Inherits::Everything) => None,
        }
    }

    /// Returns the step at which the child begins to wait for an object of the event's kind that it created itself.
    pub(super) fn waits_for_own(&self, child: u32, event: ObjectId) -> Option<usize> {
        let is_own = |(_, object): &(Target, ObjectId)| {
            let object = &self.record.objects[*object];
            object.creator == Some(child) && object.kind == self.record.objects[event].kind
        };
        let is_wait = |step: &Recorded| step.calls().is_some_and(|call| is_wait(&call.action));
        let mut steps = self.of(child).filter(|(_, step)| is_wait(step));
        steps.find(|(_, step)| step.objects.iter().any(is_own)).map(|(index, _)| index)
    }

    /// Returns the close of the last handle of a process to an object, if it came before a step.
    pub(super) fn last_close_before(
        &self,
        process: u32,
        object: ObjectId,
        step: Option<usize>,
    ) -> Option<usize> {
        let mut open = BTreeSet::new();
        let mut last = None;
        for (index, step) in self.of(process).take_while(|(index, _)| step.is_none_or(|step| *index < step)) {
            if step.given_to().is_some() {
                continue;
            }
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
    pub(super) fn was_inheritable(&self, object: ObjectId) -> bool {
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

    pub(super) fn is_acquired(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        let inherited = self.inherited(child, event);
        let opened = self.opened(child, event);
        match self.strategy {
            Strategy::Any => match (inherited, opened) {
                (Some((_, rows)), _) => Ruling::holds(rows),
                (None, Some(index)) => Ruling::holds(self.shown(index)),
                (None, None) => {
                    Ruling::holds(self.birth(child).map(|index| self.shown(index)).unwrap_or_default())
                }
            },
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
                advice::DONT_INHERIT,
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
                            advice::DUPLICATE,
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
    pub(super) fn is_published(&self, name: &str) -> bool {
        self.record.steps.iter().any(|step| {
            matches!(step.returned(), Some((call, Outcome::Done(_)))
                if matches!(&call.action, Action::Publish { name: other, .. } if other == name))
        })
    }

    pub(super) fn waits(&self) -> Ruling {
        let (child, event) = (self.child(), self.event());
        if let Some((index, _)) = self.of(child).find(|(_, step)| step.begins_wait_for(event)) {
            return Ruling::holds(self.shown(index));
        }
        if let Some(index) = self.waits_for_own(child, event) {
            return Ruling::fails(self.shown(index), OWN_OBJECT, OWN_OBJECT_ADVICE);
        }
        let last = |is: fn(&Action) -> bool| {
            let steps = self.of(child).filter(|(_, step)| step.calls().is_some_and(|call| is(&call.action)));
            steps.last().map(|(index, _)| index)
        };
        let sleeps = last(|action| matches!(action, Action::Sleep { .. }));
        let process =
            last(|action| matches!(action, Action::Wait { processes, .. } if !processes.is_empty()));
        let other = last(is_wait);
        let (index, why) = match (process, other, sleeps) {
            (Some(index), ..) => {
                (Some(index), "the child waits for a process instead of the event".to_owned())
            }
            (_, Some(index), _) => (
                Some(index),
                format!(
                    "the child waits for a handle that is not one of the event; the event is {}",
                    list("handle", &self.handles_to(child, event))
                ),
            ),
            (.., Some(index)) => {
                (Some(index), "the child sleeps instead of waiting for the event".to_owned())
            }
            _ => (None, "the child makes no call that waits for the event".to_owned()),
        };
        Ruling::fails(index.map(|index| self.shown(index)).unwrap_or_default(), why, advice::WAIT)
    }

    /// Returns the values of all handles that a process has had to an object.
    fn handles_to(&self, process: u32, object: ObjectId) -> Vec<u32> {
        let rows = |step: &Recorded| {
            let rows = step.rows.iter().filter(|row| row.object == Some(object));
            rows.map(|row| row.value.get()).collect::<Vec<_>>()
        };
        let mentioned = |step: &Recorded| {
            let targets = step.objects.iter().filter(|(_, other)| *other == object);
            let values = targets.filter_map(|(target, _)| match target {
                Target::Handle(value) => Some(value.get()),
                Target::Mapped(_) => None,
            });
            values.collect::<Vec<_>>()
        };
        let own = self.of(process).filter(|(_, step)| step.given_to().is_none());
        let values: BTreeSet<u32> =
            own.flat_map(|(_, step)| rows(step).into_iter().chain(mentioned(step))).collect();
        values.into_iter().collect()
    }

    pub(super) fn signals(&self) -> Ruling {
        let Some((index, _)) = signal(self.record, self.roles) else {
            return self.lacks_signal();
        };
        let step = &self.record.steps[index];
        if step.event.process != self.roles.parent {
            return Ruling::fails(
                self.shown(index),
                format!("process {} signals it, which is not the parent", step.event.process),
                "signal the event in the parent",
            );
        }
        if step.calls().is_some_and(|call| matches!(call.action, Action::Pulse { .. })) {
            return Ruling::fails(
                self.shown(index),
                "the parent pulses the event: a child that isn't waiting at that very moment misses it",
                advice::SIGNAL,
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
        let outcomes = self.of(self.roles.parent).filter(|(_, step)| {
            step.is_about(self.event())
                && step.returned().is_some_and(|(call, _)| signaled(&call.action).is_some())
        });
        let outcomes: Vec<_> = outcomes.map(|(index, step)| (index, step.returned())).collect();
        let succeeds = |outcome: &(usize, Option<(&Call, &Outcome)>)| {
            !matches!(outcome.1, Some((_, Outcome::Failed(_))))
        };
        match (outcomes.iter().find(|outcome| succeeds(outcome)), outcomes.first()) {
            (None, Some((failed, _))) => Ruling::fails(
                self.shown(*failed),
                "the call that should signal the event fails",
                advice::SIGNAL,
            ),
            (Some((done, _)), _) => Ruling::holds(self.shown(*done)),
            // The parent was ended in the call, or a close is the signal.
            (None, None) => Ruling::holds(self.shown(index)),
        }
    }

    /// Fails because only the child signals the event, or no process at all. Says so if the parent tries to signal it by a
    /// handle that it has closed.
    fn lacks_signal(&self) -> Ruling {
        let had = self.handles_to(self.roles.parent, self.event());
        let late = self.of(self.roles.parent).find(|(_, step)| match step.returned() {
            Some((call, Outcome::Failed(_))) => match signaled(&call.action) {
                Some(Target::Handle(value)) => had.contains(&value.get()) && !step.is_about(self.event()),
                _ => false,
            },
            _ => false,
        });
        if let Some((index, _)) = late {
            return Ruling::fails(
                self.shown(index),
                "the parent has closed its handle before it signals the event",
                "signal the event before you close the handle",
            );
        }
        let by_child = self.roles.child.and_then(|child| {
            self.of(child).find(|(_, step)| step.begins_signal_of(self.event())).map(|(index, _)| index)
        });
        match by_child {
            Some(index) => {
                Ruling::fails(self.shown(index), "only the child signals the event", advice::SIGNAL)
            }
            None => Ruling::fails(Vec::new(), "no process signals the event", advice::SIGNAL),
        }
    }

    pub(super) fn exits_after_signal(&self) -> Ruling {
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
        if let Some((index, _)) = ended_early {
            return Ruling::fails(
                self.shown(index),
                "the child's wait ended before the parent's signal",
                "create the event in the state that isn't signaled, and let only the parent signal it",
            );
        }
        if let Some((index, _)) = self.record.exit(child).filter(|(index, _)| *index < hold.end) {
            let mut shown = self.shown(index);
            shown.extend(self.shown(hold.step));
            if index < hold.step {
                return Ruling::fails(
                    shown,
                    "the child exited before the parent came to its signal",
                    "signal the event before you wait for the child's end",
                );
            }
            return Ruling::fails(
                shown,
                format!(
                    "the child exited although the checker held the parent at its signal for {}",
                    milliseconds(hold.time)
                ),
                "check the result of the wait; a wait that times out or fails is no signal",
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

    pub(super) fn waits_for_child(&self) -> Ruling {
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
        let for_thread = self.of(self.roles.parent).find(|(_, step)| match step.returned() {
            Some((Call { action: Action::Wait { threads, .. }, .. }, Outcome::Signaled)) => {
                threads.iter().any(|process| family.contains(process))
            }
            _ => false,
        });
        match (waited, for_thread) {
            (Some((index, _)), _) => Ruling::holds(self.shown(index)),
            (None, Some((index, _))) => Ruling::fails(
                self.shown(index),
                "the parent waits for a thread of the child, which exits before its process does",
                advice::WAIT_FOR_CHILD,
            ),
            (None, None) if self.record.exit(self.roles.parent).is_none() => {
                Ruling::open("not judged, because the parent didn't exit before the deadline")
            }
            (None, None) => Ruling::fails(
                Vec::new(),
                "the parent makes no call that waits for the child's end",
                advice::WAIT_FOR_CHILD,
            ),
        }
    }

    pub(super) fn closes(&self) -> Ruling {
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

    pub(super) fn ends(&self) -> Ruling {
        let left: Vec<u32> = self
            .record
            .processes()
            .into_iter()
            .filter(|process| self.record.exit(*process).is_none())
            .collect();
        if self.record.ending != Ending::AllExited {
            let calls = format!(" and {} recorded calls", self.record.steps.len());
            let calls = if self.record.ending == Ending::TooManyCalls { calls } else { String::new() };
            let shown = left.iter().filter_map(|process| {
                let (index, _) = self.of(*process).last()?;
                Some(evidence(self.record, self.roles, index))
            });
            return Ruling::fails(
                shown.collect(),
                format!(
                    "after {}{calls} {} still ran and had to be killed; the last step of each is shown",
                    milliseconds(self.record.time),
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

    pub(super) fn exit_codes(&self) -> Ruling {
        let mut shown = Vec::new();
        let mut wrong = Vec::new();
        let child = self.roles.child.map(|child| ("child", child));
        for (name, process) in [("parent", self.roles.parent)].into_iter().chain(child) {
            match self.record.exit(process) {
                Some((index, status)) => {
                    if !status.success() {
                        wrong.push(format!("the {name} {}", ended(status)));
                        shown.extend(
                            self.last_failure(process).map(|index| evidence(self.record, self.roles, index)),
                        );
                    }
                    shown.push(evidence(self.record, self.roles, index));
                }
                None => return Ruling::open(format!("not judged, because the {name} didn't exit by itself")),
            }
        }
        if wrong.is_empty() {
            Ruling::holds(shown)
        } else {
            let held = self.record.hold.as_ref().filter(|hold| !hold.time.is_zero()).map(|hold| {
                format!(
                    ", in the run in which the parent was held at its signal for {}",
                    milliseconds(hold.time)
                )
            });
            Ruling::fails(
                shown,
                wrong.join("; ") + &held.unwrap_or_default(),
                "exit with code 0 when everything has worked; if a failed call is shown, mend it first",
            )
        }
    }

    /// Returns the last call on a handle of a process that failed or timed out.
    fn last_failure(&self, process: u32) -> Option<usize> {
        let failed = self.of(process).filter(|(_, step)| match step.returned() {
            Some((call, Outcome::Failed(_) | Outcome::TimedOut)) => {
                is_wait(&call.action) || is_open(&call.action) || signaled(&call.action).is_some()
            }
            _ => false,
        });
        failed.last().map(|(index, _)| index)
    }
}

/// Returns whether a call acquires an object that exists.
pub(super) fn is_open(action: &Action) -> bool {
    matches!(action, Action::Open { .. } | Action::Duplicate { .. } | Action::OpenProcess { .. })
}
