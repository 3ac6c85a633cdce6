//! Each system call of a scenario fails in turn: an error comes, no process is left, no handle, no changed flag.

use std::process::ExitCode;
use std::time::Duration;

use handover::inspect::{Audit, HandleTable};
use handover::{
    Channel, Child, Command, Error, Event, HandleValue, Listener, Message, OwnedHandle, Process, ResetMode,
    Result, Semaphore, SharedMemory, SingleInstance, Stdio, Timer, faults, wait_any,
};
use handover_tests::{
    Sweep, adopt, bare, begun, end, events, expect, flags_are_as_before, in_role_of_std, names_the_call,
    role, sweep, swept, table, tests, this_program, until, waits, weaker,
};

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_spawn_fails_at_each_call,
            a_spawn_with_a_folder_and_variables_fails_at_each_call,
            a_spawn_behind_another_child_fails_at_each_call,
            a_sealed_spawn_fails_at_each_call,
            a_spawn_of_a_child_that_ends_with_this_process_fails_at_each_call,
            the_first_spawn_of_a_process_fails_at_each_call,
            ending_a_child_fails_at_each_call,
            an_adoption_fails_at_each_call,
            a_told_handle_is_adopted_or_an_error_at_each_call,
            what_leaked_in_is_kept_or_an_error_at_each_call,
            pulling_fails_at_each_call,
            opening_a_process_fails_at_each_call,
            a_wait_fails_at_each_call,
            creating_and_opening_fail_at_each_call,
            a_view_fails_at_each_call,
            a_look_into_tables_fails_at_each_call,
            an_audit_fails_at_each_call,
            a_spawn_with_a_channel_fails_at_each_call,
            sending_and_receiving_fail_at_each_call,
            a_child_that_sends_and_receives_fails_at_each_call,
            listening_fails_at_each_call,
            connecting_fails_at_each_call,
            claiming_what_somebody_has_fails_at_each_call,
        ],
        tests![
            adopts_with_faults,
            adopts_a_told_handle,
            keeps_with_faults,
            spawns_first,
            says_a_word,
            repeats,
            echoes,
            talks_with_faults,
            connects,
            serves,
            waits,
            ends_at_once,
            has_claimed
        ],
    )
}

