//! Sends with ipmb. A message of ipmb owns its handles, so each message needs duplicates.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use handover::{Child, Event};

use crate::Outcome;
use crate::os::peer::object;
use crate::peer_process::start;

const DEADLINE: Duration = Duration::from_secs(60);
const ANSWER: &str = "answer";

/// A process on one of ipmb's buses.
pub(crate) struct Ipmb {
    sender: ipmb::EndpointSender<String>,
    receiver: ipmb::EndpointReceiver<String>,
    _child: Child,
}

impl Ipmb {
    pub(crate) fn start() -> Outcome<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let bus = format!("handover-bench-{}-{number}", std::process::id());
        let options = ipmb::Options::new(bus.as_str(), ipmb::label!("parent"), "");
        let (sender, mut receiver) = ipmb::join::<String, String>(options, None).map_err(text)?;
        let child = start("ipmb", |command| {
            command.arg(&bus);
        })?;
        // The child sends a message when it has joined the bus.
        receiver.recv(Some(DEADLINE)).map_err(text)?;
        Ok(Self { sender, receiver, _child: child })
    }

    pub(crate) fn send_objects(&mut self, events: &[Event], answer: bool) -> Outcome {
        let payload = if answer { ANSWER } else { "" };
        let mut message = ipmb::Message::new(ipmb::Selector::unicast("child"), payload.to_owned());
        for event in events {
            message.objects.push(object(event)?);
        }
        self.sender.send(message).map_err(text)?;
        if answer {
            self.receiver.recv(Some(DEADLINE)).map_err(text)?;
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("ipmb: {error:?}")
}

pub(crate) fn other_process(bus: &str) -> Outcome {
    let options = ipmb::Options::new(bus, ipmb::label!("child"), "");
    let (sender, mut receiver) = ipmb::join::<String, String>(options, None).map_err(text)?;
    let answer = || ipmb::Message::new(ipmb::Selector::unicast("parent"), String::new());
    sender.send(answer()).map_err(text)?;
    while let Ok(message) = receiver.recv(Some(DEADLINE)) {
        let wants_answer = message.payload == ANSWER;
        drop(message);
        if wants_answer {
            sender.send(answer()).map_err(text)?;
        }
    }
    Ok(())
}
