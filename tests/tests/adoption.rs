//! Tests of the child's side of inheritance: objects are taken by name and kind, once, by the process for which they
//! are meant.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Command, Error, Event, HandleValue, ObjectKind, OwnedHandle, SharedMemory, Stdio};
use handover_tests::weaker::RESERVED_NAMES;
use handover_tests::{adopt, expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            take_returns_each_object_once_by_name_and_kind,
            inherited_fails_without_manifest,
            inherited_fails_in_grandchild_with_copied_environment,
            inherited_fails_with_manifest_for_another_process,
            inherited_rejects_malformed_manifests,
            inherited_rejects_forged_manifests,
            inherited_rejects_values_that_were_closed_and_reused,
            leaked_handles_lists_unlisted_inherited_handles,
            leaked_handles_is_empty_with_exact_list,
            clear_inherit_keeps_leaked_handle_from_children,
            clear_inherit_fails_on_closed_handle,
            child_inherits_a_thousand_objects,
            spawning_twice_passes_the_same_objects,
            child_can_pass_inherited_object_on,
            object_is_taken_by_name_or_by_value_but_once,
            spawn_does_not_pass_own_manifest_on,
            adopt_checks_kind_and_owner_of_value,
            value_adopted_before_manifest_is_read_counts_as_taken,
            value_can_be_adopted_again_after_its_owner_closed_it,
            concurrent_takes_give_one_owner,
            from_stdin_rejects_lines_without_number,
        ],
        tests![
            takes_objects,
            prints_inherited,
            reads_forged_manifest,
            has_a_grandchild,
            clears_inherit_of_leaks,
            takes_a_thousand,
            passes_event_on,
            takes_by_name_and_value,
            passes_nothing_on,
            reuses_a_listed_value,
            refuses_wrong_numbers,
            adopts_first_and_lists_later,
            adopts_closes_and_adopts,
            takes_on_all_threads,
            prints_value_from_stdin,
        ],
    )
}

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true);
    command
}

/// Runs the child, asserts that it succeeds, and returns its output.
fn said(command: &mut Command<'_>) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert_eq!(status.code(), Some(0), "{status}: {out}");
    out.trim_end().replace("\r\n", "\n")
}

