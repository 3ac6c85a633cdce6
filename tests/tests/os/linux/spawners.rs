//! Tests of objects that the commands of std and tokio pass to their children.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use handover::inspect::{Audit, Origin};
use handover::os::linux::InheritExt;
use handover::{Channel, Error, Event, Message, Result, SharedMemory, faults};
use handover_tests::{
    Suite, assert_names_call, in_role_of_std, left_out, role, sweep, table, tests, this_program, until, watch,
};

use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "spawners",
    tests: tests![
        objects_arrive_by_name_and_kind,
        objects_and_channel_arrive_with_tokio,
        each_child_of_a_command_gets_the_objects,
        child_of_another_user_takes_its_objects,
        child_outlives_its_parent_and_takes_its_objects,
        program_that_replaces_itself_takes_its_objects,
        inheritable_descriptor_arrives_unless_others_are_closed,
        processes_of_other_threads_get_nothing,
        failed_spawn_leaves_nothing,
        channel_carries_objects_both_ways,
        channel_ends_with_the_child_while_the_command_lives,
        channel_ends_with_a_command_that_starts_no_child,
        second_child_does_not_get_the_channel,
        audit_knows_the_objects,
        listing_reports_each_failing_call,
        spawn_reports_each_failing_call_of_the_new_process,
        taking_reports_each_failing_call,
    ],
    roles: tests![
        takes_all,
        takes_an_event,
        answers,
        greets_and_stays,
        takes_with_faults,
        stays,
        counts_its_descriptors,
        exits,
        starts_an_orphan,
        waits_for_a_new_parent,
        replaces_itself,
        is_replaced
    ],
};

fn run_successfully(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{status}");
}

/// Returns the numbers of this process's descriptors beside its streams.
fn others() -> Vec<u32> {
    let entries = table::of(std::process::id());
    entries.iter().map(|entry| entry.value).filter(|value| *value > 2).collect()
}

fn takes_all(arguments: &[String]) {
    let before = others();
    assert_eq!(before.len().to_string(), arguments[0], "{before:?}");
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["event", "memory", "file", "socket"]);
    assert_eq!(handover::leaked_handles().unwrap(), []);
    assert_eq!(others().len(), before.len() - 1, "only the proof is closed");
    let wrong = inherited.take::<SharedMemory>("event").unwrap_err();
    assert!(matches!(wrong, Error::WrongKind { .. }), "{wrong:?}");
    let event: Event = inherited.take("event").unwrap();
    let memory: SharedMemory = inherited.take("memory").unwrap();
    let mut file: File = inherited.take("file").unwrap();
    let mut socket: UnixStream = inherited.take("socket").unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    memory.view_mut().unwrap_err();
    socket.write_all(b"from the child").unwrap();
    event.set().unwrap();
    drop((event, memory, file, socket));
    assert_eq!(others(), []);
}

fn objects_arrive_by_name_and_kind() {
    let path = std::env::temp_dir().join(format!("handover-spawners-{}", std::process::id()));
    std::fs::write(&path, "text").unwrap();
    let event = Event::manual_reset().unwrap();
    let memory = SharedMemory::new(4096).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let before = table::count();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let own = table::of(std::process::id());
    let mut command = in_role_of_std("takes_all", &["5"]);
    command.inherit("event", &event).unwrap().inherit("memory", memory.read_only()).unwrap();
    command.inherit("file", &file).unwrap().inherit("socket", &far).unwrap();
    // The caller's descriptors are unchanged, and each duplicate is close-on-exec and above the first numbers.
    let with_command = table::of(std::process::id());
    assert_eq!(with_command.len(), own.len() + 5);
    for entry in with_command {
        assert!(!entry.inheritable || entry.value <= 2, "{entry:?}");
        assert!(own.contains(&entry) || entry.value >= 32, "{entry:?}");
    }
    // The command owns duplicates.
    drop((file, far));
    run_successfully(&mut command);
    drop(command);
    assert_eq!(table::count(), before - 1, "the far end is closed, too");
    event.wait_timeout(SOON).unwrap();
    let mut text = String::new();
    near.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
}

fn answers(arguments: &[String]) {
    assert_eq!(others().len().to_string(), arguments[0]);
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    let channel = Channel::parent().unwrap();
    assert_eq!(channel.peer().unwrap().id(), std::os::unix::process::parent_id());
    channel.send("hello").unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let memory: SharedMemory = message.take("memory").unwrap();
    memory.view_mut().unwrap().write_at(0, b"seen").unwrap();
    channel.send(Message::new("done").with("event", &event)).unwrap();
    assert!(matches!(Channel::parent(), Err(Error::AlreadyTaken { .. })));
    // The parent closes its endpoint.
    let end = channel.recv_timeout(SOON).unwrap_err();
    assert!(matches!(end, Error::Disconnected { .. }), "{end:?}");
}

