//! How unrelated processes meet: under a name, one at a time, and then over a channel of their own.
//!
//! The pipe with the known name is only a door. Nothing is written through it but three numbers: of the
//! handles that the server has put into the client process's own table. Who isn't that process can do nothing
//! with them, and so nobody can pass for another by an id that is given again or by an end that was passed
//! on.

use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::pair::{Pair, SECTION, weaker_end};
use crate::channel::handshake;
use crate::duplicate::refused_duplication;
use crate::error::{Error, Result};
use crate::handle::Access;
use crate::name::SecurityDescriptor;
use crate::name::text::on_windows;
use crate::process::imp::RemoteCopy;
use crate::process::{Process, User};
use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::{SysError, SysResult, create_object, handle, pipe};
use crate::wait::{self, Deadline};

/// How long a client may stand in the door.
const COMING_IN: Duration = Duration::from_secs(1);

/// The pipe that clients come to.
#[derive(Debug)]
pub(crate) struct Door {
    pipe: Arc<Owned>,
    transfer: Transfer,
}

/// A client in the door.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) user: User,
}

impl Door {
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
        let done = create_object::event(true).map_err(failed())?;
        let transfer = Transfer::new(Arc::clone(&pipe), done);
        Ok(Self { pipe, transfer })
    }

    /// The next client, if it comes in time.
    pub(crate) fn wait_for_client(&mut self, name: &str, deadline: Deadline) -> Result<Option<Client>> {
        loop {
            let outcome = match self.transfer.connect() {
                Ok(Begun::Done) => Ok(0),
                Ok(Begun::UnderWay) => match wait::any(&[self.transfer.done()], deadline) {
                    Ok(Some(_)) => self.transfer.finish(),
                    Ok(None) => self.transfer.cancel(),
                    Err(error) => {
                        // The wait has failed, not the connection, which is taken back.
                        let _ = self.transfer.cancel();
                        self.send_away();
                        return Err(failed(name)(error));
                    }
                },
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => {}
                Err(error) if pipe::is_cancelled(&error) => return Ok(None),
                // It came and went.
                Err(error) if pipe::is_end(&error) => {
                    self.send_away();
                    continue;
                }
                Err(error) => return Err(failed(name)(error)),
            }
            match self.client(name) {
                Ok(client) => return Ok(Some(client)),
                Err(_) => self.send_away(),
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Who stands in the door.
    fn client(&self, name: &str) -> Result<Client> {
        let id = pipe::client_id(self.pipe.as_handle()).map_err(failed(name))?;
        let process = Process::open_with(id, Access::PROCESS_DUP_HANDLE)?;
        let user = process.user()?;
        Ok(Client { process, user })
    }

    /// Sends away whoever stands in the door.
    pub(crate) fn send_away(&self) {
        // If nobody is there, that is as good.
        let _ = pipe::disconnect(self.pipe.as_handle());
    }

    /// Puts the client's end of a channel into its table, and waits until it has taken it.
    pub(crate) fn let_in(&mut self, client: Client, name: &str) -> Result<Endpoint> {
        let Client { process, .. } = client;
        let opening = Pair::new()?;
        let copies = opening.weaker_handles().map(|(handle, rights)| {
            RemoteCopy::new(&process, handle, rights, false)
                .map_err(|error| refused_duplication(&process, "let in", error))
        });
        let [pipe, section, fetched] = copies;
        let copies = [pipe?, section?, fetched?];
        let deadline = Deadline::after(COMING_IN);
        let words = handshake::answer(copies.each_ref().map(RemoteCopy::value), opening.nonce);
        let told = self.answer(words, process.as_handle(), deadline, name);
        // Also after a failure: the client may have read the answer.
        if opening.ledger().withdraw_end() {
            // Dropping the copies closes them over there.
            told?;
            if process.is_going() {
                return Err(Error::ProcessExited { pid: process.id(), context: "let in".into() });
            }
            let what = format!("the coming in of process {}", process.id());
            return Err(Error::TimedOut { waiting_for: what, timeout: COMING_IN });
        }
        RemoteCopy::release_all(copies);
        Ok(opening.into_link(process))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // A client that stands in the door would keep the name in use.
        self.send_away();
    }
}

impl Door {
    /// Tells the client its handles, and waits until it has gone through the door, or its end, or the
    /// deadline.
    fn answer(
        &mut self,
        words: [u8; handshake::ANSWER],
        client: BorrowedHandle<'_>,
        deadline: Deadline,
        name: &str,
    ) -> Result<()> {
        *self.transfer.buffer() = words.to_vec();
        let begun = self.transfer.write(0, words.len());
        self.finish(begun, client, deadline).map_err(failed(name))?;
        self.transfer.buffer().clear();
        let begun = self.transfer.read(1);
        self.finish(begun, client, deadline).map_err(failed(name))
    }

    fn finish(
        &mut self,
        begun: SysResult<Begun>,
        client: BorrowedHandle<'_>,
        deadline: Deadline,
    ) -> SysResult<()> {
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
            // Whether it came in stands in the ledger.
            Err(error) if !pipe::is_end(&error) && !pipe::is_cancelled(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A client's end of a channel to whoever listens under the name; `None` if it doesn't answer in time.
pub(crate) fn connect(name: &str, deadline: Deadline) -> Result<Option<Endpoint>> {
    let path = path(name)?;
    let failed = || failed(name);
    let missing_or = |error: SysError| {
        if pipe::is_missing(&error) {
            return Error::NoListener { name: name.into() };
        }
        failed()(error)
    };
    let door = loop {
        match pipe::open_named(&path) {
            Err(error) if pipe::is_busy(&error) => {
                if deadline.has_passed() {
                    return Ok(None);
                }
                let milliseconds = deadline.left().as_millis().min(1000).try_into().unwrap_or(1000);
                pipe::wait_named(&path, milliseconds).map_err(missing_or)?;
            }
            outcome => break outcome.map_err(missing_or)?,
        }
    };
    let id = pipe::server_id(door.as_handle()).map_err(failed())?;
    let server = Process::open(id)?;
    let user = server.user()?;
    if user != User::current()? {
        return Err(Error::OtherUser { pid: id, user: user.sid().into() });
    }
    let done = create_object::event(true).map_err(failed())?;
    let mut door = Transfer::new(Arc::new(door), done);
    loop {
        let lacking = handshake::ANSWER - door.buffer().len();
        let mut is_gone = false;
        let outcome = match door.read(lacking) {
            Ok(Begun::Done) => door.finish(),
            Ok(Begun::UnderWay) => {
                let woken = wait::any(&[door.done(), server.as_handle()], deadline);
                let outcome = door.cancel();
                is_gone = woken.map_err(failed())? == Some(1);
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) if door.buffer().len() == handshake::ANSWER => break,
            Ok(_) if !deadline.has_passed() => {}
            Err(error) if pipe::is_end(&error) || (pipe::is_cancelled(&error) && is_gone) => {
                if is_gone || server.is_going() {
                    return Err(Error::ProcessExited { pid: id, context: "connect to".into() });
                }
                return Err(Error::ConnectionRefused { pid: id });
            }
            Err(error) if !pipe::is_cancelled(&error) => return Err(failed()(error)),
            _ => return Ok(None),
        }
    }
    let (values, nonce) =
        handshake::parse_answer(door.buffer()).map_err(|reason| Error::Protocol { pid: id, reason })?;
    let own = || values.map(handle::own);
    weaker_end(values[SECTION], Some((id, nonce)), own).map(Some)
}

fn failed(name: &str) -> impl FnOnce(SysError) -> Error {
    let what = format!("the listener {name:?}");
    move |error| Error::system(what, error)
}

/// The pipe behind a name.
fn path(name: &str) -> Result<String> {
    let path = on_windows::pipe(User::current()?.sid(), name);
    match on_windows::excess_of_pipe(&path) {
        None => Ok(path),
        Some(excess) => Err(Error::invalid(
            format!("the name {name:?} to listen under"),
            format!("is too long by {excess} characters"),
        )),
    }
}
