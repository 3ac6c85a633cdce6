//! Listening and connecting by a named pipe.
//!
//! The named pipe only introduces the two processes. The server duplicates the handles of a new channel into the client
//! process, and writes nothing but their three values, and a nonce, to the named pipe. The values are useless in any
//! other process. So no other process can impersonate the client, neither with a reused process id nor with an endpoint
//! of the named pipe that was passed on.

use std::io::ErrorKind::PermissionDenied;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::pair::{HANDLES, Pair, SECTION, weaker_endpoint};
use crate::channel::handshake;
use crate::channel::shortage::Shortage;
use crate::channel::wire::Broken;
use crate::duplicate::refused_duplication;
use crate::error::{Error, Result};
use crate::handle::{Access, shortened};
use crate::name::SecurityDescriptor;
use crate::name::text::on_windows;
use crate::process::imp::RemoteCopy;
use crate::process::{Process, User};
use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Pipe, Transfer};
use crate::sys::{SysError, SysResult, create_object, handle, pipe};
use crate::wait::{self, Deadline};

/// The maximum time that a client may take to accept its endpoint.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client that has closed the pipe may take to exit, if it is exiting.
const LEAVING: Duration = Duration::from_millis(20);

/// The named pipe to which clients connect.
///
/// A connect is under way whenever no client is connected, also between two calls, and sets the event of the transfer. So
/// the event is set while a client waits. It is also set if the connect failed, so that the next call reports that.
#[derive(Debug)]
pub(crate) struct ListenerPipe {
    pipe: Arc<Owned>,
    transfer: Transfer,
    /// The event of the transfer.
    done: Arc<Owned>,
    /// Whether a client has connected and wasn't disconnected.
    is_connected: bool,
    /// The last client that was refused before the caller saw it.
    refused: Option<String>,
}

/// A client that is not accepted yet.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) user: User,
}

