//! Waiting.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};

use super::SysResult;
use super::handle::ask_how_opened;
use super::reset_mode::{Way, way_of};
use super::value::number_of;
use super::{Argument, Length, Outcome, ask, call};

/// The most milliseconds that one call waits.
pub(crate) const LONGEST: u32 = u32::MAX - 1;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Signaled,
    TimedOut,
}

impl Outcome for Waited {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Signaled => "signaled",
            Self::TimedOut => "timed out",
        })
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
#[allow(unreachable_pub, reason = "it stands in a trait that is public, and that nobody else can name")]
pub struct Target<'a> {
    pub(crate) handle: BorrowedFd<'a>,
    pub(crate) way: Way,
}

/// The end of a process, as it is waited for.
pub(crate) fn end_of(process: BorrowedFd<'_>) -> Target<'_> {
    Target { handle: process, way: Way::Look }
}

/// Whether a descriptor can't be waited for for want of a right: there is no such right.
pub(crate) fn can_not_be_waited_for(_: &Target<'_>) -> bool {
    false
}

impl Target<'_> {
    fn known_way(&self) -> SysResult<Way> {
        if self.way == Way::Unknown { way_of(self.handle) } else { Ok(self.way) }
    }
}

/// Waits for an object, for so many milliseconds or, with `None`, for a long time; it can end early with nothing: by a
/// signal, or because another waiter was quicker.
pub(crate) fn wait(object: Target<'_>, milliseconds: Option<u32>) -> SysResult<Waited> {
    // Taking tells whether there was something, so who won't wait needs no other call.
    let way = object.known_way()?;
    let came = if way == Way::Take && milliseconds == Some(0) {
        take(object.handle)?
    } else {
        let mut polled = [PollFd::from_borrowed_fd(object.handle, PollFlags::IN)];
        ready(&mut polled, Some(milliseconds.unwrap_or(LONGEST)))?
            && (way == Way::Look || take(object.handle)?)
    };
    Ok(if came { Waited::Signaled } else { Waited::TimedOut })
}

/// The most objects that one call waits for: as many as on Windows, so that what works here works there.
pub(crate) const MOST: usize = 64;

/// Waits for so many milliseconds until one of the objects is signaled, and says which by its place. It can end early
/// with nothing: by a signal, or because another waiter was quicker. The second answer is for Windows.
pub(crate) fn wait_any(objects: &[Target<'_>], milliseconds: u32) -> SysResult<Option<(usize, bool)>> {
    let mut polled: [PollFd<'_>; MOST] = std::array::from_fn(|place| {
        // What is left over repeats the last, and isn't passed to the call.
        PollFd::from_borrowed_fd(objects[place.min(objects.len() - 1)].handle, PollFlags::IN)
    });
    let polled = &mut polled[..objects.len().min(MOST)];
    if !ready(polled, Some(milliseconds))? {
        return Ok(None);
    }
    for (place, (object, polled)) in objects.iter().zip(polled).enumerate() {
        if !polled.revents().is_empty() && (object.known_way()? == Way::Look || take(object.handle)?) {
            return Ok(Some((place, false)));
        }
    }
    Ok(None)
}

/// Waits until one of the descriptors is ready, or so many milliseconds. False if none is, also after a signal.
pub(crate) fn ready(polled: &mut [PollFd<'_>], milliseconds: Option<u32>) -> SysResult<bool> {
    let time = milliseconds.map(|milliseconds| Timespec {
        tv_sec: i64::from(milliseconds / 1000),
        tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
    });
    // The call changes the list, so what is waited for is told of from a copy.
    let mut numbers = [0; MOST];
    let mut count = 0;
    if cfg!(feature = "tracing") {
        for (number, polled) in numbers.iter_mut().zip(&*polled) {
            *number = number_of(polled.as_fd());
            count += 1;
        }
    }
    let arguments =
        [("objects", Argument::Raws(&numbers[..count])), ("for", Argument::Milliseconds(milliseconds))];
    let wait = || match poll(polled, time.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ok(Waited::TimedOut),
        Ok(_) => Ok(Waited::Signaled),
        Err(error) => Err(error.into()),
    };
    // Without time to wait it is a question.
    let waited = if milliseconds == Some(0) {
        ask("ppoll", &arguments, wait)
    } else {
        call("ppoll", &arguments, wait)
    };
    waited.map(|waited| waited == Waited::Signaled)
}

/// Takes what an eventfd or a timerfd has, without waiting; false if it has nothing.
pub(crate) fn take(handle: BorrowedFd<'_>) -> SysResult<bool> {
    let taken = call("preadv2", &[("handle", handle.into())], || {
        let mut count = [0; 8];
        // The descriptor may be another program's, which has left it to block; its mode is its own, and not changed here.
        taken(rustix::io::preadv2(
            handle,
            &mut [IoSliceMut::new(&mut count)],
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        ))
    });
    match taken {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => take_without_the_flag(handle),
        other => other.map(|taken| taken.is_some()),
    }
}

fn taken(read: Result<usize, Errno>) -> io::Result<Option<Length>> {
    match read {
        Ok(length) => Ok(Some(Length(length))),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same where timers don't know the flag, before Linux 6.10. Ours never block; another's can, if a third process
/// takes what it has in the moment between the two calls.
fn take_without_the_flag(handle: BorrowedFd<'_>) -> SysResult<bool> {
    let mut count = [0; 8];
    let blocks = !ask_how_opened(handle)?.contains(OFlags::NONBLOCK);
    if blocks && !ready(&mut [PollFd::from_borrowed_fd(handle, PollFlags::IN)], Some(0))? {
        return Ok(false);
    }
    let read = || taken(rustix::io::read(handle, &mut count));
    call("read", &[("handle", handle.into())], read).map(|taken| taken.is_some())
}
