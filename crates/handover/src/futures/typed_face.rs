//! The public types of an adapter for typed messages.

/// Writes `TypedChannel` and `TypedReply` of an adapter around its `Channel`. `$runtime` names the runtime in the documentation.
macro_rules! typed_adapter {
    ($runtime:literal) => {
        #[doc = concat!("A [`Channel`] that sends values of the type `S` and receives values of the type `R`, for tasks of ", $runtime, ".")]
        ///
        /// It is what [`handover::TypedChannel`](crate::TypedChannel) is for threads, whose documentation says how objects are put
        /// into values, and what happens if the two processes define a type differently.
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        pub struct TypedChannel<S, R> {
            channel: Channel,
            types: std::marker::PhantomData<fn(&S) -> R>,
        }

        impl<S, R> Clone for TypedChannel<S, R> {
            /// Returns a second owner of the same endpoint.
            fn clone(&self) -> Self {
                Self::new(self.channel.clone())
            }
        }

        impl<S, R> std::fmt::Debug for TypedChannel<S, R> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple("TypedChannel").field(&self.channel).finish()
            }
        }

        impl<S, R> From<Channel> for TypedChannel<S, R> {
            fn from(channel: Channel) -> Self {
                Self::new(channel)
            }
        }

        impl<S, R> From<crate::typed::TypedChannel<S, R>> for TypedChannel<S, R> {
            fn from(channel: crate::typed::TypedChannel<S, R>) -> Self {
                Self::new(channel.into_channel().into())
            }
        }

        impl<S, R> TypedChannel<S, R> {
            /// Sends and receives values over this endpoint from now on.
            #[must_use]
            pub fn new(channel: Channel) -> Self {
                Self { channel, types: std::marker::PhantomData }
            }

            /// Returns the channel.
            #[must_use]
            pub fn channel(&self) -> &Channel {
                &self.channel
            }

            /// Returns the channel, whose messages have no type any more.
            #[must_use]
            pub fn into_channel(self) -> Channel {
                self.channel
            }
        }

        impl<S: serde::Serialize, R: serde::de::DeserializeOwned> TypedChannel<S, R> {
            /// Sends a value, waiting while the peer process doesn't read.
            ///
            /// # Cancel safety
            ///
            /// As for [`Channel::send`]. If the value isn't sent, a channel inside it stays there.
            ///
            /// # Errors
            ///
            /// The errors of [`TypedChannel::send`](crate::TypedChannel::send).
            pub async fn send(&self, value: &S) -> crate::error::Result<()> {
                self.channel.send(crate::channel::Message::from_value(value)?).await
            }

            /// Receives the next value.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future takes no message.
            ///
            /// # Errors
            ///
            /// The errors of [`TypedChannel::recv`](crate::TypedChannel::recv).
            pub async fn recv(&self) -> crate::error::Result<R> {
                self.channel.recv().await?.into_value()
            }

            /// Sends a value as a call, and waits for the reply to it.
            ///
            /// # Cancel safety
            ///
            /// As for [`Channel::call`].
            ///
            /// # Errors
            ///
            /// The errors of [`TypedChannel::call`](crate::TypedChannel::call), except for the timeout.
            pub async fn call(&self, value: &S) -> crate::error::Result<R> {
                self.channel.call(crate::channel::Message::from_value(value)?).await?.into_value()
            }

            /// Receives the next value, and what replies to it.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future takes no message.
            ///
            /// # Errors
            ///
            /// The errors of [`TypedChannel::recv_request`](crate::TypedChannel::recv_request).
            pub async fn recv_request(&self) -> crate::error::Result<(R, TypedReply<S>)> {
                let message = self.channel.recv().await?;
                let value = message.take_value()?;
                let channel = self.channel.clone();
                Ok((value, TypedReply { channel, message, types: std::marker::PhantomData }))
            }
        }

        /// What replies to a received value with a value of the type `S`, over the channel that it came from.
        ///
        /// Dropping it sends nothing. It is an owner of the channel's endpoint.
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        pub struct TypedReply<S> {
            channel: Channel,
            message: crate::channel::ReceivedMessage,
            types: std::marker::PhantomData<fn(&S)>,
        }

        impl<S> std::fmt::Debug for TypedReply<S> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("TypedReply").field("is_expected", &self.is_expected()).finish_non_exhaustive()
            }
        }

        impl<S> TypedReply<S> {
            /// Returns whether the sender waits for a reply, because it sent the value as a call.
            #[must_use]
            pub fn is_expected(&self) -> bool {
                self.message.expects_reply()
            }
        }

        impl<S: serde::Serialize> TypedReply<S> {
            /// Replies with a value.
            ///
            /// # Cancel safety
            ///
            /// As for [`Channel::reply`].
            ///
            /// # Errors
            ///
            /// The errors of [`TypedReply::send`](crate::TypedReply::send).
            pub async fn send(&self, value: &S) -> crate::error::Result<()> {
                self.channel.reply(&self.message, crate::channel::Message::from_value(value)?).await
            }
        }
    };
}

pub(crate) use typed_adapter;
