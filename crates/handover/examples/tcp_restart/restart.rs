//! The restart: the messages by which the old process hands its sockets to the new one.

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use handover::process::Command;
use handover::tokio::{Child, TypedChannel};
use handover::{Carried, Channel};
use serde::{Deserialize, Serialize};

use super::connection::State;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The version of the state that this program writes. It reads this version and all older ones.
pub(crate) const VERSION: u32 = 1;
/// The longest time that the new process may take for one step.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that a server hands over.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) listener: TcpListener,
    pub(crate) connections: Vec<(TcpStream, State)>,
}

/// A message from the old process to the new one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToNew {
    Listener(Carried<TcpListener>),
    Connection(Carried<TcpStream>, State),
    /// A call: that was all.
    All,
}

/// A message from the new process to the old one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToOld {
    Started { reads_version: u32 },
    HasAll,
}

/// Starts the new process, and waits until it can take over. It is killed if the child is dropped.
pub(crate) async fn start(mut command: Command) -> Result<(Child, TypedChannel<ToNew, ToOld>)> {
    let mut child = Child::from(command.channel().kill_on_drop(true).spawn()?);
    let channel = TypedChannel::new(child.take_channel().expect("the command has a channel"));
    match soon(channel.recv()).await? {
        ToOld::Started { reads_version: VERSION.. } => Ok((child, channel)),
        other => Err(format!("the new process can't read version {VERSION} of the state: {other:?}").into()),
    }
}

/// Hands everything to the new process, which takes over once the channel is dropped. This process keeps its own copies, so
/// after an error it can kill the new process and go on.
pub(crate) async fn hand_over(channel: &TypedChannel<ToNew, ToOld>, handed: &Handed) -> Result<()> {
    soon(channel.send(&ToNew::Listener(handed.listener.try_clone()?.into()))).await?;
    for (stream, state) in &handed.connections {
        soon(channel.send(&ToNew::Connection(stream.try_clone()?.into(), state.clone()))).await?;
    }
    match soon(channel.call(&ToNew::All)).await? {
        ToOld::HasAll => Ok(()),
        other => Err(format!("the new process replied {other:?}").into()),
    }
}

/// In the new process: receives everything from the old one, and waits until that is gone.
pub(crate) async fn take_over() -> Result<Handed> {
    let channel = TypedChannel::<ToOld, ToNew>::new(Channel::parent()?.into());
    soon(channel.send(&ToOld::Started { reads_version: VERSION })).await?;
    let (mut listener, mut connections) = (None, Vec::new());
    let reply = loop {
        match soon(channel.recv_request()).await? {
            (ToNew::Listener(socket), _) => listener = Some(socket.into_inner()),
            (ToNew::Connection(socket, state), _) => connections.push((socket.into_inner(), state)),
            (ToNew::All, reply) => break reply,
        }
    };
    let listener = listener.ok_or("the old process has sent no listening socket")?;
    // If the old process has been killed by now, this one has everything too.
    let _ = soon(reply.send(&ToOld::HasAll)).await;
    // Without the reply, the old process kills this one and goes on. With it, it exits.
    while channel.recv().await.is_ok() {}
    Ok(Handed { listener, connections })
}

pub(crate) async fn soon<T, E>(future: impl Future<Output = std::result::Result<T, E>>) -> Result<T>
where
    Box<dyn std::error::Error + Send + Sync>: From<E>,
{
    Ok(tokio::time::timeout(TIMEOUT, future).await??)
}
