//! Fault sweeps: each system call of a scenario fails in turn. Each failure is reported, and leaves no process, no
//! handle and no changed flag.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use handover::inspect::{Audit, HandleTable};
use handover::{
    Carried, Channel, Child, Command, Error, Event, HandleValue, Listener, Message, ObjectKind, OwnedHandle,
    Process, ResetMode, Result, Semaphore, SharedMemory, SingleInstance, Stdio, Timer, TypedChannel, WaitSet,
    faults, wait_any,
};
use handover_tests::{
    Sweep, adopt, assert_flags_unchanged, assert_names_call, bare, begun, end, events, expect,
    in_role_of_std, role, sweep, swept, table, tests, this_program, until, waits, weaker,
};

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            // The longest ones come first, so that the others run beside them.
            audit_reports_each_failing_call_of_even_index,
            audit_reports_each_failing_call_of_odd_index,
            spawn_reports_each_failing_call,
            spawn_with_directory_and_variables_reports_each_failing_call,
            spawn_reading_another_childs_output_reports_each_failing_call,
            race_free_spawn_reports_each_failing_call,
            kill_with_parent_spawn_reports_each_failing_call,
            spawns_with_sockets_report_each_failing_call,
            first_spawn_reports_each_failing_call,
            killing_a_child_reports_each_failing_call,
            inherited_and_take_report_each_failing_call,
            adopt_reports_each_failing_call,
            clear_inherit_reports_each_failing_call,
            duplicate_from_reports_each_failing_call,
            opening_a_process_reports_each_failing_call,
            wait_reports_each_failing_call,
            creating_and_opening_report_each_failing_call,
            views_and_setters_report_each_failing_call,
            handle_table_reports_each_failing_call,
            spawn_with_channel_reports_each_failing_call,
            send_and_recv_report_each_failing_call,
            sockets_in_messages_report_each_failing_call,
            call_and_reply_report_each_failing_call,
            endpoints_that_travel_report_each_failing_call,
            typed_messages_report_each_failing_call,
            waits_for_many_report_each_failing_call,
            listener_readiness_reports_each_failing_call,
            send_and_recv_in_child_report_each_failing_call,
            listener_reports_each_failing_call,
            connect_reports_each_failing_call,
            acquire_of_name_in_use_reports_each_failing_call,
        ],
        tests![
            adopts_with_faults,
            adopts_from_arg,
            clears_inherit_with_faults,
            makes_first_spawn,
            prints_a_word,
            repeats,
            echoes,
            echoes_sockets,
            talks_with_faults,
            connects,
            serves,
            waits,
            exits_at_once,
            holds_single_instance
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

fn spawn_reports_each_failing_call() {
    let (event, inheritable) = events();
    // A scenario that also duplicates this process's own streams.
    let inheriting =
        || forever(&event, &inheritable).stdin(Stdio::inherit()).stderr(Stdio::inherit()).spawn();
    sweep("spawn, with this process's streams", inheriting, end);
    sweep("spawn", || forever(&event, &inheritable).spawn(), end);
    assert_flags_unchanged(&event, &inheritable);
}

fn spawn_with_directory_and_variables_reports_each_failing_call() {
    let (event, inheritable) = events();
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        command.current_dir(".").env("ONE", "1").env_handle("EVENT", "{event}").spawn()
    };
    sweep("spawn, with a folder and variables", spawn, end);
    // A scenario that searches for the program's file.
    sweep("spawn, of a bare name", || Command::new(expect::BARE_NAME).stdin(Stdio::piped()).spawn(), end);
}

