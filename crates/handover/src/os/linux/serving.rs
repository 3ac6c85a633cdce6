//! Giving an object to whoever asks for it by its name.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::place::{Place, failed, socket_of};
use crate::name::text::on_linux::Sort;
use crate::sys::call::BEGIN_THREAD;
use crate::sys::io::Owned;
use crate::sys::named::{self, What};
use crate::sys::spawn::without_signals;
use crate::sys::stream::Look;
use crate::sys::{begin_thread, handle, stream, user, wait};
use crate::wait::Deadline;
use crate::{Error, Result};

/// What goes with the object: one byte, so that there is something for it to go with.
const HERE: [u8; 1] = [1];
/// What goes alone if the object can't go with it now.
const NOT_NOW: [u8; 1] = [2];
/// How long who asks waits for an answer. It comes at once, unless the process that serves is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// The object is given to whoever asks, as long as this lives.
#[derive(Debug)]
pub(crate) struct Serving {
    stop: Owned,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(super) fn begin(place: Place, object: &Owned, name: &str) -> Result<Self> {
        let failed = |call| failed(call, name);
        let object =
            handle::duplicate_here(object.as_fd(), crate::sys::rights::SAME).map_err(failed("fcntl"))?;
        let socket = stream::listen(place.socket()).map_err(failed("bind"))?;
        let stop = named::create(What::Event { manual_reset: true }).map_err(failed("eventfd2"))?;
        let stopped =
            handle::duplicate_here(stop.as_fd(), crate::sys::rights::SAME).map_err(failed("fcntl"))?;
        let thread = std::thread::Builder::new().name("handover name".into());
        let thread = without_signals(|| {
            begin_thread(|| thread.spawn(move || serve(&place, &socket, &object, &stopped)))
        });
        let thread = thread.map_err(failed("rt_sigprocmask"))?.map_err(failed(BEGIN_THREAD))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It can't fail: there is room for this one number.
        let _ = named::set_event(self.stop.as_fd());
        if let Some(thread) = self.thread.take() {
            // The name is free when this returns.
            let _ = thread.join();
        }
    }
}

/// Until it is stopped. Whoever comes and can't be served is none the worse for asking again.
fn serve(_place: &Place, socket: &Owned, object: &Owned, stopped: &Owned) {
    loop {
        let mut polled = [stopped, socket].map(|each| PollFd::from_borrowed_fd(each.as_fd(), PollFlags::IN));
        if wait::ready(&mut polled, None).is_err() {
            // For want of memory; it is asked again, and not as fast as it can be.
            std::thread::sleep(Duration::from_millis(10));
        }
        if !polled[0].revents().is_empty() {
            return;
        }
        match stream::accept(socket.as_fd()) {
            Ok(Some(client)) => give(&client, object),
            Ok(None) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn give(client: &Owned, object: &Owned) {
    // The folder lets nobody else in but who may do all.
    if !stream::user_of_other_end(client.as_fd()).is_ok_and(|(user, _)| user == user::current()) {
        return;
    }
    // There is room in a new connection, but perhaps not for one more descriptor of this user's under way. Who has gone
    // needs nothing.
    if stream::send(client.as_fd(), &HERE, &[object.as_fd()]).is_err_and(|error| stream::is_crowded(&error)) {
        let _ = stream::send(client.as_fd(), &NOT_NOW, &[]);
    }
}

/// The object of this name; `None` if nobody serves it.
pub(super) fn ask_for(name: &str) -> Result<Option<Owned>> {
    let failed = |call| failed(call, name);
    let path = socket_of(Sort::Object, name)?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        match ask_once(&path, deadline) {
            Ok(Answer::Given(object)) => return Ok(Some(object)),
            Ok(Answer::Nobody) => return Ok(None),
            Ok(Answer::NotNow) if deadline.has_passed() => {
                return Err(Error::TimedOut { what: format!("the object {name:?}"), after: PATIENCE });
            }
            Ok(Answer::NotNow) => std::thread::sleep(Duration::from_millis(2)),
            Err(Unanswered::OtherUser(user, process)) => {
                return Err(Error::OtherUser { process, user: user.to_string() });
            }
            Err(Unanswered::Failed(call, source)) => return Err(failed(call)(source)),
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
    /// This call.
    Failed(&'static str, io::Error),
}

fn ask_once(path: &Path, deadline: Deadline) -> Result<Answer, Unanswered> {
    let failed = |call| move |source| Unanswered::Failed(call, source);
    let socket = match stream::connect(path) {
        Ok(Some(socket)) => socket,
        Ok(None) => return Ok(Answer::NotNow),
        Err(error) if stream::is_missing(&error) => return Ok(Answer::Nobody),
        Err(source) => return Err(failed("connect")(source)),
    };
    let (maker, process) = stream::user_of_other_end(socket.as_fd()).map_err(failed("getsockopt"))?;
    if maker != user::current() {
        return Err(Unanswered::OtherUser(maker, process));
    }
    loop {
        let mut bytes = Vec::with_capacity(1);
        match stream::receive(socket.as_fd(), &mut bytes, 1, Look::Once) {
            Ok(Some(came)) if came.is_cut => {
                return Err(failed("recvmsg")(io::Error::from_raw_os_error(libc::EMFILE)));
            }
            Ok(Some(came)) if came.length == 1 && bytes == NOT_NOW => return Ok(Answer::NotNow),
            // Without an object, or the end: it has gone just now.
            Ok(Some(came)) => {
                return Ok(came.descriptors.into_iter().next().map_or(Answer::Nobody, Answer::Given));
            }
            Ok(None) if deadline.has_passed() => return Ok(Answer::NotNow),
            Ok(None) => {}
            Err(error) if stream::is_end(&error) => return Ok(Answer::Nobody),
            Err(source) => return Err(failed("recvmsg")(source)),
        }
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), stream::READABLE)];
        wait::ready(&mut polled, Some(deadline.milliseconds())).map_err(failed("ppoll"))?;
    }
}