impl ListenerPipe {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let path = path(name)?;
        let failed = || failed(name);
        let taken = || Error::NameInUse { name: name.into() };
        if pipe::exists(&path).map_err(failed())? {
            return Err(taken());
        }
        let pipe = pipe::create_named(&path, SecurityDescriptor::current_user()?.protection())
            .map_err(|error| if pipe::is_taken(&error) { taken() } else { failed()(error) })?;
        let pipe = Arc::new(pipe);
        let done = Arc::new(create_object::event(true).map_err(failed())?);
        let transfer = Transfer::new(Arc::new(Pipe::new(Arc::clone(&pipe))), Arc::clone(&done));
        let mut listener = Self { pipe, transfer, done, is_connected: false, refused: None };
        match listener.begin_connect() {
            Err(error) if !pipe::is_end(&error) => Err(failed()(error)),
            _ => Ok(listener),
        }
    }

    /// Returns the event that is set while a client waits.
    #[allow(clippy::unnecessary_wraps, reason = "the Linux listener creates its descriptor")]
    pub(crate) fn watch(&self, _name: &str) -> Result<BorrowedHandle<'_>> {
        Ok(self.transfer.done())
    }

    /// Begins to wait for a client.
    fn begin_connect(&mut self) -> SysResult<()> {
        let begun = self.transfer.connect();
        self.is_connected = matches!(begun, Ok(Begun::Done));
        if !matches!(begun, Ok(Begun::UnderWay)) {
            create_object::show(self.transfer.done(), true);
        }
        begun.map(drop)
    }

    /// Returns whether a client is connected, without waiting. If no connect is under way, it begins one.
    fn try_connect(&mut self) -> SysResult<bool> {
        if !self.is_connected && !self.transfer.is_under_way() {
            self.begin_connect()?;
        }
        if self.is_connected {
            return Ok(true);
        }
        match self.transfer.try_finish() {
            None => Ok(false),
            Some(Ok(_)) => {
                self.is_connected = true;
                Ok(true)
            }
            // The thread that began the connect has exited.
            Some(Err(error)) if pipe::is_cancelled(&error) => {
                self.begin_connect().map(|()| self.is_connected)
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Waits for the next client, or returns `None` at the deadline.
    ///
    /// After an error, a client that is connected waits for the next call.
    pub(crate) fn wait_for_client(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        let mut shortage = Shortage::default();
        self.refused = None;
        loop {
            match self.try_connect() {
                Ok(true) => {}
                // If the wait fails, the connect stays under way.
                Ok(false) => match wait::any(&[self.transfer.done()], deadline).map_err(failed(name))? {
                    Some(_) => continue,
                    None => return Ok(None),
                },
                // The client has disconnected already.
                Err(error) if pipe::is_end(&error) => {
                    self.disconnect();
                    if deadline.has_passed() {
                        return Ok(None);
                    }
                    continue;
                }
                Err(error) => {
                    shortage.wait_for_room(deadline, failed(name)(error))?;
                    continue;
                }
            }
            if !pipe::is_connected(self.pipe.as_handle()) {
                // The client has left already: it has only looked whether a process listens.
                self.disconnect();
                if deadline.has_passed() && !self.is_connected {
                    return Ok(None);
                }
                continue;
            }
            match self.client(name) {
                Ok(client) => return Ok(Some(client)),
                Err(error) if is_clients_own(&error) => {
                    self.disconnect();
                    shortage.end();
                    if error.kind() == PermissionDenied {
                        self.refused = Some(format!("a client was refused: {error}"));
                    }
                }
                Err(error) => {
                    if !error.raw_os_error().is_some_and(handle::is_out_of_room) {
                        self.disconnect();
                    }
                    shortage.wait_for_room(deadline, error)?;
                    continue;
                }
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Returns which client was refused during the last wait before the caller saw it, and why.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Identifies the connected client.
    fn client(&self, name: &str) -> Result<Client> {
        let id = pipe::client_id(self.pipe.as_handle()).map_err(failed(name))?;
        let process = Process::open_with(id, Access::PROCESS_DUP_HANDLE)?;
        let user = process.user()?;
        Ok(Client { process, user })
    }

    /// Disconnects the client, if one is connected, and begins to wait for the next one.
    pub(crate) fn disconnect(&mut self) {
        self.end_connection();
        // If it fails, the next call tries again and reports the error.
        let _ = self.begin_connect();
    }

    fn end_connection(&mut self) {
        let _ = self.transfer.cancel();
        self.is_connected = false;
        // The call fails if no client is connected, which is the desired state anyway.
        let _ = pipe::disconnect(self.pipe.as_handle());
    }

    /// Duplicates the handles of a new channel into the client process, and waits until the client has taken them.
    pub(crate) fn accept(&mut self, client: Client, name: &str) -> Result<Endpoint> {
        let mut accepting = Accepting::new(self, client, name)?;
        loop {
            match accepting.step()? {
                AcceptStep::Accepted(endpoint) => return Ok(*endpoint),
                AcceptStep::Unanswered { answered, client, deadline } => {
                    let waited = wait::any(&[answered.as_handle(), client.as_handle()], deadline);
                    if let Err(error) = waited {
                        return accepting.give_up(failed(name)(error));
                    }
                }
            }
        }
    }
}

impl Drop for ListenerPipe {
    fn drop(&mut self) {
        // A client that stays connected would keep the name in use.
        self.end_connection();
    }
}

/// A listener's attempt to accept a client. Dropping it refuses the client.
#[derive(Debug)]
pub(crate) struct Accepting<'a> {
    listener: &'a mut ListenerPipe,
    name: &'a str,
    process: Process,
    /// The channel, and the handles in the client process, until it is known who has them.
    made: Option<(Pair, [RemoteCopy; HANDLES])>,
    deadline: Deadline,
    /// Whether the answer was written.
    is_answered: bool,
}

/// The outcome of one step of an attempt.
#[derive(Debug)]
pub(crate) enum AcceptStep {
    Accepted(Box<Endpoint>),
    /// The client hasn't closed the named pipe yet. The event is set when it does.
    Unanswered {
        answered: Arc<Owned>,
        client: Process,
        deadline: Deadline,
    },
}

impl<'a> Accepting<'a> {
    /// Duplicates the handles of a new channel into the client process.
    pub(crate) fn new(listener: &'a mut ListenerPipe, client: Client, name: &'a str) -> Result<Self> {
        let Client { process, .. } = client;
        let pair = Pair::new()?;
        let copies = pair.weaker_handles().map(|(handle, rights)| {
            RemoteCopy::new(&process, handle, rights, false)
                .map_err(|error| refused_duplication(&process, "accept a client", error))
        });
        let [pipe, section, fetched] = copies;
        let copies = [pipe?, section?, fetched?];
        let answer = handshake::answer(copies.each_ref().map(RemoteCopy::value), pair.nonce);
        *listener.transfer.buffer() = answer.to_vec();
        let (made, deadline) = (Some((pair, copies)), Deadline::after(ACCEPT_TIMEOUT));
        Ok(Self { listener, name, process, made, deadline, is_answered: false })
    }

    /// Sends the handle values to the client, and looks whether the client has closed the named pipe, the client has
    /// exited, or the deadline has passed.
    pub(crate) fn step(&mut self) -> Result<AcceptStep> {
        let has_left = match self.transfer() {
            Ok(None) => {
                let (answered, client) = (Arc::clone(&self.listener.done), self.process.clone());
                return Ok(AcceptStep::Unanswered { answered, client, deadline: self.deadline });
            }
            Ok(Some(has_left)) => Ok(has_left),
            Err(error) => Err(error),
        };
        let Some((pair, copies)) = self.made.take() else {
            return Err(Error::Disconnected { pid: self.process.id() });
        };
        // This runs even if the answer failed, because the client may have read it nevertheless.
        if !pair.page().withdraw_endpoint() {
            RemoteCopy::release_all(copies);
            return Ok(AcceptStep::Accepted(Box::new(pair.into_endpoint(self.process.clone()))));
        }
        // Dropping the copies closes them in the client process.
        drop(copies);
        Err(self.refusal(has_left?)?)
    }

    /// Returns the endpoint nevertheless, if the client has taken its own. Otherwise refuses the client, and returns the error.
    pub(crate) fn give_up(mut self, error: Error) -> Result<Endpoint> {
        let _ = self.listener.transfer.cancel();
        match self.made.take() {
            Some((pair, copies)) if !pair.page().withdraw_endpoint() => {
                RemoteCopy::release_all(copies);
                Ok(pair.into_endpoint(self.process.clone()))
            }
            _ => Err(error),
        }
    }

    /// Writes the answer, and then waits for the client to close the pipe. Returns whether it has, or `None` while it
    /// hasn't. A client that exits or lets the deadline pass is no error here, because the ownership page records
    /// whether it has taken its endpoint.
    fn transfer(&mut self) -> Result<Option<bool>> {
        loop {
            let transfer = &mut self.listener.transfer;
            let begun = if transfer.is_under_way() {
                Ok(Begun::UnderWay)
            } else if self.is_answered {
                transfer.read(handshake::VERSION_NOTICE.len())
            } else {
                transfer.write(0, handshake::ANSWER)
            };
            let mut is_over = false;
            let outcome = match begun.map(|_| transfer.try_finish_exactly()) {
                Ok(Some(outcome)) => outcome,
                Err(error) => Err(error),
                Ok(None) => {
                    is_over = self.deadline.has_passed() || self.process.has_exited()?;
                    if !is_over {
                        return Ok(None);
                    }
                    transfer.cancel()
                }
            };
            match outcome {
                Ok(_) if self.is_answered => return Ok(Some(false)),
                Ok(_) => {
                    self.is_answered = true;
                    transfer.buffer().clear();
                }
                Err(error) if pipe::is_end(&error) => return Ok(Some(true)),
                Err(error) if pipe::is_cancelled(&error) && is_over => return Ok(Some(false)),
                // The thread that began it has exited. A part of the answer may be written, so it can't be written again.
                Err(error) if pipe::is_cancelled(&error) && self.is_answered => {}
                Err(error) if pipe::is_cancelled(&error) => return Ok(Some(false)),
                Err(error) => return Err(failed(self.name)(error)),
            }
        }
    }

    /// Returns why the client hasn't taken its endpoint.
    fn refusal(&mut self, has_left: bool) -> Result<Error> {
        let process = &self.process;
        if let Some(broken) = handshake::foreign_version(self.listener.transfer.buffer()) {
            return Ok(broken.error(process.id()));
        }
        // The system closes an exiting process's handles a moment before it has exited. A client that lives on has only
        // looked at the pipe.
        let has_exited = if has_left { process.ends_within(LEAVING)? } else { process.is_going() };
        if has_exited {
            return Ok(Error::ProcessExited { pid: process.id(), context: "accept a client".into() });
        }
        if has_left {
            return Ok(Error::Disconnected { pid: process.id() });
        }
        let waiting_for = format!("process {} to accept its endpoint of the channel", process.id());
        Ok(Error::TimedOut { waiting_for, timeout: ACCEPT_TIMEOUT })
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let _ = self.listener.transfer.cancel();
        let Some((pair, copies)) = self.made.take() else { return };
        // A client that has taken its endpoint sees that this one is closed. Otherwise dropping the copies closes them there.
        if !pair.page().withdraw_endpoint() {
            RemoteCopy::release_all(copies);
        }
    }
}

/// Returns whether a client can't be served for a reason of its own: it has left, or it may not be opened. A client can
/// bring both about at any time, so neither may end the server's wait.
fn is_clients_own(error: &Error) -> bool {
    match error {
        Error::ProcessExited { .. } | Error::AccessDenied { .. } => true,
        Error::System { source, .. } => source.kind() == PermissionDenied || pipe::is_end(source),
        _ => false,
    }
}

/// Connects to the listener of this name and returns the client's endpoint; `None` if it doesn't answer in time.
pub(crate) fn connect(name: &str, deadline: Deadline) -> Result<Option<Endpoint>> {
    let mut connecting = Connecting::new(name)?;
    loop {
        match connecting.step()? {
            ConnectStep::Connected(endpoint) => return Ok(Some(*endpoint)),
            _ if deadline.has_passed() => return Ok(None),
            ConnectStep::Busy => {
                let milliseconds = deadline.left().as_millis().min(1000).try_into().unwrap_or(1000);
                pipe::wait_named(&connecting.path, milliseconds).map_err(missing_or_failed(name))?;
            }
            ConnectStep::Disconnected => {}
            ConnectStep::Unanswered { answered, server } => {
                wait::any(&[answered.as_handle(), server.as_handle()], deadline).map_err(failed(name))?;
            }
        }
    }
}

/// A client's attempt to connect. Dropping it disconnects.
#[derive(Debug)]
pub(crate) struct Connecting<'a> {
    name: &'a str,
    path: String,
    connection: Option<Connection>,
}

/// The connection to a listener that hasn't answered yet.
#[derive(Debug)]
struct Connection {
    /// Its buffer has what was received of the answer.
    transfer: Transfer,
    answered: Arc<Owned>,
    server: Process,
}

/// The outcome of one step of an attempt.
#[derive(Debug)]
pub(crate) enum ConnectStep {
    Connected(Box<Endpoint>),
    /// The listener has another client.
    Busy,
    /// The listener has already disconnected this client, and then Windows doesn't return its id. The next attempt
    /// finds out whether the listener refuses or is gone.
    Disconnected,
    /// The listener hasn't answered yet. The event is set when it does.
    Unanswered {
        answered: Arc<Owned>,
        server: Process,
    },
}

impl<'a> Connecting<'a> {
    pub(crate) fn new(name: &'a str) -> Result<Self> {
        Ok(Self { name, path: path(name)?, connection: None })
    }

    /// Does what can be done without waiting.
    pub(crate) fn step(&mut self) -> Result<ConnectStep> {
        let name = self.name;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let pipe = match pipe::open_named(&self.path) {
                    Err(error) if pipe::is_busy(&error) => return Ok(ConnectStep::Busy),
                    opened => opened.map_err(missing_or_failed(name))?,
                };
                let id = match pipe::server_id(pipe.as_handle()) {
                    Err(error) if pipe::is_end(&error) => return Ok(ConnectStep::Disconnected),
                    id => id.map_err(failed(name))?,
                };
                let server = Process::open(id)?;
                let user = server.user()?;
                if user != User::current()? {
                    return Err(Error::OtherUser { pid: id, user: user.sid().into(), name: name.into() });
                }
                let answered = Arc::new(create_object::event(true).map_err(failed(name))?);
                let transfer = Transfer::new(Arc::new(Pipe::new(Arc::new(pipe))), Arc::clone(&answered));
                self.connection.insert(Connection { transfer, answered, server })
            }
        };
        let Connection { transfer, answered, server } = connection;
        let id = server.id();
        loop {
            let begun = if transfer.is_under_way() {
                Ok(Begun::UnderWay)
            } else {
                let missing = handshake::ANSWER - transfer.buffer().len();
                transfer.read(missing)
            };
            let mut has_exited = false;
            let outcome = match begun.map(|_| transfer.try_finish_exactly()) {
                Ok(Some(outcome)) => outcome,
                Err(error) => Err(error),
                Ok(None) if server.has_exited()? => {
                    has_exited = true;
                    transfer.cancel()
                }
                Ok(None) => {
                    let (answered, server) = (Arc::clone(answered), server.clone());
                    return Ok(ConnectStep::Unanswered { answered, server });
                }
            };
            match outcome {
                Ok(_) if transfer.buffer().len() == handshake::ANSWER => break,
                Ok(_) => {}
                Err(error) if pipe::is_end(&error) || (pipe::is_cancelled(&error) && has_exited) => {
                    if has_exited || server.is_going() {
                        let context = format!("connect to the listener {name:?}");
                        return Err(Error::ProcessExited { pid: id, context });
                    }
                    return Err(Error::ConnectionRefused { pid: id });
                }
                // The thread that began the read has exited.
                Err(error) if pipe::is_cancelled(&error) => {}
                Err(error) => return Err(failed(name)(error)),
            }
        }
        let (values, nonce) = match handshake::parse_answer(transfer.buffer()) {
            Ok(answer) => answer,
            Err(broken) => {
                if let Broken::Version(_) = broken {
                    *transfer.buffer() = handshake::VERSION_NOTICE.to_vec();
                    // The pipe is empty in this direction. An error means that the listener has closed it.
                    if let Ok(Begun::UnderWay) = transfer.write(0, handshake::VERSION_NOTICE.len()) {
                        let _ = transfer.cancel();
                    }
                }
                return Err(broken.error(id));
            }
        };
        let own = || values.map(handle::own);
        let endpoint = weaker_endpoint(values[SECTION], Some((id, nonce)), own)?;
        // The listener waits for the end of the connection.
        self.connection = None;
        Ok(ConnectStep::Connected(Box::new(endpoint)))
    }
}

fn missing_or_failed(name: &str) -> impl FnOnce(SysError) -> Error {
    move |error| {
        if pipe::is_missing(&error) {
            return Error::NoListener { name: name.into() };
        }
        failed(name)(error)
    }
}

fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let waiting_for = format!("the listener {name:?}");
    move |error| Error::system(waiting_for, error)
}

/// Returns the path of the named pipe for a name.
fn path(name: &str) -> Result<String> {
    let path = on_windows::pipe(User::current()?.sid(), name);
    match on_windows::excess_of_pipe(&path) {
        None => Ok(path),
        Some(excess) => Err(Error::invalid(
            format!("the listener name {:?}", shortened(name)),
            format!("is too long by {excess} characters; use a shorter name"),
        )),
    }
}