fn never_ends<'a>() -> Command<'a> {
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn forever<'a>(event: &'a Event, inheritable: &'a Event) -> Command<'a> {
    let mut command = never_ends();
    command.inherit("event", event).inherit("inheritable", inheritable).arg_handle("{event}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn a_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    // This process's own streams are asked for, too.
    let inheriting =
        || forever(&event, &inheritable).stdin(Stdio::inherit()).stderr(Stdio::inherit()).spawn();
    sweep("spawn, with this process's streams", inheriting, end);
    sweep("spawn", || forever(&event, &inheritable).spawn(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_spawn_with_a_folder_and_variables_fails_at_each_call() {
    let (event, inheritable) = events();
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        command.current_dir(".").env("ONE", "1").env_handle("EVENT", "{event}").spawn()
    };
    sweep("spawn, with a folder and variables", spawn, end);
    // The file is looked for.
    sweep("spawn, of a bare name", || Command::new(expect::BARE_NAME).stdin(Stdio::piped()).spawn(), end);
}

fn a_spawn_behind_another_child_fails_at_each_call() {
    // What is passed on to the child is not read before there is one.
    let (event, inheritable) = events();
    let mut first = Command::new(this_program());
    let mut first = first.args(role("says_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = never_ends();
    command.inherit("event", &event).inherit("inheritable", &inheritable);
    command.stdin(first.stdout.take().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    first.wait_timeout(Duration::from_secs(10)).unwrap();
    let handles = || table::count();
    const NAME: &str = "spawn, behind another child";
    let failing = |command: &mut Command<'_>, call| {
        let (outcome, _) = faults::run(Some(call), || command.spawn());
        let failed = faults::failed().expect("it takes so many calls");
        names_the_call(NAME, failed, &outcome.expect_err(failed));
    };
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
        let before = handles();
        failing(&mut command, call);
        until("the thread is gone that would have passed it on", || handles() == before);
    }
    swept(NAME, expect::CALLS_BEFORE_A_CHILD, expect::CALLS_BEFORE_A_CHILD, &[]);
    let mut reader = Command::new(this_program());
    drop(command);
    let mut last = reader.args(role("repeats", &[])).stdout(Stdio::piped());
    let mut first = Command::new(this_program());
    let mut first = first.args(role("says_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    last = last.stdin(first.stdout.take().unwrap());
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
        failing(last, call);
    }
    assert_eq!(last.output().unwrap().stdout, b"a word");
}

fn says_a_word(_: &[String]) {
    print!("a word");
}

fn repeats(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn a_spawn_of_a_child_that_ends_with_this_process_fails_at_each_call() {
    let (event, inheritable) = events();
    let spawn = || forever(&event, &inheritable).kill_with_parent(true).spawn();
    sweep("spawn, ends with this process", spawn, end);
    flags_are_as_before(&event, &inheritable);
}

fn a_sealed_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep("sealed spawn", || forever(&event, &inheritable).race_free().spawn(), end);
    flags_are_as_before(&event, &inheritable);
}

/// What is made once for a process is made by the first spawn of each kind, so each failure has a process of its own.
fn the_first_spawn_of_a_process_fails_at_each_call() {
    for (way, name) in FIRST {
        let mut calls = 0;
        let mut points = 0;
        let mut harmless = Vec::new();
        loop {
            let mut command = std::process::Command::new(this_program());
            let output = command.args(role("spawns_first", &[way, &points.to_string()])).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{name}, call {points}: {said} {output:?}");
            let words: Vec<&str> = said.split_whitespace().collect();
            let [outcome, failed, made] = words[..] else { panic!("{said}") };
            calls = calls.max(made.parse().unwrap());
            match outcome {
                "none" => break,
                "failed" => {}
                _ => harmless.push(failed.to_owned()),
            }
            points += 1;
        }
        assert!(points > 5, "{points}");
        swept(name, calls, points, &harmless.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

const FIRST: [(&str, &str); 3] = [
    ("plain", "the first spawn of a process"),
    ("sealed", "the first sealed spawn of a process"),
    ("kept", "the first spawn of a process, ends with it"),
];

/// Says what came of it, which call was made to fail, and how many there were.
fn spawns_first(arguments: &[String]) {
    let (event, inheritable) = events();
    let fail_at = arguments[1].parse().unwrap();
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        match arguments[0].as_str() {
            "sealed" => command.race_free(),
            "kept" => command.kill_with_parent(true),
            _ => &mut command,
        };
        command.spawn()
    };
    // Of std, say: what the first error needs.
    drop(Process::open(u32::MAX).unwrap_err().to_string());
    let before = (table::count(), table::children_of(std::process::id()).len());
    let (outcome, calls) = faults::run(Some(fail_at), spawn);
    let after = || (table::count(), table::children_of(std::process::id()).len());
    let (said, failed) = match (outcome, faults::failed()) {
        (Ok(child), None) => {
            end(child);
            ("none", "-")
        }
        (Ok(child), Some(failed)) => {
            assert!(expect::HARMLESS_FIRST.iter().any(|(name, _)| *name == failed), "{failed} is no matter");
            end(child);
            ("harmless", failed)
        }
        (Err(error), Some(failed)) => {
            names_the_call(&format!("the first spawn, call {fail_at}"), failed, &error);
            // What is made once may be there already: the helper, the job, the thread.
            let is_as_before = || {
                let (handles, children) = after();
                handles <= before.0 + expect::KEPT_BY_A_FIRST_SPAWN && children <= before.1 + 1
            };
            until(&format!("{before:?} is as before: {:?}", after()), is_as_before);
            ("failed", failed)
        }
        (Err(error), None) => panic!("no call failed, and there is {error:?}"),
    };
    flags_are_as_before(&event, &inheritable);
    println!("{said} {failed} {calls}");
}

fn ending_a_child_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let ended = || {
        let mut command = never_ends();
        let mut child = command.inherit("event", &event).kill_on_drop(true).stdin(Stdio::null()).spawn()?;
        assert!(child.try_wait()?.is_none());
        child.kill()?;
        child.wait_timeout(SOON)
    };
    let of = |name| Sweep::of(name).harmless(expect::HARMLESS_END);
    of("spawn, ask, kill, wait").run(ended, |status| assert!(expect::was_killed(status)));
    let (program, arguments) = bare("ends_with_3");
    let output = || {
        let mut command = Command::new(&program);
        command.args(&arguments).stdin(Stdio::null()).kill_on_drop(true).output()
    };
    of("spawn, output, wait").run(output, |output| assert_eq!(output.status.code(), Some(3)));
}

/// Lets call after call of the work fail until one more would be one too many.
fn failing_at_each_call<T>(name: &str, work: impl Fn() -> Result<T>) -> T {
    failing_at_each_call_but(name, &[], work)
}

/// The same, where a failure of these calls turns out not to matter: then the work is done, and not begun again.
fn failing_at_each_call_but<T>(name: &str, harmless: &[&str], work: impl Fn() -> Result<T>) -> T {
    let mut failures = 0;
    loop {
        // The flag may be gone already from what waits to be taken.
        let handles = || tables().iter().map(|entry| (entry.value, entry.access)).collect::<Vec<_>>();
        let before = handles();
        let (outcome, calls) = faults::run(Some(failures), &work);
        match (outcome, faults::failed()) {
            (Err(error), Some(failed)) => {
                names_the_call(&format!("{name}, call {failures}"), failed, &error);
                assert_eq!(handles(), before, "{name}, call {failures}, {failed}");
                failures += 1;
            }
            (Ok(done), None) => {
                assert!(failures > 0);
                swept(name, calls, failures, &[]);
                return done;
            }
            (Ok(done), Some(failed)) if harmless.contains(&failed) => {
                swept(name, calls, failures + 1, &[failed]);
                return done;
            }
            (Ok(_), Some(failed)) => panic!("{name}, call {failures}, {failed}: failed, and nobody said so"),
            (Err(other), None) => panic!("{name}, after {failures} failures: {other:?}"),
        }
    }
}

fn tables() -> Vec<table::Entry> {
    let mut entries = table::of(std::process::id());
    entries.sort_unstable_by_key(|entry| entry.value);
    entries
}

fn adopts_with_faults(_: &[String]) {
    // Each failed attempt loses nothing: the last one finds all. What one has done, the next need not do, so the
    // call that fails comes later each time and no call is left out.
    failing_at_each_call("ask who this process is", Process::current_identity);
    let inherited = failing_at_each_call("adopt", handover::inherited);
    for name in ["event", "second"] {
        let event = failing_at_each_call("take, an event", || inherited.take::<Event>(name));
        event.set().unwrap();
    }
    drop(failing_at_each_call("take, a semaphore", || inherited.take::<Semaphore>("semaphore")));
    drop(failing_at_each_call("take, a section", || inherited.take::<SharedMemory>("section")));
    drop(failing_at_each_call("take, a timer", || inherited.take::<Timer>("timer")));
    drop(failing_at_each_call("take, a file", || inherited.take::<std::fs::File>("file")));
    drop(failing_at_each_call("take, a handle", || inherited.take::<OwnedHandle>("handle")));
    assert_eq!(failing_at_each_call("unlisted", handover::leaked_handles), []);
}

fn an_adoption_fails_at_each_call() {
    let (event, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let (semaphore, section) = (Semaphore::new(1).unwrap(), SharedMemory::new(1).unwrap());
    let timer = Timer::manual_reset().unwrap();
    let file = std::fs::File::open(this_program()).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("adopts_with_faults", &[])).inherit("event", &event).inherit("second", &second);
    command.inherit("semaphore", &semaphore).inherit("section", &section).inherit("timer", &timer);
    command.inherit("file", &file).inherit("handle", &event);
    let before = tables();
    assert!(command.status().unwrap().success());
    assert_eq!(tables(), before);
    assert!(event.try_wait().unwrap() && second.try_wait().unwrap());
}

fn adopts_a_told_handle(arguments: &[String]) {
    let fail_at = arguments[0].parse().unwrap();
    let before = table::count();
    let (outcome, calls) = faults::run(Some(fail_at), || adopt::<Event>(HandleValue::from_arg(4)?));
    let said = match (outcome, faults::failed()) {
        (Ok(event), None) => {
            event.set().unwrap();
            "none"
        }
        (Err(error), Some(failed)) => {
            names_the_call(&format!("adopt what was told, call {fail_at}"), failed, &error);
            "failed"
        }
        other => panic!("{other:?}"),
    };
    assert!(table::count() <= before);
    println!("{said} {calls}");
}

fn a_told_handle_is_adopted_or_an_error_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let mut points = 0;
    loop {
        let mut command = Command::new(this_program());
        command.args(role("adopts_a_told_handle", &[&points.to_string()]));
        let output = command.inherit("event", &event).arg_handle("{event}").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "call {points}: {output:?}");
        let (outcome, calls) = said.trim().split_once(' ').unwrap();
        if outcome == "none" {
            assert!(points > 0);
            swept("adopt what was told", calls.parse().unwrap(), points, &[]);
            break;
        }
        points += 1;
    }
    assert!(event.try_wait().unwrap());
}

fn keeps_with_faults(arguments: &[String]) {
    let value: u32 = arguments[0].parse().unwrap();
    let unlisted = handover::leaked_handles().unwrap();
    let leaked = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    failing_at_each_call("keep what leaked in", || leaked.clear_inherit());
    assert!(!table::entry(std::process::id(), value).unwrap().inheritable);
}

fn what_leaked_in_is_kept_or_an_error_at_each_call() {
    let (event, inheritable) = events();
    let mut command = std::process::Command::new(this_program());
    command.args(role("keeps_with_faults", &[&table::value(&inheritable).to_string()]));
    assert!(command.status().unwrap().success());
    flags_are_as_before(&event, &inheritable);
}

const SOON: Duration = Duration::from_secs(10);

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

fn pulling_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event));
    let value = child.inherited_handles().next().unwrap().1;
    let beside = |name| Sweep::of(name).beside(&[child.id()]);
    beside("pull, an event").run(|| child.process().duplicate_from::<Event>(value), drop);
    beside("pull, a handle").run(|| child.process().duplicate_from::<OwnedHandle>(value), drop);
}

fn opening_a_process_fails_at_each_call() {
    let child = begun(&mut in_role("waits", &[]));
    let beside = |name| Sweep::of(name).beside(&[child.id()]);
    let identity = child.process().identity().unwrap();
    beside("open a process").run(|| Process::open(child.id()), drop);
    beside("open a process again").run(|| Process::open_exact(identity), drop);
    beside("open a process to look").run(|| Process::open_for_query(child.id()), drop);
    beside("ask a process for its user").run(|| child.process().user(), drop);
    beside("ask a process who it is").run(|| Process::open(child.id())?.identity(), |_| {});
    beside("ask a process whether it has ended")
        .run(|| child.process().has_exited(), |ended| assert!(!ended));
}

fn a_wait_fails_at_each_call() {
    let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    event.set().unwrap();
    sweep("wait for any", || wait_any(&[&other, &event], SOON), |place| assert_eq!(place, 1));
    sweep("wait", || event.wait_timeout(SOON), |()| {});
    // A failed one takes nothing.
    let one = Event::auto_reset().unwrap();
    let again = || one.set().unwrap();
    again();
    sweep("wait, and take", || one.wait_timeout(SOON), |()| again());
    assert!(one.try_wait().unwrap());
    // How it is waited for is asked the first time.
    let first = || {
        let event = Event::auto_reset()?;
        event.set()?;
        event.wait_timeout(SOON)?;
        assert!(!event.try_wait()?, "it is taken once");
        Ok(())
    };
    Sweep::of("set, and wait for the first time").harmless(expect::HARMLESS_WAIT).run(first, |()| {});
}

fn creating_and_opening_fail_at_each_call() {
    let name = name("named");
    let of = |kind: &str| format!("{name}.{kind}");
    sweep("create, an event", Event::manual_reset, drop);
    sweep("create, a semaphore", || Semaphore::new(1), drop);
    sweep("create, a section", || SharedMemory::new(1), drop);
    sweep("create, a timer", Timer::manual_reset, drop);
    let naming = |name| Sweep::of(name).harmless(expect::HARMLESS_NAME);
    naming("create by name, an event").run(|| Event::create_named(&of("event"), ResetMode::Auto), drop);
    naming("create by name, a semaphore").run(|| Semaphore::create_named(&of("semaphore"), 0), drop);
    naming("create by name, a section").run(|| SharedMemory::create_named(&of("section"), 1), drop);
    naming("create by name, a timer").run(|| Timer::create_named(&of("timer"), ResetMode::Auto), drop);
    naming("create or open, a semaphore").run(|| Semaphore::create_or_open_named(&of("semaphore"), 0), drop);
    naming("claim").run(|| SingleInstance::acquire(&of("single")), drop);
    let _event = Event::create_named(&of("event"), ResetMode::Auto).unwrap();
    let _semaphore = Semaphore::create_named(&of("semaphore"), 1).unwrap();
    let _section = SharedMemory::create_named(&of("section"), 1).unwrap();
    let _timer = Timer::create_named(&of("timer"), ResetMode::Auto).unwrap();
    naming("create or open, an event that is there")
        .run(|| Event::create_or_open_named(&of("event"), ResetMode::Auto), drop);
    sweep("open, an event", || Event::open_named(&of("event")), drop);
    sweep("open, a semaphore", || Semaphore::open_named(&of("semaphore")), drop);
    sweep("open, a section", || SharedMemory::open_named(&of("section")), drop);
    sweep("open, a timer", || Timer::open_named(&of("timer")), drop);
    // By the process that has it, and from another one.
    let server = in_role("serves", &[&of("another")]);
    let server = &mut { server };
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    listens(&mut server);
    let beside = Sweep::of("open, an event of another process").beside(&[server.id()]);
    beside.run(|| Event::open_named(&format!("{}.event", of("another"))), drop);
}

fn a_view_fails_at_each_call() {
    let section = SharedMemory::new(100).unwrap();
    sweep("view", || section.view(), drop);
    sweep("view, a part, to write", || section.view_mut_range(10, 10), drop);
    sweep("ask for a section's size", || section.size(), |_| {});
    for timer in [Timer::auto_reset().unwrap(), Timer::manual_reset().unwrap()] {
        sweep("set a timer", || timer.set_once(SOON), drop);
        sweep("cancel a timer", || timer.cancel(), drop);
    }
    let semaphore = Semaphore::new(0).unwrap();
    sweep("release one", || semaphore.release(1), |()| {});
    sweep("release two", || semaphore.release(2), |()| {});
    let event = Event::manual_reset().unwrap();
    sweep("set", || event.set(), |()| {});
    sweep("unset", || event.reset(), |()| {});
}

fn a_look_into_tables_fails_at_each_call() {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(1).unwrap());
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event).inherit("section", &section));
    let this = Process::open_for_query(std::process::id()).unwrap();
    let look = |name| Sweep::of(name).beside(&[child.id()]).harmless(expect::HARMLESS_LOOK);
    look("look into a table").run(|| HandleTable::of(child.process()), drop);
    look("look into one's own table").run(|| HandleTable::of(&this), drop);
    look("find what is shared").run(|| handover::inspect::shared_objects(&this, child.process()), drop);
}

