//! Who else can do it here: windows-spawn starts children with handles, ipmb and ipc-channel send them.

#![allow(unsafe_code, reason = "ipmb deals in numbers")]

use std::cell::RefCell;
use std::os::windows::io::{AsHandle, IntoRawHandle};
use std::path::Path;

use handover::Event;

use crate::Outcome;
use crate::hand_over::Giver;
use crate::ipc_channel::{self, IpcChannel};
use crate::ipmb::Ipmb;
use crate::measure::{Way, timed};
use crate::spawn::{ended_well, settle};

/// Starting the program with the objects, as other crates do.
pub(crate) fn spawns<'a>(program: &Path, events: &[Event]) -> Outcome<Vec<Way<'a>>> {
    let mut command = windows_spawn::Command::new(program);
    for event in events {
        command.arg_handle(event)?;
    }
    let started = move || {
        settle();
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        ended_well(child.wait()?)?;
        Ok(time)
    };
    Ok(vec![Way::new("windows-spawn", started)])
}

/// Processes that others' ways lead to.
pub(crate) struct Givers {
    ipmb: RefCell<Ipmb>,
    ipc_channel: IpcChannel,
}

impl Givers {
    pub(crate) fn start() -> Outcome<Self> {
        Ok(Self { ipmb: RefCell::new(Ipmb::start()?), ipc_channel: IpcChannel::start()? })
    }

    /// Handing these objects over.
    pub(crate) fn of<'a>(&'a self, events: &'a [Event], _length: usize) -> Vec<Giver<'a>> {
        let memory = ipc_channel::memory(events.len());
        vec![
            Giver {
                name: "ipmb",
                give: Ok(Box::new(|answer| self.ipmb.borrow_mut().hand_over(events, answer))),
            },
            Giver {
                name: "ipc-channel",
                give: Ok(Box::new(move |answer| self.ipc_channel.hand_over(&memory, answer))),
            },
        ]
    }
}

/// An event as ipmb takes it.
pub(crate) fn object(event: &Event) -> Outcome<ipmb::Object> {
    let copy = event.as_handle().try_clone_to_owned()?.into_raw_handle();
    // SAFETY: the duplicate was made just now, and nobody else owns it.
    Ok(unsafe { ipmb::Object::from_raw(copy) })
}

pub(crate) fn other_process(role: &str, _: &[&str]) -> Outcome {
    Err(format!("{role} is no role").into())
}
