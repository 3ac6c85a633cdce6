//! Prints the result of a check: a checklist, or JSON.

use std::ffi::OsString;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::exercise::Exercise;
use super::judge::{Finding, Judgement, Verdict, summary};
use crate::table::printable;

const HOLDS: Style = AnsiColor::Green.on_default().bold();
const FAILS: Style = AnsiColor::Red.on_default().bold();
const OPEN: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// Returns the sign of a verdict and its style.
fn sign(verdict: Verdict) -> (char, Style) {
    match verdict {
        Verdict::Holds => ('✓', HOLDS),
        Verdict::Fails => ('✗', FAILS),
        Verdict::Open => ('?', OPEN),
    }
}

/// Returns the checklist. The terminal's settings decide whether its styles are shown.
pub(crate) fn checklist(judgement: &Judgement) -> String {
    let mut text = String::new();
    for finding in &judgement.findings {
        let (sign, style) = sign(finding.verdict);
        text += &format!("{style}{sign}{style:#} {}\n", finding.requirement);
        for line in &finding.evidence {
            text += &format!("    {FAINT}{}{FAINT:#}\n", printable(line));
        }
        if let Some(why) = &finding.why {
            text += &format!("    {}\n", printable(why));
        }
        if let Some(advice) = finding.advice {
            text += &format!("    try: {advice}\n");
        }
    }
    for remark in &judgement.remarks {
        text += &format!("{OPEN}!{OPEN:#} {}\n", printable(&remark.text));
    }
    text += &format!("result: {}\n", summary(&judgement.findings));
    text
}

/// Returns the title of a picture.
pub(crate) fn title(exercise: Exercise, judgement: &Judgement) -> String {
    format!("Check of {} on {}: {}", exercise.name(), crate::os::SYSTEM, summary(&judgement.findings))
}

/// Returns a sentence for each requirement that fails.
pub(crate) fn failures(judgement: &Judgement) -> Vec<String> {
    let fails = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Fails);
    let sentence = |finding: &Finding| {
        let why = finding.why.as_deref().unwrap_or_default();
        format!("✗ {}: {why}.", finding.requirement)
    };
    fails.map(sentence).collect()
}

/// Returns the result as JSON.
pub(crate) fn as_json(exercise: Exercise, command: &[OsString], judgement: &Judgement) -> Value {
    let verdict = |verdict| match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Open => "not judged",
    };
    let requirements: Vec<Value> = judgement
        .findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "requirement": finding.requirement,
                "verdict": verdict(finding.verdict),
                "evidence": finding.evidence,
                "why": finding.why,
                "try": finding.advice,
            })
        })
        .collect();
    let remarks: Vec<Value> =
        judgement.remarks.iter().map(|remark| json!({ "id": remark.id, "remark": remark.text })).collect();
    let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    json!({
        "exercise": exercise.name(),
        "strategy": exercise.strategy().name(),
        "command": command,
        "holds": judgement.findings.iter().all(|finding| finding.verdict == Verdict::Holds),
        "requirements": requirements,
        "remarks": remarks,
    })
}
