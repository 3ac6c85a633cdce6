//! Tests of the judge with recordings that no process has made.

use std::process::ExitStatus;
use std::time::Duration;

use handover::HandleValue;
use handover::inspect::observe::{Action, Call, Change, Event, Kind, Outcome, Step, Target};

use super::judge::{Finding, Judgement, Ruling, Runs, Strategy, Verdict, judge, summary};
use super::record::{Breakage, Broken, Ending, Hold, Kernel, Objects, Record, Row};
use super::remarks::tells;
use super::roles::roles;

const PARENT: u32 = 1;
const CHILD: u32 = 2;

/// Returns a handle value of this number. On Windows, values are multiples of four.
fn value(number: u32) -> HandleValue {
    HandleValue::try_from(u64::from(number) * 4).expect("a handle value")
}

/// A kernel in which the child has one inherited handle, number 3.
struct Fake {
    /// Whether that handle is to the parent's object of the same number.
    is_same: bool,
}

impl Kernel for Fake {
    fn table(&self, process: u32) -> Vec<Row> {
        let row = Row {
            value: value(3),
            kind: "event".into(),
            access: "read, write".into(),
            inheritable: true,
            is_stream: false,
            name: None,
            object: None,
        };
        if process == CHILD { vec![row] } else { Vec::new() }
    }

    fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> bool {
        self.is_same && one.1 == other.1
    }

    fn environment(&self, _: u32) -> Option<String> {
        Some(String::new())
    }
}

fn call(action: Action) -> Call {
    Call { function: "call", action }
}

/// The two steps of a call.
fn made(process: u32, action: Action, outcome: Outcome) -> [(u32, Step); 2] {
    let call = call(action);
    [(process, Step::Calls(call.clone())), (process, Step::Returned(call, outcome))]
}

fn started(process: u32, parent: u32) -> (u32, Step) {
    let arguments = vec!["program".into(), "12".into()];
    (process, Step::Started { parent, program: "program".into(), arguments })
}

fn create(process: u32, number: u32) -> [(u32, Step); 2] {
    let action = Action::Create { kind: Kind::Event, name: None, inheritable: true };
    made(process, action, Outcome::Opened(vec![value(number)]))
}

fn close(process: u32) -> [(u32, Step); 2] {
    made(process, Action::Close { handles: vec![value(3)] }, Outcome::Done(0))
}

fn wait(number: u32) -> [(u32, Step); 2] {
    let timeout = Some(Duration::from_secs(5));
    let action = Action::Wait {
        targets: vec![value(number).into()],
        processes: Vec::new(),
        threads: Vec::new(),
        timeout,
    };
    made(CHILD, action, Outcome::Signaled)
}

fn signal() -> [(u32, Step); 2] {
    made(PARENT, Action::Signal { target: Target::Handle(value(3)) }, Outcome::Done(8))
}

fn wait_for_child() -> [(u32, Step); 2] {
    let timeout = Some(Duration::from_secs(5));
    let action = Action::Wait { targets: Vec::new(), processes: vec![CHILD], threads: Vec::new(), timeout };
    made(PARENT, action, Outcome::Signaled)
}

fn exited(process: u32) -> (u32, Step) {
    (process, Step::Exited { status: ExitStatus::default() })
}

/// The steps of a right pair: the child begins to wait, the parent signals, the child's wait ends.
fn right() -> Vec<(u32, Step)> {
    let [begin, end] = wait(3);
    let mut steps = vec![started(PARENT, 0)];
    steps.extend(create(PARENT, 3));
    steps.extend([(CHILD, Step::Forked { parent: PARENT }), started(CHILD, PARENT), begin]);
    steps.extend(signal());
    steps.push(end);
    steps.extend(close(CHILD));
    steps.push(exited(CHILD));
    steps.extend(wait_for_child());
    steps.extend(close(PARENT));
    steps.push(exited(PARENT));
    steps
}

/// Records the steps, with the parent held at its signal for a second.
fn record(steps: Vec<(u32, Step)>, kernel: &Fake) -> Record {
    let mut objects = Objects::default();
    let mut recorded = Vec::new();
    for (at, (process, step)) in (0..).zip(steps) {
        let event = Event { process, thread: process, at: Duration::from_millis(at), step };
        recorded.push(objects.record(event, kernel));
    }
    let signal = recorded.iter().position(|step| step.event.process == PARENT && step.begins_signal_of(0));
    Record {
        steps: recorded,
        objects: objects.all,
        hold: signal.map(|step| Hold { step, time: Duration::from_secs(1), end: step + 1 }),
        broken: None,
        ending: Ending::AllExited,
        time: Duration::from_secs(1),
    }
}

