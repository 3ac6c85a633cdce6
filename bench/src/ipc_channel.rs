//! ipc-channel, used as its own documentation says. It carries no handles but its own: a block of shared memory, which is
//! a section's handle.

use handover::Child;
use ipc_channel::ipc::{self, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};

use crate::Outcome;
use crate::receive::start;

/// Whether an answer is wanted, and what is handed over.
type Given = (bool, Vec<IpcSharedMemory>);
type Hello<S> = (S, IpcReceiver<()>);

/// As many blocks of memory as there would be objects.
pub(crate) fn memory(count: usize) -> Vec<IpcSharedMemory> {
    (0..count).map(|_| IpcSharedMemory::from_byte(1, 64)).collect()
}

/// A process behind two channels of ipc-channel's.
pub(crate) struct IpcChannel {
    sender: IpcSender<Given>,
    receiver: IpcReceiver<()>,
    _child: Child,
}

impl IpcChannel {
    pub(crate) fn start() -> Outcome<Self> {
        let (server, name) = IpcOneShotServer::<Hello<IpcSender<Given>>>::new()?;
        let child = start("ipc-channel", |command| {
            command.arg(&name);
        })?;
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Self { sender, receiver, _child: child })
    }

    pub(crate) fn hand_over(&self, memory: &[IpcSharedMemory], answer: bool) -> Outcome {
        self.sender.send((answer, memory.to_vec()))?;
        if answer {
            self.receiver.recv()?;
        }
        Ok(())
    }
}

pub(crate) fn other_process(name: &str) -> Outcome {
    let (sender, from_parent) = ipc::channel::<Given>()?;
    let (to_parent, receiver) = ipc::channel::<()>()?;
    IpcSender::<Hello<IpcSender<Given>>>::connect(name.to_owned())?.send((sender, receiver))?;
    while let Ok((answer, memory)) = from_parent.recv() {
        drop(memory);
        if answer {
            to_parent.send(())?;
        }
    }
    Ok(())
}

/// A process behind ipc-channel's channel for bytes.
pub(crate) struct Bytes {
    sender: IpcBytesSender,
    receiver: IpcReceiver<()>,
    _child: Child,
}

impl Bytes {
    pub(crate) fn start() -> Outcome<Self> {
        let (server, name) = IpcOneShotServer::<Hello<IpcBytesSender>>::new()?;
        let child = start("ipc-channel-bytes", |command| {
            command.arg(&name);
        })?;
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Self { sender, receiver, _child: child })
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Outcome {
        self.sender.send(bytes)?;
        Ok(self.receiver.recv()?)
    }
}

pub(crate) fn bytes_other_process(name: &str) -> Outcome {
    let (sender, from_parent) = ipc::bytes_channel()?;
    let (to_parent, receiver) = ipc::channel::<()>()?;
    IpcSender::<Hello<IpcBytesSender>>::connect(name.to_owned())?.send((sender, receiver))?;
    while from_parent.recv().is_ok() {
        to_parent.send(())?;
    }
    Ok(())
}
