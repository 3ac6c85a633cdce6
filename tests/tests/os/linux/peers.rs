//! Tests with peers that share no code with the library: Python with its standard library, and C.

use std::path::Path;
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, Error, Event, HandleValue, Listener, Message, ObjectKind, Process, Semaphore,
    SharedMemory, Stdio, Timer,
};
use handover_tests::{Suite, door, foreign, is_foreign_there, left_out, script, table, tests};

const SOON: Duration = Duration::from_secs(15);

pub(super) const SUITE: Suite = Suite {
    name: "peers",
    tests: tests![
        python_child_waits_for_received_event,
        python_child_sends_its_event,
        memory_sealed_by_python_is_shared_memory,
        python_client_connects_to_listener,
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
    drop((message, event, places));
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
