//! Judges a pair by the recordings of its runs. Each requirement is a function of the recordings alone.

use handover::inspect::observe::Change;

use super::case::Case;
use super::evidence::{count, ended, list, milliseconds};
use super::record::{Breakage, Record};
use super::roles::roles;
use crate::os::advice;

/// How the child is to get its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Inheritance,
    Duplication,
    Naming,
    /// The learner chooses.
    Any,
}

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inheritance => "inheritance",
            Self::Duplication => "duplication",
            Self::Naming => "naming",
            Self::Any => "any",
        }
    }
}

/// Whether a requirement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// It can't be judged, usually because an earlier one fails.
    Open,
}

/// The verdict on one requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The name of the requirement in JSON.
    pub(crate) id: &'static str,
    pub(crate) requirement: &'static str,
    pub(crate) verdict: Verdict,
    /// The calls and the rows of handle tables that show it.
    pub(crate) evidence: Vec<String>,
    pub(crate) why: Option<String>,
    pub(crate) advice: Option<&'static str>,
}

/// A remark on something that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) id: &'static str,
    pub(crate) text: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) findings: Vec<Finding>,
    pub(crate) remarks: Vec<Remark>,
}

/// The recordings of a pair.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    pub(crate) strategy: Strategy,
    /// The run without any intervention.
    pub(crate) watched: Record,
    /// The run in which the parent was held at its signal, if it signals.
    pub(crate) held: Option<Record>,
    /// The runs in which something was broken, if the child gets a handle.
    pub(crate) broken: Vec<(Breakage, Record)>,
}

/// The outcome of one requirement, before it gets its name.
#[derive(Debug)]
pub(super) struct Ruling {
    pub(super) verdict: Verdict,
    pub(super) evidence: Vec<String>,
    pub(super) why: Option<String>,
    pub(super) advice: Option<&'static str>,
}

impl Ruling {
    /// Returns the ruling with the words for the two processes in place of `the parent` and `the child`.
    pub(super) fn named(self, [parent, child]: [&str; 2]) -> Self {
        let child = |text: &str| text.replace("the child", &format!("the {child}"));
        let rename = |why: String| {
            why.split("the parent").map(child).collect::<Vec<_>>().join(&format!("the {parent}"))
        };
        let evidence = self.evidence.into_iter().map(rename).collect();
        Self { why: self.why.map(rename), evidence, ..self }
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    /// Adds a finding, and returns whether the requirement holds.
    pub(super) fn add(&mut self, id: &'static str, requirement: &'static str, ruling: Ruling) -> bool {
        let Ruling { verdict, evidence, why, advice } = ruling;
        self.0.push(Finding { id, requirement, verdict, evidence, why, advice });
        verdict == Verdict::Holds
    }
}

impl Runs {
    /// Returns the run by which most requirements are judged.
    pub(super) fn main(&self) -> &Record {
        self.held.as_ref().unwrap_or(&self.watched)
    }
}

impl Ruling {
    pub(super) fn holds(evidence: Vec<String>) -> Self {
        Self { verdict: Verdict::Holds, evidence, why: None, advice: None }
    }

    pub(super) fn fails(evidence: Vec<String>, why: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Fails, evidence, why: Some(why.into()), advice: Some(advice) }
    }

    pub(super) fn open(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Open, evidence: Vec::new(), why: Some(why.into()), advice: None }
    }
}

