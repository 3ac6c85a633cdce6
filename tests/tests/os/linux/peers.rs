//! Tests with peers that share no code with the library: Python with its standard library, and C.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use handover::faults::{Turn, taking};
use handover::os::linux::InheritExt;
use handover::{
    Channel, Child, Command, Error, Event, HandleValue, Listener, Message, ObjectKind, Process, Semaphore,
    SharedMemory, Stdio, Timer,
};
use handover_tests::frame::{frame, with};
use handover_tests::{Suite, door, foreign, is_foreign_there, left_out, script, table, tests};

const SOON: Duration = Duration::from_secs(15);

pub(super) const SUITE: Suite = Suite {
    name: "peers",
    tests: tests![
        python_child_waits_for_received_event,
        python_child_sends_its_event,
        memory_sealed_by_python_is_shared_memory,
        python_client_connects_to_listener,
        python_child_replies_to_calls,
        python_child_calls_its_parent,
        python_child_of_another_spawner_replies_to_calls,
        python_of_another_version_is_refused,
        python_ignores_greetings,
        c_child_waits_for_descriptor_from_argument,
        reset_mode_survives_python,
    ],
    roles: &[],
};

/// Returns whether there is a Python with `os.eventfd`.
fn has_python() -> bool {
    let program = "import sys; sys.exit(sys.version_info < (3, 10))";
    let status = std::process::Command::new("python3").args(["-c", program]).status();
    let has = status.is_ok_and(|status| status.success());
    if !has {
        left_out("python3 is missing, or older than 3.10");
    }
    has
}

