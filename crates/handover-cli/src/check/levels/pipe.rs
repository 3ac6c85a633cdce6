//! A pipe's reading end is duplicated into the child, which reads to the end of file.

use handover::inspect::observe::{Action, Kind, Outcome};

use super::{Pairs, add_ends, case, has_handle, if_holds, nothing};
use crate::check::case::Case;
use crate::check::evidence::{evidence, milliseconds};
use crate::check::judge::{Findings, Judgement, Ruling, Runs, Strategy};
use crate::check::record::{ObjectId, Record, Recorded, Row};
use crate::check::roles::{Roles, roles as base_roles};
use crate::os::is_end_of_pipe;

/// Returns the parent, the child, and the pipe that they share. A pipe that the child was born with serves another purpose,
/// such as its standard input, unless there is no other one.
pub(in crate::check) fn roles(record: &Record) -> Option<Roles> {
    let base = base_roles(record)?;
    let others = record.processes().into_iter().filter(|process| *process != base.parent);
    let pairs = others.flat_map(|process| {
        let pipes = (0..record.objects.len()).filter(|object| {
            record.objects[*object].kind == Kind::Pipe && record.objects[*object].creator == Some(base.parent)
        });
        pipes.map(move |pipe| (process, pipe))
    });
    let rank = |(process, pipe): &(u32, ObjectId)| {
        let opens = |step: &Recorded| step.opened.iter().any(|row| row.object == Some(*pipe));
        let reads = |step: &Recorded| is_read(step) && step.is_about(*pipe);
        let any = |is: &dyn Fn(&Recorded) -> bool| record.of_process(*process).any(|(_, step)| is(step));
        (!any(&opens), !any(&reads), std::cmp::Reverse(*pipe))
    };
    let used = pairs.filter(|(process, pipe)| has_handle(record, *process, *pipe));
    let pipe = used.min_by_key(rank);
    let own = || (0..record.objects.len()).find(|object| record.objects[*object].kind == Kind::Pipe);
    Some(Roles {
        child: pipe.map(|(process, _)| process).or(base.child),
        event: pipe.map(|(_, pipe)| pipe).or_else(own),
        ..base
    })
}

fn is_read(step: &Recorded) -> bool {
    step.returned().is_some_and(|(call, _)| matches!(call.action, Action::Read { .. }))
}

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    // The hold is at the last close or the first write, which says nothing about a pipe.
    let record = &runs.watched;
    let Some(roles) = roles(record) else { return nothing() };
    let case = case(record, Strategy::Duplication, &roles);
    let mut findings = Findings::default();
    let has_pipe = findings.add("creates-pipe", "The parent creates a pipe", creates_pipe(&case));
    let has_child = findings.add("starts-child", "The parent starts a child", case.starts_child());
    let missing = if has_pipe { "there is no child" } else { "there is no pipe" };
    let has_handle = findings.add(
        "same-object",
        "The child has a handle to that very pipe",
        if_holds(has_pipe && has_child, missing, || case.has_handle()),
    );
    let lacking = if has_pipe && has_child { "the child has no handle to the pipe" } else { missing };
    findings.add(
        "acquired",
        "The handle is duplicated: the child lacks it at first and gets it later",
        if_holds(has_handle, lacking, || case.is_acquired()),
    );
    findings.add(
        "bytes",
        "The child reads the bytes that the parent writes",
        if_holds(has_handle, lacking, || bytes(&case)),
    );
    findings.add(
        "no-stray-end",
        "No process but the parent has a writing end",
        if_holds(has_handle, lacking, || no_stray_end(&case)),
    );
    findings.add(
        "end-of-file",
        "The child reads to the end of file",
        if_holds(has_handle, lacking, || end_of_file(&case)),
    );
    let waits_for_child = if_holds(has_child, "there is no child", || case.waits_for_child());
    findings.add("waits-for-child", "The parent waits until the child exits", waits_for_child);
    findings.add(
        "closes",
        "Both close their handles to the pipe",
        if_holds(has_handle, lacking, || case.closes()),
    );
    add_ends(&mut findings, &Pairs::new(record, Strategy::Duplication, std::slice::from_ref(&roles)));
    Judgement { findings: findings.0, remarks: Vec::new() }
}

