//! Waiting for descriptors.

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

/// The longest time that one call can wait, in milliseconds.
pub(crate) const LONGEST: u32 = u32::MAX - 1;

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Signaled,
    TimedOut,
}

impl Outcome for Waited {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Signaled => "signaled",
            Self::TimedOut => "timed out",
        })
    }
}

/// A descriptor to wait for, and the effect of a successful wait on its object.
#[derive(Debug, Clone, Copy)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
pub struct Target<'a> {
    pub(crate) handle: BorrowedFd<'a>,
    pub(crate) way: Way,
}

/// Returns the target for a wait until this descriptor is readable, which changes nothing.
pub(crate) fn readable(handle: BorrowedFd<'_>) -> Target<'_> {
    Target { handle, way: Way::Look }
}

/// Returns the target's descriptor.
pub(crate) fn handle_of<'a>(target: &Target<'a>) -> BorrowedFd<'a> {
    target.handle
}

/// Returns whether the wait failed because the handle lacks a right. Linux has no such right.
pub(crate) fn can_not_be_waited_for(_: &Target<'_>) -> bool {
    false
}

/// Returns how to wait for the target.
pub(crate) fn way_of_target(target: &Target<'_>) -> SysResult<Way> {
    target.known_way()
}

impl Target<'_> {
    fn known_way(&self) -> SysResult<Way> {
        if self.way == Way::Unknown { way_of(self.handle) } else { Ok(self.way) }
    }
}

/// Waits for an object. The timeout is in milliseconds; `None` waits for [`LONGEST`].
///
/// It can return `TimedOut` early: after a signal, or because another waiter took the object's state first.
pub(crate) fn wait(object: Target<'_>, milliseconds: Option<u32>) -> SysResult<Waited> {
    // A non-blocking read also tells whether the object was signaled, so a zero timeout needs no `poll`.
    let way = object.known_way()?;
    let is_signaled = if way == Way::Take && milliseconds == Some(0) {
        take(object.handle)?
    } else {
        let mut polled = [PollFd::from_borrowed_fd(object.handle, PollFlags::IN)];
        ready(&mut polled, Some(milliseconds.unwrap_or(LONGEST)))?
            && (way == Way::Look || take(object.handle)?)
    };
    Ok(if is_signaled { Waited::Signaled } else { Waited::TimedOut })
}

/// The maximum number of objects whose descriptors fit into a wait's own memory.
const INLINE: usize = 64;

/// Waits until one of the objects is signaled, and returns its index. The second value is always `false`; on Windows
/// it says that a mutex was abandoned.
///
/// It can return `None` before the timeout: after a signal, or because another waiter took the object's state first.
pub(crate) fn wait_any<'a>(objects: &[Target<'a>], milliseconds: u32) -> SysResult<Option<(usize, bool)>> {
    let entry = |object: &Target<'a>| PollFd::from_borrowed_fd(object.handle, PollFlags::IN);
    let mut allocated;
    let mut inline: [PollFd<'_>; INLINE];
    let polled = if objects.len() > INLINE {
        allocated = objects.iter().map(entry).collect::<Vec<_>>();
        &mut allocated[..]
    } else {
        // The unused entries repeat the last object, and aren't passed to the call.
        inline = std::array::from_fn(|index| entry(&objects[index.min(objects.len() - 1)]));
        &mut inline[..objects.len()]
    };
    if !ready(polled, Some(milliseconds))? {
        return Ok(None);
    }
    for (index, (object, polled)) in objects.iter().zip(polled).enumerate() {
        if !polled.revents().is_empty() && (object.known_way()? == Way::Look || take(object.handle)?) {
            return Ok(Some((index, false)));
        }
    }
    Ok(None)
}

/// Converts a timeout in milliseconds.
pub(super) fn timespec(milliseconds: u32) -> Timespec {
    Timespec { tv_sec: i64::from(milliseconds / 1000), tv_nsec: i64::from(milliseconds % 1000) * 1_000_000 }
}

/// Waits until one of the descriptors is ready, or until the timeout. Returns `false` if none is ready, also after a
/// signal.
pub(crate) fn ready(polled: &mut [PollFd<'_>], milliseconds: Option<u32>) -> SysResult<bool> {
    let timeout = milliseconds.map(timespec);
    // The call borrows the list mutably, so the event shows a copy of the descriptors' numbers.
    let mut numbers = [0; INLINE];
    let mut count = 0;
    if cfg!(feature = "tracing") {
        for (number, polled) in numbers.iter_mut().zip(&*polled) {
            *number = number_of(polled.as_fd());
            count += 1;
        }
    }
    let arguments =
        [("objects", Argument::Raws(&numbers[..count])), ("for", Argument::Milliseconds(milliseconds))];
    let wait = || match poll(polled, timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ok(Waited::TimedOut),
        Ok(_) => Ok(Waited::Signaled),
        Err(error) => Err(error.into()),
    };
    // With a zero timeout, the call is only a query.
    let waited = if milliseconds == Some(0) {
        ask("ppoll", &arguments, wait)
    } else {
        call("ppoll", &arguments, wait)
    };
    waited.map(|waited| waited == Waited::Signaled)
}

/// Reads the counter of an eventfd or a timerfd, without waiting. Returns `false` if the counter is zero.
pub(crate) fn take(handle: BorrowedFd<'_>) -> SysResult<bool> {
    let taken = call("preadv2", &[("handle", handle.into())], || {
        let mut count = [0; 8];
        // Another program may have created the descriptor in blocking mode. The mode belongs to the shared open file
        // description and must not be changed, so this one read is made non-blocking instead.
        taken(rustix::io::preadv2(
            handle,
            &mut [IoSliceMut::new(&mut count)],
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        ))
    });
    match taken {
        // `ENOSYS` and `EPERM` come from a filter or an emulator that doesn't have the call.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM)
            ) =>
        {
            take_without_the_flag(handle)
        }
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

/// Does the same on kernels before Linux 6.10, where `RWF_NOWAIT` fails on timers.
///
/// This crate's own objects are non-blocking. The read of another program's object can block if a third process
/// empties the counter between the `poll` and the `read`.
fn take_without_the_flag(handle: BorrowedFd<'_>) -> SysResult<bool> {
    let mut count = [0; 8];
    let blocks = !ask_how_opened(handle)?.contains(OFlags::NONBLOCK);
    if blocks && !ready(&mut [PollFd::from_borrowed_fd(handle, PollFlags::IN)], Some(0))? {
        return Ok(false);
    }
    let read = || taken(rustix::io::read(handle, &mut count));
    call("read", &[("handle", handle.into())], read).map(|taken| taken.is_some())
}
