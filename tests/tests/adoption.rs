//! The child's half of inheritance: by name, by kind, once, and for nobody else.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Command, Error, Event, HandleValue, ObjectKind, OwnedHandle, Stdio};
use handover_tests::weaker::RESERVED_NAMES;
use handover_tests::{adopt, expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_child_takes_objects_by_name_and_kind_once,
            nothing_was_handed_down,
            a_grandchild_that_copied_the_environment_is_refused,
            a_child_of_another_process_is_refused,
            what_is_no_manifest_is_refused,
            a_forged_manifest_gives_nothing,
            a_value_that_is_somebody_elses_by_now_is_not_taken,
            what_leaked_in_is_seen,
            a_child_with_an_exact_list_has_nothing_unlisted,
            what_leaked_in_can_be_kept,
            what_was_closed_meanwhile_can_not_be_kept,
            a_thousand_objects_arrive,
            two_spawns_from_one_builder_are_equal,
            a_grandchild_gets_what_its_parent_hands_down,
            by_name_or_by_number_but_once,
            a_manifest_is_not_passed_on,
            adopting_checks_what_the_number_is,
            value_adopted_before_the_list_is_read_is_taken,
            value_can_be_adopted_again_after_its_owner_closed_it,
            threads_never_own_one_handle_twice,
            a_line_that_is_no_number_is_refused,
        ],
        tests![
            takes_and_says,
            says_what_was_handed_down,
            believes_nothing,
            has_a_grandchild,
            keeps_what_leaked_in,
            takes_a_thousand,
            hands_its_event_on,
            takes_by_both,
            hands_nothing_on,
            makes_a_file_where_an_object_was,
            refuses_wrong_numbers,
            adopts_first_and_lists_later,
            adopts_closes_and_adopts,
            takes_on_all_threads,
            says_what_the_line_is,
        ],
    )
}

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true);
    command
}

/// Runs the child, which has to succeed, and returns what it says.
fn said(command: &mut Command<'_>) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert!(status.success(), "{status}: {out}");
    out.trim_end().replace("\r\n", "\n")
}

fn takes_and_says(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready", "again", "file", "semaphore"]);

    match inherited.take::<Event>("stop") {
        Err(Error::UnknownName { name, available: names, .. }) => {
            assert_eq!((name.as_str(), names), ("stop", inherited.names()));
        }
        other => panic!("{other:?}"),
    }
    match inherited.take::<Event>("semaphore") {
        Err(Error::WrongKind { expected, found, object: what, .. }) => {
            assert_eq!((expected, found), (ObjectKind::Event, ObjectKind::Semaphore));
            assert!(what.contains("semaphore"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(inherited.take::<std::fs::File>("ready"), Err(Error::WrongKind { .. })));
    // Of the right kind now: the refusal has lost nothing.
    let semaphore: OwnedHandle = inherited.take("semaphore").unwrap();
    let ready: Event = inherited.take("ready").unwrap();
    let again: Event = inherited.take("again").unwrap();
    let mut file: std::fs::File = inherited.take("file").unwrap();

    assert!(
        !table::is_inheritable(&semaphore) && !table::is_inheritable(&ready) && !table::is_inheritable(&file)
    );
    // Two names of one object are two handles.
    assert!(table::same_object(&ready, &again));
    assert_ne!(table::value(&ready), table::value(&again));
    let twice = handover::inherited().unwrap().take::<Event>("ready");
    assert!(matches!(twice, Err(Error::AlreadyTaken { .. })), "{twice:?}");

    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    ready.set().unwrap();
    print!("{text}");
}

fn a_child_takes_objects_by_name_and_kind_once() {
    let path = std::env::temp_dir().join(format!("handover-adoption-{}.txt", std::process::id()));
    std::fs::write(&path, "out of the file").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let (ready, semaphore) = (Event::manual_reset().unwrap(), raw::semaphore());
    let out = said(
        in_role("takes_and_says")
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

fn says_what_was_handed_down(_: &[String]) {
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
        Err(other) => println!("{other:?}"),
    }
    let unlisted = handover::leaked_handles().unwrap();
    println!(
        "{:?}",
        unlisted.iter().map(|handle| handle.kind.clone().unwrap().to_string()).collect::<Vec<_>>()
    );
}

/// What a child says that was started with this manifest, by std's builder.
fn said_with_manifest(manifest: &str) -> String {
    let output = std::process::Command::new(this_program())
        .args(role("says_what_was_handed_down", &[]))
        .env("HANDOVER_INHERITED", manifest)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim_end().replace("\r\n", "\n")
}

fn nothing_was_handed_down() {
    assert_eq!(said(&mut in_role("says_what_was_handed_down")), "nothing\n[]");
}

fn has_a_grandchild(_: &[String]) {
    // std's builder: the environment is copied, and all that is inheritable goes along. This process has not adopted,
    // so the grandchild even has the handles.
    let grandchild = std::process::Command::new(this_program())
        .args(role("says_what_was_handed_down", &[]))
        .output()
        .unwrap();
    assert!(grandchild.status.success());
    print!("{}", String::from_utf8_lossy(&grandchild.stdout));
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready"]);
    // After the adoption they stay here.
    let grandchild = std::process::Command::new(this_program())
        .args(role("says_what_was_handed_down", &[]))
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&grandchild.stdout));
}

fn a_grandchild_that_copied_the_environment_is_refused() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("has_a_grandchild").inherit("ready", &ready));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("not for this process", "not for this process"), "{out}");
    // (std lets the streams of the generations before through as well.)
    assert!(lines[1].contains("an event"), "the control: before the adoption it leaks: {out}");
    assert!(!lines[3].contains("an event"), "{out}");
}

