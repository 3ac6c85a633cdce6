// The tests of both adapters. `runtime` is one of `handover_tests::adapters`.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Command, Error, Event, Message, Semaphore, Stdio, Timer};
use handover_tests::{Suite, linked_in_role, role, table, tests, this_program, until};

use runtime::{Channel, Child, Listener, block_on, sleep, spawn, timeout, wait};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    start(&Suite { name: "", tests: tests![
            message_goes_both_ways,
        ], roles: tests![echoes] })
}

/// Waits for a future that has to be ready soon.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("ready soon")
}

/// A role: sends each message back, with its objects, until the parent closes the channel. Replies to calls.
fn echoes(_: &[String]) {
    let channel = Channel::from(handover::Channel::parent().unwrap());
    block_on(async {
        loop {
            let message = match soon(channel.recv()).await {
                Ok(message) => message,
                Err(Error::Disconnected { .. }) => return,
                Err(other) => panic!("{other:?}"),
            };
            let names: Vec<String> = message.names().map(str::to_owned).collect();
            let objects: Vec<handover::OwnedHandle> =
                names.iter().map(|name| message.take(name).unwrap()).collect();
            let mut answer = Message::new(message.bytes());
            for (name, object) in names.iter().zip(&objects) {
                answer.add(name, object);
            }
            match message.expects_reply() {
                true => soon(channel.reply(&message, answer)).await.unwrap(),
                false => soon(channel.send(answer)).await.unwrap(),
            }
        }
    });
}

fn message_goes_both_ways() {
    let (child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    let event = Event::manual_reset().unwrap();
    block_on(async {
        soon(channel.send(Message::new("hello").with("event", &event))).await.unwrap();
        let message = soon(channel.recv()).await.unwrap();
        assert_eq!(message.bytes(), b"hello");
        let copy: Event = message.take("event").unwrap();
        copy.set().unwrap();
        soon(wait(&event)).await.unwrap();
        let large = vec![7; 3 << 20];
        soon(channel.send(&large)).await.unwrap();
        assert_eq!(soon(channel.recv()).await.unwrap().bytes(), large);
        let reply = soon(channel.call("a call")).await.unwrap();
        assert_eq!(reply.bytes(), b"a call");
    });
    let mut child = Child::from(child);
    drop(channel);
    assert_eq!(block_on(soon(child.wait())).unwrap().code(), Some(0));
}
