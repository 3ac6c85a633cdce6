//! The nearest thing that other crates can do, used as their own documentation says.
//!
//! - ipmb carries handles as messages' objects, which it takes over: so each message needs a duplicate.
//! - ipc-channel carries no handles but its own: a block of shared memory, which is a section's handle.

#![allow(unsafe_code)]

use std::error::Error;
use std::os::windows::io::{AsHandle, IntoRawHandle};
use std::time::Duration;

use handover::{Child, Command, Event};
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const DEADLINE: Duration = Duration::from_secs(30);

fn child(role: &str, argument: &str) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.arg(role).arg(argument).kill_on_drop(true).spawn()?)
}

/// A process on a bus of ipmb's.
pub(crate) struct Ipmb {
    sender: ipmb::EndpointSender<String>,
    receiver: ipmb::EndpointReceiver<String>,
    _child: Child,
}

impl Ipmb {
    pub(crate) fn start() -> Outcome<Self> {
        let bus = format!("handover-bench-{}", std::process::id());
        let options = ipmb::Options::new(bus.as_str(), ipmb::label!("parent"), "");
        let (sender, mut receiver) = ipmb::join::<String, String>(options, None).map_err(text)?;
        let child = child("--ipmb", &bus)?;
        // The child says that it has joined.
        receiver.recv(Some(DEADLINE)).map_err(text)?;
        Ok(Self { sender, receiver, _child: child })
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

pub(crate) fn ipmb_child(bus: &str) -> Outcome {
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

type Memory = Vec<IpcSharedMemory>;
type Hello = (IpcSender<Memory>, IpcReceiver<()>);

/// A process behind two channels of ipc-channel's.
pub(crate) struct IpcChannel {
    sender: IpcSender<Memory>,
    receiver: IpcReceiver<()>,
    _child: Child,
}

impl IpcChannel {
    pub(crate) fn start() -> Outcome<Self> {
        let (server, name) = IpcOneShotServer::<Hello>::new()?;
        let child = child("--ipc-channel", &name)?;
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Self { sender, receiver, _child: child })
    }

    /// As many blocks of memory as there would be objects.
    pub(crate) fn memory(count: usize) -> Memory {
        (0..count).map(|_| IpcSharedMemory::from_byte(1, 64)).collect()
    }

    pub(crate) fn hand_over(&self, memory: &Memory) -> Outcome {
        self.sender.send(memory.clone())?;
        Ok(self.receiver.recv()?)
    }
}

pub(crate) fn ipc_channel_child(name: &str) -> Outcome {
    let (sender, from_parent) = ipc::channel::<Memory>()?;
    let (to_parent, receiver) = ipc::channel::<()>()?;
    IpcSender::<Hello>::connect(name.to_owned())?.send((sender, receiver))?;
    while let Ok(memory) = from_parent.recv() {
        drop(memory);
        to_parent.send(())?;
    }
    Ok(())
}
