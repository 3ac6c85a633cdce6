//! Tests of channels between a parent and its child, in both directions: which objects arrive, with which access, and
//! that no handles leak.

#![allow(clippy::useless_conversion, reason = "other kinds of channels are converted")]

mod endpoints {
    pub(crate) use handover::Channel;
}

include!("shared/channel.rs");

fn main() -> std::process::ExitCode {
    let own = Suite {
        name: "",
        tests: tests![
            send_times_out_and_closes_objects,
            messages_before_timed_out_send_arrive,
            unfetched_objects_are_closed
        ],
        roles: tests![sends_too_much],
    };
    handover_tests::main_of(&[suite(""), own])
}

/// Sends an event, and then a message that is too large to be sent in time. Checks the errors of later calls.
fn sends_too_much(arguments: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    let before = table::count();
    channel.send(Message::new(b"first").with("event", &event)).unwrap();
    let late = channel
        .send_timeout(Message::new(vec![0; 1 << 20]).with("event", &event), Duration::from_millis(300));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert!(matches!(channel.send(b"more"), Err(Error::PartialSend { .. })));
    println!("late");
    if arguments == ["waits"] {
        // The parent takes the first message, or closes without taking it.
        let end = channel.recv_timeout(SOON);
        assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
        let end = channel.flush(SOON);
        assert!(matches!(end, Ok(()) | Err(Error::Disconnected { .. })), "{end:?}");
        assert_eq!(table::count(), before, "no handle is kept for the closed peer");
        return;
    }
    channel.flush(SOON).unwrap();
}

fn too_much(arguments: &[&str]) -> (Child, Channel) {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(this_program());
    command.args(role("sends_too_much", arguments)).stdout(Stdio::piped());
    let (mut child, channel) = channel_of(command);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "late");
    (child, channel)
}

fn messages_before_timed_out_send_arrive() {
    let (mut child, channel) = too_much(&[]);
    let before = table::count();
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"first");
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    // A partial message is not reported as a protocol error.
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    drop(message);
    assert_eq!(table::count(), before);
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn unfetched_objects_are_closed() {
    let (child, channel) = too_much(&["waits"]);
    assert_exits_successfully(child, channel);
}

fn send_times_out_and_closes_objects() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("never_reads", &[]);
    let before = table::count();
    let large = || Message::new(vec![0; 1 << 20]).with("event", &event);
    let started = Instant::now();
    match channel.send_timeout(large(), Duration::from_millis(300)) {
        Err(Error::TimedOut { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(table::values_of(&event, child.id()), [], "the object went back");
    assert_eq!(table::count(), before);
    // No message can follow a partial one.
    assert!(matches!(channel.send(b"more"), Err(Error::PartialSend { .. })));
    assert!(channel.try_recv().unwrap().is_none(), "receiving still works");
}