/// Records a run in which something was broken, and the child exits with success or hangs.
fn broken(breakage: Breakage, succeeds: bool) -> (Breakage, Record) {
    let steps = right().into_iter().filter(|step| succeeds || *step != exited(CHILD)).collect();
    let mut record = record(steps, &Fake { is_same: true });
    record.broken = Some(Broken { breakage, process: CHILD, handles: vec![value(3)], done: Some(true) });
    (breakage, record)
}

const BREAKAGES: [Breakage; 3] =
    [Breakage::Handle(Change::Close), Breakage::Handle(Change::Replace), Breakage::ParentKilled];

fn judged_as(strategy: Strategy, steps: Vec<(u32, Step)>, is_same: bool) -> Judgement {
    let record = record(steps, &Fake { is_same });
    judge(&Runs {
        strategy,
        watched: record.clone(),
        held: Some(record),
        broken: BREAKAGES.map(|breakage| broken(breakage, false)).into(),
    })
}

fn judged(steps: Vec<(u32, Step)>) -> Judgement {
    judged_as(Strategy::Inheritance, steps, true)
}

fn fails(judgement: &Judgement) -> Vec<&'static str> {
    let fails = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Fails);
    fails.map(|finding| finding.id).collect()
}

/// Returns the steps of the right pair without some.
fn without(left_out: impl IntoIterator<Item = (u32, Step)>) -> Vec<(u32, Step)> {
    let left_out: Vec<_> = left_out.into_iter().collect();
    right().into_iter().filter(|step| !left_out.contains(step)).collect()
}

#[test]
fn right_pair_holds() {
    let judgement = judged(right());
    assert!(judgement.findings.iter().all(|finding| finding.verdict == Verdict::Holds), "{judgement:#?}");
    let remarks: Vec<_> = judgement.remarks.iter().map(|remark| remark.id).collect();
    assert_eq!(remarks, ["inheritable"]);
}

#[test]
fn each_missing_step_fails_its_requirement() {
    let judge_without = |steps: Vec<(u32, Step)>| judged(without(steps));
    assert_eq!(fails(&judge_without(create(PARENT, 3).into())), ["creates-event"]);
    assert_eq!(fails(&judge_without(wait(3).into())), ["waits"]);
    assert_eq!(fails(&judge_without(signal().into())), ["signals"]);
    assert_eq!(fails(&judge_without(wait_for_child().into())), ["waits-for-child"]);
    assert_eq!(fails(&judge_without(close(PARENT).into())), ["closes"]);
    assert_eq!(fails(&judge_without(close(CHILD).into())), ["closes"]);
}

#[test]
fn kernel_decides_which_object_a_handle_is_to() {
    // The child has a handle of the same number and kind, and it isn't a copy of its parent.
    let steps: Vec<_> = without([(CHILD, Step::Forked { parent: PARENT })]);
    assert_eq!(fails(&judged_as(Strategy::Inheritance, steps.clone(), true)), [""; 0]);
    assert_eq!(fails(&judged_as(Strategy::Inheritance, steps, false)), ["same-object"]);
}

#[test]
fn own_event_of_the_child_is_not_the_parents() {
    let mut steps = without(wait(3));
    let start = steps.iter().position(|step| *step == started(CHILD, PARENT)).expect("it starts");
    steps.splice(start + 1..=start, create(CHILD, 7).into_iter().chain(wait(7)));
    let judgement = judged(steps);
    assert_eq!(fails(&judgement), ["waits"]);
    let why = judgement.findings.iter().find_map(|finding| finding.why.clone()).expect("a reason");
    assert!(why.contains("created itself"), "{why}");
}

#[test]
fn inherited_handle_is_no_duplicate_and_has_no_name() {
    assert_eq!(fails(&judged_as(Strategy::Duplication, right(), true)), ["acquired"]);
    assert_eq!(fails(&judged_as(Strategy::Naming, right(), true)), ["creates-event"]);
}

#[test]
fn signal_before_the_child_is_too_early() {
    let mut steps = without(signal());
    steps.splice(3..3, signal());
    assert_eq!(fails(&judged(steps)), ["signals"]);
}