fn python<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new("python3");
    // -B: Python writes no bytecode beside the scripts.
    command.arg("-B").arg(script(name)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn with_channel(name: &str) -> (Child, Channel) {
    let mut child = python(name).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn python_child_waits_for_received_event() {
    if !has_python() {
        return;
    }
    let event = Event::auto_reset().unwrap();
    let before = table::count();
    let (child, channel) = with_channel("receives_an_event.py");
    channel.send(Message::new(b"wait for it").with("ready", &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"waiting");
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    event.set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"set");
    // Python took the event that this process had set, and set it once more.
    assert!(event.try_wait().unwrap());
    assert!(!event.try_wait().unwrap());
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn python_child_sends_its_event() {
    if !has_python() {
        return;
    }
    let before = table::count();
    let (child, channel) = with_channel("sends_an_event.py");
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"from Python");
    assert_eq!(message.kind("theirs").unwrap(), ObjectKind::Event);
    assert!(matches!(message.take::<SharedMemory>("theirs"), Err(Error::WrongKind { .. })));
    let event: Event = message.take("theirs").unwrap();
    let places: Semaphore = message.take("three places").unwrap();
    // A read in Python would block on an event that isn't set. Ours doesn't block.
    let started = Instant::now();
    assert!(!event.try_wait().unwrap());
    assert!(matches!(event.wait_timeout(Duration::from_millis(50)), Err(Error::TimedOut { .. })));
    assert!(started.elapsed() < Duration::from_secs(2));
    let took = [(); 4].map(|()| places.try_wait().unwrap());
    assert_eq!(took, [true, true, true, false]);
    event.set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"set five times");
    // An event that was set five times is taken once.
    event.wait_timeout(SOON).unwrap();
    assert!(!event.try_wait().unwrap());
    // It says of the last message that no object is a semaphore.
    let (again, was_asked) = taking([Turn::fails("read", 0..u32::MAX, 2)], || {
        let message = channel.recv_timeout(SOON).unwrap();
        message.take::<Event>("set").unwrap()
    });
    assert!(!was_asked);
    again.set().unwrap();
    event.wait_timeout(SOON).unwrap();
    drop((message, event, places, again));
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn memory_sealed_by_python_is_shared_memory() {
    if !has_python() {
        return;
    }
    let before = table::count();
    let (child, channel) = with_channel("sends_memory.py");
    let message = channel.recv_timeout(SOON).unwrap();
    match message.take::<SharedMemory>("loose") {
        Err(Error::WrongKind { expected, found, .. }) => {
            assert_eq!((expected, found), (ObjectKind::SharedMemory, ObjectKind::File));
        }
        other => panic!("{other:?}"),
    }
    let section: SharedMemory = message.take("sealed").unwrap();
    assert_eq!(section.size().unwrap(), 8192);
    let view = section.view_mut().unwrap();
    assert_eq!(&view.to_vec()[5000..5011], b"from Python");
    view.write_at(0, b"from Rust").unwrap();
    channel.send(b"seen").unwrap();
    drop((message, section, view));
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn python_client_connects_to_listener() {
    if !has_python() {
        return;
    }
    let name = format!("peers.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    let mut client = python("connects.py").arg(door::path(&name)).spawn().unwrap();
    let incoming = listener.accept_timeout(SOON).unwrap();
    assert_eq!(incoming.process().id(), client.id());
    assert_eq!(*incoming.user(), handover::User::current().unwrap());
    let channel = incoming.accept().unwrap();
    let theirs = Event::manual_reset().unwrap();
    channel.send(Message::new(b"to a stranger").with("theirs", &theirs)).unwrap();
    let answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"to a stranger");
    assert!(theirs.try_wait().unwrap());
    answer.take::<Event>("own").unwrap().set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"woken");
    drop((channel, answer, theirs));
    assert_eq!(client.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(client);
    assert_eq!(table::count(), before);
    assert!(Path::new(&door::path(&name)).exists());
    drop(listener);
    assert!(!door::path(&name).exists(), "the name's file is removed with the listener");
}

fn python_child_replies_to_calls() {
    if !has_python() {
        return;
    }
    let theirs = Event::manual_reset().unwrap();
    let before = table::count();
    let (child, channel) = with_channel("answers_calls.py");
    let asked = Message::new("an event, please").with("theirs", &theirs);
    let reply = channel.call(asked, SOON).unwrap();
    assert_eq!(reply.bytes(), b"here it is");
    assert!(!reply.expects_reply());
    assert!(theirs.try_wait().unwrap());
    let own: Event = reply.take("own").unwrap();
    own.set().unwrap();
    assert_eq!(channel.call("is it set?", SOON).unwrap().bytes(), b"yes");
    // The message that came before the first reply was kept. The reply to a call that wasn't made is dropped.
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"meanwhile");
    assert!(channel.try_recv().unwrap().is_none());
    channel.send("a message").unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"no call: a message");
    drop((reply, own));
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn python_child_of_another_spawner_replies_to_calls() {
    if !has_python() {
        return;
    }
    let theirs = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = std::process::Command::new("python3");
    let channel = command.arg("-B").arg(script("answers_calls.py")).channel().unwrap();
    let mut child = command.spawn().unwrap();
    let asked = Message::new("an event, please").with("theirs", &theirs);
    let reply = channel.call(asked, SOON).unwrap();
    assert_eq!(reply.bytes(), b"here it is");
    assert!(theirs.try_wait().unwrap());
    reply.take::<Event>("own").unwrap().set().unwrap();
    assert_eq!(channel.call("is it set?", SOON).unwrap().bytes(), b"yes");
    assert!(channel.peer().is_none(), "it doesn't answer greetings");
    drop((reply, channel));
    assert!(child.wait().unwrap().success());
    drop(command);
    assert_eq!(table::count(), before);
}

fn python_child_calls_its_parent() {
    if !has_python() {
        return;
    }
    let theirs = Event::manual_reset().unwrap();
    let before = table::count();
    let (child, channel) = with_channel("calls.py");
    let call = channel.recv_timeout(SOON).unwrap();
    assert_eq!(call.bytes(), b"set it");
    assert!(call.expects_reply());
    call.take::<Event>("mine").unwrap().set().unwrap();
    channel.send("sent before the reply").unwrap();
    call.reply(Message::new("it is set").with("theirs", &theirs)).unwrap();
    theirs.wait_timeout(SOON).unwrap();
    let again = channel.recv_timeout(SOON).unwrap();
    assert_eq!(again.bytes(), b"again");
    again.reply("done").unwrap();
    drop((call, again));
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn python_of_another_version_is_refused() {
    if !has_python() {
        return;
    }
    let assert_refused = |mut child: Child, channel: Channel| {
        for outcome in [channel.recv_timeout(SOON).map(drop), channel.send("more")] {
            let is_version = matches!(outcome, Err(Error::IncompatibleVersion { ours: 1, theirs: 2, .. }));
            assert!(is_version, "{outcome:?}");
        }
        // Python has seen version 1, in this process's notice, frame or welcome.
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    };
    let before = table::count();
    for first in ["sends", "receives"] {
        let mut child = python("speaks_version_2.py").arg(first).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        if first == "receives" {
            channel.send("in version 1").unwrap();
        }
        assert_refused(child, channel);
    }
    let name = format!("peers.version.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let client = python("speaks_version_2.py").arg("connects").arg(door::path(&name)).spawn().unwrap();
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    assert_refused(client, channel);
    drop(listener);
    assert_eq!(table::count(), before);
}

fn python_ignores_greetings() {
    if !has_python() {
        return;
    }
    let greeting = |number, flags| with(with(frame(number, &[], b""), 3, &[3]), 6, &[flags]);
    let (mut ours, theirs) = door::pair().unwrap();
    ours.set_read_timeout(Some(SOON)).unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut child = python("is_greeted.py").inherit("travelled", &theirs).spawn().unwrap();
    drop(theirs);
    let mut first = [0; 32];
    ours.read_exact(&mut first).unwrap();
    assert_eq!(first[..], greeting(0, 1), "a process greets that gets an endpoint, and asks for an answer");
    for bytes in [
        frame(41, &[], b"any number is right"),
        greeting(7, 0),
        frame(7, &[], b"the number of the greeting"),
        greeting(8, 2),
        frame(3, &[], b"from another process"),
    ] {
        ours.write_all(&bytes).unwrap();
    }
    let expected = frame(0, &[], b"three messages");
    let mut message = vec![0; expected.len()];
    ours.read_exact(&mut message).unwrap();
    assert_eq!(message, expected, "a greeting doesn't count");
    drop(ours);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn c_child_waits_for_descriptor_from_argument() {
    if !is_foreign_there("inheritance_child") {
        return;
    }
    let (event, decoy) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let before = table::count();
    let mut command = Command::new(foreign("inheritance_child"));
    command.inherit("event", &event).inherit("decoy", &decoy).arg_handle("{event}");
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let values: Vec<_> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert_eq!(table::values_of(&event, child.id()), values[..1]);
    decoy.set().unwrap();
    let early = child.wait_timeout(Duration::from_millis(300));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "the decoy woke the child: {early:?}");
    event.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop((child, command));
    assert_eq!(table::count(), before);
}

fn reset_mode_survives_python() {
    if !has_python() {
        return;
    }
    let script = "
import fcntl, os, sys
for fd in map(int, sys.argv[1:]):
    os.set_blocking(fd, True)
    os.set_blocking(fd, False)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
";
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    let timer = Timer::manual_reset().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", script]).inherit("manual", &manual).inherit("auto", &auto).inherit("timer", &timer);
    command.arg_handle("{manual}").arg_handle("{auto}").arg_handle("{timer}");
    assert!(command.status().unwrap().success());
    // Other handles, which don't know yet how to wait for the objects.
    let this = Process::open(std::process::id()).unwrap();
    let value = |object: &dyn std::os::fd::AsFd| HandleValue::of(&object.as_fd()).unwrap();
    let again: Event = this.duplicate_from(value(&manual)).unwrap();
    again.set().unwrap();
    assert!(again.try_wait().unwrap() && again.try_wait().unwrap());
    let again: Event = this.duplicate_from(value(&auto)).unwrap();
    again.set().unwrap();
    assert!(again.try_wait().unwrap() && !again.try_wait().unwrap());
    let again: Timer = this.duplicate_from(value(&timer)).unwrap();
    again.set_once(Duration::from_millis(1)).unwrap();
    again.wait_timeout(SOON).unwrap();
    assert!(again.try_wait().unwrap());
}
