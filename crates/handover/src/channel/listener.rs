//! `Listener` and `Channel::connect`: how unrelated processes open a channel to each other by a name.

use std::fmt;
use std::time::Duration;

use super::imp::{self as os, Client, Endpoint, SystemListener};
use super::{Channel, KindFilter, Limits};
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::name::text::objection_to_listen;
use crate::process::{Process, User};
use crate::sys::io::BorrowedHandle;
use crate::sys::wait::{Target, readable};
use crate::wait::set::Memberships;
use crate::wait::{self, Deadline, Waitable};

/// A listener to which processes of the same user connect by a name. Each connection becomes a [`Channel`].
///
/// ```no_run
/// use handover::Listener;
///
/// let mut listener = Listener::bind("my-app.control")?;
/// loop {
///     let incoming = listener.accept()?;
///     println!("process {} of {}", incoming.process().id(), incoming.user());
///     let Ok(channel) = incoming.accept() else { continue };
///     std::thread::spawn(move || channel.send(b"welcome"));
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), handover::Error>(())
/// ```
///
/// A program that forwards its command line to the running instance:
/// [`examples/single_instance.rs`](https://docs.rs/crate/handover/latest/source/examples/single_instance.rs).
///
/// Names belong to a user. A program of another user can use the same name without a collision, and can't connect.
/// Processes on other machines can't connect either. A client that connects and doesn't complete the handshake
/// within one second is disconnected; other clients wait until then.
pub struct Listener {
    /// Declared first: the listener leaves its sets before its handle is closed.
    memberships: Memberships,
    name: String,
    inner: SystemListener,
    allowed: KindFilter,
    limits: Limits,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Listener {
    /// Starts listening under a name.
    ///
    /// The name must not be empty, must not contain a slash, a backslash or NUL, and must not end with a dot or a
    /// space. About 180 characters fit on Windows. About 70 bytes fit on Linux, where the name becomes part of a
    /// socket's path. Windows ignores case. The name is in use until the listener is dropped.
    ///
    /// On Windows this creates a named pipe
    /// ([`CreateNamedPipeW`](https://learn.microsoft.com/en-us/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)),
    /// on Linux a Unix socket ([`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)).
    ///
    /// # Errors
    ///
    /// - [`Error::NameInUse`] if the name is in use, by another listener or by a program that tries to impersonate one.
    /// - [`Error::InvalidInput`] if the text can't be a name.
    #[doc(alias = "CreateNamedPipe")]
    pub fn bind(name: &str) -> Result<Self> {
        check(name)?;
        let inner = SystemListener::open(name)?;
        Ok(Self {
            memberships: Memberships::default(),
            name: name.into(),
            inner,
            allowed: KindFilter::default(),
            limits: Limits::default(),
        })
    }

    /// Accepts objects of this kind over all channels that are accepted from now on, as [`Channel::allow`] does for one.
    pub fn allow(&mut self, kind: ObjectKind) -> &mut Self {
        self.allowed.add(kind);
        self
    }

    /// Accepts objects of these kinds, and no others, over all channels that are accepted from now on, as
    /// [`Channel::allow_only`] does for one.
    pub fn allow_only(&mut self, kinds: impl IntoIterator<Item = ObjectKind>) -> &mut Self {
        self.allowed.replace(kinds.into_iter().collect());
        self
    }

    /// Sets how much each client may send over the channels that are accepted from now on, as [`Channel::set_limits`] does
    /// for one.
    pub fn set_limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Waits for the next client.
    ///
    /// The caller can check the client's process and user before any data is exchanged. Dropping the returned value
    /// refuses the client.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the listener can't continue. Without a free handle or memory, it waits for at most one second
    /// before it returns the error; the client isn't lost, and the next call accepts it.
    ///
    /// A client that has exited, that this process may not open, or that belongs to another user, is disconnected, and
    /// the wait goes on.
    pub fn accept(&mut self) -> Result<Incoming<'_>> {
        self.accept_timeout(Duration::MAX)
    }

    /// Waits for the next client, for at most the timeout.
    ///
    /// # Errors
    ///
    /// The errors of [`accept`](Self::accept), and [`Error::TimedOut`], which names the last client that was disconnected
    /// because it couldn't be served.
    pub fn accept_timeout(&mut self, timeout: Duration) -> Result<Incoming<'_>> {
        match self.inner.wait_for_client(&self.name, Deadline::after(timeout))? {
            Some(client) => Ok(Incoming { listener: self, client: Some(client) }),
            None => {
                let refused = self.inner.refused().map(|refused| format!(" ({refused})")).unwrap_or_default();
                let waiting_for = format!("a client to connect to {:?}{refused}", self.name);
                Err(Error::TimedOut { waiting_for, timeout })
            }
        }
    }

    /// Returns a client if one waits now, and `None` otherwise. It never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`accept`](Self::accept). Without a free handle or memory the client isn't lost, and the next call
    /// tries again.
    pub fn try_accept(&mut self) -> Result<Option<Incoming<'_>>> {
        Ok(self.next_client()?.map(|client| Incoming { listener: self, client: Some(client) }))
    }

    /// Returns the client that waits now, if there is one.
    pub(crate) fn next_client(&mut self) -> Result<Option<Client>> {
        self.inner.wait_for_client(&self.name, Deadline::after(Duration::ZERO))
    }

    /// Returns the handle that says whether a client waits, for an event loop: on Linux a descriptor that is readable
    /// then, for epoll, mio or tokio's `AsyncFd`; on Windows an event that is set then, for
    /// [`WaitForMultipleObjects`](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjects).
    ///
    /// After it says so, call [`try_accept`](Self::try_accept) until it returns `None`: a client may have left meanwhile. The
    /// listener owns the handle. Only wait for it: reading from it or resetting it loses clients.
    ///
    /// [`wait_any`](crate::wait_any) waits for the listener itself.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for it.
    pub fn readiness(&self) -> Result<BorrowedHandle<'_>> {
        self.inner.watch(&self.name)
    }
}

