//! Channels, listeners, children and waits for programs that run on [async-io](https://docs.rs/async-io), such as those of
//! [smol](https://docs.rs/smol). Feature `async-io`.
//!
//! ```no_run
//! use handover::{Command, Event, Message};
//! use handover::async_io::Child;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_io::block_on(async {
//!     let ready = Event::manual_reset()?;
//!     let mut child = Child::from(Command::new("worker").channel().spawn()?);
//!     let channel = child.take_channel().expect("the command has a channel");
//!     channel.send(Message::new("go").with("ready", &ready)).await?;
//!     let answer = channel.recv().await?;
//!     handover::async_io::wait(&ready).await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! The types are made from the blocking ones, and turned into them, by `From`. Each future says what it means to drop it, as a
//! timeout does.
//!
//! On Linux the thread of async-io waits for the descriptors. On Windows a thread of the library waits, one for up
//! to 63 objects. Any executor can run the futures.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::futures::{Reactor, adapter};
#[cfg(target_os = "linux")]
use crate::sys::descriptor::{Descriptor, Interest};

/// Waits by the thread of async-io.
#[derive(Debug)]
pub(crate) struct AsyncIo;

#[cfg(target_os = "linux")]
impl Reactor for AsyncIo {
    type Registration = async_io::Async<Descriptor>;

    fn register(descriptor: Descriptor, _interest: Interest) -> io::Result<Self::Registration> {
        // The descriptor's mode belongs to its open file description, so it is left alone.
        async_io::Async::new_nonblocking(descriptor)
    }

    fn poll_readable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        registration.poll_readable(cx)
    }

    fn poll_writable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        registration.poll_writable(cx)
    }
}

#[cfg(windows)]
impl Reactor for AsyncIo {}

adapter!(AsyncIo, "async-io");
#[cfg(feature = "serde")]
crate::futures::typed_adapter!("async-io");

macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_read(buf, cx).map_err(|error| error.source)
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

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx).map_err(|error| error.source)
    }
}
