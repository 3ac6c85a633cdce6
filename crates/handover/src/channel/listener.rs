//! How unrelated processes meet: under a name, one at a time, and then over a channel of their own.
//!
//! The pipe with the known name is only a door. Nothing is written through it but three numbers: of the handles that
//! the server has put into the client process's own table. Who isn't that process can do nothing with them, and so
//! nobody can pass for another by an id that is given again or by an end that was passed on.

use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::Arc;
use std::time::Duration;

use super::opening::{Opening, weaker_end};
use super::{Channel, wire};
use crate::process::Remote;
use crate::sys::transfer::{Begun, Transfer};
use crate::sys::{named, pipe};
use crate::wait::{self, Deadline};
use crate::{Access, Error, Process, Result, SecurityDescriptor, User};

/// How long a client may stand in the door.
const COMING_IN: Duration = Duration::from_secs(1);

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
    pipe: Arc<OwnedHandle>,
    door: Transfer,
}

impl Listener {
    /// Listens under a name: text that isn't empty, without slashes and NUL, without a dot or space at its end; some
    /// 180 characters fit. Case makes no difference. The name is in use until this is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if anybody uses it, a listener or a program that is after its clients;
    /// [`Error::InvalidInput`] for what can't be a name.
    #[doc(alias = "CreateNamedPipe")]
    pub fn bind(name: &str) -> Result<Self> {
        let path = path(name)?;
        let failed = |call| failed(call, name);
        let taken = || Error::NameTaken { name: name.into() };
        if pipe::exists(&path).map_err(failed("WaitNamedPipeW"))? {
            return Err(taken());
        }
        let pipe = pipe::create_named(&path, SecurityDescriptor::current_user()?.protection()).map_err(
            |source| {
                if pipe::is_taken(&source) { taken() } else { failed("CreateNamedPipeW")(source) }
            },
        )?;
        let pipe = Arc::new(pipe);
        let done = named::event(true).map_err(failed("CreateEventW"))?;
        let door = Transfer::new(Arc::clone(&pipe), done);
        Ok(Self { name: name.into(), pipe, door })
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
        match self.wait_for_client(Deadline::after(time))? {
            Some((process, user)) => Ok(Incoming { listener: self, process, user }),
            None => Err(Error::TimedOut { what: format!("a client of {:?}", self.name), after: time }),
        }
    }