fn spawn_reading_another_childs_output_reports_each_failing_call() {
    // A failed spawn doesn't consume the stream that the child would have read.
    let (event, inheritable) = events();
    let mut first = Command::new(this_program());
    let mut first = first.args(role("prints_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = never_ends();
    command.inherit("event", &event).inherit("inheritable", &inheritable);
    command.stdin(first.stdout.take().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    first.wait_timeout(Duration::from_secs(10)).unwrap();
    let handles = || table::count();
    const NAME: &str = "spawn, behind another child";
    let failing = |command: &mut Command<'_>, call| {
        let (outcome, _) = faults::run(Some(call), || command.spawn());
        let failed = faults::failed().expect("the spawn makes enough calls");
        assert_names_call(NAME, failed, &outcome.expect_err(failed));
    };
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
        let before = handles();
        failing(&mut command, call);
        until("the thread that passes the stream on has ended", || handles() == before);
    }
    swept(NAME, expect::CALLS_BEFORE_A_CHILD, expect::CALLS_BEFORE_A_CHILD, &[]);
    let mut reader = Command::new(this_program());
    drop(command);
    let mut last = reader.args(role("repeats", &[])).stdout(Stdio::piped());
    let mut first = Command::new(this_program());
    let mut first = first.args(role("prints_a_word", &[])).stdout(Stdio::piped()).spawn().unwrap();
    last = last.stdin(first.stdout.take().unwrap());
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
        failing(last, call);
    }
    assert_eq!(last.output().unwrap().stdout, b"a word");
}

fn prints_a_word(_: &[String]) {
    print!("a word");
}

fn repeats(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn kill_with_parent_spawn_reports_each_failing_call() {
    let (event, inheritable) = events();
    let spawn = || forever(&event, &inheritable).kill_with_parent(true).spawn();
    sweep("spawn, ends with this process", spawn, end);
    assert_flags_unchanged(&event, &inheritable);
}

fn race_free_spawn_reports_each_failing_call() {
    let (event, inheritable) = events();
    sweep("race-free spawn", || forever(&event, &inheritable).race_free().spawn(), end);
    assert_flags_unchanged(&event, &inheritable);
}

fn spawns_with_sockets_report_each_failing_call() {
    let (event, inheritable) = events();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (one, other) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), &listener);
    let with_sockets = || {
        let mut command = forever(&event, &inheritable);
        command.inherit("listener", &listener).inherit("socket", &one).inherit("again", other);
        command
    };
    sweep("spawn, with sockets", || with_sockets().spawn(), end);
    sweep("race-free spawn, with sockets", || with_sockets().race_free().spawn(), end);
    sweep(
        "spawn, with sockets, ends with this process",
        || with_sockets().kill_with_parent(true).spawn(),
        end,
    );
    assert_flags_unchanged(&event, &inheritable);
}

/// A process creates some state once, in its first spawn of each kind, so each failure needs a process of its own.
fn first_spawn_reports_each_failing_call() {
    for (way, name) in FIRST {
        let mut calls = 0;
        let mut points = 0;
        let mut harmless = Vec::new();
        loop {
            let mut command = std::process::Command::new(this_program());
            let output =
                command.args(role("makes_first_spawn", &[way, &points.to_string()])).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(0), "{name}, call {points}: {said} {output:?}");
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
    ("race-free", "the first race-free spawn of a process"),
    ("kept", "the first spawn of a process, ends with it"),
];

/// Prints the outcome, the call that was made to fail, and the number of calls.
fn makes_first_spawn(arguments: &[String]) {
    let (event, inheritable) = events();
    let fail_at = arguments[1].parse().unwrap();
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        match arguments[0].as_str() {
            "race-free" => command.race_free(),
            "kept" => command.kill_with_parent(true),
            _ => &mut command,
        };
        command.spawn()
    };
    // Makes std allocate the handles that it needs for a first error.
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
            assert!(
                expect::HARMLESS_FIRST.iter().any(|(name, _)| *name == failed),
                "the failure of {failed} was ignored"
            );
            end(child);
            ("harmless", failed)
        }
        (Err(error), Some(failed)) => {
            assert_names_call(&format!("the first spawn, call {fail_at}"), failed, &error);
            // State that is created once may exist already: the helper, the job, the thread.
            let is_as_before = || {
                let (handles, children) = after();
                handles <= before.0 + expect::KEPT_BY_A_FIRST_SPAWN && children <= before.1 + 1
            };
            until(&format!("{before:?} is as before: {:?}", after()), is_as_before);
            ("failed", failed)
        }
        (Err(error), None) => panic!("no call was made to fail, and the result is {error:?}"),
    };
    assert_flags_unchanged(&event, &inheritable);
    println!("{said} {failed} {calls}");
}