fn takes_objects(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready", "again", "file", "semaphore"]);

    match inherited.take::<Event>("stop") {
        Err(Error::UnknownName { name, available: names, .. }) => {
            assert_eq!((name.as_str(), names), ("stop", inherited.names()));
        }
        other => panic!("{other:?}"),
    }
    match inherited.take::<SharedMemory>("semaphore") {
        Err(Error::WrongKind { expected, found, object: what, .. }) => {
            assert_eq!((expected, found), (ObjectKind::SharedMemory, expect::kind_of_semaphore()));
            assert!(what.contains("semaphore"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(inherited.take::<std::fs::File>("ready"), Err(Error::WrongKind { .. })));
    // The refusal has not lost the object: it can still be taken as the right kind.
    let semaphore: OwnedHandle = inherited.take("semaphore").unwrap();
    let ready: Event = inherited.take("ready").unwrap();
    let again: Event = inherited.take("again").unwrap();
    let mut file: std::fs::File = inherited.take("file").unwrap();

    assert!(
        !table::is_inheritable(&semaphore) && !table::is_inheritable(&ready) && !table::is_inheritable(&file)
    );
    // One object under two names gives two handles.
    assert!(table::same_object(&ready, &again));
    assert_ne!(table::value(&ready), table::value(&again));
    let twice = handover::inherited().unwrap().take::<Event>("ready");
    assert!(matches!(twice, Err(Error::AlreadyTaken { .. })), "{twice:?}");

    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    ready.set().unwrap();
    print!("{text}");
}

fn take_returns_each_object_once_by_name_and_kind() {
    let path = std::env::temp_dir().join(format!("handover-adoption-{}.txt", std::process::id()));
    std::fs::write(&path, "out of the file").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let (ready, semaphore) = (Event::manual_reset().unwrap(), raw::semaphore());
    let out = said(
        in_role("takes_objects")
            .inherit("ready", &ready)
            .inherit("again", &ready)
            .inherit("file", &file)
            .inherit("semaphore", &semaphore),
    );
    drop(file);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(out, "out of the file");
    assert!(ready.try_wait().unwrap());
}

fn prints_inherited(_: &[String]) {
    match handover::inherited() {
        Ok(inherited) => {
            println!("{:?}", inherited.names());
            let leaks = raw::semaphore();
            table::make_inheritable(&leaks);
            let unlisted = inherited.leaked().unwrap();
            assert!(unlisted.iter().any(|handle| handle.value.get() == table::value(&leaks)));
            assert_eq!(unlisted, handover::leaked_handles().unwrap());
        }
        Err(Error::NothingInherited { .. }) => println!("nothing"),
        Err(Error::ManifestMismatch { .. }) => println!("not for this process"),
        Err(Error::InvalidManifest { reason: why, .. }) => println!("bad: {why}"),
        Err(error @ Error::IncompatibleVersion { .. }) => println!("bad: {error}"),
        Err(other) => println!("{other:?}"),
    }
    let unlisted = handover::leaked_handles().unwrap();
    println!(
        "{:?}",
        unlisted.iter().map(|handle| handle.kind.clone().unwrap().to_string()).collect::<Vec<_>>()
    );
}

/// Returns the output of a child that std's `Command` started with this manifest.
fn said_with_manifest(manifest: &str) -> String {
    let output = std::process::Command::new(this_program())
        .args(role("prints_inherited", &[]))
        .env("HANDOVER_INHERITED", manifest)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim_end().replace("\r\n", "\n")
}

fn inherited_fails_without_manifest() {
    assert_eq!(said(&mut in_role("prints_inherited")), "nothing\n[]");
}

fn has_a_grandchild(_: &[String]) {
    // std's `Command` copies the environment and passes all inheritable handles on. This process has not read its
    // manifest yet, so the grandchild even gets the handles.
    let grandchild =
        std::process::Command::new(this_program()).args(role("prints_inherited", &[])).output().unwrap();
    assert_eq!(grandchild.status.code(), Some(0));
    print!("{}", String::from_utf8_lossy(&grandchild.stdout));
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready"]);
    // `inherited` has cleared the inherit flags, so the handles stay in this process.
    let grandchild =
        std::process::Command::new(this_program()).args(role("prints_inherited", &[])).output().unwrap();
    print!("{}", String::from_utf8_lossy(&grandchild.stdout));
}

fn inherited_fails_in_grandchild_with_copied_environment() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("has_a_grandchild").inherit("ready", &ready));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("not for this process", "not for this process"), "{out}");
    // std also passes on the streams of earlier generations.
    assert!(lines[1].contains("an event"), "the control: the handle leaks before the adoption: {out}");
    assert!(!lines[3].contains("an event"), "{out}");
}

fn inherited_fails_with_manifest_for_another_process() {
    for meant_for in expect::others() {
        let manifest = format!("1 {meant_for} 68=ready");
        let out = said_with_manifest(&manifest);
        assert_eq!(out.lines().next(), Some("not for this process"), "{manifest}");
    }
}

fn inherited_rejects_malformed_manifests() {
    for (manifest, part) in
        [("", "not written by"), ("1", "written for"), ("x y z", "not written by"), ("2 x", "uses version 2")]
    {
        let out = said_with_manifest(manifest);
        assert!(out.starts_with("bad: ") && out.contains(part), "{manifest}: {out}");
    }
}

