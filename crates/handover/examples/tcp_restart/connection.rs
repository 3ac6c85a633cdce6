//! A connection: its state, and the task that serves it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{Notify, watch};

const MAX_LINE: usize = 4096;

/// The state of a connection besides its socket.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The number of requests so far.
    pub(crate) requests: u64,
    /// The bytes of requests that aren't answered yet.
    pub(crate) unread: Vec<u8>,
    /// The bytes of answers that the socket hasn't accepted yet.
    pub(crate) unsent: Vec<u8>,
}

/// Answers each line of a client. Returns the connection when the server stops, and `None` when the client has left.
pub(crate) async fn serve_client(
    mut stream: TcpStream,
    mut state: State,
    mut stopped: watch::Receiver<()>,
    restart: Arc<Notify>,
) -> Option<(TcpStream, State)> {
    loop {
        while let Some(end) = state.unread.iter().position(|byte| *byte == b'\n') {
            let line = state.unread.drain(..=end).collect::<Vec<_>>();
            state.requests += 1;
            let answer = format!("process {}: request {}: ", std::process::id(), state.requests);
            state.unsent.extend([answer.as_bytes(), &line].concat());
            match line.trim_ascii() {
                b"restart" => restart.notify_one(),
                b"stop" => std::process::exit(0),
                _ => {}
            }
        }
        if state.unread.len() > MAX_LINE {
            return None;
        }
        let (mut reader, mut writer) = stream.split();
        // Each of the futures can be dropped: all bytes are in the socket, or in the state.
        select! {
            read = reader.read_buf(&mut state.unread), if state.unsent.is_empty() => {
                if read.ok()? == 0 {
                    return None;
                }
            }
            sent = writer.write(&state.unsent), if !state.unsent.is_empty() => drop(state.unsent.drain(..sent.ok()?)),
            _ = stopped.changed() => return Some((stream, state)),
        }
    }
}