fn killing_a_child_reports_each_failing_call() {
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

/// Makes each call of the work fail in turn, until the work succeeds.
fn failing_at_each_call<T>(name: &str, work: impl Fn() -> Result<T>) -> T {
    failing_at_each_call_but(name, &[], work)
}

/// Like [`failing_at_each_call`], but a failure of these calls may leave the work successful. The work is then done and
/// isn't repeated.
fn failing_at_each_call_but<T>(name: &str, harmless: &[&str], work: impl Fn() -> Result<T>) -> T {
    let mut failures = 0;
    loop {
        // The attempt may already have cleared the inherit flag of handles that can still be taken, so flags aren't
        // compared.
        let handles = || tables().iter().map(|entry| (entry.value, entry.access)).collect::<Vec<_>>();
        let before = handles();
        let (outcome, calls) = faults::run(Some(failures), &work);
        match (outcome, faults::failed()) {
            (Err(error), Some(failed)) => {
                assert_names_call(&format!("{name}, call {failures}"), failed, &error);
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
            (Ok(_), Some(failed)) => panic!("{name}, call {failures}, {failed}: the failure was ignored"),
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
    // A failed attempt loses nothing, so the last attempt finds all objects. An attempt skips what an earlier one has
    // done, so the failing call moves on and no call is left out.
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
    drop(failing_at_each_call("take, a socket", || inherited.take::<TcpListener>("socket")));
    assert_eq!(failing_at_each_call("unlisted", handover::leaked_handles), []);
}

fn inherited_and_take_report_each_failing_call() {
    let (event, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let (semaphore, section) = (Semaphore::new(1).unwrap(), SharedMemory::new(1).unwrap());
    let timer = Timer::manual_reset().unwrap();
    let file = std::fs::File::open(this_program()).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("adopts_with_faults", &[])).inherit("event", &event).inherit("second", &second);
    command.inherit("semaphore", &semaphore).inherit("section", &section).inherit("timer", &timer);
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    command.inherit("file", &file).inherit("handle", &event).inherit("socket", &socket);
    let before = tables();
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert_eq!(tables(), before);
    assert!(event.try_wait().unwrap() && second.try_wait().unwrap());
}

fn adopts_from_arg(arguments: &[String]) {
    let fail_at = arguments[0].parse().unwrap();
    let before = table::count();
    let (outcome, calls) = faults::run(Some(fail_at), || adopt::<Event>(HandleValue::from_arg(4)?));
    let said = match (outcome, faults::failed()) {
        (Ok(event), None) => {
            event.set().unwrap();
            "none"
        }
        (Err(error), Some(failed)) => {
            assert_names_call(&format!("adopt a value from an argument, call {fail_at}"), failed, &error);
            "failed"
        }
        other => panic!("{other:?}"),
    };
    assert!(table::count() <= before);
    println!("{said} {calls}");
}

fn adopt_reports_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let mut points = 0;
    loop {
        let mut command = Command::new(this_program());
        command.args(role("adopts_from_arg", &[&points.to_string()]));
        let output = command.inherit("event", &event).arg_handle("{event}").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "call {points}: {output:?}");
        let (outcome, calls) = said.trim().split_once(' ').unwrap();
        if outcome == "none" {
            assert!(points > 0);
            swept("adopt a value from an argument", calls.parse().unwrap(), points, &[]);
            break;
        }
        points += 1;
    }
    assert!(event.try_wait().unwrap());
}

fn clears_inherit_with_faults(arguments: &[String]) {
    let value: u32 = arguments[0].parse().unwrap();
    let unlisted = handover::leaked_handles().unwrap();
    let leaked = unlisted.iter().find(|unlisted| unlisted.value.get() == value).unwrap();
    failing_at_each_call("clear the inherit flag of a leak", || leaked.clear_inherit());
    assert!(!table::entry(std::process::id(), value).unwrap().inheritable);
}

fn clear_inherit_reports_each_failing_call() {
    let (event, inheritable) = events();
    let mut command = std::process::Command::new(this_program());
    command.args(role("clears_inherit_with_faults", &[&table::value(&inheritable).to_string()]));
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert_flags_unchanged(&event, &inheritable);
}

const SOON: Duration = Duration::from_secs(10);

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

fn duplicate_from_reports_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event));
    let value = child.inherited_handles().next().unwrap().1;
    let beside = |name| Sweep::of(name).beside(&[child.id()]);
    beside("pull, an event").run(|| child.process().duplicate_from::<Event>(value), drop);
    beside("pull, a handle").run(|| child.process().duplicate_from::<OwnedHandle>(value), drop);
}

