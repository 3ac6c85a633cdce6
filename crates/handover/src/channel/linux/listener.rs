//! Listening and connecting. A client connects to a socket in a folder that only the user can access. Once the listener
//! accepts the client, the connection becomes the channel.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::PollFd;

use super::endpoint::{Endpoint, Peer};
use super::pair::peer;
use super::peers;
use super::readiness::Readiness;
use crate::channel::handshake::{self, WELCOME};
use crate::channel::shortage::Shortage;
use crate::channel::wire::Broken;
use crate::error::{Error, ProcessName, Result};
use crate::name::imp::lock::{NameLock, socket_of};
use crate::name::text::on_linux::Sort;
use crate::process::Process;
use crate::process::User;
use crate::sys::handle::is_out_of_room;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::unix_socket::Look;
use crate::sys::{SysError, SysResult, unix_socket, user, wait};
use crate::wait::Deadline;

/// The minimum time that a client waits for an answer if the server process has exited.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The socket to which clients connect.
#[derive(Debug)]
pub(crate) struct ListenerSocket {
    socket: Owned,
    /// A connection that was accepted while there was no room to identify its client.
    unidentified: Option<Owned>,
    /// The last client that was refused before the caller saw it.
    refused: Option<String>,
    /// Tells waits for several objects that a client waits. Created at the first such wait.
    readiness: OnceLock<Readiness>,
    /// The lock on the name. Declared after the socket, so that the socket is closed first.
    _lock: NameLock,
}

/// A client that is not accepted yet.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) user: User,
    connection: Owned,
}