    fn wait_for_client(&mut self, deadline: Deadline) -> Result<Option<(Process, User)>> {
        loop {
            let outcome = match self.door.connect() {
                Ok(Begun::Done) => Ok(0),
                Ok(Begun::UnderWay) => match wait::any(&[self.door.done()], deadline) {
                    Ok(Some(_)) => self.door.finish(),
                    Ok(None) => self.door.cancel(),
                    Err(source) => {
                        // The wait has failed, not the connection, which is taken back.
                        let _ = self.door.cancel();
                        self.send_away();
                        return Err(failed("WaitForMultipleObjects", &self.name)(source));
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
                Err(source) => return Err(failed("ConnectNamedPipe", &self.name)(source)),
            }
            match self.client() {
                Ok(client) => return Ok(Some(client)),
                Err(_) => self.send_away(),
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// Who stands in the door.
    fn client(&self) -> Result<(Process, User)> {
        let id = pipe::client_id(self.pipe.as_handle())
            .map_err(failed("GetNamedPipeClientProcessId", &self.name))?;
        let process = Process::open(id, Access::PROCESS_DUP_HANDLE)?;
        let user = process.user()?;
        Ok((process, user))
    }

    fn send_away(&self) {
        // If nobody is there, that is as good.
        let _ = pipe::disconnect(self.pipe.as_handle());
    }
}

/// A client that has come to a [`Listener`] and isn't let in yet. Dropping it refuses the client.
#[derive(Debug)]
#[must_use = "dropping it refuses the client"]
pub struct Incoming<'a> {
    listener: &'a mut Listener,
    process: Process,
    user: User,
}

impl Incoming<'_> {
    /// The process that has come. Its id is as the system has it; that it is this very process, and not one that was
    /// given the id later, is made sure by [`accept`](Self::accept).
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The user that it runs as.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Lets the client in, and waits for it to come in, for a second at most. This process is the stronger end.
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if it has ended, [`Error::TimedOut`] if it stands still; nothing is left in it then, and
    /// the listener goes on.
    pub fn accept(self) -> Result<Channel> {
        let opening = Opening::new()?;
        let copies = opening.ends().map(|(handle, access)| {
            Remote::new(&self.process, handle, access, false)
                .map_err(|source| self.process.refused_duplication("let in", source))
        });
        let [pipe, section, fetched] = copies;
        let copies = [pipe?, section?, fetched?];
        let deadline = Deadline::after(COMING_IN);
        let answer = wire::answer(copies.each_ref().map(Remote::value), opening.nonce);
        let told = self.listener.answer(answer, self.process.as_handle(), deadline);
        // Also after a failure: the client may have read the answer.
        if opening.ledger().withdraw_end() {
            // Dropping the copies closes them over there.
            told?;
            if self.process.is_going() {
                return Err(Error::PeerGone { process: self.process.id(), what: "let in".into() });
            }
            let what = format!("the coming in of process {}", self.process.id());
            return Err(Error::TimedOut { what, after: COMING_IN });
        }
        Remote::release_all(copies);
        Ok(opening.into_channel(self.process.clone()))
    }

    /// Doesn't let the client in, which gets [`Error::Refused`]. Nothing has been exchanged with it.
    pub fn refuse(self) {
        drop(self);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A client that stands in the door would keep the name in use.
        self.send_away();
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.listener.send_away();
    }
}

impl Listener {
    /// Tells the client its handles, and waits until it has gone through the door, or its end, or the deadline.
    fn answer(
        &mut self,
        answer: [u8; wire::ANSWER],
        client: BorrowedHandle<'_>,
        deadline: Deadline,
    ) -> Result<()> {
        *self.door.buffer() = answer.to_vec();
        let begun = self.door.write(0, answer.len());
        self.finish(begun, client, deadline).map_err(failed("WriteFile", &self.name))?;
        self.door.buffer().clear();
        let begun = self.door.read(1);
        self.finish(begun, client, deadline).map_err(failed("ReadFile", &self.name))
    }

    fn finish(
        &mut self,
        begun: std::io::Result<Begun>,
        client: BorrowedHandle<'_>,
        deadline: Deadline,
    ) -> std::io::Result<()> {
        let outcome = match begun {
            Ok(Begun::Done) => self.door.finish(),
            Ok(Begun::UnderWay) => {
                let woken = wait::any(&[self.door.done(), client], deadline);
                let outcome = self.door.cancel();
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

impl Channel {
    /// Connects to the process of this user that listens under a name, and waits for as long as it is busy with other
    /// clients. This process is the weaker end.
    ///
    /// # Errors
    ///
    /// [`Error::NobodyListens`]; [`Error::Refused`] if the listener doesn't let this process in;
    /// [`Error::OtherUser`] if another user's process uses the name, or [`Error::System`] if that one doesn't even let
    /// this user look; [`Error::PeerGone`] if it ends meanwhile;
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
        let path = path(name)?;
        let deadline = Deadline::after(time);
        let failed = |call| failed(call, name);
        let timed_out = || Error::TimedOut { what: format!("the listener {name:?}"), after: time };
        let missing_or = |call| {
            move |error| {
                if pipe::is_missing(&error) {
                    return Error::NobodyListens { name: name.into() };
                }
                failed(call)(error)
            }
        };
        let door = loop {
            match pipe::open_named(&path) {
                Err(error) if pipe::is_busy(&error) => {
                    if deadline.has_passed() {
                        return Err(timed_out());
                    }
                    let milliseconds = deadline.left().as_millis().min(1000).try_into().unwrap_or(1000);
                    pipe::wait_named(&path, milliseconds).map_err(missing_or("WaitNamedPipeW"))?;
                }
                outcome => break outcome.map_err(missing_or("CreateFileW"))?,
            }
        };
        let id = pipe::server_id(door.as_handle()).map_err(failed("GetNamedPipeServerProcessId"))?;
        let server = Process::open(id, Access::empty())?;
        let user = server.user()?;
        if user != User::current()? {
            return Err(Error::OtherUser { process: id, user: user.sid().into() });
        }
        let done = named::event(true).map_err(failed("CreateEventW"))?;
        let mut door = Transfer::new(Arc::new(door), done);
        loop {
            let lacking = wire::ANSWER - door.buffer().len();
            let mut is_gone = false;
            let outcome = match door.read(lacking) {
                Ok(Begun::Done) => door.finish(),
                Ok(Begun::UnderWay) => {
                    let woken = wait::any(&[door.done(), server.as_handle()], deadline);
                    let outcome = door.cancel();
                    is_gone = woken.map_err(failed("WaitForMultipleObjects"))? == Some(1);
                    outcome
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) if door.buffer().len() == wire::ANSWER => break,
                Ok(_) if !deadline.has_passed() => {}
                Err(error) if pipe::is_end(&error) || (pipe::is_cancelled(&error) && is_gone) => {
                    if is_gone || server.is_going() {
                        return Err(Error::PeerGone { process: id, what: "connect to".into() });
                    }
                    return Err(Error::Refused { process: id });
                }
                Err(error) if !pipe::is_cancelled(&error) => return Err(failed("ReadFile")(error)),
                _ => return Err(timed_out()),
            }
        }
        let (values, nonce) =
            wire::parse_answer(door.buffer()).map_err(|why| Error::Protocol { process: id, why })?;
        weaker_end(values, Some((id, nonce)))
    }
}

fn failed(call: &'static str, name: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("the listener {name:?}");
    move |source| Error::System { call, what, source }
}

/// The pipe behind a name: one for each user, so that two users of one machine don't take it from each other.
fn path(name: &str) -> Result<String> {
    /// The most characters that a pipe's name can have, with what stands before it.
    const LONGEST: usize = 256;
    let invalid = |why: &str| Err(Error::invalid(format!("the name {name:?} to listen under"), why));
    if name.is_empty() {
        return invalid("is empty");
    }
    if name.contains(['\\', '/', '\0']) {
        return invalid("expected a name without backslash, slash and NUL");
    }
    if name.ends_with(['.', ' ']) {
        return invalid("ends with a dot or a space, which the system would take off");
    }
    let path = format!(r"\\.\pipe\handover.{}.{name}", User::current()?);
    let length = path.encode_utf16().count();
    if length > LONGEST {
        let why = format!("is too long by {} characters", length - LONGEST);
        return invalid(&why);
    }
    Ok(path)
}
