//! Two threads start a child at the same time, and each child gets its own handle alone.

use std::collections::BTreeSet;

use handover::inspect::observe::{Action, Inherits, Outcome};

use super::{Pairs, add_ends, case, if_holds, nothing, receivers, waits_for};
use crate::check::case::Case;
use crate::check::evidence::{count, evidence, milliseconds};
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::picture::Sides;
use crate::check::record::{ObjectId, Record, Recorded};
use crate::check::roles::{Roles, place, roles};
use crate::os::advice;

const CHILDREN: [&str; 2] = ["child", "second child"];

/// The two events of the parent, and the parent with the child of each.
struct Cast {
    base: Roles,
    events: Vec<ObjectId>,
    pairs: Vec<Roles>,
}

fn cast(record: &Record) -> Option<Cast> {
    let base = roles(record)?;
    let kind = base.event.map(|event| record.objects[event].kind);
    let is_own = |object: &ObjectId| {
        let it = &record.objects[*object];
        it.creator == Some(base.parent) && Some(it.kind) == kind && place(it.kind).is_some()
    };
    let mut events: Vec<ObjectId> = (0..record.objects.len()).filter(is_own).collect();
    let is_awaited = |object: &ObjectId| {
        record
            .processes()
            .into_iter()
            .any(|process| process != base.parent && waits_for(record, process, *object))
    };
    events.sort_by_key(|object| !is_awaited(object));
    events.truncate(2);
    events.sort_unstable();
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for (event, name) in events.iter().zip(CHILDREN) {
        let waiting = receivers(record, base.parent, *event);
        let child =
            waiting.iter().find(|child| waits_for(record, **child, *event) && !taken.contains(*child));
        let child = child.or_else(|| waiting.iter().find(|child| !taken.contains(*child))).copied();
        taken.extend(child);
        pairs.push(Roles { child, event: Some(*event), names: ["parent", name], ..base.clone() });
    }
    Some(Cast { base, events, pairs })
}

pub(in crate::check) fn sides(record: &Record) -> Vec<Sides> {
    let Some(cast) = cast(record) else { return Vec::new() };
    let all = |roles: &Roles| {
        let mut sides = Sides::of(roles);
        sides.objects.extend(cast.events.iter().filter(|event| Some(**event) != roles.event));
        sides
    };
    if cast.pairs.is_empty() { vec![Sides::of(&cast.base)] } else { cast.pairs.iter().map(all).collect() }
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let record = &runs.watched;
    let Some(Cast { base, events, pairs: roles }) = cast(record) else { return nothing() };
    let pairs = Pairs::new(record, Strategy::Any, &roles);
    let first = case(record, Strategy::Any, &base);
    let mut findings = Findings::default();
    let has_events =
        findings.add("creates-events", "The parent creates two events", creates_events(&first, &events));
    let no_events = "there are no two events";
    let has_children = findings.add(
        "starts-children",
        "The parent starts two children",
        if_holds(has_events, no_events, || pairs.each(Case::starts_child)),
    );
    let missing = if has_events { "there are no two children" } else { no_events };
    findings.add(
        "two-threads",
        "Each child is started by a thread of its own",
        if_holds(has_children, missing, || two_threads(&first, &roles)),
    );
    let has_handle = findings.add(
        "same-object",
        "Each child has a handle to its event",
        if_holds(has_children, missing, || pairs.each(Case::has_handle)),
    );
    let lacking = if has_children { "a child has no handle to its event" } else { missing };
    findings.add(
        "own-handle-only",
        "No child has a handle to the other child's event",
        if_holds(has_children, missing, || pairs.each(|case| own_handle_only(case, &events))),
    );
    findings.add(
        "never-exposed",
        "At no moment could a child that another thread starts inherit the handle",
        if_holds(has_children, missing, || never_exposed(&first, &events)),
    );
    findings.add(
        "waits",
        "Each child waits for its event",
        if_holds(has_handle, lacking, || pairs.each(Case::waits)),
    );
    findings.add(
        "signals",
        "The parent signals both events",
        if_holds(has_children, missing, || pairs.each(Case::signals)),
    );
    findings.add(
        "waits-for-child",
        "The parent waits until both children exit",
        if_holds(has_children, missing, || pairs.each(Case::waits_for_child)),
    );
    findings.add(
        "closes",
        "All close their handles to the events",
        if_holds(has_handle, lacking, || pairs.each(Case::closes)),
    );
    add_ends(&mut findings, &pairs);
    Judgement { findings: findings.0, remarks: pairs.remarks(runs) }
}

