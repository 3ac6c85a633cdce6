//! Messages between a parent and its child, both ways.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Message};
use handover_tests::{role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(tests![an_event_goes_there_and_back], tests![echoes])
}

/// This program in a role, and the channel to it.
fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    let mut child = command.args(role(name, arguments)).kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

/// Sends back what comes, until the other end closes.
fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    loop {
        let mut message = match channel.recv_timeout(SOON) {
            Ok(message) => message,
            Err(Error::Closed { .. }) => return,
            Err(other) => panic!("{other:?}"),
        };
        let names: Vec<String> = message.objects().map(|(name, _)| name.to_owned()).collect();
        let objects: Vec<std::os::windows::io::OwnedHandle> =
            names.iter().map(|name| message.take(name).unwrap()).collect();
        let answer = names
            .iter()
            .zip(&objects)
            .fold(Message::new(message.bytes()), |answer, (name, object)| answer.with(name, object));
        channel.send(answer).unwrap();
    }
}

fn an_event_goes_there_and_back() {
    let event = Event::manual_reset().unwrap();
    let (mut child, channel) = in_role("echoes", &[]);
    channel.send(Message::new(b"go").with("ready", &event)).unwrap();
    let mut answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"go");
    let copy: Event = answer.take("ready").unwrap();
    copy.set().unwrap();
    assert!(event.try_wait().unwrap());
    drop(channel);
    assert!(child.wait_timeout(SOON).unwrap().success());
    let _ = table::count();
}