/// Takes all that a forged manifest names.
fn reads_forged_manifest(_: &[String]) {
    let before = table::of(std::process::id());
    match handover::inherited() {
        Ok(inherited) => {
            println!("{:?}", inherited.names());
        }
        Err(Error::InvalidHandle { .. }) => println!("not open"),
        Err(Error::InvalidManifest { reason: why, .. }) => println!("bad: {why}"),
        Err(error @ Error::IncompatibleVersion { .. }) => println!("bad: {error}"),
        Err(other) => println!("{other:?}"),
    }
    let channel = handover::Channel::parent();
    assert!(
        matches!(
            channel,
            Err(Error::NoParentChannel { .. } | Error::InvalidHandle { .. } | Error::InvalidManifest { .. })
        ),
        "{channel:?}"
    );
    assert_eq!(table::of(std::process::id()), before, "nothing was closed, and no flag has changed");
}

fn inherited_rejects_forged_manifests() {
    let channel = RESERVED_NAMES.map(|name| format!("{}={name}", 0x7_fff0));
    for (objects, expected) in [
        // Handles that are not open.
        ("524272=a", "not open"),
        ("2147483644=a", "not open"),
        ("524272=a 524276=b", "not open"),
        // Numbers that can't be handle values.
        ("-1=a", "bad: lists a number that is not a handle value"),
        ("-12=a", "bad: lists a number that is not a handle value"),
        ("4294967295=a", "bad: lists a number that is not a handle value"),
        ("4294967296=a", "bad: lists a number that is not a handle value"),
        ("18446744073709551620=a", "bad: lists a number that is not a handle value"),
        // Invalid names, and duplicates.
        ("524272=a 524276=a", "bad: lists a name twice"),
        ("524272=a 524272=b", "bad: lists a handle twice"),
        ("524272=", "bad: lists a name that is empty or not encoded correctly"),
        ("524272=%ff", "bad: lists a name that is empty or not encoded correctly"),
        ("524272", "bad: lists an object without a name"),
        (&channel[0], "not open"),
    ] {
        let output = expect::forged(&this_program(), &role("reads_forged_manifest", &[]), objects);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out.starts_with(expected) && output.status.success(), "{objects}: {out}{err}");
    }
}

fn reuses_a_listed_value(_: &[String]) {
    let value: u64 = std::env::args().next_back().unwrap().parse().unwrap();
    // Acts as a library that closes an unknown handle and then opens a file with the same value.
    table::close_value(u32::try_from(value).unwrap());
    let mut files = Vec::new();
    let file = loop {
        let file = std::fs::File::open(this_program()).unwrap();
        if u64::from(table::value(&file)) == value {
            break file;
        }
        assert!(files.len() < 1000, "no file gets the number {value}");
        files.push(file);
    };
    // One handle that is not as the parent left it makes the whole manifest invalid, and no listed handle is changed.
    for _ in 0..2 {
        let refused = handover::inherited();
        assert!(matches!(refused, Err(Error::InvalidManifest { .. })), "{refused:?}");
    }
    let other = HandleValue::from_arg(3).unwrap();
    assert!(table::entry(std::process::id(), other.get()).is_some_and(|entry| entry.inheritable));
    file.metadata().expect("the file is still open");
    print!("kept");
}

fn inherited_rejects_values_that_were_closed_and_reused() {
    let ready = Event::manual_reset().unwrap();
    let out = said(
        in_role("reuses_a_listed_value")
            .inherit("ready", &ready)
            .inherit("other", &ready)
            .arg_handle("{other}")
            .arg_handle("{ready}"),
    );
    assert_eq!(out, "kept");
}

fn leaked_handles_lists_unlisted_inherited_handles() {
    let leaks = [raw::semaphore(), raw::section()];
    leaks.iter().for_each(table::make_inheritable);
    let output =
        std::process::Command::new(this_program()).args(role("prints_inherited", &[])).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let kind = expect::kind_of_semaphore().to_string();
    assert!(out.contains(&kind) && out.contains("shared memory"), "{out}");
}

fn leaked_handles_is_empty_with_exact_list() {
    let leaks = [raw::semaphore(), raw::section()];
    leaks.iter().for_each(table::make_inheritable);
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("prints_inherited").inherit("ready", &ready));
    assert_eq!(out, "[\"ready\"]\n[]");
}