impl ListenerSocket {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let Some(lock) = NameLock::take(Sort::Listener, name)? else {
            return Err(Error::NameInUse { name: name.into() });
        };
        let socket = lock.listen().map_err(failed(name))?;
        Ok(Self { _lock: lock, socket, unidentified: None, refused: None, readiness: OnceLock::new() })
    }

    /// Waits for the next client, or returns `None` at the deadline.
    pub(crate) fn wait_for_client(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        let client = self.next_client_until(name, deadline);
        self.publish(name)?;
        client
    }

    /// Returns the descriptor that is readable while a client waits.
    pub(crate) fn watch(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let readiness = Readiness::of(&self.readiness, self.socket.as_fd(), None).map_err(failed(name))?;
        self.publish(name)?;
        Ok(readiness.as_fd())
    }

    /// Says in `readiness` whether a client was taken from the socket and not returned.
    fn publish(&self, name: &str) -> Result<()> {
        let Some(readiness) = self.readiness.get() else { return Ok(()) };
        readiness.set_kept(self.unidentified.is_some()).map_err(failed(name))
    }

    fn next_client_until(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        let mut shortage = Shortage::default();
        self.refused = None;
        loop {
            // Without a free descriptor, the kernel refuses an accept even if no client waits.
            let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), unix_socket::READABLE)];
            let is_expected = self.unidentified.is_some()
                || wait::ready(&mut polled, Some(deadline.milliseconds())).map_err(failed(name))?;
            if is_expected {
                match self.next_client() {
                    Ok(Some(client)) => return Ok(Some(client)),
                    Ok(None) => shortage.end(),
                    Err(error) => {
                        shortage.wait_for_room(deadline, failed(name)(error))?;
                        continue;
                    }
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Returns a client that waits to be accepted. A lack of room loses none: the connection is kept.
    fn next_client(&mut self) -> SysResult<Option<Client>> {
        loop {
            if self.unidentified.is_none() {
                self.unidentified = unix_socket::accept(self.socket.as_fd())?;
            }
            let Some(connection) = &self.unidentified else { return Ok(None) };
            let maker = match unix_socket::maker_of_other_end(connection.as_fd()) {
                Err(error) if error.raw_os_error().is_some_and(is_out_of_room) => return Err(error),
                maker => maker,
            };
            let Some(connection) = self.unidentified.take() else { return Ok(None) };
            let client = match maker {
                Ok(maker) => client(maker, connection),
                Err(error) => Err(Some(format!("a client was refused: {error}"))),
            };
            match client {
                Ok(client) => return Ok(Some(client)),
                Err(reason) => self.refused = reason.or(self.refused.take()),
            }
        }
    }

    /// Returns which client was refused during the last wait before the caller saw it, and why.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Does nothing, because no other client is connected to a listening socket.
    #[allow(clippy::unused_self, reason = "the Windows listener disconnects the client")]
    pub(crate) fn disconnect(&mut self) {}

    /// Turns the client's connection into a channel.
    #[allow(clippy::unused_self, reason = "the Windows listener answers through its pipe")]
    pub(crate) fn accept(&mut self, client: Client, name: &str) -> Result<Endpoint> {
        let Client { process, connection, .. } = client;
        let gone = || Error::ProcessExited { pid: process.id(), context: "accept a client".into() };
        if process.has_exited()? {
            return Err(gone());
        }
        match unix_socket::send(connection.as_fd(), &WELCOME, &[]) {
            // A new connection has enough buffer space for the welcome.
            Ok(_) => Ok(Endpoint::new(connection.into(), Peer::Known(process))),
            Err(error) if unix_socket::is_end(&error) && process.is_going() => Err(gone()),
            Err(error) if unix_socket::is_end(&error) => Err(Error::Disconnected { pid: process.id() }),
            Err(source) => Err(failed(name)(source)),
        }
    }
}

/// Returns the client, if it still waits and belongs to this user. Otherwise closes the connection, and returns the
/// reason if the client was refused.
fn client(maker: unix_socket::Maker, connection: Owned) -> Result<Client, Option<String>> {
    let Some(process) = maker.process else {
        let is_elsewhere = maker.id == 0 && !maker.has_exited;
        let reason = "a client of another PID namespace was refused, because it can only be identified since Linux 6.5";
        return Err(is_elsewhere.then(|| reason.to_owned()));
    };
    let process = peers::process(process.into(), maker.id);
    if unix_socket::is_hung_up(connection.as_fd()).unwrap_or(true) {
        // The client has disconnected already.
        return Err(None);
    }
    // The folder's permissions keep other users out, except root.
    if maker.user != user::current() {
        return Err(Some(format!("{} of user {} was refused", ProcessName(maker.id), maker.user)));
    }
    Ok(Client { process, user: User::new(maker.user), connection })
}

/// Connects to the listener of this name and returns the client's endpoint; `None` if it doesn't answer in time.
pub(crate) fn connect(name: &str, deadline: Deadline) -> Result<Option<Endpoint>> {
    let mut connecting = Connecting::new(name)?;
    loop {
        let step = connecting.step()?;
        match step {
            ConnectStep::Connected(connected) => return Ok(Some(connected.into_endpoint())),
            _ if deadline.has_passed() => return Ok(None),
            ConnectStep::QueueIsFull => std::thread::sleep(QUEUE_PAUSE),
            ConnectStep::Unanswered { connection, server } => {
                let mut polled = vec![PollFd::from_borrowed_fd(connection.as_fd(), unix_socket::READABLE)];
                let mut until = deadline.or_sooner(connecting.grace_deadline.left());
                if let Some(process) = &server {
                    polled.push(PollFd::from_borrowed_fd(process.handle(), unix_socket::READABLE));
                    until = deadline;
                }
                wait::ready(&mut polled, Some(until.milliseconds())).map_err(failed(name))?;
            }
        }
    }
}

/// The pause between two attempts to connect to a listener whose queue of connections is full.
pub(crate) const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// A client's attempt to connect.
#[derive(Debug)]
pub(crate) struct Connecting<'a> {
    name: &'a str,
    path: PathBuf,
    /// The connection, and the process that listens, with its id.
    connection: Option<(Arc<Owned>, Peer, u32)>,
    /// The bytes of the answer that were received.
    answer: Vec<u8>,
    pub(crate) grace_deadline: Deadline,
}

/// A connection that the listener has accepted. An endpoint in its place would be allocated twice, and the first allocation
/// would leave a hole beside each channel.
#[derive(Debug)]
pub(crate) struct Connected {
    connection: Arc<Owned>,
    server: Peer,
}