fn a_child_of_another_process_is_refused() {
    for meant_for in expect::others() {
        let manifest = format!("1 {meant_for} 68=ready");
        let out = said_with_manifest(&manifest);
        assert_eq!(out.lines().next(), Some("not for this process"), "{manifest}");
    }
}

fn what_is_no_manifest_is_refused() {
    for (manifest, part) in [("", "another version"), ("1", "meant for"), ("x y z", "another version")] {
        let out = said_with_manifest(manifest);
        assert!(out.starts_with("bad: ") && out.contains(part), "{manifest}: {out}");
    }
}

/// Takes what it can of what a forged manifest names.
fn believes_nothing(_: &[String]) {
    let before = table::of(std::process::id());
    match handover::inherited() {
        Ok(inherited) => {
            println!("{:?}", inherited.names());
        }
        Err(Error::InvalidHandle { .. }) => println!("not open"),
        Err(Error::InvalidManifest { reason: why, .. }) => println!("bad: {why}"),
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

fn a_forged_manifest_gives_nothing() {
    let channel = RESERVED_NAMES.map(|name| format!("{}={name}", 0x7_fff0));
    for (objects, expected) in [
        // Closed, or never open, or huge: of that there is nothing to take.
        ("524272=a", "not open"),
        ("2147483644=a", "not open"),
        ("524272=a 524276=b", "not open"),
        // No number of a handle.
        ("-1=a", "bad: has a value that can't be a handle"),
        ("-12=a", "bad: has a value that can't be a handle"),
        ("4294967295=a", "bad: has a value that can't be a handle"),
        ("4294967296=a", "bad: has a value that can't be a handle"),
        ("18446744073709551620=a", "bad: has a value that can't be a handle"),
        // Names.
        ("524272=a 524276=a", "bad: has a name twice"),
        ("524272=a 524272=b", "bad: has a handle twice"),
        ("524272=", "bad: has a name that can't be read"),
        ("524272=%ff", "bad: has a name that can't be read"),
        ("524272", "bad: has an object without a name"),
        (&channel[0], "not open"),
    ] {
        let output = expect::forged(&this_program(), &role("believes_nothing", &[]), objects);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((out.trim_end(), output.status.success()), (expected, true), "{objects}: {err}");
    }
}

fn makes_a_file_where_an_object_was(_: &[String]) {
    let value: u64 = std::env::args().next_back().unwrap().parse().unwrap();
    // A library that closes what it doesn't know, and then opens something under the same number.
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
    // One handle that isn't as the parent left it makes the whole list an error, and nothing of it is touched.
    for _ in 0..2 {
        let refused = handover::inherited();
        assert!(matches!(refused, Err(Error::InvalidManifest { .. })), "{refused:?}");
    }
    let other = HandleValue::from_arg(3).unwrap();
    assert!(table::entry(std::process::id(), other.get()).is_some_and(|entry| entry.inheritable));
    file.metadata().expect("the file is still its owner's");
    print!("kept");
}

fn a_value_that_is_somebody_elses_by_now_is_not_taken() {
    let ready = Event::manual_reset().unwrap();
    let out = said(
        in_role("makes_a_file_where_an_object_was")
            .inherit("ready", &ready)
            .inherit("other", &ready)
            .arg_handle("{other}")
            .arg_handle("{ready}"),
    );
    assert_eq!(out, "kept");
}

fn what_leaked_in_is_seen() {
    let leaks = [raw::semaphore(), raw::section()];
    leaks.iter().for_each(table::make_inheritable);
    let output = std::process::Command::new(this_program())
        .args(role("says_what_was_handed_down", &[]))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("a semaphore") && out.contains("shared memory"), "{out}");
}

fn a_child_with_an_exact_list_has_nothing_unlisted() {
    let leaks = [raw::semaphore(), raw::section()];
    leaks.iter().for_each(table::make_inheritable);
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("says_what_was_handed_down").inherit("ready", &ready));
    assert_eq!(out, "[\"ready\"]\n[]");
}

