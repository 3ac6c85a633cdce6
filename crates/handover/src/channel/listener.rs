//! How unrelated processes meet: under a name, one at a time, and then over a channel of their own.

use std::time::Duration;

use super::Channel;
use super::imp::{self as os, Client, Door};
use crate::error::{Error, Result};
use crate::name::text::objection_to_listen;
use crate::process::{Process, User};
use crate::wait::Deadline;

/// Where processes of the same user find this one, by a name, to have a [`Channel`] to it.
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
/// The name is a user's own: another user's program of the same name doesn't collide with it, and can't come in.
/// Machines elsewhere in a network can't either. A client that stands still on its way in is sent away after a second;
/// others wait so long.
#[derive(Debug)]
pub struct Listener {
    name: String,
    door: Door,
}

impl Listener {
    /// Listens under a name: text that isn't empty, without slashes and NUL, without a dot or space at its end. Some
    /// 180 characters fit on Windows, and some 70 bytes on Linux, where the name stands in the path of a socket. On
    /// Windows case makes no difference. The name is in use until this is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`] if anybody uses it, a listener or a program that is after its clients;
    /// [`Error::InvalidInput`] for what can't be a name.
    #[doc(alias = "CreateNamedPipe")]
    pub fn bind(name: &str) -> Result<Self> {
        check(name)?;
        Ok(Self { name: name.into(), door: Door::open(name)? })
    }

    /// Waits for the next client. Who it is can be asked before anything is exchanged; if what this returns is
    /// dropped, the client is refused.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the listener can't go on. A client that has ended or can't be opened is sent away, and
    /// the next one waited for.
    pub fn accept(&mut self) -> Result<Incoming<'_>> {
        self.accept_timeout(Duration::MAX)
    }

    /// As [`accept`](Self::accept), for at most this long.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept), and [`Error::TimedOut`].
    pub fn accept_timeout(&mut self, time: Duration) -> Result<Incoming<'_>> {
        match self.door.wait_for_client(&self.name, Deadline::after(time))? {
            Some(client) => Ok(Incoming { listener: self, client: Some(client) }),
            None => {
                Err(Error::TimedOut { waiting_for: format!("a client of {:?}", self.name), timeout: time })
            }
        }
    }
}

/// A client that has come to a [`Listener`] and isn't let in yet. Dropping it refuses the client.
#[derive(Debug)]
#[must_use = "dropping it refuses the client"]
pub struct Incoming<'a> {
    listener: &'a mut Listener,
    /// `None` once it was let in.
    client: Option<Client>,
}

impl Incoming<'_> {
    /// The process that has come. Its id is as the system has it; that it is this very process, and not one that was
    /// given the id later, is made sure by [`accept`](Self::accept).
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.client().process
    }

    /// The user that it runs as.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.client().user
    }

    /// Lets the client in, and waits for it to come in, for a second at most. This process is the stronger end.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if it has ended, [`Error::TimedOut`] if it stands still; nothing is left in it then, and
    /// the listener goes on.
    pub fn accept(mut self) -> Result<Channel> {
        let client = self.client.take().expect("only letting it in takes it");
        self.listener.door.let_in(client, &self.listener.name).map(Channel::new)
    }

    /// Doesn't let the client in, which gets [`Error::ConnectionRefused`]. Nothing has been exchanged with it.
    pub fn refuse(self) {
        // Its drop does it.
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("only letting it in takes it")
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.listener.door.send_away();
    }
}

impl Channel {
    /// Connects to the process of this user that listens under a name, and waits for as long as it is busy with other
    /// clients. This process is the weaker end.
    ///
    /// # Errors
    ///
    /// [`Error::NoListener`]; [`Error::ConnectionRefused`] if the listener doesn't let this process in;
    /// [`Error::OtherUser`] if another user's process uses the name, or [`Error::System`] if that one doesn't even let
    /// this user look; [`Error::ProcessExited`] if it ends meanwhile;
    /// [`Error::InvalidInput`] for what can't be a name.
    pub fn connect(name: &str) -> Result<Self> {
        Self::connect_timeout(name, Duration::MAX)
    }

    /// As [`connect`](Self::connect), for at most this long.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and [`Error::TimedOut`].
    pub fn connect_timeout(name: &str, time: Duration) -> Result<Self> {
        check(name)?;
        match os::connect(name, Deadline::after(time))? {
            Some(link) => Ok(Self::new(link)),
            None => Err(Error::TimedOut { waiting_for: format!("the listener {name:?}"), timeout: time }),
        }
    }
}

/// Refuses what isn't a name anywhere.
fn check(name: &str) -> Result<()> {
    match objection_to_listen(name) {
        Some(why) => Err(Error::invalid(format!("the name {name:?} to listen under"), why)),
        None => Ok(()),
    }
}