/// Talks to a child in the role `answers`.
fn talk(channel: &Channel, event: &Event, child: u32) {
    let memory = SharedMemory::new(4).unwrap();
    assert!(channel.peer().is_none(), "the child isn't known yet");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"hello");
    assert_eq!(channel.peer().unwrap().id(), child);
    channel.send(Message::new("here").with("memory", &memory)).unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"done");
    assert!(table::same_object(&message.take::<Event>("event").unwrap(), event));
    let mut seen = [0; 4];
    memory.view().unwrap().read_at(0, &mut seen).unwrap();
    assert_eq!(&seen, b"seen");
}

fn channel_carries_objects_both_ways() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = in_role_of_std("answers", &["3"]);
    let channel = command.channel().unwrap();
    command.inherit("event", &event).unwrap();
    let mut child = command.spawn().unwrap();
    talk(&channel, &event, child.id());
    drop(channel);
    assert!(child.wait().unwrap().success());
    drop((child, command));
    until("all is closed", || table::count() == before);
}

fn objects_and_channel_arrive_with_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let event = Event::manual_reset().unwrap();
    let run = || {
        runtime.block_on(async {
            let mut command = tokio::process::Command::new(this_program());
            command.args(role("answers", &["3"])).kill_on_drop(true);
            command.inherit("event", &event).unwrap();
            let channel = command.close_other_fds().channel().unwrap();
            let mut child = command.spawn().unwrap();
            talk(&channel, &event, child.id().unwrap());
            drop(channel);
            let status = tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap();
            assert!(status.success(), "{status}");
        });
    };
    // tokio keeps some descriptors from the first child on.
    run();
    let before = table::count();
    run();
    until("all is closed", || table::count() == before);
}

fn takes_an_event(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    event.set().unwrap();
}

fn each_child_of_a_command_gets_the_objects() {
    let event = Event::auto_reset().unwrap();
    let before = table::count();
    let mut command = in_role_of_std("takes_an_event", &[]);
    command.inherit("event", &event).unwrap();
    for _ in 0..3 {
        run_successfully(&mut command);
        event.wait_timeout(SOON).unwrap();
    }
    // Several of them run at once, and one variable of the environment is set afterwards.
    command.env("HANDOVER_TEST", "1").stdin(Stdio::null());
    let children: Vec<_> = (0..4).map(|_| command.spawn().unwrap()).collect();
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    drop(command);
    assert_eq!(table::count(), before);
}

fn child_of_another_user_takes_its_objects() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can start a child as another user");
        return;
    }
    let public_copy = PublicCopy::new("spawners");
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(public_copy.program());
    command.args(role("takes_an_event", &[])).uid(NOBODY).gid(NOBODY).env_clear().current_dir("/");
    command.inherit("event", &event).unwrap();
    run_successfully(&mut command);
    event.wait_timeout(Duration::ZERO).unwrap();
}

fn waits_for_a_new_parent(arguments: &[String]) {
    until("the parent has exited", || std::os::unix::process::parent_id().to_string() != arguments[0]);
    takes_an_event(&[]);
}

#[allow(clippy::zombie_processes, reason = "this process exits before its child")]
fn starts_an_orphan(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let event: Event = inherited.take("event").unwrap();
    let id = std::process::id().to_string();
    let mut command = in_role_of_std("waits_for_a_new_parent", &[&id]);
    command.inherit("event", &event).unwrap().spawn().unwrap();
}

fn child_outlives_its_parent_and_takes_its_objects() {
    let event = Event::manual_reset().unwrap();
    run_successfully(in_role_of_std("starts_an_orphan", &[]).inherit("event", &event).unwrap());
    event.wait_timeout(SOON).unwrap();
}

/// Executes another program, and before that a program that doesn't exist.
fn replaces_itself(arguments: &[String]) {
    if arguments[0] == "again" {
        // It doesn't look for its own objects, so the program has them.
        let error = in_role_of_std("takes_an_event", &[]).exec();
        panic!("{error}");
    }
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    let before = others();
    let mut missing = Command::new("/no/such/program");
    let channel = missing.inherit("event", &event).unwrap().channel().unwrap();
    assert_eq!(missing.exec().kind(), ErrorKind::NotFound);
    drop((missing, channel));
    assert_eq!(others(), before);
    let mut command = in_role_of_std("is_replaced", &[&std::process::id().to_string()]);
    panic!("{}", command.inherit("event", &event).unwrap().close_other_fds().exec());
}

fn is_replaced(arguments: &[String]) {
    assert_eq!(std::process::id().to_string(), arguments[0]);
    takes_an_event(&[]);
}

