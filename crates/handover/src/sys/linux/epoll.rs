//! epoll: one descriptor that tells which of many others are ready.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::handle::to;
use super::io::Owned;
use super::wait::timespec;
use super::{Argument, Outcome, SysResult, always, ask, call};

/// Creates an epoll descriptor without members.
pub(crate) fn create() -> SysResult<Owned> {
    call("epoll_create1", &[], || Ok(epoll::create(CreateFlags::CLOEXEC)?.into()))
}

/// Adds a descriptor, which is reported with its key for as long as it is readable.
pub(crate) fn add(epoll: BorrowedFd<'_>, descriptor: BorrowedFd<'_>, key: u64) -> SysResult<()> {
    let arguments =
        [("epoll", epoll.into()), to("EPOLL_CTL_ADD"), ("handle", descriptor.into()), ("key", key.into())];
    call("epoll_ctl", &arguments, || {
        Ok(epoll::add(epoll, descriptor, EventData::new_u64(key), EventFlags::IN)?)
    })
}

/// Returns whether a descriptor wasn't added because it is a member already.
pub(crate) fn is_present(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::EXIST)
}

/// Removes a descriptor.
pub(crate) fn remove(epoll: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) {
    let arguments = [("epoll", epoll.into()), to("EPOLL_CTL_DEL"), ("handle", descriptor.into())];
    // The error means that the descriptor is no member any more.
    let _ = always("epoll_ctl", &arguments, || Ok(epoll::delete(epoll, descriptor)?));
}

/// The room for a wait's answer: at most `N` ready descriptors. It isn't initialized, because most of it stays unused.
pub(crate) type Room<const N: usize> = [MaybeUninit<Event>; N];

/// The keys of the descriptors that a wait found ready.
pub(crate) struct Ready<'a>(&'a [Event]);

impl Ready<'_> {
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(|event| event.data.u64())
    }
}

impl Outcome for Ready<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => to.write_str("timed out"),
            count => write!(to, "{count} ready"),
        }
    }
}

/// Waits until a member is ready, or until the timeout, which is in milliseconds; `None` waits without limit. No member is
/// reported at the timeout, and also after a signal.
pub(crate) fn wait<'a>(
    epoll: BorrowedFd<'_>,
    room: &'a mut [MaybeUninit<Event>],
    milliseconds: Option<u32>,
) -> SysResult<Ready<'a>> {
    // A longer time is another system call, which older kernels don't have.
    let milliseconds = milliseconds.map(|milliseconds| milliseconds.min(i32::MAX.unsigned_abs()));
    let timeout = milliseconds.map(timespec);
    let arguments = [("epoll", epoll.into()), ("for", Argument::Milliseconds(milliseconds))];
    let wait = || match epoll::wait(epoll, room, timeout.as_ref()) {
        Ok((ready, _)) => Ok(Ready(ready)),
        Err(Errno::INTR) => Ok(Ready(&[])),
        Err(error) => Err(error.into()),
    };
    // With a zero timeout, the call is only a query.
    if milliseconds == Some(0) {
        ask("epoll_pwait", &arguments, wait)
    } else {
        call("epoll_pwait", &arguments, wait)
    }
}
