//! Each system call of a scenario fails in turn: an error comes, no process is left, no handle, no changed flag.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Child, Command, Error, Event, Result, Stdio, faults};
use handover_tests::{foreign, role, table, tests, this_program, until};

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_spawn_fails_at_each_call,
            a_spawn_behind_another_child_fails_at_each_call,
            a_sealed_spawn_fails_at_each_call,
            a_suspended_spawn_fails_at_each_call,
            a_spawn_in_the_parents_job_fails_at_each_call,
            a_duplication_fails_at_each_call,
            an_adoption_fails_at_each_call,
        ],
        tests![adopts_with_faults, says_a_word, repeats],
    )
}

/// Lets each call of the scenario fail in turn. After a failure there is no child more than before, no handle more,
/// and the error says what was done.
fn sweep<T>(scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
    // What is made once for the whole process is made before anything is counted, and so is what the first wait or
    // first error needs.
    undo(scenario().expect("without a fault it succeeds"));
    let (outcome, calls) = faults::run(None, &scenario);
    undo(outcome.expect("without a fault it succeeds"));
    assert!(calls > 0);
    let running = || table::children_of(std::process::id()).len();
    until("the children have ended", || running() <= 1);
    let children = running();
    let handles = table::count();
    for call in 0..calls {
        let (outcome, _) = faults::run(Some(call), &scenario);
        match outcome {
            Err(Error::System { call: name, what, source }) => {
                assert_eq!(source.raw_os_error(), Some(faults::CODE), "call {call}: {source}");
                assert!(!name.is_empty() && !what.is_empty());
            }
            Err(other) => panic!("call {call} of {calls}: {other:?}"),
            // A question whose answer is only a help, such as whether a stream is there.
            Ok(done) => panic!("call {call} of {calls} failed, and nobody said so: {}", {
                undo(done);
                "succeeded"
            }),
        }
        until("no child is left", || running() == children);
        assert_eq!(table::count(), handles, "handles after call {call} of {calls} failed");
    }
    println!("{calls} calls");
}

fn forever<'a>(event: &'a Event, inheritable: &'a Event) -> Command<'a> {
    let mut command = Command::new(foreign("never_ends"));
    command.inherit("event", event).inherit("inheritable", inheritable).arg_handle("{event}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn events() -> (Event, Event) {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    (event, inheritable)
}

fn flags_are_as_before(event: &Event, inheritable: &Event) {
    assert!(!table::is_inheritable(event) && table::is_inheritable(inheritable));
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(Duration::from_secs(10)).unwrap();
}

fn a_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    // This process's own streams are asked for, too.
    sweep(|| forever(&event, &inheritable).stdin(Stdio::inherit()).stderr(Stdio::inherit()).spawn(), end);
    sweep(|| forever(&event, &inheritable).spawn(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_spawn_behind_another_child_fails_at_each_call() {
    // What is passed on to the child is not read before there is one.
    let (event, inheritable) = events();
    let mut first = Command::new(this_program());
    let mut first = first.args(role("says_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = Command::new(foreign("never_ends"));
    command.inherit("event", &event).inherit("inheritable", &inheritable);
    command.stdin(first.stdout.take().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    first.wait_timeout(Duration::from_secs(10)).unwrap();
    let handles = || table::count();
    for call in 0..5 {
        let before = handles();
        let (outcome, _) = faults::run(Some(call), || command.spawn());
        assert!(outcome.is_err(), "call {call} failed, and nobody said so");
        until("the thread is gone that would have passed it on", || handles() == before);
    }
    let mut reader = Command::new(this_program());
    drop(command);
    let mut last = reader.args(role("repeats", &[])).stdout(Stdio::piped());
    let mut first = Command::new(this_program());
    let mut first = first.args(role("says_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    last = last.stdin(first.stdout.take().unwrap());
    for call in 0..5 {
        assert!(faults::run(Some(call), || last.spawn()).0.is_err());
    }
    assert_eq!(last.output().unwrap().stdout, b"a word");
}

fn says_a_word(_: &[String]) {
    print!("a word");
}

fn repeats(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn a_sealed_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).sealed().spawn(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_suspended_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).spawn_suspended()?.resume(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_spawn_in_the_parents_job_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).kill_with_parent(true).spawn(), end);
    sweep(|| forever(&event, &inheritable).kill_with_parent(true).spawn_suspended()?.resume(), end);
}

fn a_duplication_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let child = Command::new(foreign("never_ends")).kill_on_drop(true).stdin(Stdio::piped()).spawn().unwrap();
    sweep(|| child.process().duplicate_into(&event), drop);
    assert_eq!(table::values_of(&event, child.id()), []);
}

/// Lets call after call of the work fail until one more would be one too many.
fn failing_at_each_call<T>(work: impl Fn() -> Result<T>) -> T {
    let mut failures = 0;
    loop {
        let (outcome, calls) = faults::run(Some(failures), &work);
        match outcome {
            Err(Error::System { source, .. }) if source.raw_os_error() == Some(faults::CODE) => failures += 1,
            Ok(done) if calls <= failures => {
                assert!(failures > 0);
                return done;
            }
            Ok(_) => panic!("call {failures} of {calls} failed, and nobody said so"),
            Err(other) => panic!("after {failures} failures: {other:?}"),
        }
    }
}

fn adopts_with_faults(_: &[String]) {
    // Each failed attempt loses nothing: the last one finds all. What one has done, the next need not do, so the
    // call that fails comes later each time and no call is left out.
    let inherited = failing_at_each_call(handover::inherited);
    for name in ["event", "second"] {
        failing_at_each_call(|| inherited.take::<Event>(name)).set().unwrap();
    }
    assert_eq!(handover::unlisted().unwrap(), []);
}

fn an_adoption_fails_at_each_call() {
    let (event, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut command = Command::new(this_program());
    command.args(role("adopts_with_faults", &[])).inherit("event", &event).inherit("second", &second);
    assert!(command.status().unwrap().success());
    assert!(event.try_wait().unwrap() && second.try_wait().unwrap());
}