/// Returns the output of a child that std's `Command` starts from this process.
fn said_by_a_child_of_std() -> String {
    let output =
        std::process::Command::new(this_program()).args(role("prints_inherited", &[])).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn clears_inherit_of_leaks(arguments: &[String]) {
    let value: u32 = arguments[0].parse().unwrap();
    let kind = expect::kind_of_semaphore();
    let out = said_by_a_child_of_std();
    assert!(out.contains(&kind.to_string()), "the control: the handle leaks at first: {out}");
    let before = table::count();
    let unlisted = handover::leaked_handles().unwrap();
    let leaked = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    assert_eq!(leaked.kind, Some(kind.clone()));
    for unlisted in &unlisted {
        unlisted.clear_inherit().unwrap();
        // A second call has no effect.
        unlisted.clear_inherit().unwrap();
    }
    assert_eq!(handover::leaked_handles().unwrap(), []);
    // The handle is still open, and only its flag has changed.
    let entry = table::entry(std::process::id(), value).expect("it is open");
    assert!(!entry.inheritable);
    assert_eq!(table::count(), before);
    let out = said_by_a_child_of_std();
    assert!(!out.contains(&kind.to_string()), "{out}");
}

fn clear_inherit_keeps_leaked_handle_from_children() {
    let leak = raw::semaphore();
    table::make_inheritable(&leak);
    let child = std::process::Command::new(this_program())
        .args(role("clears_inherit_of_leaks", &[&table::value(&leak).to_string()]))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    // The child has changed only its own handle's flag.
    assert!(table::is_inheritable(&leak));
}

fn clear_inherit_fails_on_closed_handle() {
    let leak = raw::semaphore();
    table::make_inheritable(&leak);
    let value = table::value(&leak);
    let unlisted = handover::leaked_handles().unwrap();
    let unlisted = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    drop(leak);
    match unlisted.clear_inherit() {
        Err(Error::InvalidHandle { object: what, .. }) => {
            assert_eq!(what, format!("the leaked handle {}", expect::value_in_errors(unlisted.value)));
        }
        other => panic!("{other:?}"),
    }
}

fn takes_a_thousand(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let names = inherited.names();
    assert_eq!(names.len(), 1000);
    for name in &names {
        inherited.take::<Event>(name).unwrap().set().unwrap();
    }
    assert_eq!(handover::leaked_handles().unwrap(), []);
    print!("{}", names.len());
}

fn child_inherits_a_thousand_objects() {
    // Each event takes one more handle while a child is spawned.
    table::make_room(2100);
    let events: Vec<Event> = (0..1000).map(|_| Event::manual_reset().unwrap()).collect();
    let before = table::count();
    for race_free in [false, true] {
        let mut command = in_role("takes_a_thousand");
        if race_free {
            command.race_free();
        }
        for (number, event) in events.iter().enumerate() {
            event.reset().unwrap();
            command.inherit(format!("event {number}"), event);
        }
        assert_eq!(said(&mut command), "1000");
        assert!(events.iter().all(|event| event.try_wait().unwrap()));
    }
    assert_eq!(table::count(), before + expect::KEPT_BY_RACE_FREE);
}

fn spawning_twice_passes_the_same_objects() {
    let ready = Event::manual_reset().unwrap();
    let mut command = in_role("prints_inherited");
    command.inherit("ready", &ready).inherit("again", &ready);
    let first = said(&mut command);
    assert_eq!(first, "[\"ready\", \"again\"]\n[]");
    assert_eq!(said(&mut command), first);
}

fn passes_event_on(_: &[String]) {
    let ready: Event = handover::inherited().unwrap().take("ready").unwrap();
    print!("{}", said(in_role("prints_inherited").inherit("handed on", &ready)));
}

fn child_can_pass_inherited_object_on() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("passes_event_on").inherit("ready", &ready));
    assert_eq!(out, "[\"handed on\"]\n[]");
}

