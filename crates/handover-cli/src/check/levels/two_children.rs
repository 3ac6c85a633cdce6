//! One event and two children, which one signal releases.

use handover::inspect::observe::Outcome;

use super::{Pairs, add_ends, case, if_holds, nothing, receivers};
use crate::check::case::Case;
use crate::check::evidence::evidence;
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::picture::Sides;
use crate::check::record::{Record, is_wait};
use crate::check::roles::{Roles, roles};
use crate::os::advice;

const CHILDREN: [&str; 2] = ["child", "second child"];

/// Returns the parent with each of its children.
fn cast(record: &Record) -> Option<(Roles, Vec<Roles>)> {
    let base = roles(record)?;
    let children = match base.event {
        Some(event) => receivers(record, base.parent, event),
        None => Vec::new(),
    };
    let with = |(child, name)| Roles { child: Some(child), names: ["parent", name], ..base.clone() };
    let pairs = children.into_iter().zip(CHILDREN).map(with).collect();
    Some((base, pairs))
}

pub(in crate::check) fn sides(record: &Record) -> Vec<Sides> {
    let Some((base, pairs)) = cast(record) else { return Vec::new() };
    let pairs = if pairs.is_empty() { vec![base] } else { pairs };
    pairs.iter().map(Sides::of).collect()
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let record = runs.main();
    let Some((base, roles)) = cast(record) else { return nothing() };
    let pairs = Pairs::new(record, Strategy::Any, &roles);
    let first = case(record, Strategy::Any, &base);
    let mut findings = Findings::default();
    let has_event = findings.add("creates-event", "The parent creates an event", first.creates_event());
    let has_children =
        findings.add("starts-children", "The parent starts two children", starts_children(&first, &roles));
    let has_both = has_event && has_children;
    let missing = if has_event { "there are no two children" } else { "there is no such event" };
    let has_handle = findings.add(
        "same-object",
        "Both children have a handle to that very object",
        if_holds(has_both, missing, || pairs.each(Case::has_handle)),
    );
    let lacking = if has_both { "a child has no handle to the event" } else { missing };
    let waits = findings.add(
        "waits",
        "Both children wait for the event",
        if_holds(has_handle, lacking, || pairs.each(Case::waits)),
    );
    let signals = findings.add(
        "signals",
        "The parent signals the event",
        if_holds(has_both, missing, || pairs.each(Case::signals)),
    );
    let unready = match (has_handle, waits) {
        (false, _) => lacking,
        (_, false) => "a child doesn't wait for the event",
        _ => "the parent doesn't signal the event",
    };
    let is_ready = has_handle && waits && signals;
    findings.add(
        "one-signal",
        "The parent signals the event once",
        if_holds(is_ready, unready, || one_signal(&first)),
    );
    findings.add(
        "exits-after-signal",
        "Both children exit only after the signal",
        if_holds(is_ready, unready, || pairs.each(Case::exits_after_signal)),
    );
    findings.add(
        "releases-both",
        "The signal releases both children",
        if_holds(is_ready, unready, || pairs.each(is_released)),
    );
    findings.add(
        "waits-for-child",
        "The parent waits until both children exit",
        if_holds(has_children, "there are no two children", || pairs.each(Case::waits_for_child)),
    );
    findings.add(
        "closes",
        "All close their handles to the event",
        if_holds(has_handle, lacking, || pairs.each(Case::closes)),
    );
    add_ends(&mut findings, &pairs);
    Judgement { findings: findings.0, remarks: pairs.remarks(runs) }
}

fn starts_children(case: &Case<'_>, roles: &[Roles]) -> Ruling {
    if let [_, _] = roles {
        return Pairs::new(case.record, Strategy::Any, roles).each(Case::starts_child);
    }
    let shown = roles.iter().filter_map(|roles| case.birth(roles.child?)).flat_map(|index| case.shown(index));
    Ruling::fails(
        shown.collect(),
        match roles.len() {
            0 => "the parent started no child after it had created the event".to_owned(),
            _ => "the parent started one child only".to_owned(),
        },
        "start two children before you signal the event",
    )
}

/// Judges that there is one call that signals. A second signal would hide that the first one released one child only.
fn one_signal(case: &Case<'_>) -> Ruling {
    let signals: Vec<usize> = case
        .of(case.roles.parent)
        .filter(|(_, step)| step.begins_signal_of(case.event()))
        .map(|it| it.0)
        .collect();
    let shown = signals.iter().map(|index| evidence(case.record, case.roles, *index)).collect();
    match signals.len() {
        0 | 1 => Ruling::holds(shown),
        count => {
            Ruling::fails(shown, format!("the parent signals the event {count} times"), advice::ONE_SIGNAL)
        }
    }
}

/// Judges that the child's last wait for the event ended because of the signal.
fn is_released(case: &Case<'_>) -> Ruling {
    let waits = case.of(case.child()).filter(|(_, step)| {
        step.is_about(case.event())
            && (step.begins_wait_for(case.event())
                || step.returned().is_some_and(|(call, _)| is_wait(&call.action)))
    });
    let Some((index, step)) = waits.last() else {
        return Ruling::open("the child's wait wasn't seen");
    };
    match step.returned() {
        Some((_, Outcome::Signaled | Outcome::Done(1..))) => Ruling::holds(case.shown(index)),
        Some((_, Outcome::Done(_))) => Ruling::holds(case.shown(index)),
        _ => Ruling::fails(
            case.shown(index),
            "the signal didn't end the last wait of the child",
            advice::ONE_SIGNAL,
        ),
    }
}
