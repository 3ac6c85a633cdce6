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
use super::pair::{Pair, SECTION, weaker_endpoint};
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
        let transfer = Transfer::new(Arc::new(Pipe::new(Arc::clone(&pipe))), done);
        let mut listener = Self { pipe, transfer, is_connected: false, refused: None };
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
        let Client { process, .. } = client;
        let pair = Pair::new()?;
        let copies = pair.weaker_handles().map(|(handle, rights)| {
            RemoteCopy::new(&process, handle, rights, false)
                .map_err(|error| refused_duplication(&process, "accept a client", error))
        });
        let [pipe, section, fetched] = copies;
        let copies = [pipe?, section?, fetched?];
        let deadline = Deadline::after(ACCEPT_TIMEOUT);
        let answer_bytes = handshake::answer(copies.each_ref().map(RemoteCopy::value), pair.nonce);
        let answered = self.answer(answer_bytes, process.as_handle(), deadline, name);
        // This runs even if the answer failed, because the client may have read it nevertheless.
        if pair.page().withdraw_endpoint() {
            // Dropping the copies closes them in the client process.
            let has_left = answered?;
            if let Some(broken) = handshake::foreign_version(self.transfer.buffer()) {
                return Err(broken.error(process.id()));
            }
            // The system closes an exiting process's handles a moment before it has exited. A client that lives on has only
            // looked at the pipe.
            let has_exited = if has_left { process.ends_within(LEAVING)? } else { process.is_going() };
            if has_exited {
                return Err(Error::ProcessExited { pid: process.id(), context: "accept a client".into() });
            }
            if has_left {
                return Err(Error::Disconnected { pid: process.id() });
            }
            let waiting_for = format!("process {} to accept its endpoint of the channel", process.id());
            return Err(Error::TimedOut { waiting_for, timeout: ACCEPT_TIMEOUT });
        }
        RemoteCopy::release_all(copies);
        Ok(pair.into_endpoint(process))
    }
}

impl Drop for ListenerPipe {
    fn drop(&mut self) {
        // A client that stays connected would keep the name in use.
        self.end_connection();
    }
}

impl ListenerPipe {
    /// Sends the handle values to the client. Then waits until the client closes the named pipe, the client exits, or
    /// the deadline passes. Returns whether the client has closed the pipe.
    fn answer(
        &mut self,
        answer_bytes: [u8; handshake::ANSWER],
        client: BorrowedHandle<'_>,
        deadline: Deadline,
        name: &str,
    ) -> Result<bool> {
        *self.transfer.buffer() = answer_bytes.to_vec();
        let begun = self.transfer.write(0, answer_bytes.len());
        if self.finish(begun, client, deadline).map_err(failed(name))? {
            return Ok(true);
        }
        self.transfer.buffer().clear();
        let begun = self.transfer.read(handshake::VERSION_NOTICE.len());
        self.finish(begun, client, deadline).map_err(failed(name))
    }

    /// Finishes a transfer, and returns whether it found the pipe closed. A client that exits or lets the deadline pass is
    /// no error here, because the ownership page records whether it has taken its endpoint.
    fn finish(
        &mut self,
        begun: SysResult<Begun>,
        client: BorrowedHandle<'_>,
        deadline: Deadline,
    ) -> SysResult<bool> {
        let outcome = match begun {
            Ok(Begun::Done) => self.transfer.finish(),
            Ok(Begun::UnderWay) => {
                let woken = wait::any(&[self.transfer.done(), client], deadline);
                let outcome = self.transfer.cancel();
                woken?;
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if pipe::is_end(&error) => Ok(true),
            Err(error) if !pipe::is_cancelled(&error) => Err(error),
            _ => Ok(false),
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
    let path = path(name)?;
    let failed = || failed(name);
    let missing_or = |error: SysError| {
        if pipe::is_missing(&error) {
            return Error::NoListener { name: name.into() };
        }
        failed()(error)
    };
    let (pipe, id) = loop {
        match pipe::open_named(&path) {
            Err(error) if pipe::is_busy(&error) => {
                if deadline.has_passed() {
                    return Ok(None);
                }
                let milliseconds = deadline.left().as_millis().min(1000).try_into().unwrap_or(1000);
                pipe::wait_named(&path, milliseconds).map_err(missing_or)?;
            }
            outcome => {
                let pipe = outcome.map_err(missing_or)?;
                match pipe::server_id(pipe.as_handle()) {
                    // The listener has already disconnected this client, and then Windows doesn't return the id. The
                    // next attempt finds out whether the listener refuses or is gone.
                    Err(error) if pipe::is_end(&error) => {
                        if deadline.has_passed() {
                            return Ok(None);
                        }
                    }
                    outcome => break (pipe, outcome.map_err(failed())?),
                }
            }
        }
    };
    let server = Process::open(id)?;
    let user = server.user()?;
    if user != User::current()? {
        return Err(Error::OtherUser { pid: id, user: user.sid().into(), name: name.into() });
    }
    let done = Arc::new(create_object::event(true).map_err(failed())?);
    let mut pipe = Transfer::new(Arc::new(Pipe::new(Arc::new(pipe))), done);
    loop {
        let missing = handshake::ANSWER - pipe.buffer().len();
        let mut has_exited = false;
        let outcome = match pipe.read(missing) {
            Ok(Begun::Done) => pipe.finish(),
            Ok(Begun::UnderWay) => {
                let woken = wait::any(&[pipe.done(), server.as_handle()], deadline);
                let outcome = pipe.cancel();
                has_exited = woken.map_err(failed())? == Some(1);
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) if pipe.buffer().len() == handshake::ANSWER => break,
            Ok(_) if !deadline.has_passed() => {}
            Err(error) if pipe::is_end(&error) || (pipe::is_cancelled(&error) && has_exited) => {
                if has_exited || server.is_going() {
                    return Err(Error::ProcessExited {
                        pid: id,
                        context: format!("connect to the listener {name:?}"),
                    });
                }
                return Err(Error::ConnectionRefused { pid: id });
            }
            Err(error) if !pipe::is_cancelled(&error) => return Err(failed()(error)),
            _ => return Ok(None),
        }
    }
    let (values, nonce) = match handshake::parse_answer(pipe.buffer()) {
        Ok(answer) => answer,
        Err(broken) => {
            if let Broken::Version(_) = broken {
                *pipe.buffer() = handshake::VERSION_NOTICE.to_vec();
                // The pipe is empty in this direction. An error means that the listener has closed it.
                if let Ok(Begun::UnderWay) = pipe.write(0, handshake::VERSION_NOTICE.len()) {
                    let _ = pipe.cancel();
                }
            }
            return Err(broken.error(id));
        }
    };
    let own = || values.map(handle::own);
    weaker_endpoint(values[SECTION], Some((id, nonce)), own).map(Some)
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