impl wait::sealed::Sealed for Listener {
    fn target(&self) -> Result<Target<'_>> {
        self.readiness().map(readable)
    }

    fn memberships(&self) -> &Memberships {
        &self.memberships
    }
}

impl Waitable for Listener {}

/// A client that has connected to a [`Listener`] and is not accepted yet. Dropping it refuses the client.
#[must_use = "dropping it refuses the client"]
pub struct Incoming<'a> {
    listener: &'a mut Listener,
    /// `None` once the client is accepted.
    client: Option<Client>,
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("process", &self.process().id())
            .field("user", self.user())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "_async")]
impl<'a> Incoming<'a> {
    pub(crate) fn new(listener: &'a mut Listener, client: Client) -> Self {
        Self { listener, client: Some(client) }
    }
}

impl Incoming<'_> {
    /// Returns the client's process.
    ///
    /// The process comes from the id that the system reports, which could have been reused. [`accept`](Self::accept)
    /// makes sure that the client is this very process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.client().process
    }

    /// Returns the user that the client runs as.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.client().user
    }

    /// Accepts the client, and waits for at most one second until it has taken its endpoint.
    ///
    /// The caller owns the returned endpoint, which is the stronger one. The client owns the other.
    ///
    /// # Errors
    ///
    /// - [`Error::ProcessExited`] if the client has exited.
    /// - [`Error::Disconnected`] if the client has closed the connection: it gave up, or has only looked whether a process
    ///   listens.
    /// - [`Error::TimedOut`] if the client doesn't respond.
    ///
    /// After an error no handle is left in the client process, and the listener stays usable.
    pub fn accept(mut self) -> Result<Channel> {
        let (listener, name, client) = self.parts();
        let endpoint = listener.accept(client, name)?;
        Ok(self.accepted(endpoint))
    }

    /// Returns the system's listener, its name, and the client, which is accepted now.
    pub(crate) fn parts(&mut self) -> (&mut SystemListener, &str, Client) {
        let client = self.client.take().expect("only accepting removes the client");
        (&mut self.listener.inner, &self.listener.name, client)
    }

    /// Returns the channel to an accepted client.
    pub(crate) fn accepted(&self, endpoint: Endpoint) -> Channel {
        endpoint.allowed.copy_from(&self.listener.allowed);
        endpoint.show_allowed();
        endpoint.set_limits(self.listener.limits);
        Channel::new(endpoint)
    }

    /// Refuses the client, which gets [`Error::ConnectionRefused`]. No data has been exchanged with it.
    pub fn refuse(self) {
        // `Drop` refuses the client.
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("only accepting removes the client")
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.listener.inner.disconnect();
    }
}

impl Channel {
    /// Connects to the process of this user that listens under a name. Waits until that process lets this one in, with
    /// [`Listener::accept`] and [`Incoming::accept`].
    ///
    /// The caller owns the returned endpoint, which is the weaker one.
    ///
    /// # Errors
    ///
    /// - [`Error::NoListener`] if no process listens under the name.
    /// - [`Error::ConnectionRefused`] if the listener refuses this process.
    /// - [`Error::OtherUser`] if a process of another user poses as the listener, or [`Error::System`] if this user may not even
    ///   query that process.
    /// - [`Error::ProcessExited`] if the listening process exits meanwhile.
    /// - [`Error::InvalidInput`] if the text can't be a name.
    pub fn connect(name: &str) -> Result<Self> {
        Self::connect_timeout(name, Duration::MAX)
    }

    /// Connects as [`connect`](Self::connect) does, waiting for at most the timeout.
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](Self::connect), and [`Error::TimedOut`].
    pub fn connect_timeout(name: &str, timeout: Duration) -> Result<Self> {
        check(name)?;
        match os::connect(name, Deadline::after(timeout))? {
            Some(endpoint) => Ok(Self::new(endpoint)),
            None => Err(Error::TimedOut { waiting_for: format!("the listener {name:?} to answer"), timeout }),
        }
    }
}

/// Checks that the text can be a name on every system.
pub(crate) fn check(name: &str) -> Result<()> {
    match objection_to_listen(name) {
        Some(reason) => Err(Error::invalid(format!("the listener name {name:?}"), reason)),
        None => Ok(()),
    }
}
