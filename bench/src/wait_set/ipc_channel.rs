//! Serves channels of ipc-channel's with its `IpcReceiverSet`. A channel of ipc-channel's has one direction, so each
//! client has two.

use ipc_channel::TrySelectError;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcReceiverSet, IpcSelectionResult, IpcSender};

use super::{LENGTH, RoundTrip, Service, Tell};
use crate::Outcome;
use crate::peer_process::DEADLINE;

pub(super) const IPC_CHANNEL: Service = Service { name: "ipc-channel", serve, connect };

/// The server's ends of a client's two channels.
type Client = (IpcReceiver<Vec<u8>>, IpcSender<()>);

fn serve(count: usize, tell: Tell<'_>) -> Outcome {
    let (server, name) = IpcOneShotServer::<IpcReceiver<Client>>::new()?;
    tell(&name)?;
    let (_, clients) = server.accept()?;
    let (mut set, mut answers) = (IpcReceiverSet::new()?, Vec::with_capacity(count));
    for index in 0..count {
        let (receiver, answer) = clients.recv()?;
        assert_eq!(set.add(receiver)?, index as u64, "the set numbers its receivers from 0");
        answers.push(answer);
    }
    tell("")?;
    loop {
        let selected = match set.try_select_timeout(DEADLINE) {
            Ok(selected) => selected,
            Err(TrySelectError::Empty) => return Ok(()),
            Err(other) => return Err(other.into()),
        };
        for selected in selected {
            match selected {
                IpcSelectionResult::MessageReceived(id, message) => {
                    message.to::<Vec<u8>>()?;
                    answers[usize::try_from(id)?].send(())?;
                }
                IpcSelectionResult::ChannelClosed(_) => return Ok(()),
            }
        }
    }
}

fn connect(name: &str, count: usize) -> Outcome<RoundTrip> {
    let (to_server, clients) = ipc::channel::<Client>()?;
    IpcSender::connect(name.to_owned())?.send(clients)?;
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        let (sender, receiver) = ipc::channel::<Vec<u8>>()?;
        let (answer, answers) = ipc::channel::<()>()?;
        to_server.send((receiver, answer))?;
        channels.push((sender, answers));
    }
    Ok(Box::new(move |index| {
        let (sender, answers) = &channels[index];
        sender.send(vec![0; LENGTH])?;
        Ok(answers.recv()?)
    }))
}
