//! How a client comes to a listener: it connects to a socket in a folder of the user's alone, and the connection becomes
//! the channel as soon as the listener says so.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFd;

use super::endpoint::{Endpoint, LOOK_AGAIN, Peer, prepare};
use super::pair::peer;
use crate::error::{Error, Result};
use crate::name::imp::lock::{NameLock, socket_of};
use crate::name::text::on_linux::Sort;
use crate::process::Process;
use crate::process::User;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::unix_socket::Look;
use crate::sys::{SysError, SysResult, unix_socket, user, wait};
use crate::wait::Deadline;

/// What a listener says to a client that it lets in: the beginning of a frame, and no version of one.
const WELCOME: [u8; 4] = *b"HO\0\x01";

/// How long a client waits at least for the answer of a server whose process has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket that clients come to.
#[derive(Debug)]
pub(crate) struct Door {
    socket: Owned,
    /// Frees the name, after the socket is closed.
    _place: NameLock,
}

/// A client in the door.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) user: User,
    connection: Owned,
}

impl Door {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let Some(place) = NameLock::take(Sort::Listener, name)? else {
            return Err(Error::NameInUse { name: name.into() });
        };
        let socket = unix_socket::listen(place.socket()).map_err(failed(name))?;
        Ok(Self { _place: place, socket })
    }

    /// The next client, if it comes in time.
    pub(crate) fn wait_for_client(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        loop {
            if let Some(connection) = unix_socket::accept(self.socket.as_fd()).map_err(failed(name))? {
                if let Some(client) = client(connection).map_err(failed(name))? {
                    return Ok(Some(client));
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), unix_socket::READABLE)];
            wait::ready(&mut polled, Some(deadline.milliseconds())).map_err(failed(name))?;
        }
    }

    /// Nobody stands in the door who isn't a client already.
    #[allow(clippy::unused_self, reason = "elsewhere somebody can")]
    pub(crate) fn send_away(&mut self) {}

    /// Makes a channel of the connection.
    #[allow(clippy::unused_self, reason = "elsewhere the door is needed")]
    pub(crate) fn let_in(&mut self, client: Client, name: &str) -> Result<Endpoint> {
        let Client { process, connection, .. } = client;
        let gone = || Error::ProcessExited { pid: process.id(), context: "let in".into() };
        if process.has_exited()? {
            return Err(gone());
        }
        prepare(connection.as_fd()).map_err(failed(name))?;
        match unix_socket::send(connection.as_fd(), &WELCOME, &[]) {
            // There is room in a new connection.
            Ok(_) => Ok(Endpoint::new(connection, Peer::Known(process))),
            Err(error) if unix_socket::is_end(&error) && process.is_going() => Err(gone()),
            Err(error) if unix_socket::is_end(&error) => Err(Error::Disconnected { pid: process.id() }),
            Err(source) => Err(failed(name)(source)),
        }
    }
}

/// Who has come; `None` if it has ended since or isn't this user's, and then the connection is closed.
fn client(connection: Owned) -> SysResult<Option<Client>> {
    let maker = unix_socket::maker_of_other_end(connection.as_fd())?;
    let Some(process) = maker.process else { return Ok(None) };
    let process = Process::new(process, maker.id);
    if unix_socket::is_hung_up(connection.as_fd()).unwrap_or(true) {
        // It came and went.
        return Ok(None);
    }
    // The folder lets nobody else in but who may do all.
    let is_ours = maker.user == user::current();
    Ok(is_ours.then(|| Client { process, user: User::new(maker.user), connection }))
}

/// A client's end of a channel to whoever listens under the name; `None` if it doesn't answer in time.
pub(crate) fn connect(name: &str, deadline: Deadline) -> Result<Option<Endpoint>> {
    let failed = || failed(name);
    let path = socket_of(Sort::Listener, name)?;
    let connection = loop {
        match unix_socket::connect(&path) {
            Ok(Some(connection)) => break connection,
            Ok(None) if deadline.has_passed() => return Ok(None),
            // Too many wait for the listener.
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) if unix_socket::is_missing(&error) => {
                return Err(Error::NoListener { name: name.into() });
            }
            Err(source) => return Err(failed()(source)),
        }
    };
    let maker = unix_socket::maker_of_other_end(connection.as_fd()).map_err(failed())?;
    let id = maker.id;
    if maker.user != user::current() {
        return Err(Error::OtherUser { pid: id, user: maker.user.to_string() });
    }
    let server = peer(maker);
    let patience = Deadline::after(PATIENCE);
    let mut came: Vec<u8> = Vec::new();
    while came.len() < WELCOME.len() {
        let lacking = WELCOME.len() - came.len();
        match unix_socket::receive(connection.as_fd(), &mut came, lacking, Look::Once) {
            Ok(Some(received)) if received.length == 0 => return Err(refused(&server, id)),
            Ok(Some(_)) => {}
            Err(error) if unix_socket::is_end(&error) => return Err(refused(&server, id)),
            Err(source) => return Err(failed()(source)),
            Ok(None) if deadline.has_passed() => return Ok(None),
            // Another process has its socket, by chance or because the server lives on in it: that one answers at once.
            Ok(None) => {
                let running = still_running(&server)?;
                if running.is_none() && patience.has_passed() {
                    return Err(refused(&server, id));
                }
                let mut polled = vec![PollFd::from_borrowed_fd(connection.as_fd(), unix_socket::READABLE)];
                let mut until = deadline.or_sooner(LOOK_AGAIN);
                if let Some(process) = running {
                    polled.push(PollFd::from_borrowed_fd(process.handle(), unix_socket::READABLE));
                    until = deadline;
                }
                wait::ready(&mut polled, Some(until.milliseconds())).map_err(failed())?;
            }
        }
    }
    if came != WELCOME {
        return Err(Error::Protocol { pid: id, reason: "the listener's answer is none" });
    }
    prepare(connection.as_fd()).map_err(failed())?;
    Ok(Some(Endpoint::new(connection, server)))
}

/// The server's process, as long as it runs.
fn still_running(server: &Peer) -> Result<Option<&Process>> {
    match server {
        Peer::Known(process) if !process.has_exited()? => Ok(Some(process)),
        _ => Ok(None),
    }
}

fn refused(server: &Peer, id: u32) -> Error {
    match server {
        Peer::Known(process) if !process.is_going() => Error::ConnectionRefused { pid: id },
        _ => Error::ProcessExited { pid: id, context: "connect to".into() },
    }
}

fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let what = format!("the listener {name:?}");
    move |error| Error::system(what, error)
}