fn creates_events(case: &Case<'_>, events: &[ObjectId]) -> Ruling {
    let created = |event: &ObjectId| {
        case.record.steps.iter().position(|step| step.is_about(*event) && step.returned().is_some())
    };
    let shown = events.iter().filter_map(created).flat_map(|index| case.shown(index)).collect();
    match events.len() {
        2 => Ruling::holds(shown),
        number => Ruling::fails(
            shown,
            format!("the parent created {}", count(number, "event")),
            "create an event for each of the two children",
        ),
    }
}

/// Returns the thread of the parent that started a child, and the step.
fn starter(case: &Case<'_>, child: u32) -> Option<(usize, u32)> {
    // A launcher in between belongs to the thread that started it.
    let mut child = child;
    while let Some(parent) = case.record.parent_of(child).filter(|parent| *parent != case.roles.parent) {
        child = parent;
    }
    let spawns = |(_, step): &(usize, &Recorded)| match step.returned() {
        Some((call, outcome)) => {
            matches!(call.action, Action::Spawn { .. }) && !matches!(outcome, Outcome::Failed(_))
        }
        None => false,
    };
    let returned = |step: &Recorded| match step.returned() {
        Some((call, Outcome::Done(id))) if matches!(call.action, Action::Spawn { .. }) => {
            u32::try_from(*id).ok()
        }
        _ => None,
    };
    let by_result = case.of(case.roles.parent).find(|(_, step)| returned(step) == Some(child));
    // A call that doesn't return the process has its place among the calls.
    let by_order = || {
        let processes = case.record.processes();
        let mut children =
            processes.iter().filter(|process| case.record.parent_of(**process) == Some(case.roles.parent));
        let place = children.position(|process| *process == child)?;
        case.of(case.roles.parent).filter(spawns).nth(place)
    };
    by_result.or_else(by_order).map(|(index, step)| (index, step.event.thread))
}

fn two_threads(case: &Case<'_>, roles: &[Roles]) -> Ruling {
    let starters: Vec<_> = roles.iter().filter_map(|roles| starter(case, roles.child?)).collect();
    let shown = starters.iter().map(|(index, _)| evidence(case.record, case.roles, *index)).collect();
    match starters.as_slice() {
        [(_, one), (_, other)] if one != other => Ruling::holds(shown),
        [_, _] => Ruling::fails(
            shown,
            "one thread starts both children, so nothing happens at the same time",
            "start each child in a thread of its own",
        ),
        _ => Ruling::open("it wasn't seen which thread started a child"),
    }
}

fn own_handle_only(case: &Case<'_>, events: &[ObjectId]) -> Ruling {
    let others = events.iter().filter(|event| Some(**event) != case.roles.event);
    let stray = others.filter_map(|event| {
        let (_, rows) = case.inherited(case.child(), *event)?;
        Some(rows)
    });
    let stray: Vec<String> = stray.flatten().collect();
    if stray.is_empty() {
        return Ruling::holds(Vec::new());
    }
    Ruling::fails(stray, "the child also has a handle to the other event", advice::OWN_HANDLE_ONLY)
}

/// Judges the time in which a handle of the parent was inheritable. A child without a list that another thread starts in that
/// time gets the handle, even if none did in this run.
fn never_exposed(case: &Case<'_>, events: &[ObjectId]) -> Ruling {
    let parent = case.roles.parent;
    let is_about = |step: &Recorded| events.iter().any(|event| step.is_about(*event));
    let inherits_all = case.of(parent).any(|(_, step)| {
        step.calls()
            .is_some_and(|call| matches!(call.action, Action::Spawn { inherits: Inherits::Everything }))
    });
    let exposes = case.of(parent).find(|(_, step)| {
        is_about(step)
            && match step.returned() {
                Some((call, Outcome::Opened(_))) => {
                    matches!(call.action, Action::Create { inheritable: true, .. })
                }
                Some((call, Outcome::Done(_))) => {
                    matches!(call.action, Action::SetInheritable { on: true, .. })
                }
                _ => false,
            }
    });
    match exposes {
        Some((index, step)) if inherits_all => {
            let end = case.of(parent).find(|(later, other)| {
                *later > index
                    && is_about(other)
                    && matches!(other.returned(), Some((call, _))
                        if matches!(call.action, Action::SetInheritable { on: false, .. } | Action::Close { .. }))
            });
            let time = match end {
                Some((_, other)) => {
                    format!("for {}", milliseconds(other.event.at.saturating_sub(step.event.at)))
                }
                None => "to the end".to_owned(),
            };
            Ruling::fails(
                case.shown(index),
                format!(
                    "the handle was inheritable in the parent {time}, and every child that any thread starts in this time gets it"
                ),
                advice::OWN_HANDLE_ONLY,
            )
        }
        _ => Ruling::holds(Vec::new()),
    }
}
