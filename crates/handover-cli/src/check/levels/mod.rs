//! The levels beyond the exercises. Each one combines the requirements of the exercises, for one or more pairs of processes,
//! with some of its own.

pub(super) mod abandonment;
pub(super) mod grandchild;
pub(super) mod least_access;
pub(super) mod pipe;
pub(super) mod race;
pub(super) mod two_children;
pub(super) mod unrelated;

use std::collections::BTreeSet;

use super::case::Case;
use super::judge::{Findings, Judgement, Remark, Ruling, Runs, Strategy, Verdict};
use super::record::{ObjectId, Record, Recorded};
use super::roles::Roles;

/// Returns the ruling on a requirement that has to hold for several pairs of processes.
pub(super) fn each(rulings: Vec<Ruling>) -> Ruling {
    if rulings.is_empty() {
        return Ruling::open("not judged, because a process is missing");
    }
    let is = |verdict| rulings.iter().any(|ruling| ruling.verdict == verdict);
    let verdict = match (is(Verdict::Fails), is(Verdict::Open)) {
        (true, _) => Verdict::Fails,
        (false, true) => Verdict::Open,
        (false, false) => Verdict::Holds,
    };
    // The pairs have processes in common, about which each ruling says the same.
    let mut evidence: Vec<String> = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut advice = None;
    for ruling in rulings.into_iter().filter(|ruling| ruling.verdict == verdict) {
        for line in ruling.evidence {
            if !evidence.contains(&line) {
                evidence.push(line);
            }
        }
        for reason in ruling.why.iter().flat_map(|why| why.split("; ")) {
            if !reasons.iter().any(|other| other == reason) {
                reasons.push(reason.to_owned());
            }
        }
        advice = advice.or(ruling.advice);
    }
    let why = (!reasons.is_empty()).then(|| reasons.join("; "));
    Ruling { verdict, evidence, why, advice }
}

/// The pairs of processes for which the requirements of the exercises are judged.
pub(super) struct Pairs<'a> {
    record: &'a Record,
    strategy: Strategy,
    roles: &'a [Roles],
}

impl<'a> Pairs<'a> {
    pub(super) fn new(record: &'a Record, strategy: Strategy, roles: &'a [Roles]) -> Self {
        Self { record, strategy, roles }
    }

    /// Judges a requirement for each pair.
    pub(super) fn each(&self, rule: impl Fn(&Case<'a>) -> Ruling) -> Ruling {
        let ruling = |roles: &'a Roles| rule(&case(self.record, self.strategy, roles)).named(roles.names);
        each(self.roles.iter().map(ruling).collect())
    }

    /// Returns the remarks on all pairs.
    pub(super) fn remarks(&self, runs: &Runs) -> Vec<Remark> {
        let mut remarks: Vec<Remark> = Vec::new();
        for roles in self.roles {
            for remark in case(self.record, self.strategy, roles).remarks(runs) {
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
        }
        remarks
    }
}

pub(super) fn case<'a>(record: &'a Record, strategy: Strategy, roles: &'a Roles) -> Case<'a> {
    Case { strategy, record, roles }
}

/// The result without any finding, for a run that recorded nothing.
pub(super) fn nothing() -> Judgement {
    Judgement { findings: Vec::new(), remarks: Vec::new() }
}

/// Adds the requirements on how the processes end, which all levels have.
pub(super) fn add_ends(findings: &mut Findings, pairs: &Pairs<'_>) {
    let ends = match pairs.roles.first() {
        Some(roles) => case(pairs.record, pairs.strategy, roles).ends(),
        None => Ruling::open("not judged, because a process is missing"),
    };
    findings.add("ends", "All exit before the deadline, and no process is left", ends);
    findings.add("exit-codes", "All exit with code 0", pairs.each(Case::exit_codes));
}

/// Returns the ruling, if an earlier requirement holds.
pub(super) fn if_holds(holds: bool, why: &str, rule: impl FnOnce() -> Ruling) -> Ruling {
    if holds { rule() } else { Ruling::open(format!("not judged, because {why}")) }
}

/// Returns whether a process waits for an object.
pub(super) fn waits_for(record: &Record, process: u32, object: ObjectId) -> bool {
    record.of_process(process).any(|(_, step)| step.begins_wait_for(object))
}

/// Returns whether a process had a handle to an object at its first instruction, or a call opened one.
pub(super) fn has_handle(record: &Record, process: u32, object: ObjectId) -> bool {
    let has = |step: &Recorded| {
        step.rows.iter().any(|row| row.object == Some(object))
            || (step.returned().is_some() && step.is_about(object))
    };
    record.of_process(process).any(|(_, step)| has(step))
}

/// Returns the ancestors of a process, the nearest one first.
pub(super) fn ancestors(record: &Record, process: u32) -> Vec<u32> {
    let mut seen = BTreeSet::from([process]);
    let next = |process: &u32| record.parent_of(*process);
    std::iter::successors(next(&process), next).take_while(|process| seen.insert(*process)).collect()
}

/// Returns the processes that can be the receivers of an object: those that wait for it, then those that have a handle to it,
/// then all others. A process that only starts another receiver is left out.
pub(super) fn receivers(record: &Record, parent: u32, event: ObjectId) -> Vec<u32> {
    let others: Vec<u32> = record.processes().into_iter().filter(|process| *process != parent).collect();
    let rank = |process: &u32| {
        if waits_for(record, *process, event) {
            0
        } else if has_handle(record, *process, event) {
            1
        } else {
            2
        }
    };
    let mut ranked: Vec<u32> =
        others.iter().copied().filter(|process| ancestors(record, *process).contains(&parent)).collect();
    ranked.sort_by_key(rank);
    let starts_better = |process: &u32| {
        others.iter().any(|other| ancestors(record, *other).contains(process) && rank(other) <= rank(process))
    };
    ranked.into_iter().filter(|process| rank(process) == 0 || !starts_better(process)).collect()
}