/// Returns the reason for which a requirement fails or isn't judged.
fn reason(judgement: &Judgement, id: &str) -> String {
    let finding = judgement.findings.iter().find(|finding| finding.id == id).expect("the requirement");
    assert_ne!(finding.verdict, Verdict::Holds, "{finding:#?}");
    finding.why.clone().expect("a reason")
}

#[test]
fn signal_that_fails_is_no_signal() {
    let failed = made(PARENT, Action::Signal { target: value(3).into() }, Outcome::Failed(22));
    let mut steps = without(signal());
    let place = steps.iter().position(|step| *step == started(CHILD, PARENT)).expect("it starts") + 2;
    steps.splice(place..place, failed.clone());
    let judgement = judged(steps.clone());
    assert_eq!(fails(&judgement), ["signals"]);
    assert!(reason(&judgement, "signals").contains("should signal the event fails"));
    // A later one that succeeds counts.
    steps.splice(place + 2..place + 2, signal());
    assert_eq!(fails(&judged(steps)), [""; 0]);
}

#[test]
fn signal_by_a_closed_handle_is_explained() {
    let mut steps = without(signal().into_iter().chain(close(PARENT)));
    let place = steps.iter().position(|step| *step == started(CHILD, PARENT)).expect("it starts") + 2;
    let failed = made(PARENT, Action::Signal { target: value(3).into() }, Outcome::Failed(9));
    steps.splice(place..place, close(PARENT).into_iter().chain(failed));
    let judgement = judged(steps);
    assert_eq!(fails(&judgement), ["signals"]);
    assert!(reason(&judgement, "signals").contains("has closed its handle before"));
}

#[test]
fn child_that_exits_before_the_signal_is_awaited_too_early() {
    let mut steps = without(signal());
    let end = steps.iter().position(|step| *step == exited(CHILD)).expect("it exits") + 3;
    steps.splice(end..end, signal());
    let judgement = judged(steps);
    assert!(reason(&judgement, "exits-after-signal").contains("wait ended before"), "{judgement:#?}");
    let mut steps = without(wait(3).into_iter().skip(1).chain(signal()));
    let end = steps.iter().position(|step| *step == exited(CHILD)).expect("it exits") + 3;
    steps.splice(end..end, signal());
    let judgement = judged(steps);
    assert!(reason(&judgement, "exits-after-signal").contains("before the parent came to its signal"));
}

#[test]
fn exit_code_is_explained_by_the_last_failed_call() {
    let status = crate::os::exit_status(3);
    let mut steps = right();
    for (_, step) in &mut steps {
        match step {
            Step::Returned(Call { action: Action::Wait { targets, .. }, .. }, outcome)
                if !targets.is_empty() =>
            {
                *outcome = Outcome::TimedOut;
            }
            _ => {}
        }
    }
    let end = steps.iter().position(|step| *step == exited(CHILD)).expect("it exits");
    steps[end].1 = Step::Exited { status };
    let judgement = judged(steps);
    assert_eq!(fails(&judgement), ["exit-codes"]);
    let finding = judgement.findings.iter().find(|finding| finding.id == "exit-codes").unwrap();
    assert!(finding.evidence.iter().any(|line| line.ends_with("= timed out")), "{finding:#?}");
    assert!(reason(&judgement, "exit-codes").contains("held at its signal for 1000 ms"));
    // A child that always fails deserves no credit for failing when something is broken.
    for id in ["handle-closed", "handle-replaced", "parent-killed"] {
        assert!(reason(&judgement, id).contains("also fails when nothing is broken"));
    }
}

#[test]
fn child_that_exits_during_the_hold_did_not_wait_for_the_signal() {
    let [begin, _] = wait(3);
    let mut steps = without(wait(3).into_iter().chain([exited(CHILD)]).chain(signal()));
    let start = steps.iter().position(|step| *step == started(CHILD, PARENT)).expect("it starts");
    let [signals, signaled] = signal();
    steps.splice(start + 1..=start, [begin, signals, exited(CHILD), signaled]);
    let mut record = record(steps, &Fake { is_same: true });
    if let Some(hold) = &mut record.hold {
        hold.end += 1;
    }
    let judgement = judge(&Runs {
        strategy: Strategy::Inheritance,
        watched: record.clone(),
        held: Some(record),
        broken: Vec::new(),
    });
    assert!(fails(&judgement).contains(&"exits-after-signal"), "{judgement:#?}");
}

