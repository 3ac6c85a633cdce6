//! The server: a task for each connection. The tasks end before the connections travel.

use std::io;
use std::sync::Arc;

use handover::process::Command;
use handover::tokio::{Child, TypedChannel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::{select, task::JoinSet};

use super::connection::{State, serve_client};
use super::restart::{self, Handed, Result, ToNew, ToOld};

/// Serves clients until a new process has taken over, which the command starts.
pub(crate) async fn serve(mut handed: Handed, new: fn() -> Command) -> Result<()> {
    loop {
        let (mut child, channel);
        (handed, child, channel) = serve_until_restart(handed, new).await?;
        // From here on, no task reads or writes.
        match restart::hand_over(&channel, &handed).await {
            Ok(()) => {
                // The child must outlive this process now. It takes over when the channel is dropped.
                std::mem::forget(child);
                return Ok(());
            }
            Err(error) => println!("process {} goes on: {error}", std::process::id()),
        }
        // While the channel is open, the new process reads nothing.
        while child.kill().is_err() || restart::soon(child.wait()).await.is_err() {
            println!("process {} has not exited yet", child.id());
        }
    }
}

type Restart = (Handed, Child, TypedChannel<ToNew, ToOld>);

/// Serves clients until a new process is ready to take over.
async fn serve_until_restart(handed: Handed, new: fn() -> Command) -> Result<Restart> {
    handed.listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(handed.listener)?;
    let (asked, (stop, stopped)) = (Arc::new(Notify::new()), watch::channel(()));
    let mut tasks = JoinSet::new();
    for (stream, state) in handed.connections {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        tasks.spawn(serve_client(stream, state, stopped.clone(), asked.clone()));
    }
    let start = async || {
        asked.notified().await;
        restart::start(new()).await
    };
    let mut starting = Box::pin(start());
    let (child, channel) = loop {
        select! {
            Ok((stream, _)) = listener.accept() => {
                tasks.spawn(serve_client(stream, State::default(), stopped.clone(), asked.clone()));
            }
            Some(_) = tasks.join_next() => {} // A client has left.
            started = &mut starting => match started {
                Ok(started) => break started,
                Err(error) => {
                    println!("process {} goes on: {error}", std::process::id());
                    starting.set(start());
                }
            }
        }
    };
    drop(stop);
    let connections = tasks.join_all().await.into_iter().flatten();
    let connections = connections.map(|(stream, state)| Ok((stream.into_std()?, state)));
    let connections = connections.collect::<io::Result<_>>()?;
    Ok((Handed { listener: listener.into_std()?, connections }, child, channel))
}
