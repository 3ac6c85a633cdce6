//! Giving an object to whoever asks for it by its name.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::place::{Place, Sort, failed, socket_of};
use crate::sys::named::{self, What};
use crate::sys::stream::Look;
use crate::sys::{handle, stream, user, wait};
use crate::wait::Deadline;
use crate::{Error, Result};

/// What goes with the object: one byte, so that there is something for it to go with.
const HERE: [u8; 1] = [1];
/// How long who asks waits for an answer. It comes at once, unless the process that serves is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// The object is given to whoever asks, as long as this lives.
#[derive(Debug)]
pub(crate) struct Serving {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(super) fn begin(place: Place, object: &OwnedFd, name: &str) -> Result<Self> {
        let failed = |call| failed(call, name);
        let object =
            handle::duplicate_here(object.as_fd(), crate::sys::rights::SAME).map_err(failed("fcntl"))?;
        let socket = stream::listen(place.socket()).map_err(failed("bind"))?;
        let stop = named::create(What::Event { manual_reset: true }).map_err(failed("eventfd2"))?;
        let stopped =
            handle::duplicate_here(stop.as_fd(), crate::sys::rights::SAME).map_err(failed("fcntl"))?;
        let thread = std::thread::Builder::new().name("handover name".into());
        let thread =
            thread.spawn(move || serve(&place, &socket, &object, &stopped)).map_err(failed("clone3"))?;
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
fn serve(_place: &Place, socket: &OwnedFd, object: &OwnedFd, stopped: &OwnedFd) {
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

fn give(client: &OwnedFd, object: &OwnedFd) {
    // The folder lets nobody else in but who may do all.
    if stream::maker_of_other_end(client.as_fd()).is_ok_and(|maker| maker.user == user::current()) {
        // There is room in a new connection; who has gone needs nothing.
        let _ = stream::send(client.as_fd(), &HERE, &[object.as_fd()]);
    }
}

/// The object of this name; `None` if nobody serves it.
pub(super) fn ask_for(name: &str) -> Result<Option<OwnedFd>> {
    let failed = |call| failed(call, name);
    let path = socket_of(Sort::Object, name)?;
    let deadline = Deadline::after(PATIENCE);
    let timed_out = || Error::TimedOut { what: format!("the object {name:?}"), after: PATIENCE };
    let socket = loop {
        match stream::connect(&path) {
            Ok(Some(socket)) => break socket,
            Ok(None) if deadline.has_passed() => return Err(timed_out()),
            // Too many ask at once.
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) if stream::is_missing(&error) => return Ok(None),
            Err(source) => return Err(failed("connect")(source)),
        }
    };
    let maker = stream::maker_of_other_end(socket.as_fd()).map_err(failed("getsockopt"))?;
    if maker.user != user::current() {
        return Err(Error::OtherUser { process: maker.id, user: maker.user.to_string() });
    }
    loop {
        let mut bytes = [0; 1];
        match stream::receive(socket.as_fd(), &mut bytes, Look::Once) {
            Ok(Some(came)) if came.is_cut => {
                return Err(failed("recvmsg")(io::Error::from_raw_os_error(libc::EMFILE)));
            }
            // Without an object, or the end: it has gone just now.
            Ok(Some(came)) => return Ok(came.descriptors.into_iter().next()),
            Ok(None) if deadline.has_passed() => return Err(timed_out()),
            Ok(None) => {}
            Err(error) if stream::is_end(&error) => return Ok(None),
            Err(source) => return Err(failed("recvmsg")(source)),
        }
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), stream::READABLE)];
        let milliseconds = deadline.milliseconds();
        wait::ready(&mut polled, Some(milliseconds)).map_err(failed("ppoll"))?;
    }
}