fn opening_a_process_reports_each_failing_call() {
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

fn wait_reports_each_failing_call() {
    let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    event.set().unwrap();
    sweep("wait for any", || wait_any(&[&other, &event], SOON), |place| assert_eq!(place, 1));
    sweep("wait", || event.wait_timeout(SOON), |()| {});
    // A failed wait doesn't reset the event.
    let one = Event::auto_reset().unwrap();
    let again = || one.set().unwrap();
    again();
    sweep("wait, and take", || one.wait_timeout(SOON), |()| again());
    assert!(one.try_wait().unwrap());
    // The first wait queries the event's reset mode.
    let first = || {
        let event = Event::auto_reset()?;
        event.set()?;
        event.wait_timeout(SOON)?;
        assert!(!event.try_wait()?, "the wait has reset the event");
        Ok(())
    };
    Sweep::of("set, and wait for the first time").harmless(expect::HARMLESS_WAIT).run(first, |()| {});
}

fn creating_and_opening_report_each_failing_call() {
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
    // Opens an event of this process, and one of another process.
    let server = in_role("serves", &[&of("another")]);
    let server = &mut { server };
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    listens(&mut server);
    let beside = Sweep::of("open, an event of another process").beside(&[server.id()]);
    beside.run(|| Event::open_named(&format!("{}.event", of("another"))), drop);
}

fn views_and_setters_report_each_failing_call() {
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

fn handle_table_reports_each_failing_call() {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(1).unwrap());
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event).inherit("section", &section));
    let this = Process::open_for_query(std::process::id()).unwrap();
    let look = |name| Sweep::of(name).beside(&[child.id()]).harmless(expect::HARMLESS_LOOK);
    look("look into a table").run(|| HandleTable::of(child.process()), drop);
    look("look into one's own table").run(|| HandleTable::of(&this), drop);
    look("find what is shared").run(|| handover::inspect::shared_objects(&this, child.process()), drop);
}

fn exits_at_once(_: &[String]) {}

fn each_failing_call_of_audit(part: u32) {
    let run = || Audit::new(in_role_of_std("exits_at_once", &[])).run(SOON);
    Sweep::of("audit").part(part, 2).harmless(expect::HARMLESS_AUDIT).run(run, drop);
}

fn audit_reports_each_failing_call_of_even_index() {
    each_failing_call_of_audit(0);
}

fn audit_reports_each_failing_call_of_odd_index() {
    each_failing_call_of_audit(1);
}

