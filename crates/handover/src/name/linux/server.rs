//! The server thread that sends a named object to each process that opens it, and the client's side of it.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::lock::{NameLock, failed, socket_of};
use crate::error::{Error, Result};
use crate::name::text::on_linux::Sort;
use crate::object::NameGuard;
use crate::sys::SysError;
use crate::sys::create_object::{self, What};
use crate::sys::creator::Creator;
use crate::sys::io::Owned;
use crate::sys::spawn::without_signals;
use crate::sys::unix_socket::Look;
use crate::sys::{begin_thread, handle, unix_socket, user, wait};
use crate::wait::Deadline;

/// The answer that carries the object. A descriptor can only be sent together with at least one byte.
const OBJECT: [u8; 1] = [1];
/// The answer without an object: the server can't send it at the moment, so the client should retry.
const RETRY: [u8; 1] = [2];
/// How long a client waits for an answer. The server answers at once, unless its process is stopped.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for an answer after the server's process has exited. An answer that it sent before arrives at once.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Serves an object under its name. Dropping it stops the server and frees the name.
#[derive(Debug)]
pub(crate) struct NameServer {
    stop: Owned,
    /// Set before `stop`, for a thread that can't wait, because the limit of descriptors is too low for `ppoll`.
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    creator: Creator,
}

impl NameServer {
    /// Starts the server thread. The thread owns the lock on the name.
    pub(super) fn begin(lock: NameLock, object: &Owned, name: &str) -> Result<Self> {
        let failed = || failed(name);
        let object = handle::duplicate_here(object.as_fd(), crate::sys::rights::SAME).map_err(failed())?;
        let socket = lock.listen().map_err(failed())?;
        let stop = create_object::create(What::Event { manual_reset: true }).map_err(failed())?;
        let stopped = handle::duplicate_here(stop.as_fd(), crate::sys::rights::SAME).map_err(failed())?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new().name("handover name".into());
        let thread = without_signals(|| {
            begin_thread(|| thread.spawn(move || serve(&lock, &socket, &object, (&stopped, &flag))))
        });
        let thread = thread.map_err(failed())?.map_err(failed())?;
        Ok(Self { stop, is_stopping, thread: Some(thread), creator: Creator::this_process() })
    }
}

impl NameGuard for NameServer {}

impl Drop for NameServer {
    fn drop(&mut self) {
        if !self.creator.is_this_process() {
            // A forked copy has no thread, and the event that stops it is the creator's.
            std::mem::forget(self.thread.take());
            return;
        }
        self.is_stopping.store(true, Relaxed);
        // Setting the event can't fail: the eventfd counter has room for it.
        let _ = create_object::set_event(self.stop.as_fd());
        if let Some(thread) = self.thread.take() {
            // The thread removes the name's files when it exits, so the name is free when `drop` returns.
            let _ = thread.join();
        }
    }
}