/// Judges the runs.
pub(crate) fn judge(runs: &Runs) -> Judgement {
    let record = runs.main();
    let Some(roles) = roles(record) else {
        return Judgement { findings: Vec::new(), remarks: Vec::new() };
    };
    let case = Case { strategy: runs.strategy, record, roles: &roles };
    let mut findings = Findings::default();
    let mut add = |id, requirement, ruling| findings.add(id, requirement, ruling);
    let has_event = add(
        "creates-event",
        match runs.strategy {
            Strategy::Inheritance | Strategy::Duplication => "The parent creates an unnamed event",
            Strategy::Naming => "The parent creates a named event",
            Strategy::Any => "The parent creates an event",
        },
        case.creates_event(),
    );
    let has_child = add("starts-child", "The parent starts a child", case.starts_child());
    let not_judged = |why: &str| Ruling::open(format!("not judged, because {why}"));
    let without_event = || not_judged("there is no such event");
    let without_child = || not_judged("there is no child");
    let has_both = has_event && has_child;
    let first = || if has_event { without_child() } else { without_event() };
    let has_handle = add(
        "same-object",
        "The child has a handle to that very object",
        if has_both { case.has_handle() } else { first() },
    );
    let without_handle =
        || if has_both { not_judged("the child has no handle to the event") } else { first() };
    let is_acquired = add(
        "acquired",
        match runs.strategy {
            Strategy::Inheritance => "The child inherits the handle: it has it at its first instruction",
            Strategy::Duplication => {
                "The handle is duplicated: the child lacks it at first and gets it later"
            }
            Strategy::Naming => "The child opens the event by its name",
            Strategy::Any => {
                "The child inherits the handle, gets a duplicate, or opens the event by its name"
            }
        },
        if has_handle { case.is_acquired() } else { without_handle() },
    );
    let waits = add(
        "waits",
        "The child waits for the event",
        if has_handle { case.waits() } else { without_handle() },
    );
    let signals = add(
        "signals",
        "The parent signals the event",
        if has_event { case.signals() } else { without_event() },
    );
    add(
        "exits-after-signal",
        "The child exits only after the signal",
        match (has_handle, waits, signals) {
            (false, ..) => without_handle(),
            (_, false, _) => not_judged("the child doesn't wait for the event"),
            (.., false) => not_judged("the parent's signal isn't right"),
            _ => case.exits_after_signal(),
        },
    );
    let waits_for_child = if has_child { case.waits_for_child() } else { without_child() };
    add("waits-for-child", "The parent waits until the child exits", waits_for_child);
    let closes = if has_handle { case.closes() } else { without_handle() };
    add("closes", "Both close their handles to the event", closes);
    add("ends", "Both exit before the deadline, and no process is left", case.ends());
    add("exit-codes", "Both exit with code 0", case.exit_codes());
    let succeeds = |record: &Record, child| record.exit(child).is_some_and(|(_, status)| status.success());
    let always_fails = roles.child.is_some_and(|child| !succeeds(record, child));
    for (breakage, id, requirement) in [
        (
            Breakage::Handle(Change::Close),
            "handle-closed",
            "With its handle closed, the child reports no success",
        ),
        (
            Breakage::Handle(Change::Replace),
            "handle-replaced",
            "With another object under its handle, the child reports no success",
        ),
        (Breakage::ParentKilled, "parent-killed", "If the parent is killed, the child reports no success"),
    ] {
        let run = runs.broken.iter().find(|(other, _)| *other == breakage);
        let ruling = match run {
            _ if !has_handle => without_handle(),
            _ if !is_acquired => not_judged("the child gets its handle in another way"),
            None => not_judged("the run couldn't be made"),
            Some((_, record)) => reports_no_success(record),
        };
        let ruling = match ruling.verdict {
            Verdict::Holds if always_fails => not_judged("the child also fails when nothing is broken"),
            _ => ruling,
        };
        add(id, requirement, ruling);
    }
    Judgement { findings: findings.0, remarks: case.remarks(runs) }
}

/// Judges a run in which something was broken.
fn reports_no_success(record: &Record) -> Ruling {
    let Some(broken) = &record.broken else {
        return Ruling::open("not judged, because the child didn't get the handle in this run");
    };
    let what = match broken.breakage {
        _ if broken.done.is_none() => {
            return Ruling::open("left out, because this machine doesn't support it");
        }
        Breakage::Handle(_) if broken.handles.is_empty() => {
            return Ruling::open("left out, because the child uses the object without a handle");
        }
        _ if broken.done == Some(false) => return Ruling::open("the handle couldn't be changed"),
        Breakage::Handle(change) => {
            let values: Vec<u32> = broken.handles.iter().map(|value| value.get()).collect();
            let verb = if change == Change::Close { "closed" } else { advice::REPLACED };
            format!("{} of process {} {verb}", list("handle", &values), broken.process)
        }
        Breakage::ParentKilled => "the parent was killed".to_owned(),
        Breakage::OwnerKilled => "the owner was killed".to_owned(),
    };
    match record.exit(broken.process) {
        None => Ruling::holds(vec![format!(
            "{what}: the child still ran after {}, and was ended",
            milliseconds(record.time)
        )]),
        Some((_, status)) if status.success() => Ruling::fails(
            vec![format!("{what}: the child {}", ended(status))],
            "the child reports success although it can't have seen the signal",
            advice::CHECK_RESULTS,
        ),
        Some((_, status)) => Ruling::holds(vec![format!("{what}: the child {}", ended(status))]),
    }
}

/// Returns the number of findings with a verdict, for the summary.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let of = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let verb = |count, one, several| if count == 1 { one } else { several };
    let (holding, failing) = (of(Verdict::Holds), of(Verdict::Fails));
    let mut text = format!("{} {}", count(holding, "requirement"), verb(holding, "holds", "hold"));
    for (verdict, words) in [(Verdict::Fails, verb(failing, "fails", "fail")), (Verdict::Open, "not judged")]
    {
        if of(verdict) > 0 {
            text += &format!(", {} {words}", of(verdict));
        }
    }
    text
}
