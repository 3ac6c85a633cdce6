//! How a client comes to a listener: it connects to a socket in a folder of the user's alone, and the connection becomes
//! the channel as soon as the listener says so.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFd;

use super::super::place::{Place, socket_of};
use super::link::{LOOK_AGAIN, Link, Peer, prepare};
use super::opening::peer;
use crate::name::text::on_linux::Sort;
use crate::os::public::User;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::stream::Look;
use crate::sys::{stream, user, wait};
use crate::wait::Deadline;
use crate::{Error, Process, Result};

/// What a listener says to a client that it lets in: the beginning of a frame, and no version of one.
const WELCOME: [u8; 4] = *b"HO\0\x01";

/// How long a client waits at least for the answer of a server whose process has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket that clients come to.
#[derive(Debug)]
pub(crate) struct Door {
    socket: Owned,
    /// Frees the name, after the socket is closed.
    _place: Place,
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
        let Some(place) = Place::take(Sort::Listener, name)? else {
            return Err(Error::NameTaken { name: name.into() });
        };
        let socket = stream::listen(place.socket()).map_err(failed("bind", name))?;
        Ok(Self { _place: place, socket })
    }

    /// The next client, if it comes in time.
    pub(crate) fn wait_for_client(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        loop {
            if let Some(connection) = stream::accept(self.socket.as_fd()).map_err(failed("accept4", name))? {
                if let Some(client) = client(connection).map_err(failed("getsockopt", name))? {
                    return Ok(Some(client));
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), stream::READABLE)];
            wait::ready(&mut polled, Some(deadline.milliseconds())).map_err(failed("ppoll", name))?;
        }
    }

    /// Nobody stands in the door who isn't a client already.
    #[allow(clippy::unused_self, reason = "elsewhere somebody can")]
    pub(crate) fn send_away(&mut self) {}

    /// Makes a channel of the connection.
    #[allow(clippy::unused_self, reason = "elsewhere the door is needed")]
    pub(crate) fn let_in(&mut self, client: Client, name: &str) -> Result<Link> {
        let Client { process, connection, .. } = client;
        let gone = || Error::PeerGone { process: process.id(), what: "let in".into() };
        if process.has_ended()? {
            return Err(gone());
        }
        prepare(connection.as_fd()).map_err(failed("setsockopt", name))?;
        match stream::send(connection.as_fd(), &WELCOME, &[]) {
            // There is room in a new connection.
            Ok(_) => Ok(Link::new(connection, Peer::Known(process))),
            Err(error) if stream::is_end(&error) && process.is_going() => Err(gone()),
            Err(error) if stream::is_end(&error) => Err(Error::Closed { process: process.id() }),
            Err(source) => Err(failed("sendto", name)(source)),
        }
    }
}

/// Who has come; `None` if it has ended since or isn't this user's, and then the connection is closed.
fn client(connection: Owned) -> std::io::Result<Option<Client>> {
    let maker = stream::maker_of_other_end(connection.as_fd())?;
    let Some(process) = maker.process else { return Ok(None) };
    let process = Process::new(process, maker.id);
    if stream::is_hung_up(connection.as_fd()).unwrap_or(true) {
        // It came and went.
        return Ok(None);
    }
    // The folder lets nobody else in but who may do all.
    let is_ours = maker.user == user::current();
    Ok(is_ours.then(|| Client { process, user: User::new(maker.user), connection }))
}

/// A client's end of a channel to whoever listens under the name; `None` if it doesn't answer in time.
pub(crate) fn connect(name: &str, deadline: Deadline) -> Result<Option<Link>> {
    let failed = |call| failed(call, name);
    let path = socket_of(Sort::Listener, name)?;
    let connection = loop {
        match stream::connect(&path) {
            Ok(Some(connection)) => break connection,
            Ok(None) if deadline.has_passed() => return Ok(None),
            // Too many wait for the listener.
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) if stream::is_missing(&error) => {
                return Err(Error::NobodyListens { name: name.into() });
            }
            Err(source) => return Err(failed("connect")(source)),
        }
    };
    let maker = stream::maker_of_other_end(connection.as_fd()).map_err(failed("getsockopt"))?;
    let id = maker.id;
    if maker.user != user::current() {
        return Err(Error::OtherUser { process: id, user: maker.user.to_string() });
    }
    let server = peer(maker);
    let patience = Deadline::after(PATIENCE);
    let mut came: Vec<u8> = Vec::new();
    while came.len() < WELCOME.len() {
        let lacking = WELCOME.len() - came.len();
        match stream::receive(connection.as_fd(), &mut came, lacking, Look::Once) {
            Ok(Some(received)) if received.length == 0 => return Err(refused(&server, id)),
            Ok(Some(_)) => {}
            Err(error) if stream::is_end(&error) => return Err(refused(&server, id)),
            Err(source) => return Err(failed("recvmsg")(source)),
            Ok(None) if deadline.has_passed() => return Ok(None),
            // Another process has its socket, by chance or because the server lives on in it: that one answers at once.
            Ok(None) => {
                let running = still_running(&server)?;
                if running.is_none() && patience.has_passed() {
                    return Err(refused(&server, id));
                }
                let mut polled = vec![PollFd::from_borrowed_fd(connection.as_fd(), stream::READABLE)];
                let mut until = deadline.or_sooner(LOOK_AGAIN);
                if let Some(process) = running {
                    polled.push(PollFd::from_borrowed_fd(process.handle(), stream::READABLE));
                    until = deadline;
                }
                wait::ready(&mut polled, Some(until.milliseconds())).map_err(failed("ppoll"))?;
            }
        }
    }
    if came != WELCOME {
        return Err(Error::Protocol { process: id, why: "the listener's answer is none" });
    }
    prepare(connection.as_fd()).map_err(failed("setsockopt"))?;
    Ok(Some(Link::new(connection, server)))
}

/// The server's process, as long as it runs.
fn still_running(server: &Peer) -> Result<Option<&Process>> {
    match server {
        Peer::Known(process) if !process.has_ended()? => Ok(Some(process)),
        _ => Ok(None),
    }
}

fn refused(server: &Peer, id: u32) -> Error {
    match server {
        Peer::Known(process) if !process.is_going() => Error::Refused { process: id },
        _ => Error::PeerGone { process: id, what: "connect to".into() },
    }
}

fn failed(call: &'static str, name: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("the listener {name:?}");
    move |source| Error::system(call, what, source)
}
