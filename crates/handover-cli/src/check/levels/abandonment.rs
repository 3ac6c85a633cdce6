//! The owner of a mutex is killed, and the process that waits for the mutex finds out.

use std::process::ExitStatus;

use handover::inspect::observe::{Kind, Outcome};

use super::{Pairs, add_ends, case, has_handle, if_holds, nothing};
use crate::check::case::Case;
use crate::check::evidence::{ended, milliseconds};
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::record::{Breakage, ObjectId, Record, is_wait};
use crate::check::roles::{EventKey, Roles, roles as base_roles};
use crate::check::watch::{Moment, Plan};
use crate::os::advice;

/// The exit code of a parent that gets the mutex as abandoned. Many programs exit with 3 at a time limit.
const ABANDONED: i32 = 4;

/// Returns the parent, the child, and the object with the mutex: on Linux the shared memory that contains it.
pub(in crate::check) fn roles(record: &Record) -> Option<Roles> {
    let base = base_roles(record)?;
    let is_candidate = |object: &ObjectId| {
        let it = &record.objects[*object];
        matches!(it.kind, Kind::Mutex | Kind::SharedMemory) && it.creator == Some(base.parent)
    };
    let others = || record.processes().into_iter().filter(|process| *process != base.parent);
    let has = |object: &ObjectId| others().find(|process| has_handle(record, *process, *object));
    let is_awaited = |object: &ObjectId| waits(record, base.parent, *object).next().is_some();
    let best = (0..record.objects.len())
        .filter(is_candidate)
        .max_by_key(|object| (is_awaited(object), has(object).is_some(), std::cmp::Reverse(*object)));
    let child = best.and_then(|object| has(&object)).or(base.child).or_else(|| others().next());
    Some(Roles { event: best, child, ..base })
}

/// Returns the steps at which a process begins to wait for an object.
fn waits(record: &Record, process: u32, object: ObjectId) -> impl Iterator<Item = usize> {
    record.of_process(process).filter(move |(_, step)| step.begins_wait_for(object)).map(|(index, _)| index)
}

/// Returns the run in which the child is killed while the parent waits for the mutex. The last wait counts: a program may
/// first wait for a message in the same memory.
pub(in crate::check) fn plan(record: &Record) -> Option<Plan> {
    let roles = roles(record)?;
    let object = roles.event?;
    let after = waits(record, roles.parent, object).count().checked_sub(1)?;
    Some(Plan::Break {
        event: EventKey::of(record, object),
        moment: Moment::CreatorWaits { after },
        breakage: Breakage::OwnerKilled,
        by: None,
    })
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let record = &runs.watched;
    let Some(roles) = roles(record) else { return nothing() };
    let case = case(record, Strategy::Any, &roles);
    let mut findings = Findings::default();
    let has_mutex = findings.add("creates-mutex", "The parent creates the mutex", creates_mutex(&case));
    let has_child = findings.add("starts-child", "The parent starts a child", case.starts_child());
    let missing = if has_mutex { "there is no child" } else { "there is no mutex" };
    let is_shared = findings.add(
        "same-object",
        "The child has a handle to that very object",
        if_holds(has_mutex && has_child, missing, || case.has_handle()),
    );
    let lacking = if has_mutex && has_child { "the child has no handle to the mutex" } else { missing };
    let waits = findings.add(
        "waits",
        "The parent waits for the mutex, which the child owns",
        if_holds(is_shared, lacking, || is_awaited(&case)),
    );
    let unready = if is_shared { "the parent doesn't wait for the mutex" } else { lacking };
    findings.add(
        "releases",
        "The child releases the mutex, and the parent's wait ends",
        if_holds(waits, unready, || is_released(&case)),
    );
    findings.add(
        "abandoned",
        "If the child is killed while it owns the mutex, the parent exits with code 4",
        if_holds(waits, unready, || is_abandoned(runs)),
    );
    let waits_for_child = if_holds(has_child, "there is no child", || case.waits_for_child());
    findings.add("waits-for-child", "The parent waits until the child exits", waits_for_child);
    findings.add(
        "closes",
        "Both close their handles to the mutex",
        if_holds(is_shared, lacking, || case.closes()),
    );
    add_ends(&mut findings, &Pairs::new(record, Strategy::Any, std::slice::from_ref(&roles)));
    Judgement { findings: findings.0, remarks: Vec::new() }
}

fn creates_mutex(case: &Case<'_>) -> Ruling {
    let created = case.roles.event.and_then(|object| {
        case.of(case.roles.parent).find(|(_, step)| step.is_about(object) && step.returned().is_some())
    });
    match created {
        Some((index, _)) => Ruling::holds(case.shown(index)),
        None => Ruling::fails(
            Vec::new(),
            "the parent created nothing that can hold a shared mutex",
            advice::MUTEX,
        ),
    }
}

fn is_awaited(case: &Case<'_>) -> Ruling {
    match waits(case.record, case.roles.parent, case.event()).last() {
        Some(index) => Ruling::holds(case.shown(index)),
        None => Ruling::fails(
            Vec::new(),
            "the parent makes no call that waits for the mutex",
            "let the child own the mutex for half a second, and let the parent wait for it meanwhile; a mutex that is free makes \
             no process wait",
        ),
    }
}

fn is_released(case: &Case<'_>) -> Ruling {
    let (parent, child, mutex) = (case.roles.parent, case.child(), case.event());
    let Some(begin) = waits(case.record, parent, mutex).last() else {
        return Ruling::open("the wait wasn't seen");
    };
    let release = case.of(child).find(|(index, step)| *index > begin && step.begins_signal_of(mutex));
    let end = case.of(parent).find(|(index, step)| {
        *index > begin
            && step.is_about(mutex)
            && step.returned().is_some_and(|(call, _)| is_wait(&call.action))
    });
    let is_over = end.is_some_and(|(_, step)| matches!(step.returned(), Some((_, Outcome::Signaled))));
    match release {
        Some((index, _)) if is_over => Ruling::holds(case.shown(index)),
        _ => Ruling::fails(
            case.shown(begin),
            "the child doesn't release the mutex while the parent waits for it",
            "release the mutex in the child before it exits",
        ),
    }
}

fn is_abandoned(runs: &Runs) -> Ruling {
    let run = runs.broken.iter().find(|(breakage, _)| *breakage == Breakage::OwnerKilled);
    let Some((_, record)) = run else { return Ruling::open("not judged, because the run couldn't be made") };
    let Some(broken) = &record.broken else {
        return Ruling::open("not judged, because the parent didn't wait for the mutex in this run");
    };
    let parent = roles(record).map(|roles| roles.parent).or(record.parent());
    let status: Option<ExitStatus> = parent.and_then(|parent| record.exit(parent)).map(|(_, status)| status);
    let what = format!("process {} was killed while the parent waited", broken.process);
    let Some(status) = status else {
        return Ruling::fails(
            vec![format!("{what}: the parent hung, and was ended after {}", milliseconds(record.time))],
            "the parent isn't told that the owner has died",
            advice::ABANDONED,
        );
    };
    let shown = vec![format!("{what}: the parent {}", ended(status))];
    match status.code() {
        Some(ABANDONED) => Ruling::holds(shown),
        Some(0) => Ruling::fails(
            shown,
            "the parent takes the mutex as if its owner had released it",
            advice::ABANDONED,
        ),
        _ => Ruling::fails(
            shown,
            format!("the parent {}, and not with code {ABANDONED}", ended(status)),
            advice::ABANDONED,
        ),
    }
}
