//! Tests of what is refused when std's `Command` passes objects: to another process than the recipient, with a changed list,
//! or together with other changes to the command.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use handover::os::linux::InheritExt;
use handover::{Error, Event, SharedMemory};
use handover_tests::{Suite, in_role_of_std, raw, table, tests, until};
use rustix::io::Errno;

use super::calls;

pub(super) const SUITE: Suite = Suite {
    name: "spawners_refusals",
    tests: tests![
        grandchild_with_copied_environment_is_refused,
        sibling_with_copied_environment_is_refused,
        changed_list_is_refused,
        list_is_gone_if_the_environment_is_cleared_afterwards,
        rejected_object_leaves_the_command_as_it_was,
        descriptors_that_a_hook_closes_are_not_passed,
        descriptors_that_a_hook_keeps_back_are_refused,
        hook_that_uses_a_fixed_number_replaces_no_object,
        process_that_a_hook_forks_is_the_recipient,
        spawn_without_free_descriptors_fails,
        listing_works_with_a_low_limit_of_descriptors,
    ],
    roles: tests![takes_the_event, is_refused, inherited_nothing, has_children, stays, has_a_low_limit],
};

const VARIABLE: &str = "HANDOVER_INHERITED";

fn run_successfully(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{status}");
}

fn takes_the_event(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    event.set().unwrap();
}

/// Is refused with an error that names the expected process, or another one whose text is given.
fn is_refused(arguments: &[String]) {
    let before = table::of(std::process::id());
    for _ in 0..2 {
        match handover::inherited() {
            Err(Error::ManifestMismatch { name, expected, found, .. }) => {
                assert_eq!((name, &found), (VARIABLE, &format!("process {}", std::process::id())));
                assert!(expected.contains(&arguments[0]), "{expected:?}, not {arguments:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table::of(std::process::id()), before);
}

/// Has children before and after it takes its own objects. The first one also inherits the descriptors.
fn has_children(_: &[String]) {
    let own = format!("process {}", std::process::id());
    run_successfully(&mut in_role_of_std("is_refused", &[&own]));
    takes_the_event(&[]);
    run_successfully(&mut in_role_of_std("is_refused", &["the process that has descriptor"]));
}

fn grandchild_with_copied_environment_is_refused() {
    let event = Event::manual_reset().unwrap();
    run_successfully(in_role_of_std("has_children", &[]).inherit("event", &event).unwrap());
    event.wait_timeout(Duration::ZERO).unwrap();
}

/// Returns the list that a command has.
fn list_of(command: &Command) -> String {
    let mut variables = command.get_envs();
    let (_, value) = variables.find(|(name, _)| *name == VARIABLE).expect("it has a list");
    value.unwrap().to_str().unwrap().to_owned()
}

fn stays(_: &[String]) {
    println!("runs");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn sibling_with_copied_environment_is_refused() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("stays", &[]);
    command.inherit("event", &event).unwrap().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    let list = list_of(&command);
    let mut sibling = in_role_of_std("is_refused", &["the process that has descriptor"]);
    run_successfully(sibling.env(VARIABLE, &list));
    // Another command has the same numbers, once the first one is gone.
    drop(command);
    let mut sibling = in_role_of_std("is_refused", &["the process that has descriptor"]);
    sibling.inherit("event", &event).unwrap();
    let numbers = |list: &str| list.split_once(" 3").unwrap().1.to_owned();
    assert_eq!(numbers(&list_of(&sibling)), numbers(&list), "the numbers are reused");
    run_successfully(sibling.env(VARIABLE, &list));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn changed_list_is_refused() {
    let event = Event::manual_reset().unwrap();
    let expected = "the process that has descriptor";
    let changed = |change: &dyn Fn(&str) -> String| {
        let mut command = in_role_of_std("is_refused", &[expected]);
        let channel = command.inherit("event", &event).unwrap().channel().unwrap();
        let list = change(&list_of(&command));
        run_successfully(command.env(VARIABLE, list));
        drop(channel);
    };
    // Another number of the list.
    changed(&|list| {
        let digit = list.find('@').unwrap() + 1;
        let other = if &list[digit..=digit] == "0" { "1" } else { "0" };
        format!("{}{other}{}", &list[..digit], &list[digit + 1..])
    });
    // The proof and another object change places: an event isn't a proof, and neither is the socket of the channel.
    let number = |list: &str, name: &str| {
        let word = list.split(' ').find(|word| word.ends_with(name)).unwrap();
        word.split_once('=').unwrap().0.to_owned()
    };
    for other in ["event", "handover/channel"] {
        changed(&|list| {
            let (proof, other_number) = (number(list, "/recipient"), number(list, other));
            list.replace(&format!("{proof}=handover/recipient"), "x")
                .replace(&format!("{other_number}={other}"), &format!("{proof}={other}"))
                .replace('x', &format!("{other_number}=handover/recipient"))
        });
    }
    // A number that isn't open.
    changed(&|list| {
        let proof = number(list, "/recipient");
        list.replace(&format!("{proof}=handover/recipient"), "999=handover/recipient")
    });
    // The control.
    run_successfully(in_role_of_std("takes_the_event", &[]).inherit("event", &event).unwrap());
}

fn inherited_nothing(_: &[String]) {
    let error = handover::inherited().unwrap_err();
    assert!(matches!(error, Error::NothingInherited { .. }), "{error:?}");
}

fn list_is_gone_if_the_environment_is_cleared_afterwards() {
    let event = Event::manual_reset().unwrap();
    run_successfully(in_role_of_std("inherited_nothing", &[]).inherit("event", &event).unwrap().env_clear());
    let mut removed = in_role_of_std("inherited_nothing", &[]);
    run_successfully(removed.inherit("event", &event).unwrap().env_remove(VARIABLE));
    // Before the first object, it makes no difference.
    run_successfully(in_role_of_std("takes_the_event", &[]).env_clear().inherit("event", &event).unwrap());
    run_successfully(
        in_role_of_std("takes_the_event", &[]).env_remove(VARIABLE).inherit("event", &event).unwrap(),
    );
}

fn rejected_object_leaves_the_command_as_it_was() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("takes_the_event", &[]);
    command.inherit("event", &event).unwrap();
    let (before, list) = (table::count(), list_of(&command));
    let long = "n".repeat(32_700);
    for (name, part) in [
        ("event", "the name \"event\"; give each object its own name"),
        ("", "is empty"),
        ("{a}", "brace"),
        ("a\0b", "NUL"),
        ("handover/channel", "is reserved"),
        (&long, "use shorter names"),
    ] {
        let error = command.inherit(name, &event).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }) && error.to_string().contains(part), "{error}");
    }
    let closed = command.inherit("closed", table::closed_handle()).unwrap_err();
    assert!(matches!(closed, Error::InvalidHandle { .. }), "{closed:?}");
    assert_eq!((table::count(), list_of(&command)), (before, list));
    run_successfully(&mut command);
    event.wait_timeout(Duration::ZERO).unwrap();
    // A list that isn't this trait's can't be extended.
    for text in ["", "1 0000000077 5=ready", "1 @7 5=handover/recipient"] {
        let mut command = Command::new("true");
        command.env(VARIABLE, text);
        let error = command.inherit("event", &event).unwrap_err();
        assert!(error.to_string().contains("reserved for handover"), "{error}");
        assert!(command.channel().is_err());
        assert_eq!(command.get_envs().count(), 1);
    }
    let mut command = Command::new("true");
    command.env(VARIABLE, OsString::from("1 77")).env_remove(VARIABLE);
    command.inherit("event", &event).unwrap();
}

fn descriptors_that_a_hook_closes_are_not_passed() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("takes_the_event", &[]);
    calls::before_the_program(&mut command, || calls::close_descriptors(3, 100, false));
    // std sees the end of its own socket as the start of the program, so the child's failure is its exit.
    let outcome = command.inherit("event", &event).unwrap().status();
    assert!(!outcome.is_ok_and(|status| status.success()));
    assert!(event.wait_timeout(Duration::ZERO).is_err());
}