#[test]
fn success_with_something_broken_fails_and_a_hang_is_shown() {
    for (which, id) in ["handle-closed", "handle-replaced", "parent-killed"].into_iter().enumerate() {
        let record = record(right(), &Fake { is_same: true });
        let broken = (0..3).map(|other| broken(BREAKAGES[other], other == which)).collect();
        let runs =
            Runs { strategy: Strategy::Inheritance, watched: record.clone(), held: Some(record), broken };
        let judgement = judge(&runs);
        assert_eq!(fails(&judgement), [id]);
        let hangs = judgement.findings.iter().flat_map(|finding| &finding.evidence);
        assert_eq!(hangs.filter(|line| line.contains("still ran after")).count(), 2);
    }
}

#[test]
fn number_is_found_in_texts_as_people_write_it() {
    for text in ["20", "--event=20", "EVENT=20\0HOME=/", "0x14", "fd20", "24", "event:14"] {
        assert!(tells(text, 20), "{text:?}");
    }
    for text in ["", "200", "120", "two", "HOME=/home/19"] {
        assert!(!tells(text, 20), "{text:?}");
    }
}

/// A process in front of the parent.
const LAUNCHER: u32 = 9;

/// The steps of the right pair, which a launcher starts.
fn launched() -> Vec<(u32, Step)> {
    let mut steps = vec![started(LAUNCHER, 0)];
    steps.extend(right().into_iter().map(|(process, step)| match step {
        Step::Started { parent: 0, .. } => started(process, LAUNCHER),
        step => (process, step),
    }));
    steps
}

#[test]
fn parent_behind_a_launcher_is_the_one_that_creates_the_event() {
    let found = |steps| roles(&record(steps, &Fake { is_same: true })).map(|roles| roles.parent);
    assert_eq!(found(launched()), Some(PARENT));
    // A launcher that creates an event of its own may be the parent itself.
    let mut steps = launched();
    steps.splice(1..1, create(LAUNCHER, 4));
    assert_eq!(found(steps), Some(LAUNCHER));
}

#[test]
fn message_brings_an_object_whose_sender_has_closed_it() {
    let send = Action::Send { handle: value(5), handles: vec![value(3)] };
    let receive = Action::Receive { handle: value(6), blocks: true };
    let mut steps = vec![started(PARENT, 0)];
    steps.extend(create(PARENT, 3));
    steps.extend(made(PARENT, send, Outcome::Done(1)));
    steps.extend(close(PARENT));
    steps.extend(made(CHILD, receive.clone(), Outcome::Opened(vec![value(7)])));
    let received = (Target::Handle(value(7)), 0);
    let first = record(steps.clone(), &Fake { is_same: false });
    assert!(first.steps.last().is_some_and(|step| step.objects.contains(&received)), "{first:#?}");
    // The message has been taken, so a second one is not it.
    steps.extend(made(CHILD, receive, Outcome::Opened(vec![value(8)])));
    let second = record(steps, &Fake { is_same: false });
    let objects = second.steps.last().map(|step| step.objects.clone()).unwrap_or_default();
    assert!(objects.iter().all(|(_, object)| *object != 0), "{second:#?}");
}

#[test]
fn ruling_speaks_of_the_processes_of_its_pair() {
    let ruling = Ruling::fails(Vec::new(), "the parent exits; the child, and not the parent, hangs", "wait");
    let why = ruling.named(["child", "grandchild"]).why;
    assert_eq!(why.as_deref(), Some("the child exits; the grandchild, and not the child, hangs"));
}

#[test]
fn summary_counts_in_words_that_agree() {
    let summary_of = |verdicts: &[Verdict]| {
        let finding = |verdict: &Verdict| Finding {
            id: "waits",
            requirement: "The child waits for the event",
            verdict: *verdict,
            evidence: Vec::new(),
            why: None,
            advice: None,
        };
        summary(&verdicts.iter().map(finding).collect::<Vec<_>>())
    };
    use Verdict::{Fails, Holds, Open};
    assert_eq!(summary_of(&[Holds, Holds]), "2 requirements hold");
    assert_eq!(summary_of(&[Holds, Fails, Open]), "1 requirement holds, 1 fails, 1 not judged");
    assert_eq!(summary_of(&[Fails, Fails]), "0 requirements hold, 2 fail");
}
