//! Measures the other crates on Windows: windows-spawn starts children with handles; ipmb and ipc-channel send them.

#![allow(unsafe_code, reason = "ipmb takes raw handles")]

use std::cell::RefCell;
use std::os::windows::io::{AsHandle, IntoRawHandle};
use std::path::Path;

use handover::Event;

use crate::Outcome;
use crate::ipc_channel::{self, IpcChannel};
use crate::ipmb::Ipmb;
use crate::measure::{Way, check_success, settle, timed};
use crate::peer_process::ObjectSender;

/// Returns the ways that other crates have to start the program with the objects.
pub(crate) fn spawns<'a>(program: &Path, events: &[Event]) -> Outcome<Vec<Way<'a>>> {
    let mut command = windows_spawn::Command::new(program);
    for event in events {
        command.arg_handle(event)?;
    }
    let time_spawn = move || {
        settle();
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        check_success(child.wait()?)?;
        Ok(time)
    };
    Ok(vec![Way::new("windows-spawn", time_spawn)])
}

/// The other crates that can send objects, each with a started process to send to.
pub(crate) struct PeerSenders {
    ipmb: RefCell<Ipmb>,
    ipc_channel: IpcChannel,
}

impl PeerSenders {
    pub(crate) fn start() -> Outcome<Self> {
        Ok(Self { ipmb: RefCell::new(Ipmb::start()?), ipc_channel: IpcChannel::start()? })
    }

    /// Returns the ways to send these objects.
    pub(crate) fn of<'a>(&'a self, events: &'a [Event], _length: usize) -> Vec<ObjectSender<'a>> {
        let memory = ipc_channel::memory(events.len());
        vec![
            ObjectSender {
                name: "ipmb",
                send: Ok(Box::new(|answer| self.ipmb.borrow_mut().send_objects(events, answer))),
            },
            ObjectSender {
                name: "ipc-channel",
                send: Ok(Box::new(move |answer| self.ipc_channel.send_objects(&memory, answer))),
            },
        ]
    }
}

/// Duplicates an event into an object of ipmb, which owns the duplicate.
pub(crate) fn object(event: &Event) -> Outcome<ipmb::Object> {
    let copy = event.as_handle().try_clone_to_owned()?.into_raw_handle();
    // SAFETY: `into_raw_handle` has just given up ownership of the duplicate, and no other value owns it.
    Ok(unsafe { ipmb::Object::from_raw(copy) })
}

pub(crate) fn other_process(role: &str, _: &[&str]) -> Outcome {
    Err(format!("there is no role {role}").into())
}
