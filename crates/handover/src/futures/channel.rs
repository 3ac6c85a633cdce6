//! `Channel`: a channel whose waits are futures.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use super::imp::ChannelIo;
use super::{Reactor, imp, sleep};
use crate::channel::calls::Want;
use crate::channel::imp::Sent;
use crate::channel::tasks::Reason;
use crate::channel::wire::FrameType;
use crate::channel::{self as blocking, Message, ReceivedMessage, not_sent};
use crate::error::Result;

/// An endpoint, and what waits for it. Clones share both.
pub(crate) struct Channel<R: Reactor> {
    channel: blocking::Channel,
    io: Arc<ChannelIo<R>>,
}

impl<R: Reactor> Clone for Channel<R> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), io: Arc::clone(&self.io) }
    }
}

impl<R: Reactor> fmt::Debug for Channel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channel.fmt(f)
    }
}

impl<R: Reactor> Channel<R> {
    pub(crate) fn new(channel: blocking::Channel) -> Self {
        Self { channel, io: Arc::new(ChannelIo::new()) }
    }

    pub(crate) async fn connect(name: &str) -> Result<Self> {
        blocking::check_name(name)?;
        imp::connect::<R>(name).await.map(|endpoint| Self::new(blocking::Channel::new(endpoint)))
    }

    pub(crate) fn blocking(&self) -> &blocking::Channel {
        &self.channel
    }

    pub(crate) fn into_blocking(self) -> blocking::Channel {
        self.channel
    }

    pub(crate) async fn send(&self, message: Message<'_>) -> Result<()> {
        self.deliver(message, FrameType::Message, || {}).await
    }

    pub(crate) async fn reply(&self, to: &ReceivedMessage, message: Message<'_>) -> Result<()> {
        let mut reply = to.begin_reply(&self.channel)?;
        self.deliver(message, FrameType::Reply(reply.id()), || reply.keep()).await
    }

    /// Sends a message. Calls `begun` once it belongs to the channel.
    async fn deliver(
        &self,
        mut message: Message<'_>,
        frame_type: FrameType,
        mut begun: impl FnMut(),
    ) -> Result<()> {
        let endpoint = &*self.channel.endpoint;
        if message.channels.is_empty() {
            message.check()?;
        }
        let mut sending = endpoint.sending();
        let waits = self.io.begin();
        loop {
            let sent = poll_fn(|cx| {
                let sent = endpoint.poll_send(&mut sending, &mut message, frame_type, &waits, cx);
                if sending.has_begun() {
                    begun();
                }
                sent
            });
            match sent.await.map_err(|error| not_sent(&mut message, error))? {
                Sent::Done => return Ok(()),
                Sent::Later(time) => sleep::<R>(time).await?,
            }
        }
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        let endpoint = &*self.channel.endpoint;
        let mut sending = endpoint.sending();
        let waits = self.io.begin();
        poll_fn(|cx| endpoint.poll_flush(&mut sending, &waits, cx)).await
    }

    pub(crate) async fn recv(&self) -> Result<ReceivedMessage> {
        self.receive(Want::Message).await
    }

    pub(crate) async fn call(&self, message: Message<'_>) -> Result<ReceivedMessage> {
        // Dropped at the end: then a reply that comes later is dropped too.
        let call = self.channel.endpoint.begin_call();
        self.deliver(message, FrameType::Call(call.id), || {}).await?;
        self.receive(Want::Reply(call.id)).await
    }

    async fn receive(&self, want: Want) -> Result<ReceivedMessage> {
        let endpoint = &*self.channel.endpoint;
        let mut task = endpoint.read_task(Reason::For(want));
        let waits = self.io.begin();
        let arrived = poll_fn(|cx| endpoint.poll_receive(&mut task, want, &waits, cx)).await?;
        drop((waits, task));
        self.channel.received(arrived)
    }
}
