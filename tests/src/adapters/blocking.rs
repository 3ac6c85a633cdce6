//! The interface of the blocking channel, for the suites that run on each kind of channel.

/// Writes a `Channel` with the waiting methods of the blocking one, each of which runs the future of an adapter's channel.
macro_rules! blocking {
    ($module:ident) => {
        /// A channel of the adapter, with the blocking interface.
        #[derive(Debug, Clone)]
        pub struct Channel($module::Channel);

        impl std::ops::Deref for Channel {
            type Target = handover::Channel;

            fn deref(&self) -> &handover::Channel {
                self.0.get_ref()
            }
        }

        impl From<handover::Channel> for Channel {
            fn from(channel: handover::Channel) -> Self {
                Self(channel.into())
            }
        }

        impl From<Channel> for handover::Channel {
            fn from(channel: Channel) -> Self {
                channel.0.into()
            }
        }

        /// Returns the blocking channel, for waits for several objects.
        #[must_use]
        pub fn blocking(channel: &Channel) -> &handover::Channel {
            channel
        }

        #[allow(missing_docs, clippy::missing_errors_doc, reason = "as those of the blocking channel")]
        impl Channel {
            pub const MAX_BYTES: usize = handover::Channel::MAX_BYTES;
            pub const MAX_OBJECTS: usize = handover::Channel::MAX_OBJECTS;

            pub fn parent() -> Result<Self> {
                handover::Channel::parent().map(Self::from)
            }

            pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<()> {
                $module::block_on(self.0.send(message))
            }

            pub fn send_timeout<'a>(&self, message: impl Into<Message<'a>>, time: Duration) -> Result<()> {
                $module::block_on($module::timeout(time, self.0.send(message))).unwrap_or_else(timed_out)
            }

            pub fn recv(&self) -> Result<ReceivedMessage> {
                $module::block_on(self.0.recv())
            }

            pub fn recv_timeout(&self, time: Duration) -> Result<ReceivedMessage> {
                let received = $module::block_on($module::timeout(time, self.0.recv()));
                // The blocking call describes the timeout.
                received.unwrap_or_else(|| self.0.get_ref().recv_timeout(Duration::ZERO))
            }

            pub fn call<'a>(
                &self,
                message: impl Into<Message<'a>>,
                time: Duration,
            ) -> Result<ReceivedMessage> {
                $module::block_on($module::timeout(time, self.0.call(message))).unwrap_or_else(timed_out)
            }

            pub fn flush(&self, time: Duration) -> Result<()> {
                $module::block_on($module::timeout(time, self.0.flush())).unwrap_or_else(timed_out)
            }
        }
    };
}

/// The channel of tokio.
pub mod on_tokio {
    use std::time::Duration;

    use handover::{Message, ReceivedMessage, Result};

    use super::timed_out;
    use crate::adapters::tokio;

    blocking!(tokio);
}

/// The channel of async-io.
pub mod on_async_io {
    use std::time::Duration;

    use handover::{Message, ReceivedMessage, Result};

    use super::timed_out;
    use crate::adapters::async_io;

    blocking!(async_io);
}

/// Returns the error of a wait that has timed out.
fn timed_out<T>() -> handover::Result<T> {
    let event = handover::Event::manual_reset()?;
    event.wait_timeout(std::time::Duration::ZERO)?;
    unreachable!("the event is not set")
}
