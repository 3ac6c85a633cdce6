//! The child's handle can wait for the event, and do nothing else.

use crate::check::evidence::milliseconds;
use crate::check::judge::{Finding, Judgement, Ruling, Runs, Strategy, Verdict, judge as judge_exercise};
use crate::check::record::Row;
use crate::check::roles::roles;
use crate::os::advice;

pub(in crate::check) fn judge(runs: &Runs) -> Judgement {
    let mut judgement = judge_exercise(runs);
    let has_handle = |finding: &Finding| finding.id == "same-object" && finding.verdict == Verdict::Holds;
    let ruling = super::if_holds(
        judgement.findings.iter().any(has_handle),
        "the child has no handle to the event",
        || has_least_access(runs),
    );
    let Ruling { verdict, evidence, why, advice } = ruling;
    let requirement = "The child's handles to the event can only wait";
    let finding = Finding { id: "least-access", requirement, verdict, evidence, why, advice };
    let place = judgement.findings.iter().position(|finding| finding.id == "waits").unwrap_or_default();
    judgement.findings.insert(place, finding);
    judgement
}

fn has_least_access(runs: &Runs) -> Ruling {
    let record = runs.main();
    let Some(roles) = roles(record) else { return Ruling::open("the run recorded nothing") };
    let case = super::case(record, Strategy::Any, &roles);
    let mut shown = Vec::new();
    let mut too_much = Vec::new();
    let is_of_event = |row: &&Row| row.object == Some(case.event());
    for (_, step) in case.of(case.child()) {
        for row in step.rows.iter().chain(&step.opened).filter(is_of_event) {
            let line = format!(
                "{}: handle {} of the child ({}, {})",
                milliseconds(step.event.at),
                row.value,
                row.kind,
                row.access
            );
            if !crate::os::can_only_wait(&row.access) {
                too_much.push(line.clone());
            }
            shown.push(line);
        }
    }
    if shown.is_empty() {
        return Ruling::fails(
            Vec::new(),
            "the child uses the object without a handle, so the kernel checks no rights",
            advice::LEAST_ACCESS,
        );
    }
    if too_much.is_empty() {
        return Ruling::holds(shown);
    }
    Ruling::fails(too_much, "the child's handle can also signal the event", advice::LEAST_ACCESS)
}