fn takes_by_name_and_value(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let is_taken = |outcome: Result<Event, Error>| {
        assert!(matches!(outcome, Err(Error::AlreadyTaken { .. })), "{outcome:?}");
    };
    let _by_name: Event = inherited.take("first").unwrap();
    is_taken(adopt(HandleValue::from_arg(3).unwrap()));
    let _by_number: Event = adopt(HandleValue::from_env("SECOND").unwrap()).unwrap();
    is_taken(inherited.take("second"));
    is_taken(adopt(HandleValue::from_arg(4).unwrap()));
}

fn object_is_taken_by_name_or_by_value_but_once() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("takes_by_name_and_value");
    command.inherit("first", &event).inherit("second", &event);
    command.arg_handle("{first}").arg_handle("{second}").env_handle("SECOND", "{second}");
    assert_eq!(command.status().unwrap().code(), Some(0));
}

fn passes_nothing_on(_: &[String]) {
    assert!(std::env::var_os("HANDOVER_INHERITED").is_some(), "the control: the parent has a manifest");
    print!("{}", said(&mut in_role("prints_inherited")));
}

fn spawn_does_not_pass_own_manifest_on() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("passes_nothing_on").inherit("ready", &ready));
    assert!(out.starts_with("nothing\n"), "{out}");
}

