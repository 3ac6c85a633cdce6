//! Each system call of a scenario fails in turn: an error comes, no process is left, no handle, no changed flag.

use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Channel, Command, Error, Event, HandleValue, Listener, Message, Process, Reset, Result, Section,
    Semaphore, SingleInstance, Stdio, Timer, faults, wait_any,
};
use handover_tests::{
    bare, end, events, expect, flags_are_as_before, role, sweep, sweep_with_harmless, table, tests,
    this_program, until, weaker,
};

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_spawn_fails_at_each_call,
            a_spawn_behind_another_child_fails_at_each_call,
            a_sealed_spawn_fails_at_each_call,
            a_spawn_of_a_child_that_ends_with_this_process_fails_at_each_call,
            an_adoption_fails_at_each_call,
            pulling_fails_at_each_call,
            a_wait_fails_at_each_call,
            creating_and_opening_fail_at_each_call,
            a_view_fails_at_each_call,
            a_spawn_with_a_channel_fails_at_each_call,
            sending_and_receiving_fail_at_each_call,
            a_child_that_sends_and_receives_fails_at_each_call,
            listening_fails_at_each_call,
            connecting_fails_at_each_call,
        ],
        tests![adopts_with_faults, says_a_word, repeats, echoes, talks_with_faults, connects, serves],
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
    sweep(|| forever(&event, &inheritable).stdin(Stdio::inherit()).stderr(Stdio::inherit()).spawn(), end);
    sweep(|| forever(&event, &inheritable).spawn(), end);
    flags_are_as_before(&event, &inheritable);
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
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
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
    for call in 0..expect::CALLS_BEFORE_A_CHILD {
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

fn a_spawn_of_a_child_that_ends_with_this_process_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).kill_with_parent(true).spawn(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_sealed_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).sealed().spawn(), end);
    flags_are_as_before(&event, &inheritable);
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

const SOON: Duration = Duration::from_secs(10);

fn pulling_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let mut command = never_ends();
    command.inherit("event", &event);
    let child = command.kill_on_drop(true).stdin(Stdio::piped()).spawn().unwrap();
    let value = child.handed_down().next().unwrap().1;
    sweep(|| child.process().duplicate_from::<Event>(value), drop);
    let identity = child.process().identity().unwrap();
    sweep(|| Process::open_identified(identity), drop);
    sweep(|| child.process().user(), drop);
}

fn a_wait_fails_at_each_call() {
    let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    event.set().unwrap();
    sweep(|| wait_any(&[&other, &event], SOON), |place| assert_eq!(place, 1));
}

fn creating_and_opening_fail_at_each_call() {
    let name = name("named");
    let of = |kind: &str| format!("{name}.{kind}");
    sweep(|| Event::create_named(&of("event"), Reset::Auto), drop);
    sweep(|| Semaphore::create_or_open_named(&of("semaphore"), 0), drop);
    sweep(|| Section::create_named(&of("section"), 1), drop);
    sweep(|| Timer::create_named(&of("timer"), Reset::Auto), drop);
    let _event = Event::create_named(&name, Reset::Auto).unwrap();
    sweep(|| Event::open_named(&name), drop);
    sweep(|| SingleInstance::claim(&of("single")), drop);
    sweep(Event::manual_reset, drop);
}

fn a_view_fails_at_each_call() {
    let section = Section::new(100).unwrap();
    sweep(|| section.view(), drop);
    sweep(|| section.view_mut_of(10, 10), drop);
    let timer = Timer::auto_reset().unwrap();
    sweep(|| timer.set_after(SOON), drop);
    sweep(|| timer.cancel(), drop);
    let semaphore = Semaphore::new(0).unwrap();
    sweep(|| semaphore.release(1), |_| {});
}

fn a_spawn_with_a_channel_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).channel().spawn(), end);
    sweep(|| forever(&event, &inheritable).channel().sealed().spawn(), end);
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