fn spawn_with_channel_reports_each_failing_call() {
    let (event, inheritable) = events();
    sweep("spawn, with a channel", || forever(&event, &inheritable).channel().spawn(), end);
    let race_free = || forever(&event, &inheritable).channel().race_free().spawn();
    sweep("race-free spawn, with a channel", race_free, end);
    assert_flags_unchanged(&event, &inheritable);
}

/// Sends each received message back.
fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(SOON) {
        let event: Event = message.take("event").unwrap();
        if channel.send(Message::new(message.bytes()).with("event", &event)).is_err() {
            return;
        }
    }
}

/// Starts a child that echoes, with a channel.
fn echoing() -> Result<(Child, Channel)> {
    let mut command = in_role("echoes", &[]);
    let mut child = command.stdin(Stdio::null()).kill_on_drop(true).channel().spawn()?;
    let channel = child.take_channel().unwrap();
    Ok((child, channel))
}

fn send_and_recv_report_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let talk = || {
        let (child, channel) = echoing()?;
        channel.send(Message::new(b"once").with("event", &event))?;
        let message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        channel.flush(SOON)?;
        Ok((child, channel, event))
    };
    Sweep::of("spawn, send, receive, take").harmless(expect::HARMLESS_SEND).run(talk, drop);
}

/// Sends each socket back.
fn echoes_sockets(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(SOON) {
        let (one, two): (TcpListener, UdpSocket) =
            (message.take("one").unwrap(), message.take("two").unwrap());
        if channel.send(Message::new("").with("one", &one).with("two", &two)).is_err() {
            return;
        }
    }
}

fn sockets_in_messages_report_each_failing_call() {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let two = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let event = Event::manual_reset().unwrap();
    let talk = || {
        let mut command = in_role("echoes_sockets", &[]);
        let mut child = command.stdin(Stdio::null()).kill_on_drop(true).channel().spawn()?;
        let channel = child.take_channel().unwrap();
        channel.allow(ObjectKind::Socket);
        channel.send(Message::new("").with("one", &one).with("event", &event).with("two", &two))?;
        let message = channel.recv_timeout(SOON)?;
        let sockets = (message.take::<TcpListener>("one")?, message.take::<UdpSocket>("two")?);
        Ok((child, channel, sockets))
    };
    Sweep::of("spawn, send sockets, receive, take").harmless(expect::HARMLESS_SEND).run(talk, drop);
    let within = || {
        let (ours, theirs) = Channel::pair()?;
        ours.send(Message::new("").with("one", &one).with("event", &event).with("two", &two))?;
        let message = theirs.recv_timeout(SOON)?;
        Ok((message.take::<UdpSocket>("two")?, message.take::<TcpListener>("one")?))
    };
    Sweep::of("pair, send sockets, take").harmless(expect::HARMLESS_SEND).run(within, drop);
}

fn call_and_reply_report_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let ask = || {
        let (one, other) = Channel::pair()?;
        let outcome = std::thread::scope(|scope| {
            // The failing calls are those of this thread.
            let server = scope.spawn(|| {
                let call = other.recv_timeout(SOON)?;
                let event: Event = call.take("event")?;
                call.reply(Message::new(call.bytes()).with("event", &event))
            });
            let reply = one.call(Message::new("question").with("event", &event), SOON);
            one.close();
            let served = server.join().expect("no panic");
            let reply = reply?;
            served?;
            reply.take::<Event>("event")
        });
        outcome.map(|event| (event, one, other))
    };
    Sweep::of("pair, call, take, close").harmless(expect::HARMLESS_CALL).run(ask, drop);
}