fn refuses_wrong_numbers(arguments: &[String]) {
    // The semaphore is inheritable, so std's `Command` has passed it on.
    let semaphore: u32 = arguments[0].parse().unwrap();
    let refused = adopt::<SharedMemory>(HandleValue::from_arg(3).unwrap());
    assert!(matches!(refused, Err(Error::WrongKind { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains(&expect::kind_of_semaphore().to_string()));
    // The refusal has not closed the handle, and it can be adopted as its own kind.
    assert!(table::entry(std::process::id(), semaphore).is_some());
    let _semaphore: handover::Semaphore = adopt(HandleValue::from_arg(3).unwrap()).unwrap();
    let again = adopt::<handover::Semaphore>(HandleValue::from_arg(3).unwrap());
    assert!(matches!(again, Err(Error::AlreadyTaken { .. })), "{again:?}");

    let refused = adopt::<Event>(HandleValue::from_arg(4).unwrap());
    assert!(matches!(refused, Err(Error::InvalidHandle { .. })), "{refused:?}");
    assert!(matches!(HandleValue::from_arg(5), Err(Error::InvalidHandleValue { .. })));
    assert!(matches!(HandleValue::from_arg(0), Err(Error::InvalidHandleValue { .. })));
    assert!(matches!(HandleValue::from_env("NOT_SET"), Err(Error::InvalidHandleValue { .. })));

    let file: std::fs::File = adopt(HandleValue::from_env("A_FILE").unwrap()).unwrap();
    file.metadata().expect("it is a file, and open");
    assert!(!table::is_inheritable(&file));

    println!("{}", HandleValue::of(&std::io::stdin()).unwrap());
    let refused = adopt::<std::fs::File>(HandleValue::from_stdin().unwrap());
    assert!(matches!(refused, Err(Error::HandleInUse { .. })), "{refused:?}");
    println!("still here");
}

fn adopt_checks_kind_and_owner_of_value() {
    let (semaphore, file) = (raw::semaphore(), std::fs::File::open(this_program()).unwrap());
    table::make_inheritable(&semaphore);
    table::make_inheritable(&file);
    let semaphore = table::value(&semaphore).to_string();
    let mut child = std::process::Command::new(this_program())
        .args(role("refuses_wrong_numbers", &[&semaphore, "0x7fff0"]))
        .env("A_FILE", table::value(&file).to_string())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let stream = lines.next().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{stream}").unwrap();
    assert_eq!(lines.next().as_deref(), Some("still here"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Adopts a listed handle by its value, closes it, and reads the manifest afterwards.
fn adopts_first_and_lists_later(_: &[String]) {
    drop(adopt::<Event>(HandleValue::from_arg(3).unwrap()).unwrap());
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["first", "second"]);
    let taken = inherited.take::<Event>("first");
    assert!(matches!(taken, Err(Error::AlreadyTaken { .. })), "{taken:?}");
    inherited.take::<Event>("second").unwrap().set().unwrap();
}

fn value_adopted_before_manifest_is_read_counts_as_taken() {
    let (first, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut command = in_role("adopts_first_and_lists_later");
    command.inherit("first", &first).inherit("second", &second).arg_handle("{first}");
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert!(second.try_wait().unwrap());
}

/// Takes a listed object, closes it, and adopts another one that has the same value.
fn adopts_closes_and_adopts(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    let value = HandleValue::of(&event).unwrap();
    drop(event);
    // Acts as another process that duplicates an object into this one, which gets the free value.
    let mut others = Vec::new();
    let found = (0..1000).any(|_| {
        let event = Event::manual_reset().unwrap();
        let is_it = HandleValue::of(&event).unwrap() == value;
        if is_it {
            std::mem::forget(event);
        } else {
            others.push(event);
        }
        is_it
    });
    assert!(found, "no event gets the value {value}");
    adopt::<Event>(value).unwrap().set().unwrap();
}

fn value_can_be_adopted_again_after_its_owner_closed_it() {
    let event = Event::manual_reset().unwrap();
    assert_eq!(
        in_role("adopts_closes_and_adopts").inherit("event", &event).status().unwrap().code(),
        Some(0)
    );
}

/// Takes each object on eight threads at once, half of them by its name and half by its value, which the parent says
/// twice.
fn takes_on_all_threads(_: &[String]) {
    let values: Vec<HandleValue> =
        (0..RACES).map(|index| HandleValue::from_arg(index + 3).unwrap()).collect();
    let barrier = std::sync::Barrier::new(8);
    let take = |number: usize, index: usize| {
        barrier.wait();
        let taken = if number % 2 == 0 {
            handover::inherited().and_then(|inherited| inherited.take::<Event>(&index.to_string()))
        } else {
            adopt::<Event>(values[index])
        };
        match taken {
            Ok(event) => Some(event),
            Err(Error::AlreadyTaken { .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    };
    let owners: Vec<Vec<Option<Event>>> = std::thread::scope(|scope| {
        let thread = |number| scope.spawn(move || (0..RACES).map(|index| take(number, index)).collect());
        let threads: Vec<_> = (0..8).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for index in 0..RACES {
        let owned = owners.iter().filter(|of_thread| of_thread[index].is_some()).count();
        assert_eq!(owned, 1, "owners of object {index}");
    }
}

/// How many objects each child of the test below takes. Two owners were once seen in one of 200 races.
const RACES: usize = 100;

fn concurrent_takes_give_one_owner() {
    let events: Vec<Event> = (0..RACES).map(|_| Event::manual_reset().unwrap()).collect();
    for _ in 0..4 {
        let mut command = in_role("takes_on_all_threads");
        for (index, event) in events.iter().enumerate() {
            command.inherit(index.to_string(), event).arg_handle(format!("{{{index}}}"));
        }
        assert_eq!(command.status().unwrap().code(), Some(0));
    }
}

fn prints_value_from_stdin(_: &[String]) {
    match HandleValue::from_stdin() {
        Ok(value) => println!("{value}"),
        Err(Error::InvalidHandleValue { reason: why, .. }) => println!("{why}"),
        Err(Error::System { source, .. }) => println!("{}", source.kind()),
        Err(other) => println!("{other}"),
    }
}

fn from_stdin_rejects_lines_without_number() {
    let long = format!("0x44{}", " ".repeat(60));
    for (line, expected) in [
        ("0x44\n", "68"),
        ("0x44", "unexpected end of file"),
        ("", "unexpected end of file"),
        (&long, "too long"),
        (&long[1..], "unexpected end of file"),
        ("four\n", "not a number"),
    ] {
        let mut child =
            in_role("prints_value_from_stdin").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The child may have exited already.
        let _ = child.stdin.take().unwrap().write_all(line.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{line:?}");
    }
}