fn sending_and_receiving_fail_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let talk = || {
        let mut command = Command::new(this_program());
        command.args(role("echoes", &[])).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.channel().spawn()?;
        let channel = child.channel.take().unwrap();
        channel.send(Message::new(b"once").with("event", &event))?;
        let mut message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        Ok((child, channel, event))
    };
    sweep_with_harmless(1, talk, drop);
}

/// The exit code of a child for which a failure has turned out not to matter.
const HARMLESS: i32 = 99;

/// The child's half: each failed attempt is a child of its own, because a channel ends with half a message.
fn talks_with_faults(arguments: &[String]) {
    let fail_at = arguments[0].parse().ok();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let (outcome, calls) = faults::run(fail_at, || {
        let channel = Channel::parent()?;
        channel.send(Message::new(b"once").with("event", &event))?;
        let mut message = channel.recv_timeout(SOON)?;
        let event: Event = message.take("event")?;
        Ok((channel, event))
    });
    match outcome {
        Ok((channel, event)) => {
            drop((channel, event));
            if fail_at.is_some_and(|call| call < calls) {
                std::process::exit(HARMLESS);
            }
        }
        Err(Error::System { source, .. }) if source.raw_os_error() == Some(faults::CODE) => {}
        Err(other) => panic!("call {fail_at:?}: {other:?}"),
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
        let mut command = Command::new(this_program());
        command.args(role("talks_with_faults", &[fail_at])).stdin(Stdio::null());
        let mut child = command.channel().spawn().unwrap();
        let channel = child.channel.take().unwrap();
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
    let mut harmless = 0;
    for call in 0..calls {
        let code = talk(&call.to_string());
        harmless += usize::from(code == HARMLESS);
        assert!(code > 0 && code != 101, "call {call} of {calls}: exit code {code}");
    }
    assert!(harmless <= 1, "{harmless} failures were made light of");
    println!("{calls} calls");
}

fn connects(arguments: &[String]) {
    // Refused is what it is while the other side fails; the last time, it is let in.
    while let Ok(channel) = Channel::connect_timeout(&arguments[0], SOON).or_else(|error| match error {
        Error::Refused { .. } => Channel::connect_timeout(&arguments[0], SOON),
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
    sweep(|| Listener::bind(&name), drop);
    let mut listener = Listener::bind(&name).unwrap();
    let mut clients = Command::new(this_program());
    clients.args(role("connects", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let listener = std::cell::RefCell::new(&mut listener);
    // A client that can't be asked who it is isn't a failure of the listener's: it is sent away.
    let (mut failed, mut swept) = (0, None);
    for call in 0..60 {
        let mut client = clients.spawn().unwrap();
        let mut listener = listener.borrow_mut();
        let before = table::count();
        let (outcome, calls) = faults::run(Some(call), || listener.accept_timeout(SOON)?.accept());
        match outcome {
            Ok(channel) => {
                drop(channel);
                if calls <= call {
                    swept = Some(call);
                    break;
                }
            }
            Err(Error::System { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(faults::CODE), "call {call}: {source}");
                failed += 1;
            }
            Err(other) => panic!("call {call} of {calls}: {other:?}"),
        }
        assert_eq!(table::count(), before, "handles after call {call} of {calls} failed");
        client.kill().unwrap();
        client.wait_timeout(SOON).unwrap();
    }
    let swept = swept.expect("letting a client in takes fewer calls");
    assert!(failed > 0 && swept >= expect::CALLS_OF_A_DOOR, "{failed} and {swept}");
    println!("{failed} of {swept} calls");
}

fn serves(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    loop {
        // A client that fails is one that doesn't come in.
        if let Ok(channel) = listener.accept().unwrap().accept() {
            std::thread::spawn(move || channel.recv_timeout(SOON).is_ok());
        }
    }
}

fn connecting_fails_at_each_call() {
    use std::io::{BufRead, BufReader};
    let name = name("connecting");
    let mut command = Command::new(this_program());
    command.args(role("serves", &[&name])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let _ = HandleValue::of(server.process()).unwrap();
    sweep(|| Channel::connect_timeout(&name, SOON), drop);
}