fn descriptors_that_a_hook_keeps_back_are_refused() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("is_refused", &["the process that has descriptor"]);
    command.inherit("event", &event).unwrap();
    calls::before_the_program(&mut command, || calls::close_descriptors(3, u32::MAX, true));
    run_successfully(&mut command);
}

fn hook_that_uses_a_fixed_number_replaces_no_object() {
    let (event, other) = (Event::manual_reset().unwrap(), raw::event());
    for is_first in [true, false] {
        let mut command = in_role_of_std("takes_the_event", &[]);
        let copy = other.try_clone().unwrap();
        let hook = move || (3..10).try_for_each(|number| calls::place(&copy, number));
        if is_first {
            command.inherit("event", &event).unwrap();
            calls::before_the_program(&mut command, hook);
        } else {
            calls::before_the_program(&mut command, hook);
            command.inherit("event", &event).unwrap();
        }
        run_successfully(&mut command);
        event.wait_timeout(Duration::ZERO).unwrap();
        event.reset().unwrap();
    }
}

fn process_that_a_hook_forks_is_the_recipient() {
    let event = Event::manual_reset().unwrap();
    let mut before = in_role_of_std("takes_the_event", &[]);
    calls::before_the_program(&mut before, calls::go_on_in_a_fork);
    run_successfully(before.inherit("event", &event).unwrap());
    until("the second process has taken the event", || raw::is_signaled(&event));
    // After the proof was made, another process isn't the recipient.
    let (reader, writer) = raw::pipe();
    let mut after = in_role_of_std("is_refused", &["process "]);
    after.inherit("event", &event).unwrap().stderr(writer);
    calls::before_the_program(&mut after, calls::go_on_in_a_fork);
    run_successfully(&mut after);
    drop(after);
    let mut text = String::new();
    std::fs::File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "", "the second process was refused, and has no other complaint");
}

fn spawn_without_free_descriptors_fails() {
    let event = Event::manual_reset().unwrap();
    let memory = SharedMemory::new(1).unwrap();
    let mut command = in_role_of_std("takes_the_event", &[]);
    command.inherit("event", &event).unwrap().inherit("memory", &memory).unwrap();
    let before = table::of(std::process::id());
    let failed = |command: &mut Command, more| {
        let limit = table::limit_to(more);
        let outcome = command.spawn();
        drop(limit);
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(Errno::MFILE.raw_os_error()), "{more}");
        assert_eq!(table::of(std::process::id()), before);
        assert_eq!(table::children_of(std::process::id()), []);
    };
    (0..3).for_each(|more| failed(&mut command, more));
    run_successfully(&mut command);
}

fn has_a_low_limit(_: &[String]) {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let limit = table::limit_to(6);
    let mut command = in_role_of_std("takes_the_event", &[]);
    command.inherit("event", &event).unwrap();
    assert!(table::of(std::process::id()).iter().all(|entry| entry.value < 32));
    run_successfully(&mut command);
    drop((command, limit));
    event.wait_timeout(Duration::ZERO).unwrap();
    assert_eq!(table::count(), before);
}

fn listing_works_with_a_low_limit_of_descriptors() {
    run_successfully(&mut in_role_of_std("has_a_low_limit", &[]));
}
