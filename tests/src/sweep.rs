//! Letting each system call of a scenario fail in turn.

use std::time::Duration;

use handover::{Child, Error, Event, Result, faults};

use crate::{table, until};

/// Lets each call of the scenario fail in turn. After a failure there is no child more than before, no handle more,
/// and the error says what was done.
///
/// # Panics
///
/// If anything is otherwise.
pub fn sweep<T>(scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
    sweep_with_harmless(0, scenario, undo);
}

/// As [`sweep`], for a scenario in which so many failures may turn out not to matter: a message whose sending seems to
/// have failed is sent after all if the other end has it.
///
/// # Panics
///
/// If anything is otherwise.
pub fn sweep_with_harmless<T>(harmless: usize, scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
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
    let mut made_light_of = 0;
    for call in 0..calls {
        let (outcome, made) = faults::run(Some(call), &scenario);
        match outcome {
            Err(Error::System { call: name, what, source }) => {
                assert_eq!(source.raw_os_error(), Some(faults::CODE), "call {call}: {source}");
                assert!(!name.is_empty() && !what.is_empty());
            }
            Err(other) => panic!("call {call} of {calls}: {other:?}"),
            // Another process was quicker, and fewer calls were needed than the first time.
            Ok(done) if made <= call => undo(done),
            Ok(done) if made_light_of < harmless => {
                made_light_of += 1;
                undo(done);
            }
            Ok(done) => panic!("call {call} of {calls} failed, and nobody said so: {}", {
                undo(done);
                "succeeded"
            }),
        }
        until("no child is left", || running() == children);
        // What another process has put into this one's table is closed by that one, in a moment.
        let what = format!("{handles} handles after call {call} of {calls} failed");
        until(&what, || table::count() == handles);
    }
    println!("{calls} calls");
}

/// An event, and one that somebody has left inheritable.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn events() -> (Event, Event) {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    (event, inheritable)
}

/// Asserts that nobody has touched the two.
///
/// # Panics
///
/// If somebody has.
pub fn flags_are_as_before(event: &Event, inheritable: &Event) {
    assert!(!table::is_inheritable(event) && table::is_inheritable(inheritable));
}

/// Ends a child that doesn't end by itself.
///
/// # Panics
///
/// If it doesn't end.
pub fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(Duration::from_secs(10)).unwrap();
}