fn program_that_replaces_itself_takes_its_objects() {
    for how in ["again", "anew"] {
        let event = Event::manual_reset().unwrap();
        run_successfully(in_role_of_std("replaces_itself", &[how]).inherit("event", &event).unwrap());
        event.wait_timeout(Duration::ZERO).unwrap();
    }
}

fn counts_its_descriptors(arguments: &[String]) {
    assert_eq!(others().len().to_string(), arguments[0], "{:?}", table::of(std::process::id()));
}

fn inheritable_descriptor_arrives_unless_others_are_closed() {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    let in_role = |count| in_role_of_std("counts_its_descriptors", &[count]);
    run_successfully(in_role("3").inherit("event", &event).unwrap());
    run_successfully(in_role("2").inherit("event", &event).unwrap().close_other_fds());
    run_successfully(in_role("2").close_other_fds().inherit("event", &event).unwrap());
    run_successfully(in_role("0").close_other_fds());
    let mut between = in_role("3");
    between.inherit("event", &event).unwrap().close_other_fds().inherit("again", &event).unwrap();
    run_successfully(&mut between);
    let mut with_channel = in_role("3");
    let channel = with_channel.inherit("event", &event).unwrap().channel().unwrap();
    run_successfully(with_channel.close_other_fds());
    drop(channel);
    assert!(table::is_inheritable(&inheritable), "it is unchanged in this process");
}

fn processes_of_other_threads_get_nothing() {
    let event = Event::auto_reset().unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let plain = scope.spawn(|| {
            let mut spawns = 0;
            while !is_done.load(Relaxed) || spawns < 20 {
                run_successfully(&mut in_role_of_std("counts_its_descriptors", &["0"]));
                spawns += 1;
            }
        });
        let listing = scope.spawn(|| {
            for _ in 0..60 {
                run_successfully(
                    in_role_of_std("counts_its_descriptors", &["2"]).inherit("event", &event).unwrap(),
                );
            }
        });
        for _ in 0..60 {
            let mut command = in_role_of_std("takes_an_event", &[]);
            let _channel = command.inherit("event", &event).unwrap().channel().unwrap();
            run_successfully(&mut command);
            event.wait_timeout(Duration::ZERO).unwrap();
        }
        listing.join().unwrap();
        is_done.store(true, Relaxed);
        plain.join().unwrap();
    });
}

fn failed_spawn_leaves_nothing() {
    let event = Event::manual_reset().unwrap();
    let before = table::of(std::process::id());
    for _ in 0..50 {
        let mut command = Command::new("no-such-program");
        let channel = command.inherit("event", &event).unwrap().channel().unwrap();
        let with_command = table::of(std::process::id());
        assert_eq!(command.spawn().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(table::of(std::process::id()), with_command);
        // The failed process has closed the child's endpoint.
        let end = channel.recv_timeout(SOON).unwrap_err();
        assert!(matches!(end, Error::Disconnected { .. }), "{end:?}");
        drop((command, channel));
        assert_eq!(table::of(std::process::id()), before);
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn stays(_: &[String]) {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn greets_and_stays(_: &[String]) {
    let channel = Channel::parent().unwrap();
    channel.send("hello").unwrap();
    stays(&[]);
}

fn channel_ends_with_the_child_while_the_command_lives() {
    for greets in [false, true] {
        let mut command = in_role_of_std(if greets { "greets_and_stays" } else { "stays" }, &[]);
        let channel = command.stdin(Stdio::piped()).channel().unwrap();
        let mut child = command.spawn().unwrap();
        let id = child.id();
        if greets {
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"hello");
        }
        assert!(matches!(channel.recv_timeout(Duration::from_millis(20)), Err(Error::TimedOut { .. })));
        let ends = std::thread::scope(|scope| {
            let ends = scope.spawn(|| channel.recv_timeout(SOON).unwrap_err());
            child.kill().unwrap();
            ends.join().unwrap()
        });
        match ends {
            Error::ProcessExited { pid, .. } => assert!(greets && pid == id),
            Error::Disconnected { pid, .. } => assert!(!greets && pid == 0),
            other => panic!("{other:?}"),
        }
        child.wait().unwrap();
    }
}

fn exits(_: &[String]) {}

fn channel_ends_with_a_command_that_starts_no_child() {
    let before = table::count();
    let mut command = in_role_of_std("exits", &[]);
    let channel = command.channel().unwrap();
    channel.send("kept").unwrap();
    drop(command);
    let end = channel.recv_timeout(SOON).unwrap_err();
    assert!(matches!(end, Error::Disconnected { .. }), "{end:?}");
    drop(channel);
    assert_eq!(table::count(), before);
}

fn second_child_does_not_get_the_channel() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("answers", &["3"]);
    let channel = command.inherit("event", &event).unwrap().channel().unwrap();
    let again = command.channel().unwrap_err();
    assert!(again.to_string().contains("a second channel"), "{again}");
    let mut first = command.spawn().unwrap();
    let before = table::count();
    for _ in 0..3 {
        assert_eq!(command.spawn().unwrap_err().kind(), ErrorKind::ResourceBusy);
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), [first.id()]);
    // The first child's channel is unaffected.
    talk(&channel, &event, first.id());
    drop(channel);
    assert!(first.wait().unwrap().success());
}

fn audit_knows_the_objects() {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    let mut command = in_role_of_std("takes_an_event", &[]);
    command.inherit("event", &event).unwrap();
    let audit = Audit::new(command).run(SOON).unwrap();
    let [process] = &audit.processes[..] else { panic!("{audit}") };
    assert!(process.incomplete.is_none(), "{audit}");
    let listed = |name: &str| Origin::Listed(name.to_owned());
    let origins: Vec<_> = process.handles.iter().map(|(_, origin)| origin.clone()).collect();
    for origin in [listed("event"), listed("handover/recipient"), Origin::Leaked] {
        assert_eq!(origins.iter().filter(|other| **other == origin).count(), 1, "{audit}");
    }
}

fn listing_reports_each_failing_call() {
    let (event, memory) = (Event::manual_reset().unwrap(), SharedMemory::new(1).unwrap());
    let list = || -> Result<(Command, Channel)> {
        let mut command = in_role_of_std("exits", &[]);
        let channel = command.inherit("event", &event)?.inherit("memory", memory.read_only())?.channel()?;
        Ok((command, channel))
    };
    sweep("listing for another spawner", list, drop);
    // A failed call leaves the command as it was.
    let mut command = in_role_of_std("takes_an_event", &[]);
    for call in 0..3 {
        let (outcome, _) = faults::run(Some(call), || command.inherit("event", &event).map(drop));
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(faults::CODE), "{:?}", faults::failed());
    }
    run_successfully(command.inherit("event", &event).unwrap());
    event.wait_timeout(Duration::ZERO).unwrap();
}