fn ends_at_once(_: &[String]) {}

fn an_audit_fails_at_each_call() {
    let run = || Audit::new(in_role_of_std("ends_at_once", &[])).run(SOON);
    Sweep::of("audit").harmless(expect::HARMLESS_AUDIT).run(run, drop);
}

fn a_spawn_with_a_channel_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep("spawn, with a channel", || forever(&event, &inheritable).channel().spawn(), end);
    let sealed = || forever(&event, &inheritable).channel().race_free().spawn();
    sweep("sealed spawn, with a channel", sealed, end);
    flags_are_as_before(&event, &inheritable);
}

/// Sends back what comes.
fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(mut message) = channel.recv_timeout(SOON) {
        let event: Event = message.take("event").unwrap();
        if channel.send(Message::new(message.bytes()).with("event", &event)).is_err() {
            return;
        }
    }
}

/// A child that echoes, and the channel to it.
fn echoing() -> Result<(Child, Channel)> {
    let mut command = in_role("echoes", &[]);
    let mut child = command.stdin(Stdio::null()).kill_on_drop(true).channel().spawn()?;
    let channel = child.take_channel().unwrap();
    Ok((child, channel))
}

fn sending_and_receiving_fail_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let talk = || {
        let (child, channel) = echoing()?;
        channel.send(Message::new(b"once").with("event", &event))?;
        let mut message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        channel.flush(SOON)?;
        Ok((child, channel, event))
    };
    Sweep::of("spawn, send, receive, take").harmless(expect::HARMLESS_SEND).run(talk, drop);
}