impl Connected {
    pub(crate) fn into_endpoint(self) -> Endpoint {
        Endpoint::new(self.connection, self.server)
    }
}

/// The outcome of one step of an attempt.
#[derive(Debug)]
pub(crate) enum ConnectStep {
    Connected(Connected),
    /// The listener's queue of connections is full.
    QueueIsFull,
    /// The listener hasn't answered yet. `server` is its process while it runs. If it doesn't, the attempt ends at the grace
    /// deadline.
    Unanswered {
        connection: Arc<Owned>,
        server: Option<Process>,
    },
}

impl<'a> Connecting<'a> {
    pub(crate) fn new(name: &'a str) -> Result<Self> {
        let path = socket_of(Sort::Listener, name)?;
        let grace_deadline = Deadline::after(GRACE_PERIOD);
        Ok(Self { name, path, connection: None, answer: Vec::new(), grace_deadline })
    }

    /// Does what can be done without waiting.
    pub(crate) fn step(&mut self) -> Result<ConnectStep> {
        if self.connection.is_none() {
            let connected = match unix_socket::connect(&self.path) {
                Err(error) if unix_socket::is_missing(&error) => {
                    return Err(Error::NoListener { name: self.name.into() });
                }
                connected => connected.map_err(failed(self.name))?,
            };
            let Some(connection) = connected else { return Ok(ConnectStep::QueueIsFull) };
            let maker = unix_socket::maker_of_other_end(connection.as_fd()).map_err(failed(self.name))?;
            let id = maker.id;
            if maker.user != user::current() {
                let (user, name) = (maker.user.to_string(), self.name.into());
                return Err(Error::OtherUser { pid: id, user, name });
            }
            self.connection = Some((Arc::new(connection), peer(maker), id));
            self.grace_deadline = Deadline::after(GRACE_PERIOD);
        }
        let (connection, server, id) = self.connection.as_ref().expect("it was just set");
        while self.answer.len() < WELCOME.len() {
            let missing = WELCOME.len() - self.answer.len();
            match unix_socket::receive(connection.as_fd(), &mut self.answer, missing, Look::Once) {
                Ok(Some(received)) if received.length == 0 => return Err(refused(server, *id, self.name)),
                Ok(Some(_)) => {}
                Err(error) if unix_socket::is_end(&error) => return Err(refused(server, *id, self.name)),
                Err(source) => return Err(failed(self.name)(source)),
                Ok(None) => {
                    // The listening socket may also be open in another process, by inheritance or because the server
                    // forked. Such a process answers within a moment if it accepts.
                    let running = still_running(server)?.cloned();
                    if running.is_none() && self.grace_deadline.has_passed() {
                        return Err(refused(server, *id, self.name));
                    }
                    return Ok(ConnectStep::Unanswered {
                        connection: Arc::clone(connection),
                        server: running,
                    });
                }
            }
        }
        if let Err(broken) = handshake::parse_welcome(&self.answer) {
            if let Broken::Version(_) = broken {
                // An error means that the listener has closed the connection.
                let _ = unix_socket::send(connection.as_fd(), &handshake::VERSION_NOTICE, &[]);
            }
            return Err(broken.error(*id));
        }
        let (connection, server, _) = self.connection.take().expect("it is there");
        Ok(ConnectStep::Connected(Connected { connection, server }))
    }
}

/// Returns the server's process while it runs.
fn still_running(server: &Peer) -> Result<Option<&Process>> {
    match server {
        Peer::Known(process) if !process.has_exited()? => Ok(Some(process)),
        _ => Ok(None),
    }
}

fn refused(server: &Peer, id: u32, name: &str) -> Error {
    if server.is_going() {
        return Error::ProcessExited { pid: id, context: format!("connect to the listener {name:?}") };
    }
    Error::ConnectionRefused { pid: id }
}

fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let context = format!("the listener {name:?}");
    move |error| Error::system(context, error)
}
