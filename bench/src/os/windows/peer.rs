//! ipmb carries handles as messages' objects, which it takes over: so each message needs a duplicate.

#![allow(unsafe_code)]

use std::os::windows::io::{AsHandle, IntoRawHandle};
use std::time::Duration;

use handover::{Child, Event};

use crate::Outcome;
use crate::hand_over::start;

/// ipc-channel sends as many handles as one wants.
pub(crate) const MOST_OF_IPC_CHANNEL: usize = usize::MAX;

const DEADLINE: Duration = Duration::from_secs(30);

/// A process on a bus of ipmb's.
pub(crate) struct Peer {
    sender: ipmb::EndpointSender<String>,
    receiver: ipmb::EndpointReceiver<String>,
    _child: Child,
}

impl Peer {
    pub(crate) fn start() -> Outcome<Option<Self>> {
        let bus = format!("handover-bench-{}", std::process::id());
        let options = ipmb::Options::new(bus.as_str(), ipmb::label!("parent"), "");
        let (sender, mut receiver) = ipmb::join::<String, String>(options, None).map_err(text)?;
        let child = start("--peer", |command| {
            command.arg(&bus);
        })?;
        // The child says that it has joined.
        receiver.recv(Some(DEADLINE)).map_err(text)?;
        Ok(Some(Self { sender, receiver, _child: child }))
    }

    pub(crate) fn hand_over(&mut self, events: &[Event]) -> Outcome {
        let mut message = ipmb::Message::new(ipmb::Selector::unicast("child"), String::new());
        for event in events {
            let copy = event.as_handle().try_clone_to_owned()?.into_raw_handle();
            // SAFETY: the duplicate was made just now, and nobody else owns it.
            message.objects.push(unsafe { ipmb::Object::from_raw(copy) });
        }
        self.sender.send(message).map_err(text)?;
        self.receiver.recv(Some(DEADLINE)).map_err(text)?;
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
        drop(message);
        sender.send(answer()).map_err(text)?;
    }
    Ok(())
}
