//! The public types of an adapter.

/// Writes the public types of an adapter: `$reactor` is the type that implements [`Reactor`](super::Reactor), and `$runtime`
/// names the runtime in the documentation.
macro_rules! adapter {
    ($reactor:ty, $runtime:literal) => {
        /// Waits until the object is signaled, or the process has exited.
        ///
        #[doc = concat!("It works in any task of ", $runtime, ". No thread waits for the object alone.")]
        /// A wait takes what a blocking wait takes: it resets an auto-reset event, for example. A Windows mutex belongs to the
        /// thread that waits for it, so it can't be waited for by a task.
        ///
        /// # Cancel safety
        ///
        /// Dropping the future takes nothing. On Windows, the waiting thread may have taken a signal just then; it is put
        /// back, unless the object is an auto-reset timer, or an event whose handle lacks the right to set it.
        ///
        /// # Errors
        ///
        /// - [`Error::AccessDenied`](crate::Error::AccessDenied) if the handle lacks the right to wait.
        /// - [`Error::System`](crate::Error::System) if the system or the runtime has no resources for the wait.
        pub async fn wait<W: crate::wait::Waitable + ?Sized>(object: &W) -> crate::error::Result<()> {
            crate::futures::wait::<$reactor>(object).await
        }

        #[doc = concat!("An endpoint of a channel, for tasks of ", $runtime, ".")]
        ///
        /// It is made from a blocking [`Channel`](crate::Channel), and turned into one, by `From`. Both kinds can be used
        /// at the same time on clones of one endpoint, by tasks and by threads. [`get_ref`](Self::get_ref) gives the blocking
        /// one for everything that doesn't wait.
        ///
        /// Clones share one endpoint. If several tasks receive, each message goes to one of them. Tasks send in the order of
        /// their calls.
        ///
        /// A receive or a call that has begun may be the one that reads for all tasks. Its task can leave it alone while it
        /// sends, calls or receives over the same channel, as a loop around `select!` does. If the task waits for something
        /// else, it must drop the future; otherwise the other tasks wait until it is polled again.
        #[derive(Debug, Clone)]
        pub struct Channel {
            inner: crate::futures::Channel<$reactor>,
        }

        impl Channel {
            /// Connects to the process of this user that listens under a name, as
            /// [`Channel::connect`](crate::Channel::connect) does.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future disconnects.
            ///
            /// # Errors
            ///
            /// The errors of [`Channel::connect`](crate::Channel::connect).
            pub async fn connect(name: &str) -> crate::error::Result<Self> {
                crate::futures::Channel::connect(name).await.map(|inner| Self { inner })
            }

            /// Returns the blocking channel, for everything that doesn't wait: [`try_recv`](crate::Channel::try_recv),
            /// [`allow`](crate::Channel::allow), [`close`](crate::Channel::close) and the others.
            #[must_use]
            pub fn get_ref(&self) -> &crate::channel::Channel {
                self.inner.blocking()
            }

            /// Sends a message, waiting while the peer process doesn't read.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future before any of the message was written sends nothing. Once a part was written, the message
            /// belongs to the channel: the next send, or [`flush`](Self::flush), finishes it first. If none follows and the
            /// last clone is dropped, the peer process gets an error instead of the message.
            ///
            /// # Errors
            ///
            /// The errors of [`Channel::send`](crate::Channel::send).
            pub async fn send<'a>(&self, message: impl Into<crate::channel::Message<'a>>) -> crate::error::Result<()> {
                self.inner.send(message.into()).await
            }

            /// Receives the next message.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future takes no message.
            ///
            /// # Errors
            ///
            /// The errors of [`Channel::recv`](crate::Channel::recv).
            pub async fn recv(&self) -> crate::error::Result<crate::channel::ReceivedMessage> {
                self.inner.recv().await
            }

            /// Sends a message as a call, and waits for the reply to it.
            ///
            /// Several tasks can call at once, over one channel and its clones.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future ends the call. If the message was sent, the reply is dropped when it comes, and its objects
            /// are closed. For the sending, see [`send`](Self::send).
            ///
            /// # Errors
            ///
            /// The errors of [`Channel::call`](crate::Channel::call), except for the timeout.
            pub async fn call<'a>(
                &self,
                message: impl Into<crate::channel::Message<'a>>,
            ) -> crate::error::Result<crate::channel::ReceivedMessage> {
                self.inner.call(message.into()).await
            }

            /// Replies to a message that was received over this channel, and sent as a call.
            ///
            /// # Cancel safety
            ///
            /// As for [`send`](Self::send). A message whose reply was not begun can be replied to again.
            ///
            /// # Errors
            ///
            /// The errors of [`ReceivedMessage::reply`](crate::ReceivedMessage::reply), and
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the message came over another channel.
            pub async fn reply<'a>(
                &self,
                to: &crate::channel::ReceivedMessage,
                message: impl Into<crate::channel::Message<'a>>,
            ) -> crate::error::Result<()> {
                self.inner.reply(to, message.into()).await
            }

            /// Finishes a message whose [`send`](Self::send) was dropped, and waits as
            /// [`Channel::flush`](crate::Channel::flush) does.
            ///
            /// # Cancel safety
            ///
            /// It can be dropped and called again.
            ///
            /// # Errors
            ///
            /// The errors of [`Channel::flush`](crate::Channel::flush), except for the timeout.
            pub async fn flush(&self) -> crate::error::Result<()> {
                self.inner.flush().await
            }
        }

        impl From<crate::channel::Channel> for Channel {
            /// Makes the channel wait by futures. The runtime gets to know it at the first await.
            fn from(channel: crate::channel::Channel) -> Self {
                Self { inner: crate::futures::Channel::new(channel) }
            }
        }

        impl From<Channel> for crate::channel::Channel {
            /// Makes the channel block again. A message whose send was dropped is finished by the next send.
            fn from(channel: Channel) -> Self {
                channel.inner.into_blocking()
            }
        }

        #[doc = concat!("A listener to which processes of the same user connect by a name, for tasks of ", $runtime, ".")]
        ///
        /// It is made from a blocking [`Listener`](crate::Listener), and turned into one, by `From`.
        #[derive(Debug)]
        pub struct Listener {
            inner: crate::futures::Listener<$reactor>,
        }

        impl Listener {
            /// Starts listening under a name, as [`Listener::bind`](crate::Listener::bind) does.
            ///
            /// # Errors
            ///
            /// The errors of [`Listener::bind`](crate::Listener::bind).
            pub fn bind(name: &str) -> crate::error::Result<Self> {
                crate::channel::Listener::bind(name).map(Self::from)
            }

            /// Returns the blocking listener, for everything that doesn't wait.
            #[must_use]
            pub fn get_mut(&mut self) -> &mut crate::channel::Listener {
                self.inner.blocking()
            }

            /// Waits for the next client. Dropping the returned value refuses the client.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future takes no client.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if the listener can't continue. Without a free handle or memory the
            /// client isn't lost, and the next call accepts it.
            pub async fn accept(&mut self) -> crate::error::Result<Incoming<'_>> {
                self.inner.accept().await.map(|inner| Incoming { inner })
            }
        }

        impl From<crate::channel::Listener> for Listener {
            fn from(listener: crate::channel::Listener) -> Self {
                Self { inner: crate::futures::Listener::new(listener) }
            }
        }

        impl From<Listener> for crate::channel::Listener {
            fn from(listener: Listener) -> Self {
                listener.inner.into_blocking()
            }
        }

        /// A client that has connected to a [`Listener`] and is not accepted yet. Dropping it refuses the client.
        #[derive(Debug)]
        #[must_use = "dropping it refuses the client"]
        pub struct Incoming<'a> {
            inner: crate::futures::Incoming<'a, $reactor>,
        }

        impl Incoming<'_> {
            /// Returns the client's process, as [`Incoming::process`](crate::Incoming::process) does.
            #[must_use]
            pub fn process(&self) -> &crate::process::Process {
                self.inner.process()
            }

            /// Returns the user that the client runs as.
            #[must_use]
            pub fn user(&self) -> &crate::process::User {
                self.inner.user()
            }

            /// Accepts the client, and waits for at most one second until it has taken its endpoint.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future refuses the client.
            ///
            /// # Errors
            ///
            /// The errors of [`Incoming::accept`](crate::Incoming::accept).
            pub async fn accept(self) -> crate::error::Result<Channel> {
                self.inner.accept().await.map(|inner| Channel { inner })
            }

            /// Refuses the client, which gets [`Error::ConnectionRefused`](crate::Error::ConnectionRefused).
            pub fn refuse(self) {
                // `Drop` refuses the client.
            }
        }

        #[doc = concat!("A child process, for tasks of ", $runtime, ".")]
        ///
        /// It is made from a blocking [`Child`](crate::Child), and turned into one, by `From`. The rules for
        /// dropping that one hold here.
        #[derive(Debug)]
        pub struct Child {
            /// The writing end of the child's standard input, if it is [piped](crate::Stdio::piped). Take it and drop it
            /// to let the child read end of file.
            pub stdin: Option<ChildStdin>,
            /// The reading end of the child's standard output, if it is piped.
            pub stdout: Option<ChildStdout>,
            /// The reading end of the child's standard error, if it is piped.
            pub stderr: Option<ChildStderr>,
            inner: crate::futures::Child<$reactor>,
        }

        impl Child {
            /// Returns the child's process id.
            #[must_use]
            pub fn id(&self) -> u32 {
                self.inner.blocking().id()
            }

            /// Returns the child as a [`Process`](crate::Process), to share objects with.
            #[must_use]
            pub fn process(&self) -> &crate::process::Process {
                self.inner.blocking().process()
            }

            /// Takes this process's endpoint of the channel to the child, as
            /// [`Child::take_channel`](crate::Child::take_channel) does.
            pub fn take_channel(&mut self) -> Option<Channel> {
                self.inner.blocking_mut().take_channel().map(Channel::from)
            }

            /// Returns the child's exit status if it has exited, without waiting and without closing anything.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if a call fails.
            pub fn try_wait(&mut self) -> crate::error::Result<Option<std::process::ExitStatus>> {
                self.inner.blocking_mut().try_wait()
            }

            /// Kills the child, as [`Child::kill`](crate::Child::kill) does.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if the call fails for a running child.
            pub fn kill(&mut self) -> crate::error::Result<()> {
                self.inner.blocking_mut().kill()
            }

            /// Waits until the child exits, and returns its exit status.
            ///
            /// The child's standard input and its channel are closed first, unless they were taken.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing: another wait returns the status. The child's standard input and its channel
            /// are closed by then.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if a call fails.
            pub async fn wait(&mut self) -> crate::error::Result<std::process::ExitStatus> {
                drop(self.stdin.take());
                self.inner.wait().await
            }

            /// Waits until the child exits, and collects the output that it writes to piped streams, as
            /// [`Child::wait_with_output`](crate::Child::wait_with_output) does.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future drops the child.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if a stream can't be read, or if the wait fails.
            pub async fn wait_with_output(self) -> crate::error::Result<std::process::Output> {
                let Self { stdin, stdout, stderr, inner } = self;
                let streams =
                    [stdin.map(|it| it.stream), stdout.map(|it| it.stream), stderr.map(|it| it.stream)];
                inner.wait_with_output(streams).await
            }
        }

        impl From<crate::process::Child> for Child {
            fn from(child: crate::process::Child) -> Self {
                let (inner, [stdin, stdout, stderr]) = crate::futures::Child::new(child);
                Self {
                    stdin: stdin.map(|stream| ChildStdin { stream }),
                    stdout: stdout.map(|stream| ChildStdout { stream }),
                    stderr: stderr.map(|stream| ChildStderr { stream }),
                    inner,
                }
            }
        }

        impl From<Child> for crate::process::Child {
            fn from(child: Child) -> Self {
                let Child { stdin, stdout, stderr, inner } = child;
                let streams =
                    [stdin.map(|it| it.stream), stdout.map(|it| it.stream), stderr.map(|it| it.stream)];
                inner.into_blocking(streams)
            }
        }

        /// The writing end of a child's standard input.
        #[derive(Debug)]
        pub struct ChildStdin {
            stream: crate::futures::Stream<$reactor>,
        }

        impl From<std::process::ChildStdin> for ChildStdin {
            fn from(stream: std::process::ChildStdin) -> Self {
                Self { stream: crate::futures::Stream::to_write(stream) }
            }
        }

        /// The reading end of a child's standard output.
        #[derive(Debug)]
        pub struct ChildStdout {
            stream: crate::futures::Stream<$reactor>,
        }

        impl From<std::process::ChildStdout> for ChildStdout {
            fn from(stream: std::process::ChildStdout) -> Self {
                Self { stream: crate::futures::Stream::to_read(stream) }
            }
        }

        /// The reading end of a child's standard error.
        #[derive(Debug)]
        pub struct ChildStderr {
            stream: crate::futures::Stream<$reactor>,
        }

        impl From<std::process::ChildStderr> for ChildStderr {
            fn from(stream: std::process::ChildStderr) -> Self {
                Self { stream: crate::futures::Stream::to_read(stream) }
            }
        }
    };
}

pub(crate) use adapter;
