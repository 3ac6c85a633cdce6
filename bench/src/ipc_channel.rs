//! ipc-channel, used as its own documentation says. It carries no handles but its own: a block of shared memory, which is
//! a section's handle.

use handover::Child;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};

use crate::Outcome;
use crate::hand_over::start;

type Memory = Vec<IpcSharedMemory>;
type Hello = (IpcSender<Memory>, IpcReceiver<()>);

/// As many blocks of memory as there would be objects.
pub(crate) fn memory(count: usize) -> Memory {
    (0..count).map(|_| IpcSharedMemory::from_byte(1, 64)).collect()
}

/// A process behind two channels of ipc-channel's.
pub(crate) struct IpcChannel {
    sender: IpcSender<Memory>,
    receiver: IpcReceiver<()>,
    _child: Child,
}

impl IpcChannel {
    pub(crate) fn start() -> Outcome<Self> {
        let (server, name) = IpcOneShotServer::<Hello>::new()?;
        let child = start("--ipc-channel", |command| {
            command.arg(&name);
        })?;
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Self { sender, receiver, _child: child })
    }

    pub(crate) fn hand_over(&self, memory: &Memory) -> Outcome {
        self.sender.send(memory.clone())?;
        Ok(self.receiver.recv()?)
    }
}

pub(crate) fn other_process(name: &str) -> Outcome {
    let (sender, from_parent) = ipc::channel::<Memory>()?;
    let (to_parent, receiver) = ipc::channel::<()>()?;
    IpcSender::<Hello>::connect(name.to_owned())?.send((sender, receiver))?;
    while let Ok(memory) = from_parent.recv() {
        drop(memory);
        to_parent.send(())?;
    }
    Ok(())
}
