//! Giving an object to whoever asks for it by its name.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::lock::{NameLock, failed, socket_of};
use crate::error::{Error, Result};
use crate::name::text::on_linux::Sort;
use crate::object::NameGuard;
use crate::sys::SysError;
use crate::sys::create_object::{self, What};
use crate::sys::io::Owned;
use crate::sys::spawn::without_signals;
use crate::sys::unix_socket::Look;
use crate::sys::{begin_thread, handle, unix_socket, user, wait};
use crate::wait::Deadline;

/// What goes with the object: one byte, so that there is something for it to go with.
const HERE: [u8; 1] = [1];
/// What goes alone if the object can't go with it now.
const NOT_NOW: [u8; 1] = [2];
/// How long who asks waits for an answer. It comes at once, unless the process that serves is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// The object is given to whoever asks, as long as this lives.
#[derive(Debug)]
pub(crate) struct NameServer {
    stop: Owned,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub(super) fn begin(place: NameLock, object: &Owned, name: &str) -> Result<Self> {
        let failed = || failed(name);
        let object = handle::duplicate_here(object.as_fd(), crate::sys::rights::SAME).map_err(failed())?;
        let socket = unix_socket::listen(place.socket()).map_err(failed())?;
        let stop = create_object::create(What::Event { manual_reset: true }).map_err(failed())?;
        let stopped = handle::duplicate_here(stop.as_fd(), crate::sys::rights::SAME).map_err(failed())?;
        let thread = std::thread::Builder::new().name("handover name".into());
        let thread = without_signals(|| {
            begin_thread(|| thread.spawn(move || serve(&place, &socket, &object, &stopped)))
        });
        let thread = thread.map_err(failed())?.map_err(failed())?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl NameGuard for NameServer {}

impl Drop for NameServer {
    fn drop(&mut self) {
        // It can't fail: there is room for this one number.
        let _ = create_object::set_event(self.stop.as_fd());
        if let Some(thread) = self.thread.take() {
            // The name is free when this returns.
            let _ = thread.join();
        }
    }
}

/// Until it is stopped. Whoever comes and can't be served is none the worse for asking again.
fn serve(_place: &NameLock, socket: &Owned, object: &Owned, stopped: &Owned) {
    loop {
        let mut polled = [stopped, socket].map(|each| PollFd::from_borrowed_fd(each.as_fd(), PollFlags::IN));
        if wait::ready(&mut polled, None).is_err() {
            // For want of memory; it is asked again, and not as fast as it can be.
            std::thread::sleep(Duration::from_millis(10));
        }
        if !polled[0].revents().is_empty() {
            return;
        }
        match unix_socket::accept(socket.as_fd()) {
            Ok(Some(client)) => give(&client, object),
            Ok(None) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn give(client: &Owned, object: &Owned) {
    // The folder lets nobody else in but who may do all.
    if !unix_socket::user_of_other_end(client.as_fd()).is_ok_and(|(user, _)| user == user::current()) {
        return;
    }
    // There is room in a new connection, but perhaps not for one more descriptor of this user's under way. Who has gone
    // needs nothing.
    if unix_socket::send(client.as_fd(), &HERE, &[object.as_fd()])
        .is_err_and(|error| unix_socket::is_crowded(&error))
    {
        let _ = unix_socket::send(client.as_fd(), &NOT_NOW, &[]);
    }
}

/// The object of this name; `None` if nobody serves it.
pub(super) fn ask_for(name: &str) -> Result<Option<Owned>> {
    let failed = || failed(name);
    let path = socket_of(Sort::Object, name)?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        match ask_once(&path, deadline) {
            Ok(Answer::Given(object)) => return Ok(Some(object)),
            Ok(Answer::Nobody) => return Ok(None),
            Ok(Answer::NotNow) if deadline.has_passed() => {
                return Err(Error::TimedOut {
                    waiting_for: format!("the object {name:?}"),
                    timeout: PATIENCE,
                });
            }
            Ok(Answer::NotNow) => std::thread::sleep(Duration::from_millis(2)),
            Err(Unanswered::OtherUser(user, process)) => {
                return Err(Error::OtherUser { pid: process, user: user.to_string() });
            }
            Err(Unanswered::Failed(error)) => return Err(failed()(error)),
        }
    }
}

/// What comes of asking once.
enum Answer {
    Given(Owned),
    /// Nobody serves the name, or not any more.
    Nobody,
    /// Too many ask at once, or too much is under way.
    NotNow,
}

enum Unanswered {
    OtherUser(u32, u32),
    Failed(SysError),
}

fn ask_once(path: &Path, deadline: Deadline) -> Result<Answer, Unanswered> {
    let socket = match unix_socket::connect(path) {
        Ok(Some(socket)) => socket,
        Ok(None) => return Ok(Answer::NotNow),
        Err(error) if unix_socket::is_missing(&error) => return Ok(Answer::Nobody),
        Err(error) => return Err(Unanswered::Failed(error)),
    };
    let (maker, process) = unix_socket::user_of_other_end(socket.as_fd()).map_err(Unanswered::Failed)?;
    if maker != user::current() {
        return Err(Unanswered::OtherUser(maker, process));
    }
    loop {
        let mut bytes = Vec::with_capacity(1);
        match unix_socket::receive(socket.as_fd(), &mut bytes, 1, Look::Once) {
            Ok(Some(came)) if came.is_cut => {
                let full = io::Error::from_raw_os_error(libc::EMFILE);
                return Err(Unanswered::Failed(SysError::new("recvmsg", full)));
            }
            Ok(Some(came)) if came.length == 1 && bytes == NOT_NOW => return Ok(Answer::NotNow),
            // Without an object, or the end: it has gone just now.
            Ok(Some(came)) => {
                return Ok(came.descriptors.into_iter().next().map_or(Answer::Nobody, Answer::Given));
            }
            Ok(None) if deadline.has_passed() => return Ok(Answer::NotNow),
            Ok(None) => {}
            Err(error) if unix_socket::is_end(&error) => return Ok(Answer::Nobody),
            Err(error) => return Err(Unanswered::Failed(error)),
        }
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), unix_socket::READABLE)];
        wait::ready(&mut polled, Some(deadline.milliseconds())).map_err(Unanswered::Failed)?;
    }
}