fn endpoints_that_travel_report_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let travel = || {
        let (one, other) = Channel::pair()?;
        let (ours, theirs) = Channel::pair()?;
        one.send(Message::new("").with_channel("link", theirs))?;
        let link = other.recv_timeout(SOON)?.take_channel("link")?;
        ours.send(Message::new("there").with("event", &event))?;
        link.recv_timeout(SOON)?.take::<Event>("event")?;
        link.send("and back")?;
        ours.recv_timeout(SOON)?;
        Ok((one, other, ours, link))
    };
    Sweep::of("pair, send an endpoint, use it").harmless(expect::HARMLESS_TRAVEL).run(travel, drop);
    let give = || {
        let (ours, theirs) = Channel::pair()?;
        let child = never_ends().inherit_channel("link", theirs).kill_on_drop(true).spawn()?;
        Ok((ours, child))
    };
    Sweep::of("pair, spawn with an endpoint").harmless(expect::HARMLESS_TRAVEL).run(give, drop);
}

fn typed_messages_report_each_failing_call() {
    type Value = (Carried<Event>, Vec<Carried<SharedMemory>>, Carried<Channel>);
    let talk = || {
        let (one, other) = Channel::pair()?;
        let (one, other) = (TypedChannel::<Value, ()>::new(one), TypedChannel::<(), Value>::new(other));
        let (ours, theirs) = Channel::pair()?;
        let memory = SharedMemory::new(4096)?;
        let value = (Event::manual_reset()?.into(), vec![memory.into()], theirs.into());
        one.send(&value)?;
        let arrived = other.recv_timeout(SOON)?;
        Ok((one, other, ours, value, arrived))
    };
    Sweep::of("pair, send and receive a value").harmless(expect::HARMLESS_TRAVEL).run(talk, drop);
    // Each failure leaves the value as it was. The channel may be cut off.
    let value = (Carried::new(Event::manual_reset().unwrap()), "text");
    let talk = || {
        let (one, other) = Channel::pair()?;
        one.send(Message::from_value(&value)?)?;
        let arrived = other.recv_timeout(SOON)?.into_value::<(Carried<Event>, String)>()?;
        Ok((one, other, arrived))
    };
    Sweep::of("send and receive a value").harmless(expect::HARMLESS_CALL).run(talk, drop);
}

fn waits_for_many_report_each_failing_call() {
    let (event, semaphore) = (Event::auto_reset().unwrap(), Semaphore::new(0).unwrap());
    let carried = Event::manual_reset().unwrap();
    let work = || {
        let (child, channel) = echoing()?;
        let set = WaitSet::new()?;
        set.add(1, &event)?;
        set.add(2, &semaphore)?;
        set.add(3, &channel)?;
        set.add(4, &child)?;
        semaphore.release(1)?;
        // The signal of a wait that failed may be left.
        assert!(set.wait(SOON)?.all(|ready| ready.key() == 2));
        channel.send(Message::new(b"once").with("event", &carried))?;
        assert!(set.wait(SOON)?.all(|ready| [2, 3].contains(&ready.key())));
        assert_eq!(wait_any(&[&event, &channel], SOON)?, 1);
        channel.readiness()?;
        channel.recv_timeout(SOON)?;
        set.remove(2);
        channel.close();
        assert!(set.wait(SOON)?.any(|ready| ready.key() == 3));
        Ok((child, channel, set))
    };
    Sweep::of("wait set, channel readiness, close").harmless(expect::HARMLESS_SET).run(work, |all| {
        drop(all);
        while semaphore.try_wait().unwrap() {}
    });
}

fn listener_readiness_reports_each_failing_call() {
    let name = format!("faults.readiness.{}", std::process::id());
    let look = || {
        let mut listener = Listener::bind(&name)?;
        listener.readiness()?;
        assert!(listener.try_accept()?.is_none());
        Ok(listener)
    };
    Sweep::of("listen, readiness, try to accept").harmless(expect::HARMLESS_NAME).run(look, drop);
}

/// The exit code of a child in which a failure was ignored.
const HARMLESS: i32 = 99;