/// The exit code of a child for which a failure has turned out not to matter.
const HARMLESS: i32 = 99;

/// The child's half: each failed attempt is a child of its own, because a channel ends with half a message.
fn talks_with_faults(arguments: &[String]) {
    let fail_at = arguments[0].parse().ok();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut is_beside = false;
    let (outcome, calls) = faults::run(fail_at, || {
        let channel = Channel::parent()?;
        channel.send(Message::new(b"once").with("event", &event))?;
        // If it has failed by now, that was no call of the sending.
        is_beside = faults::failed().is_some_and(|failed| expect::BESIDE_A_SEND.contains(&failed));
        let mut message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        Ok((channel, event))
    });
    match outcome {
        Ok((channel, event)) => {
            drop((channel, event));
            if let Some(failed) = faults::failed() {
                let is_harmless = expect::HARMLESS_SEND.iter().any(|(name, _)| *name == failed);
                assert!(is_beside || is_harmless, "call {fail_at:?}, {failed}: failed, and nobody said so");
                std::process::exit(HARMLESS);
            }
        }
        Err(error) => {
            let failed = faults::failed().unwrap_or_else(|| panic!("no call failed, and there is {error:?}"));
            names_the_call(&format!("a child that talks, call {fail_at:?}"), failed, &error);
        }
    }
    // The inherited handles are closed, or were never adopted.
    let after = table::count();
    assert!(
        after <= before && after + weaker::RESERVED_NAMES.len() >= before,
        "call {fail_at:?}: {before} handles, then {after}"
    );
    std::process::exit(i32::try_from(calls).unwrap());
}

