//! Channels, listeners, children and waits for programs that run on [tokio](https://docs.rs/tokio). Feature `tokio`.
//!
//! ```no_run
//! use std::time::Duration;
//! use handover::{Command, Event, Message};
//! use handover::tokio::{Channel, Child};
//! use tokio::time::timeout;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ready = Event::manual_reset()?;
//! let mut child = Child::from(Command::new("worker").channel().spawn()?);
//! let channel = child.take_channel().expect("the command has a channel");
//! channel.send(Message::new("go").with("ready", &ready)).await?;
//! let answer = timeout(Duration::from_secs(5), channel.recv()).await??;
//! handover::tokio::wait(&ready).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The types are made from the blocking ones, and turned into them, by `From`. Timeouts are tokio's: each future says what it
//! means to drop it.
//!
//! On Linux a runtime waits for the descriptors, so it needs its I/O driver (`enable_io` or `enable_all`); without it, tokio
//! panics, and outside of a runtime each wait returns [`Error::System`](crate::Error::System). On Windows a thread of the
//! library waits, one for up to 63 objects, and any runtime does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::futures::{Reactor, adapter};
#[cfg(target_os = "linux")]
use crate::sys::descriptor::{self, Descriptor, Interest};

/// Waits by the current runtime.
#[derive(Debug)]
pub(crate) struct Tokio;

#[cfg(target_os = "linux")]
impl Reactor for Tokio {
    type Registration = tokio::io::unix::AsyncFd<Descriptor>;

    fn register(descriptor: Descriptor, interest: Interest) -> io::Result<Self::Registration> {
        descriptor::register_with_tokio(descriptor, interest)
    }

    fn poll_readable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        registration.poll_read_ready(cx).map_ok(|mut ready| ready.clear_ready())
    }

    fn poll_writable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        registration.poll_write_ready(cx).map_ok(|mut ready| ready.clear_ready())
    }
}

#[cfg(windows)]
impl Reactor for Tokio {}

adapter!(Tokio, "tokio");
#[cfg(feature = "serde")]
crate::futures::typed_adapter!("tokio");

macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let read = self.stream.poll_read(buf.initialize_unfilled(), cx);
                read.map_ok(|count| buf.advance(count)).map_err(|error| error.source)
            }
        }
    };
}

reads!(ChildStdout);
reads!(ChildStderr);

impl AsyncWrite for ChildStdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(buf, cx).map_err(|error| error.source)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx).map_err(|error| error.source)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx).map_err(|error| error.source)
    }
}
