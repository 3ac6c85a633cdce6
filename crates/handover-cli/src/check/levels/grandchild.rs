//! The child passes the handle on to a child of its own, which waits for the event.

use handover::inspect::observe::{Action, Outcome};

use super::{Pairs, add_ends, ancestors, case, if_holds, nothing, receivers};
use crate::check::case::Case;
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::picture::Sides;
use crate::check::record::Record;
use crate::check::roles::{Roles, roles as base_roles};

/// The three processes, as pairs.
#[derive(Debug, Clone)]
pub(in crate::check) struct Cast {
    /// The parent and its child.
    pub(in crate::check) first: Roles,
    /// The child and its own child.
    pub(in crate::check) second: Roles,
    /// The parent, and the process that waits for its signal.
    pub(in crate::check) signal: Roles,
}

pub(in crate::check) fn roles(record: &Record) -> Option<Cast> {
    let base = base_roles(record)?;
    let receivers = base.event.map(|event| receivers(record, base.parent, event)).unwrap_or_default();
    let depth = |process: &u32| ancestors(record, *process).iter().position(|other| *other == base.parent);
    // The deepest of the processes that wait, or else of all receivers.
    let waits = |process: &u32| base.event.is_some_and(|event| super::waits_for(record, *process, event));
    let last = receivers.iter().max_by_key(|process| (waits(process), depth(process))).copied();
    let deep = last.filter(|last| depth(last) >= Some(1));
    let child = match deep {
        Some(grandchild) => record.parent_of(grandchild),
        None => last.or(base.child),
    };
    let first = Roles { child, ..base.clone() };
    let second = Roles {
        parent: child.unwrap_or_default(),
        child: deep,
        names: ["child", "grandchild"],
        ..base.clone()
    };
    let signal = Roles {
        child: deep.or(child),
        names: ["parent", if deep.is_some() { "grandchild" } else { "child" }],
        ..base
    };
    Some(Cast { first, second, signal })
}

pub(in crate::check) fn sides(record: &Record) -> Vec<Sides> {
    let Some(cast) = roles(record) else { return Vec::new() };
    let mut sides = vec![Sides::of(&cast.first)];
    sides.extend(cast.second.child.map(|_| Sides::of(&cast.second)));
    sides
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let record = runs.main();
    let Some(cast) = roles(record) else { return nothing() };
    let mut findings = Findings::default();
    let [first, second, signal] =
        [&cast.first, &cast.second, &cast.signal].map(|roles| case(record, Strategy::Any, roles));
    let has_event = findings.add("creates-event", "The parent creates an event", first.creates_event());
    let has_child = findings.add("starts-child", "The parent starts a child", first.starts_child());
    let has_grandchild = findings.add(
        "starts-grandchild",
        "The child starts a child of its own",
        if_holds(has_child, "there is no child", || match second.roles.child {
            Some(_) => second.starts_child().named(cast.second.names),
            None => Ruling::fails(
                Vec::new(),
                "the process that gets the event is the parent's own child, and it starts no other one",
                "start a second process in the child, and pass the handle on to it",
            ),
        }),
    );
    let is_there = has_event && has_grandchild;
    let missing = if has_event { "there is no grandchild" } else { "there is no such event" };
    let child_has = findings.add(
        "same-object",
        "The child has a handle to that very object",
        if_holds(has_event && has_child, missing, || first.has_handle()),
    );
    let has_handle = findings.add(
        "passed-on",
        "The grandchild gets its handle from the child",
        match (is_there, child_has) {
            (false, _) => if_holds(false, missing, || Ruling::open("")),
            (_, false) => Ruling::open("not judged, because the child has no handle to the event"),
            _ => is_passed_on(&second).named(cast.second.names),
        },
    );
    let lacking = if is_there { "the grandchild has no handle from the child" } else { missing };
    let waits = findings.add(
        "waits",
        "The grandchild waits for the event",
        if_holds(has_handle, lacking, || second.waits().named(cast.second.names)),
    );
    let signals = findings.add(
        "signals",
        "The parent signals the event",
        if_holds(is_there, missing, || signal.signals().named(cast.signal.names)),
    );
    findings.add(
        "exits-after-signal",
        "The grandchild exits only after the signal",
        match (has_handle, waits, signals) {
            (true, true, true) => signal.exits_after_signal().named(cast.signal.names),
            (false, ..) => if_holds(false, lacking, || Ruling::open("")),
            (_, false, _) => Ruling::open("not judged, because the grandchild doesn't wait for the event"),
            _ => Ruling::open("not judged, because the parent doesn't signal the event"),
        },
    );
    let pairs = [cast.first.clone(), cast.second.clone()];
    let both = Pairs::new(record, Strategy::Any, &pairs);
    findings.add(
        "waits-for-child",
        "The parent waits until the child exits, and the child until the grandchild exits",
        if_holds(has_grandchild, missing, || both.each(Case::waits_for_child)),
    );
    findings.add(
        "closes",
        "All close their handles to the event",
        if_holds(has_handle, lacking, || both.each(Case::closes)),
    );
    if has_grandchild {
        add_ends(&mut findings, &both);
    } else {
        add_ends(&mut findings, &Pairs::new(record, Strategy::Any, std::slice::from_ref(&cast.first)));
    }
    Judgement { findings: findings.0, remarks: both.remarks(runs) }
}

/// Judges that the handle of the grandchild came from the child: it was inherited, or the child sent a duplicate.
fn is_passed_on(case: &Case<'_>) -> Ruling {
    let has = case.has_handle();
    if has.verdict != crate::check::judge::Verdict::Holds {
        return has;
    }
    let (child, grandchild, event) = (case.roles.parent, case.child(), case.event());
    if case.inherited(grandchild, event).is_some() || case.is_copy(grandchild) {
        return has;
    }
    let Some(index) = case.opened(grandchild, event) else { return has };
    let is_from_child = match case.record.steps[index].returned() {
        Some((call, Outcome::Opened(_))) => match &call.action {
            Action::Duplicate { from, .. } => *from == child || *from == grandchild,
            Action::Receive { .. } => case.of(child).any(|(_, step)| {
                step.is_about(event)
                    && step.calls().is_some_and(|call| matches!(call.action, Action::Send { .. }))
            }),
            _ => false,
        },
        _ => false,
    };
    if is_from_child {
        return has;
    }
    Ruling::fails(
        case.shown(index),
        "the child got the handle without the parent",
        "pass the child's own handle on: let the grandchild inherit it, or send it a duplicate",
    )
}