fn a_child_that_sends_and_receives_fails_at_each_call() {
    let talk = |fail_at: &str| {
        let mut command = in_role("talks_with_faults", &[fail_at]);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        let handles = table::count();
        if let Ok(mut message) = channel.recv_timeout(SOON) {
            // A child that has failed has closed, or doesn't listen.
            let event: Event = message.take("event").unwrap();
            let _ = channel.send_timeout(Message::new(b"back").with("event", &event), SOON);
            drop((message, event));
            assert_eq!(table::count(), handles);
        }
        let status = child.wait_timeout(SOON).unwrap();
        drop(channel);
        status.code().unwrap()
    };
    let calls = talk("none");
    assert!(calls > 4 && calls != 101, "{calls}");
    let mut harmless = Vec::new();
    for call in 0..calls {
        let before = (table::count(), table::children_of(std::process::id()).len());
        let code = talk(&call.to_string());
        if code == HARMLESS {
            harmless.push("a call of the child's");
        }
        assert!(code > 0 && code != 101, "call {call} of {calls}: exit code {code}");
        let after = (table::count(), table::children_of(std::process::id()).len());
        assert_eq!(after, before, "the parent, after call {call} of the child failed");
    }
    let calls = u32::try_from(calls).unwrap();
    swept("a child that sends, receives, takes", calls, calls, &harmless);
}