/// What a child of this process says that std's builder has started.
fn said_by_a_child_of_std() -> String {
    let output = std::process::Command::new(this_program())
        .args(role("says_what_was_handed_down", &[]))
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn keeps_what_leaked_in(arguments: &[String]) {
    let value: u32 = arguments[0].parse().unwrap();
    let out = said_by_a_child_of_std();
    assert!(out.contains("a semaphore"), "the control: before, it goes on: {out}");
    let before = table::count();
    let unlisted = handover::leaked_handles().unwrap();
    let leaked = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    assert_eq!(leaked.kind, Some(ObjectKind::Semaphore));
    for unlisted in &unlisted {
        unlisted.clear_inherit().unwrap();
        // Once more is nothing new.
        unlisted.clear_inherit().unwrap();
    }
    assert_eq!(handover::leaked_handles().unwrap(), []);
    // It is open still, and nothing else has changed.
    let entry = table::entry(std::process::id(), value).expect("it is open");
    assert!(!entry.inheritable);
    assert_eq!(table::count(), before);
    let out = said_by_a_child_of_std();
    assert!(!out.contains("a semaphore"), "{out}");
}

fn what_leaked_in_can_be_kept() {
    let leak = raw::semaphore();
    table::make_inheritable(&leak);
    let child = std::process::Command::new(this_program())
        .args(role("keeps_what_leaked_in", &[&table::value(&leak).to_string()]))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    // The child has changed its own flag alone.
    assert!(table::is_inheritable(&leak));
}

fn what_was_closed_meanwhile_can_not_be_kept() {
    let leak = raw::semaphore();
    table::make_inheritable(&leak);
    let value = table::value(&leak);
    let unlisted = handover::leaked_handles().unwrap();
    let unlisted = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    drop(leak);
    match unlisted.clear_inherit() {
        Err(Error::InvalidHandle { object: what, .. }) => {
            assert!(what.contains(&format!("{value:#x}")), "{what}");
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

fn a_thousand_objects_arrive() {
    // Each is open here once more while a child is started.
    table::make_room(2100);
    let events: Vec<Event> = (0..1000).map(|_| Event::manual_reset().unwrap()).collect();
    let before = table::count();
    for sealed in [false, true] {
        let mut command = in_role("takes_a_thousand");
        if sealed {
            command.race_free();
        }
        for (number, event) in events.iter().enumerate() {
            event.reset().unwrap();
            command.inherit(format!("event {number}"), event);
        }
        assert_eq!(said(&mut command), "1000");
        assert!(events.iter().all(|event| event.try_wait().unwrap()));
    }
    assert_eq!(table::count(), before + expect::KEPT_BY_SEALED);
}

fn two_spawns_from_one_builder_are_equal() {
    let ready = Event::manual_reset().unwrap();
    let mut command = in_role("says_what_was_handed_down");
    command.inherit("ready", &ready).inherit("again", &ready);
    let first = said(&mut command);
    assert_eq!(first, "[\"ready\", \"again\"]\n[]");
    assert_eq!(said(&mut command), first);
}

fn hands_its_event_on(_: &[String]) {
    let ready: Event = handover::inherited().unwrap().take("ready").unwrap();
    print!("{}", said(in_role("says_what_was_handed_down").inherit("handed on", &ready)));
}

fn a_grandchild_gets_what_its_parent_hands_down() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("hands_its_event_on").inherit("ready", &ready));
    assert_eq!(out, "[\"handed on\"]\n[]");
}

fn takes_by_both(_: &[String]) {
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

fn by_name_or_by_number_but_once() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("takes_by_both");
    command.inherit("first", &event).inherit("second", &event);
    command.arg_handle("{first}").arg_handle("{second}").env_handle("SECOND", "{second}");
    assert!(command.status().unwrap().success());
}

fn hands_nothing_on(_: &[String]) {
    assert!(std::env::var_os("HANDOVER_INHERITED").is_some(), "the control: it has one itself");
    print!("{}", said(&mut in_role("says_what_was_handed_down")));
}

fn a_manifest_is_not_passed_on() {
    let ready = Event::manual_reset().unwrap();
    let out = said(in_role("hands_nothing_on").inherit("ready", &ready));
    assert!(out.starts_with("nothing\n"), "{out}");
}

fn refuses_wrong_numbers(arguments: &[String]) {
    // It comes inheritable: std's builder has let it through.
    let semaphore: u32 = arguments[0].parse().unwrap();
    let refused = adopt::<Event>(HandleValue::from_arg(3).unwrap());
    assert!(matches!(refused, Err(Error::WrongKind { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("a semaphore"));
    // The refusal has not closed it, and it can be adopted as what it is.
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

fn adopting_checks_what_the_number_is() {
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
    assert!(child.wait().unwrap().success());
}

/// Adopts one listed handle by its number, closes it, and asks for the list afterwards.
fn adopts_first_and_lists_later(_: &[String]) {
    drop(adopt::<Event>(HandleValue::from_arg(3).unwrap()).unwrap());
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["first", "second"]);
    let taken = inherited.take::<Event>("first");
    assert!(matches!(taken, Err(Error::AlreadyTaken { .. })), "{taken:?}");
    inherited.take::<Event>("second").unwrap().set().unwrap();
}

fn value_adopted_before_the_list_is_read_is_taken() {
    let (first, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut command = in_role("adopts_first_and_lists_later");
    command.inherit("first", &first).inherit("second", &second).arg_handle("{first}");
    assert!(command.status().unwrap().success());
    assert!(second.try_wait().unwrap());
}

/// Takes a listed object, closes it, and adopts another one that got the same value.
fn adopts_closes_and_adopts(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    let value = HandleValue::of(&event).unwrap();
    drop(event);
    // As another process would put one into this one's table, under the value that is free.
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
    assert!(in_role("adopts_closes_and_adopts").inherit("event", &event).status().unwrap().success());
}

/// Eight threads take the same object, half of them by its name and half by its number.
fn takes_on_all_threads(_: &[String]) {
    let value = HandleValue::from_arg(3).unwrap();
    let barrier = std::sync::Barrier::new(8);
    let take = |number: usize| {
        barrier.wait();
        let taken = if number % 2 == 0 {
            handover::inherited().and_then(|inherited| inherited.take::<Event>("event"))
        } else {
            adopt::<Event>(value)
        };
        match taken {
            Ok(event) => Some(event),
            Err(Error::AlreadyTaken { .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    };
    let owners: Vec<Event> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || take(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(owners.len(), 1);
}

fn threads_never_own_one_handle_twice() {
    let event = Event::manual_reset().unwrap();
    for _ in 0..20 {
        let mut command = in_role("takes_on_all_threads");
        command.inherit("event", &event).arg_handle("{event}");
        assert!(command.status().unwrap().success());
    }
}

fn says_what_the_line_is(_: &[String]) {
    match HandleValue::from_stdin() {
        Ok(told) => println!("{told}"),
        Err(Error::InvalidHandleValue { reason: why, .. }) => println!("{why}"),
        Err(Error::System { source, .. }) => println!("{}", source.kind()),
        Err(other) => println!("{other}"),
    }
}

fn a_line_that_is_no_number_is_refused() {
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
            in_role("says_what_the_line_is").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It may have read enough and gone.
        let _ = child.stdin.take().unwrap().write_all(line.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{line:?}");
    }
}