fn creates_pipe(case: &Case<'_>) -> Ruling {
    let created = case.record.steps.iter().position(|step| {
        case.roles.event.is_some_and(|pipe| step.is_about(pipe))
            && matches!(step.returned(), Some((call, _)) if matches!(call.action, Action::Create { .. }))
    });
    match created {
        Some(index) => Ruling::holds(case.shown(index)),
        None => Ruling::fails(
            Vec::new(),
            "the parent created no unnamed pipe",
            "create one before you start the child",
        ),
    }
}

/// Returns the calls of a process that read from the pipe or write to it, with the number of bytes.
fn transfers<'a>(case: &'a Case<'_>, process: u32, reads: bool) -> impl Iterator<Item = (usize, i64)> + 'a {
    case.of(process).filter_map(move |(index, step)| {
        let (call, count) = match step.returned()? {
            (call, Outcome::Done(count)) => (call, count),
            (call, Outcome::Failed(code)) if is_end_of_pipe(*code) => (call, &0),
            _ => return None,
        };
        let is_wanted = match call.action {
            Action::Read { .. } => reads,
            Action::Write { .. } => !reads,
            _ => false,
        };
        (is_wanted && step.is_about(case.event())).then_some((index, *count))
    })
}

fn bytes(case: &Case<'_>) -> Ruling {
    let sum = |process, reads| transfers(case, process, reads).map(|(_, count)| count).sum::<i64>();
    let (written, read) = (sum(case.roles.parent, false), sum(case.child(), true));
    let last = |process, reads| transfers(case, process, reads).filter(|(_, count)| *count > 0).last();
    let shown = [last(case.roles.parent, false), last(case.child(), true)];
    let shown =
        shown.into_iter().flatten().map(|(index, _)| evidence(case.record, case.roles, index)).collect();
    if written > 0 && read == written {
        return Ruling::holds(shown);
    }
    Ruling::fails(
        shown,
        format!("the parent wrote {written} bytes to the pipe, and the child read {read}"),
        "write some bytes once the child has the pipe, and read in a loop until the end of file",
    )
}

fn no_stray_end(case: &Case<'_>) -> Ruling {
    let is_writing = |row: &&Row| row.object == Some(case.event()) && row.access.contains("write");
    let stray = case.record.steps.iter().find_map(|step| {
        let row = step.rows.iter().chain(&step.opened).find(is_writing)?;
        (step.event.process != case.roles.parent).then_some((step, row))
    });
    match stray {
        None => Ruling::holds(Vec::new()),
        Some((step, row)) => Ruling::fails(
            vec![format!(
                "{}: handle {} of process {} ({}, {})",
                milliseconds(step.event.at),
                row.value,
                step.event.process,
                row.kind,
                row.access
            )],
            "another process than the parent has a writing end, so the end of file waits for that one too",
            "give the child the reading end alone, and let no other handle to the pipe be inherited",
        ),
    }
}

fn end_of_file(case: &Case<'_>) -> Ruling {
    let end = transfers(case, case.child(), true).find(|(_, count)| *count == 0);
    if let Some((index, _)) = end {
        return Ruling::holds(case.shown(index));
    }
    let last = case.of(case.child()).filter(|(_, step)| step.begins_wait_for(case.event())).last();
    let is_stuck =
        last.is_some_and(|(index, _)| !transfers(case, case.child(), true).any(|(end, _)| end > index));
    let shown = last.map(|(index, _)| case.shown(index)).unwrap_or_default();
    if is_stuck {
        return Ruling::fails(
            shown,
            "the child's last read never returned, because a writing end stayed open",
            "close the writing end in the parent after the last byte and before you wait for the child; close it in every \
             process that has it",
        );
    }
    Ruling::fails(
        shown,
        "the child stops reading before the end of file",
        "read in a loop until a read returns 0 bytes, or fails with a broken pipe on Windows",
    )
}