fn connects(arguments: &[String]) {
    // Refused is what it is while the other side fails; the last time, it is let in.
    while let Ok(channel) = Channel::connect_timeout(&arguments[0], SOON).or_else(|error| match error {
        Error::ConnectionRefused { .. } => Channel::connect_timeout(&arguments[0], SOON),
        other => Err(other),
    }) {
        let _ = channel.recv_timeout(SOON);
    }
}

fn name(test: &str) -> String {
    format!("faults.{test}.{}", std::process::id())
}

fn listening_fails_at_each_call() {
    let name = name("listening");
    Sweep::of("listen").harmless(expect::HARMLESS_NAME).run(|| Listener::bind(&name), drop);
    let mut listener = Listener::bind(&name).unwrap();
    let mut clients = Command::new(this_program());
    clients.args(role("connects", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let listener = std::cell::RefCell::new(&mut listener);
    // A client that can't be asked who it is isn't a failure of the listener's: it is sent away.
    let (mut failed, mut all, mut harmless) = (0, None, Vec::new());
    for call in 0..60 {
        let mut client = clients.spawn().unwrap();
        let mut listener = listener.borrow_mut();
        let before = table::count();
        let (outcome, calls) = faults::run(Some(call), || listener.accept_timeout(SOON)?.accept());
        match outcome {
            Ok(channel) => {
                drop(channel);
                match faults::failed() {
                    None => {
                        all = Some(call);
                        break;
                    }
                    Some(failed) => harmless.push(failed),
                }
            }
            Err(error) => {
                let name = faults::failed().unwrap_or_else(|| panic!("call {call} of {calls}: {error:?}"));
                names_the_call(&format!("let a client in, call {call} of {calls}"), name, &error);
                failed += 1;
            }
        }
        assert_eq!(table::count(), before, "handles after call {call} of {calls} failed");
        client.kill().unwrap();
        client.wait_timeout(SOON).unwrap();
    }
    let all = all.expect("letting a client in takes fewer calls");
    assert!(failed > 0 && all >= expect::CALLS_OF_A_DOOR, "{failed} and {all}");
    for name in &harmless {
        assert!(expect::HARMLESS_CLIENT.iter().any(|(other, _)| other == name), "{name} is no matter");
    }
    swept("let a client in", all, all, &harmless);
}

fn serves(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    let _event = Event::create_named(&format!("{}.event", arguments[0]), ResetMode::Manual).unwrap();
    println!("listens");
    loop {
        // A client that fails is one that doesn't come in.
        if let Ok(channel) = listener.accept().unwrap().accept() {
            std::thread::spawn(move || channel.recv_timeout(SOON).is_ok());
        }
    }
}

fn listens(server: &mut Child) {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "listens");
}

fn connecting_fails_at_each_call() {
    let name = name("connecting");
    let mut command = in_role("serves", &[&name]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    listens(&mut server);
    let _ = HandleValue::of(server.process()).unwrap();
    let connect = || Channel::connect_timeout(&name, SOON);
    Sweep::of("connect").beside(&[server.id()]).run(connect, drop);
}

fn has_claimed(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("has it");
    // Until the end of the input.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

fn claiming_what_somebody_has_fails_at_each_call() {
    use std::io::{BufRead, BufReader};
    let name = format!("handover-tests.claimed.{}", std::process::id());
    let mut command = Command::new(this_program());
    command.args(role("has_claimed", &[&name])).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "has it");
    // That it is taken is the answer; any other error is one.
    let claim = || match SingleInstance::acquire(&name) {
        Err(Error::AlreadyRunning { .. }) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => panic!("it was claimed twice"),
    };
    claim().unwrap();
    let before = table::count();
    failing_at_each_call("claiming what somebody has", claim);
    assert_eq!(table::count(), before);
    drop(child.stdin.take());
    assert!(child.wait_timeout(Duration::from_secs(10)).unwrap().success());
}