/// Accepts and answers clients until `stopped` is signaled. A client that gets no answer can retry.
fn serve(_lock: &NameLock, socket: &Owned, object: &Owned, (stopped, is_stopping): (&Owned, &AtomicBool)) {
    loop {
        let mut polled = [stopped, socket].map(|each| PollFd::from_borrowed_fd(each.as_fd(), PollFlags::IN));
        if wait::ready(&mut polled, None).is_err() {
            // The call fails if memory is short. The pause keeps the retries from using all of a processor.
            std::thread::sleep(Duration::from_millis(10));
            if is_stopping.load(Relaxed) {
                return;
            }
        }
        if !polled[0].revents().is_empty() {
            return;
        }
        match unix_socket::accept(socket.as_fd()) {
            Ok(Some(client)) => send_object(&client, object),
            Ok(None) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Sends the object to a client.
fn send_object(client: &Owned, object: &Owned) {
    // The folder's permissions already keep out other users, except root.
    if !unix_socket::user_of_other_end(client.as_fd()).is_ok_and(|(user, _)| user == user::current()) {
        return;
    }
    // A new connection has room for the message, but the kernel limits how many descriptors of a user are in transit, and may
    // lack memory. The client must not take that for a server that has stopped.
    if unix_socket::send(client.as_fd(), &OBJECT, &[object.as_fd()])
        .is_err_and(|error| !unix_socket::is_end(&error))
    {
        let _ = unix_socket::send(client.as_fd(), &RETRY, &[]);
    }
}

/// Requests the object with this name from its server. Returns `None` if no process serves the name.
pub(super) fn request(name: &str) -> Result<Option<Owned>> {
    let failed = || failed(name);
    let path = socket_of(Sort::Object, name)?;
    let deadline = Deadline::after(CLIENT_TIMEOUT);
    loop {
        match request_once(&path, deadline) {
            Ok(Answer::Object(object)) => return Ok(Some(object)),
            Ok(Answer::NoServer) => return Ok(None),
            Ok(Answer::Retry) if deadline.has_passed() => {
                return Err(Error::TimedOut {
                    waiting_for: format!("the process that created the object {name:?} to send it"),
                    timeout: CLIENT_TIMEOUT,
                });
            }
            Ok(Answer::Retry) => std::thread::sleep(Duration::from_millis(2)),
            Err(RequestError::OtherUser { user, pid }) => {
                return Err(Error::OtherUser { pid, user: user.to_string(), name: name.into() });
            }
            Err(RequestError::Failed(error)) => return Err(failed()(error)),
        }
    }
}

/// The outcome of one request.
enum Answer {
    Object(Owned),
    /// No process serves the name, or the server has just stopped.
    NoServer,
    /// Too many clients are connecting, or too many descriptors are in transit.
    Retry,
}

enum RequestError {
    /// The server runs as another user.
    OtherUser {
        user: u32,
        pid: u32,
    },
    Failed(SysError),
}

/// Connects to the server and requests the object once.
fn request_once(path: &Path, deadline: Deadline) -> Result<Answer, RequestError> {
    let socket = match unix_socket::connect(path) {
        Ok(Some(socket)) => socket,
        Ok(None) => return Ok(Answer::Retry),
        Err(error) if unix_socket::is_missing(&error) => return Ok(Answer::NoServer),
        Err(error) => return Err(RequestError::Failed(error)),
    };
    let server = unix_socket::maker_of_other_end(socket.as_fd()).map_err(RequestError::Failed)?;
    if server.user != user::current() {
        return Err(RequestError::OtherUser { user: server.user, pid: server.id });
    }
    let mut grace = None;
    loop {
        let mut bytes = Vec::with_capacity(1);
        match unix_socket::receive(socket.as_fd(), &mut bytes, 1, Look::Once) {
            // The object was sent, but this process has no free descriptor number for it.
            Ok(Some(received)) if received.is_cut => {
                let full = io::Error::from_raw_os_error(libc::EMFILE);
                return Err(RequestError::Failed(SysError::new("recvmsg", full)));
            }
            Ok(Some(received)) if received.length == 1 && bytes == RETRY => return Ok(Answer::Retry),
            // A message without a descriptor, or end of file, means that the server has just stopped.
            Ok(Some(received)) => {
                return Ok(received.descriptors.into_iter().next().map_or(Answer::NoServer, Answer::Object));
            }
            Ok(None) if deadline.has_passed() => return Ok(Answer::Retry),
            Ok(None) if grace.is_some_and(Deadline::has_passed) => return Ok(Answer::NoServer),
            Ok(None) => {}
            Err(error) if unix_socket::is_end(&error) => return Ok(Answer::NoServer),
            Err(error) => return Err(RequestError::Failed(error)),
        }
        let mut polled = vec![PollFd::from_borrowed_fd(socket.as_fd(), unix_socket::READABLE)];
        let mut until = deadline;
        match &server.process {
            Some(process) if grace.is_none() => {
                polled.push(PollFd::from_borrowed_fd(process.as_fd(), unix_socket::READABLE));
            }
            // The server's process has exited. A forked copy of it can still have the socket, and doesn't answer.
            _ => until = deadline.or_sooner(grace.get_or_insert(Deadline::after(GRACE_PERIOD)).left()),
        }
        wait::ready(&mut polled, Some(until.milliseconds())).map_err(RequestError::Failed)?;
        if polled.get(1).is_some_and(|process| !process.revents().is_empty()) {
            grace = Some(Deadline::after(GRACE_PERIOD));
        }
    }
}

#[cfg(feature = "faults")]
#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::faults::{Turn, taking};

    #[test]
    fn client_is_told_to_retry_if_the_object_cannot_be_sent() -> io::Result<()> {
        let object = create_object::create(What::Event { manual_reset: true })?;
        for code in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM] {
            let (client, server) = unix_socket::pair()?;
            let turn = Turn::fails("sendmsg", 0..1, code.raw_os_error());
            let ((), was_taken) = taking([turn], || send_object(&server, &object));
            assert!(was_taken);
            let mut bytes = Vec::new();
            unix_socket::receive(client.as_fd(), &mut bytes, 1, Look::Once)?;
            assert_eq!(bytes, RETRY, "{code}");
        }
        Ok(())
    }
}
