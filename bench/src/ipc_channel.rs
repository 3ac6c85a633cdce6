//! Sends with ipc-channel, used as its documentation describes. It sends only the handles of its own shared memory, so
//! each object is a block of shared memory.

use std::cell::RefCell;

use handover::Child;
use ipc_channel::asynch::IpcStream;
use ipc_channel::ipc::{self, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};
use smol::stream::StreamExt;

use crate::Outcome;
use crate::peer_process::start;

/// Whether the sender waits for an answer, and the memory to send.
type Request = (bool, Vec<IpcSharedMemory>);
type Hello<S> = (S, IpcReceiver<()>);

/// Creates `count` blocks of shared memory.
pub(crate) fn memory(count: usize) -> Vec<IpcSharedMemory> {
    (0..count).map(|_| IpcSharedMemory::from_byte(1, 64)).collect()
}

/// A process with two channels of ipc-channel's, one for each direction.
pub(crate) struct IpcChannel {
    sender: IpcSender<Request>,
    receiver: IpcReceiver<()>,
    _child: Child,
}

impl IpcChannel {
    pub(crate) fn start() -> Outcome<Self> {
        let (server, name) = IpcOneShotServer::<Hello<IpcSender<Request>>>::new()?;
        let child = start("ipc-channel", |command| {
            command.arg(&name);
        })?;
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Self { sender, receiver, _child: child })
    }

    pub(crate) fn send_objects(&self, memory: &[IpcSharedMemory], answer: bool) -> Outcome {
        self.sender.send((answer, memory.to_vec()))?;
        if answer {
            self.receiver.recv()?;
        }
        Ok(())
    }
}

/// The same, with answers that a task awaits. One thread of ipc-channel's receives for all tasks.
pub(crate) struct AsyncIpcChannel {
    sender: IpcSender<Request>,
    answers: RefCell<IpcStream<()>>,
    _child: Child,
}

impl AsyncIpcChannel {
    pub(crate) fn start() -> Outcome<Self> {
        let IpcChannel { sender, receiver, _child } = IpcChannel::start()?;
        Ok(Self { sender, answers: RefCell::new(receiver.to_stream()), _child })
    }

    pub(crate) fn send_objects(&self, memory: &[IpcSharedMemory]) -> Outcome {
        self.sender.send((true, memory.to_vec()))?;
        let mut answers = self.answers.borrow_mut();
        smol::block_on(answers.next()).ok_or("the other process has exited")??;
        Ok(())
    }
}

pub(crate) fn other_process(name: &str) -> Outcome {
    let (sender, from_parent) = ipc::channel::<Request>()?;
    let (to_parent, receiver) = ipc::channel::<()>()?;
    IpcSender::<Hello<IpcSender<Request>>>::connect(name.to_owned())?.send((sender, receiver))?;
    while let Ok((answer, memory)) = from_parent.recv() {
        drop(memory);
        if answer {
            to_parent.send(())?;
        }
    }
    Ok(())
}

/// A process with ipc-channel's channel for bytes.
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
