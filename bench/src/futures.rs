//! Measures messages with objects between two asynchronous processes, beside two that block.

use std::future::Future;

use handover::{Error, Message};

use crate::Outcome;
use crate::hand_over::{answered, objects};
#[cfg(feature = "peers")]
use crate::ipc_channel::{AsyncIpcChannel, IpcChannel, memory};
use crate::measure::{Bench, Way};
use crate::peer_process::{ANSWER, ChannelPeer, message};

/// Runs futures on this thread.
trait Runtime: Sized {
    fn start() -> Outcome<Self>;
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

struct Tokio(tokio::runtime::Runtime);

impl Runtime for Tokio {
    fn start() -> Outcome<Self> {
        Ok(Self(tokio::runtime::Builder::new_current_thread().enable_io().build()?))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

struct Smol;

impl Runtime for Smol {
    fn start() -> Outcome<Self> {
        Ok(Self)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// The two sides of an exchange by one adapter.
macro_rules! adapter {
    ($module:ident, $adapter:ident, $runtime:ident) => {
        pub(crate) mod $module {
            use handover::$adapter::Channel;

            use super::*;

            pub(super) async fn send_and_recv(channel: &Channel, message: Message<'_>) -> Outcome {
                channel.send(message).await?;
                channel.recv().await?;
                Ok(())
            }

            /// Runs as the other process.
            pub(crate) fn other_process() -> Outcome {
                let channel = Channel::from(handover::Channel::parent()?);
                $runtime::start()?.block_on(async {
                    loop {
                        match channel.recv().await {
                            Ok(message) => drop(message),
                            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
                            Err(other) => return Err(other.into()),
                        }
                        channel.send(b"").await?;
                    }
                })
            }
        }
    };
}

adapter!(on_tokio, tokio, Tokio);
adapter!(on_async_io, async_io, Smol);

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let blocking = ChannelPeer::start("handover")?;
    let (tokio, async_io) = (ChannelPeer::start("tokio")?, ChannelPeer::start("async-io")?);
    let tokio_channel = handover::tokio::Channel::from(tokio.channel.clone());
    let async_io_channel = handover::async_io::Channel::from(async_io.channel.clone());
    let (on_this_thread, smol) = (Tokio::start()?, Smol::start()?);
    #[cfg(feature = "peers")]
    let (ipc, ipc_async) = (IpcChannel::start()?, AsyncIpcChannel::start()?);
    for count in [1_usize, 8, 32] {
        let (names, events) = objects(count)?;
        let build = || message(&[ANSWER], &names, &events);
        let ways = vec![
            Way::new("blocking", answered(|_| blocking.send_objects(&names, &events, ANSWER))),
            Way::new(
                "tokio",
                answered(|_| on_this_thread.block_on(on_tokio::send_and_recv(&tokio_channel, build()))),
            ),
            Way::new(
                "async-io",
                answered(|_| smol.block_on(on_async_io::send_and_recv(&async_io_channel, build()))),
            ),
            #[cfg(feature = "peers")]
            {
                let (memory, ipc) = (memory(count), &ipc);
                Way::new("ipc-channel", answered(move |_| ipc.send_objects(&memory, true)))
            },
            #[cfg(feature = "peers")]
            {
                let (memory, ipc) = (memory(count), &ipc_async);
                Way::new("ipc-channel, async", answered(move |_| ipc.send_objects(&memory)))
            },
        ];
        bench.compare("async", count, ways)?;
    }
    Ok(())
}
