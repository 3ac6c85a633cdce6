//! The handle is duplicated into a process that the sharer didn't start.

use handover::inspect::observe::Action;

use super::{Pairs, add_ends, ancestors, case, if_holds, nothing};
use crate::check::case::Case;
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::record::Record;
use crate::check::roles::{Roles, roles as base_roles};
use crate::os::advice;

pub(in crate::check) fn roles(record: &Record) -> Option<Roles> {
    Some(Roles { names: ["sharer", "receiver"], ..base_roles(record)? })
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let record = runs.main();
    let Some(roles) = roles(record) else { return nothing() };
    // A name that leads to a socket isn't a name of the event.
    let case = case(record, Strategy::Any, &roles);
    let mut findings = Findings::default();
    let has_event =
        findings.add("creates-event", "The sharer creates an event", case.creates_event().named(roles.names));
    let is_unrelated = findings.add(
        "starts-unrelated",
        "Another process than the sharer starts the receiver",
        if_holds(has_event, "there is no such event", || is_unrelated(&case)),
    );
    let missing = if has_event { "there is no receiver of its own" } else { "there is no such event" };
    let has_handle = findings.add(
        "same-object",
        "The receiver has a handle to that very object",
        if_holds(is_unrelated, missing, || case.has_handle().named(roles.names)),
    );
    let lacking = if is_unrelated { "the receiver has no handle to the event" } else { missing };
    findings.add(
        "acquired",
        "The handle is duplicated: the receiver lacks it at first and gets it later",
        if_holds(has_handle, lacking, || is_duplicated(&case)),
    );
    let waits = findings.add(
        "waits",
        "The receiver waits for the event",
        if_holds(has_handle, lacking, || case.waits().named(roles.names)),
    );
    let signals = findings.add(
        "signals",
        "The sharer signals the event",
        if_holds(is_unrelated, missing, || case.signals().named(roles.names)),
    );
    let unready = match (has_handle, waits) {
        (false, _) => lacking,
        (_, false) => "the receiver doesn't wait for the event",
        _ => "the sharer doesn't signal the event",
    };
    findings.add(
        "exits-after-signal",
        "The receiver exits only after the signal",
        if_holds(has_handle && waits && signals, unready, || case.exits_after_signal().named(roles.names)),
    );
    findings.add(
        "closes",
        "Both close their handles to the event",
        if_holds(has_handle, lacking, || case.closes().named(roles.names)),
    );
    // The launcher is a part of the exercise too.
    let launcher = record.parent().filter(|first| *first != roles.parent && Some(*first) != roles.child);
    let mut pairs = vec![roles.clone()];
    pairs.extend(launcher.map(|launcher| Roles {
        parent: launcher,
        names: ["launcher", "receiver"],
        ..roles.clone()
    }));
    add_ends(&mut findings, &Pairs::new(record, Strategy::Any, &pairs));
    Judgement { findings: findings.0, remarks: case.remarks(runs) }
}

fn is_unrelated(case: &Case<'_>) -> Ruling {
    let Some(receiver) = case.roles.child else {
        return Ruling::fails(
            Vec::new(),
            "there is no second process",
            "let a launcher start the sharer and the receiver, and give the check the launcher",
        );
    };
    let (sharer, shown) =
        (case.roles.parent, case.birth(receiver).map(|index| case.shown(index)).unwrap_or_default());
    if ancestors(case.record, receiver).contains(&sharer) {
        return Ruling::fails(
            shown,
            "the sharer started the receiver itself",
            "let a launcher start both, or start the receiver by hand with the id of the sharer's process",
        );
    }
    if ancestors(case.record, sharer).contains(&receiver) {
        return Ruling::fails(
            shown,
            "the receiver started the sharer itself",
            "let a launcher start both processes",
        );
    }
    Ruling::holds(shown)
}

fn is_duplicated(case: &Case<'_>) -> Ruling {
    let (receiver, event) = (case.child(), case.event());
    if let Some((_, rows)) = case.inherited(receiver, event) {
        return Ruling::fails(
            rows,
            "the receiver has inherited the handle",
            "let the sharer create the event after both processes run, and not inheritable",
        );
    }
    let Some(index) = case.opened(receiver, event) else {
        return Ruling::open("it wasn't seen how the handle came to the receiver");
    };
    let action = case.record.steps[index].returned().map(|(call, _)| &call.action);
    if matches!(action, Some(Action::Receive { .. } | Action::Duplicate { .. })) {
        Ruling::holds(case.shown(index))
    } else {
        Ruling::fails(case.shown(index), "the receiver opened the event by its name", advice::DUPLICATE)
    }
}
