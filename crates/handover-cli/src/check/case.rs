//! Questions about one run: what a process did with the event, and when.

use handover::inspect::observe::{Action, Outcome, Step};

use super::evidence::{evidence, milliseconds};
use super::judge::Strategy;
use super::record::{ObjectId, Record, Recorded, Row};
use super::roles::Roles;

/// One run with its roles.
pub(super) struct Case<'a> {
    pub(super) strategy: Strategy,
    pub(super) record: &'a Record,
    pub(super) roles: &'a Roles,
}

impl Case<'_> {
    pub(super) fn of(&self, process: u32) -> impl Iterator<Item = (usize, &Recorded)> {
        self.record.of_process(process)
    }

    /// The evidence for a step.
    pub(super) fn shown(&self, index: usize) -> Vec<String> {
        vec![evidence(self.record, self.roles, index)]
    }

    pub(super) fn event(&self) -> ObjectId {
        self.roles.event.unwrap_or_default()
    }

    pub(super) fn child(&self) -> u32 {
        self.roles.child.unwrap_or_default()
    }

    /// Returns the step at which a handle to an object, or its mapping, first came to a process by a call.
    pub(super) fn opened(&self, process: u32, object: ObjectId) -> Option<usize> {
        let steps = self.record.steps.iter().enumerate();
        steps
            .filter(|(_, step)| step.given_to().unwrap_or(step.event.process) == process)
            .find(|(_, step)| {
                let opens = matches!(step.returned(), Some((_, Outcome::Opened(_) | Outcome::Mapped(_))));
                opens && step.is_about(object)
            })
            .map(|(index, _)| index)
    }

    /// Returns the first program of the process, and the rows of its table that are handles to the object.
    pub(super) fn inherited(&self, process: u32, object: ObjectId) -> Option<(usize, Vec<String>)> {
        let has_row = |index: usize| self.record.inherited_rows(index, object).next().is_some();
        let (index, step) = self.of(process).find(|(index, _)| has_row(*index))?;
        let rows = self.record.inherited_rows(index, object);
        let shown = |row: &Row| {
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
    pub(super) fn birth(&self, process: u32) -> Option<usize> {
        let is_birth =
            |step: &Recorded| matches!(step.event.step, Step::Started { .. } | Step::Forked { .. });
        self.of(process).find(|(_, step)| is_birth(step)).map(|(index, _)| index)
    }

    /// Whether the child is a copy of its parent, which has begun no program of its own.
    pub(super) fn is_copy(&self, process: u32) -> bool {
        !self.of(process).any(|(_, step)| matches!(step.event.step, Step::Started { .. }))
    }

    /// Returns the names of the event, with that of a socket over which the child has received it.
    pub(super) fn names(&self) -> Vec<String> {
        let Some(event) = self.roles.event else { return Vec::new() };
        let mut names = self.record.objects[event].names.clone();
        names.extend(self.served_name());
        names
    }

    /// Returns the name of the socket to which the child has connected and from which it has received the event. This
    /// crate's named events on Linux are served so.
    pub(super) fn served_name(&self) -> Option<String> {
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
}
