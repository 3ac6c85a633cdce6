//! Remarks on what good programs do, beyond the requirements.

use handover::inspect::observe::{Action, Call, Change, Kind, Outcome, Step, Target};

use super::case::Case;
use super::evidence::{object_name, wait_function};
use super::judge::{Remark, Runs, Strategy, Verdict};
use super::record::{Breakage, ObjectId, Row, mentioned};
use super::roles::{SignalBy, signal};
use crate::os::advice;

impl Case<'_> {
    pub(super) fn remarks(&self, runs: &Runs) -> Vec<Remark> {
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
            .filter(|row| row.inheritable && !row.is_stream && row.object != Some(event))
            .filter(|row| !self.is_used(child, row.value.into()) && !self.was_there_before(row))
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
        let endless = self.of(self.roles.parent).find(|(_, step)| match step.calls() {
            Some(Call { action: Action::Wait { processes, timeout: None, .. }, .. }) => {
                processes.contains(&child)
            }
            _ => false,
        });
        if let Some((_, step)) = endless.filter(|_| advice::PARENT_CAN_LIMIT_ITS_WAIT) {
            add(
                "no-timeout-parent",
                format!("the parent waits for the child without a time limit ({})", wait_function(step)),
            );
        }
        if self.strategy == Strategy::Inheritance
            && self.of(child).any(|(_, step)| step.begins_wait_for(event))
            && let Some(value) = self.constant(child, event)
        {
            add(
                "constant",
                format!(
                    "the child knows the number {value} without being told, so it is a fixed constant in both programs; it \
                         breaks as soon as the parent has another handle open"
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
        let excess = self.record.steps.iter().find_map(|step| {
            let (call, outcome) = step.returned()?;
            let is_for_child = step.given_to().unwrap_or(step.event.process) == child;
            let is_open = matches!(outcome, Outcome::Opened(_)) && is_for_child;
            let is_process = matches!(call.action, Action::OpenProcess { .. });
            let is_meant = is_open && (is_process || step.is_about(event));
            is_meant.then(|| advice::excess_of(&call.action))?
        });
        if let Some(text) = excess {
            add("access", text.into());
        }
        for (breakage, record) in &runs.broken {
            let Some(broken) = &record.broken else { continue };
            let failed = record.exit(broken.process).is_some_and(|(_, status)| !status.success());
            let place = self.record.processes().iter().position(|process| *process == self.roles.parent);
            let parent = place.and_then(|place| record.processes().get(place).copied());
            let exit = parent.and_then(|parent| record.exit(parent));
            let parent_ok = exit.is_some_and(|(_, status)| status.success());
            let has_waited = self.waits_for_child().verdict == Verdict::Holds;
            if failed && parent_ok && has_waited && *breakage == Breakage::Handle(Change::Close) {
                add(
                    "status-ignored",
                    "the parent exits with code 0 although its child failed; look at the status that the wait returns".into(),
                );
            }
        }
        remarks
    }

    /// Returns whether the parent had inherited the handle itself, from the checker.
    fn was_there_before(&self, row: &Row) -> bool {
        let first = self.record.steps.first().map(|step| step.rows.as_slice()).unwrap_or_default();
        first.iter().any(|other| (other.value, &other.kind, &other.name) == (row.value, &row.kind, &row.name))
    }

    /// Returns whether a process uses a handle in any call.
    fn is_used(&self, process: u32, target: Target) -> bool {
        self.of(process).any(|(_, step)| {
            let is_close = matches!(&step.event.step, Step::Calls(call) | Step::Returned(call, _)
                if matches!(call.action, Action::Close { .. } | Action::SetInheritable { .. }));
            !is_close && mentioned(&step.event.step).contains(&target)
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
        let is_left = |row: &&Row| row.inheritable && !row.is_stream && !is_set(row.value.into());
        let row = step.rows.iter().filter(|row| row.object == Some(event)).find(is_left)?;
        Some(format!(
            "handle {} stays inheritable in the child, so programs that it starts get it too; {}",
            row.value,
            advice::CLEAR_INHERIT
        ))
    }

    /// Returns the handle's number if the child can't have learned it.
    fn constant(&self, child: u32, event: ObjectId) -> Option<u32> {
        let (_, step) =
            self.of(child).find(|(_, step)| step.rows.iter().any(|row| row.object == Some(event)))?;
        let values: Vec<u32> =
            step.rows.iter().filter(|row| row.object == Some(event)).map(|row| row.value.get()).collect();
        if step.rows.iter().filter(|row| row.object == Some(event)).all(|row| row.is_stream) {
            return None;
        }
        let Step::Started { arguments, .. } = &step.event.step else { return None };
        let environment = step.environment.as_ref()?;
        let texts = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let told =
            texts.chain([environment.clone()]).any(|text| values.iter().any(|value| tells(&text, *value)));
        // Anything that it reads from another object can contain the number.
        let reads = self.of(child).any(|(_, step)| match step.returned() {
            Some((call, Outcome::Done(1..) | Outcome::Opened(_) | Outcome::Mapped(_))) => {
                matches!(call.action, Action::Read { .. } | Action::Receive { .. } | Action::Map { .. })
                    && !step.is_about(event)
            }
            _ => false,
        });
        (!told && !reads).then(|| values[0])
    }
}

/// Returns whether a text contains the number as a word: in decimal, hex or octal.
pub(super) fn tells(text: &str, value: u32) -> bool {
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