/// The child's side. Each failure needs a child of its own, because a channel can't be used after a partial message.
fn talks_with_faults(arguments: &[String]) {
    let fail_at = arguments[0].parse().ok();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut is_beside = false;
    let (outcome, calls) = faults::run(fail_at, || {
        let channel = Channel::parent()?;
        channel.send(Message::new(b"once").with("event", &event))?;
        // A call that has failed by now although the send succeeded is not a call of the send itself.
        is_beside = faults::failed().is_some_and(|failed| expect::READS_DURING_SEND.contains(&failed));
        let message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        Ok((channel, event))
    });
    match outcome {
        Ok((channel, event)) => {
            drop((channel, event));
            if let Some(failed) = faults::failed() {
                let is_harmless = expect::HARMLESS_SEND.iter().any(|(name, _)| *name == failed);
                assert!(is_beside || is_harmless, "call {fail_at:?}, {failed}: the failure was ignored");
                std::process::exit(HARMLESS);
            }
        }
        Err(error) => {
            let failed = faults::failed()
                .unwrap_or_else(|| panic!("no call was made to fail, and the result is {error:?}"));
            assert_names_call(&format!("a child that talks, call {fail_at:?}"), failed, &error);
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

fn send_and_recv_in_child_report_each_failing_call() {
    let talk = |fail_at: &str| {
        let mut command = in_role("talks_with_faults", &[fail_at]);
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        let handles = table::count();
        if let Ok(message) = channel.recv_timeout(SOON) {
            // A child that has failed has closed the channel, or doesn't receive.
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
    // The client is refused while the server's calls fail; the server accepts the last one.
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

fn listener_reports_each_failing_call() {
    let name = name("listening");
    Sweep::of("listen").harmless(expect::HARMLESS_NAME).run(|| Listener::bind(&name), drop);
    let mut listener = Listener::bind(&name).unwrap();
    let mut clients = Command::new(this_program());
    clients.args(role("connects", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let listener = std::cell::RefCell::new(&mut listener);
    // If the client's process can't be queried, the listener disconnects the client. That is not a failure of the
    // listener.
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
                assert_names_call(&format!("let a client in, call {call} of {calls}"), name, &error);
                failed += 1;
            }
        }
        assert_eq!(table::count(), before, "handles after call {call} of {calls} failed");
        client.kill().unwrap();
        client.wait_timeout(SOON).unwrap();
    }
    let all = all.expect("letting a client in takes fewer calls");
    assert!(failed > 0 && all >= expect::CALLS_OF_ACCEPT, "{failed} and {all}");
    for name in &harmless {
        assert!(
            expect::HARMLESS_CLIENT.iter().any(|(other, _)| other == name),
            "the failure of {name} was ignored"
        );
    }
    swept("let a client in", all, all, &harmless);
}

fn serves(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    let _event = Event::create_named(&format!("{}.event", arguments[0]), ResetMode::Manual).unwrap();
    println!("listens");
    loop {
        // A failed accept concerns only that client.
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

fn connect_reports_each_failing_call() {
    let name = name("connecting");
    let mut command = in_role("serves", &[&name]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    listens(&mut server);
    let _ = HandleValue::of(server.process()).unwrap();
    let connect = || Channel::connect_timeout(&name, SOON);
    Sweep::of("connect").beside(&[server.id()]).run(connect, drop);
}

fn holds_single_instance(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("has it");
    // Waits for the end of the input.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

fn acquire_of_name_in_use_reports_each_failing_call() {
    use std::io::{BufRead, BufReader};
    let name = format!("handover-tests.claimed.{}", std::process::id());
    let mut command = Command::new(this_program());
    command.args(role("holds_single_instance", &[&name])).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "has it");
    // `AlreadyRunning` is the expected result; each other error is a failure.
    let claim = || match SingleInstance::acquire(&name) {
        Err(Error::AlreadyRunning { .. }) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => panic!("the name was acquired twice"),
    };
    claim().unwrap();
    let before = table::count();
    failing_at_each_call("acquire a name in use", claim);
    assert_eq!(table::count(), before);
    drop(child.stdin.take());
    assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap().code(), Some(0));
}