fn spawn_reports_each_failing_call_of_the_new_process() {
    let event = Event::manual_reset().unwrap();
    let command = || {
        let mut command = in_role_of_std("exits", &[]);
        let channel = command.inherit("event", &event).unwrap().close_other_fds().channel().unwrap();
        (command, channel)
    };
    let (mut whole, channel) = command();
    let (child, calls) = faults::run(None, || whole.spawn());
    assert!(child.unwrap().wait().unwrap().success());
    assert!(calls >= 8, "{calls}");
    drop((whole, channel));
    for call in 0..calls {
        watch(&format!("call {call} of {calls}"));
        let (mut failing, channel) = command();
        let before = table::of(std::process::id());
        let (outcome, _) = faults::run(Some(call), || failing.spawn());
        let failed = faults::failed().expect("there are as many calls");
        match outcome {
            Err(error) => assert_eq!(error.raw_os_error(), Some(faults::CODE), "{failed}"),
            Ok(_) => panic!("the failure of {failed} was ignored"),
        }
        assert_eq!(table::of(std::process::id()), before, "{failed}");
        assert_eq!(table::children_of(std::process::id()), [], "{failed}");
        drop(failing);
        let end = channel.recv_timeout(SOON).unwrap_err();
        assert!(matches!(end, Error::Disconnected { .. }), "{failed}: {end:?}");
    }
    watch("");
}

/// Makes each call fail in turn, until none is left.
fn failing_at_each_call<T>(name: &str, work: impl Fn() -> Result<T>) -> T {
    for failing in 0.. {
        let (outcome, _) = faults::run(Some(failing), &work);
        match (outcome, faults::failed()) {
            (Ok(done), None) => {
                assert!(failing > 0, "{name} makes calls");
                return done;
            }
            (Err(error), Some(failed)) => assert_names_call(name, failed, &error),
            (outcome, failed) => panic!("{name}, {failed:?}: {:?}", outcome.map(drop)),
        }
    }
    unreachable!("the work ends");
}

fn takes_with_faults(_: &[String]) {
    let inherited = failing_at_each_call("adopt", handover::inherited);
    assert_eq!(others().len(), 2);
    inherited.take::<Event>("event").unwrap().set().unwrap();
    Channel::parent().unwrap().send("done").unwrap();
}

fn taking_reports_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role_of_std("takes_with_faults", &[]);
    let channel = command.inherit("event", &event).unwrap().channel().unwrap();
    run_successfully(&mut command);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"done");
    event.wait_timeout(Duration::ZERO).unwrap();
}
