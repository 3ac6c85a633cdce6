//! Descriptors that an asynchronous runtime waits for, and transfers that don't wait.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::retry_on_intr;

use super::handle::{ask_how_opened, to};
use super::io::Owned;
use super::{Argument, Length, SysResult, call};

/// A descriptor, which stays open while it is registered with a runtime.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor(Arc<Owned>);

impl Descriptor {
    pub(crate) fn new(descriptor: Arc<Owned>) -> Self {
        Self(descriptor)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The events for which a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Input,
    Output,
    Both,
}

/// Registers a descriptor with the current runtime of tokio. Fails if this thread is in none.
#[cfg(feature = "tokio")]
pub(crate) fn register_with_tokio(
    descriptor: Descriptor,
    interest: Interest,
) -> std::io::Result<tokio::io::unix::AsyncFd<Descriptor>> {
    use tokio::io::Interest as Tokios;
    // Without a runtime, the registration would panic.
    tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?;
    let interest = match interest {
        Interest::Input => Tokios::READABLE,
        Interest::Output => Tokios::WRITABLE,
        Interest::Both => Tokios::READABLE | Tokios::WRITABLE,
    };
    // SAFETY: the descriptor is open, because `Descriptor` shares its ownership, and gives it away to no other value. So it stays
    // open as long as the registration, which owns the `Descriptor`, and `as_raw_fd` always returns the same number.
    let registered = unsafe { tokio::io::unix::AsyncFd::register_with_interest(descriptor, interest) };
    Ok(registered?)
}

/// Reads the bytes that are available into the buffer, and returns their number, which is zero at the end of file.
pub(crate) fn read_into(stream: BorrowedFd<'_>, buffer: &mut [u8]) -> SysResult<usize> {
    let read = call("read", &[("handle", stream.into())], || {
        Ok(Length(retry_on_intr(|| rustix::io::read(stream, &mut *buffer))?))
    });
    read.map(|Length(count)| count)
}

/// Writes as many bytes as there is space for, and returns their number.
pub(crate) fn write(stream: BorrowedFd<'_>, bytes: &[u8]) -> SysResult<usize> {
    let arguments = [("handle", stream.into()), ("", Argument::Bytes(bytes))];
    let written =
        call("write", &arguments, || Ok(Length(retry_on_intr(|| rustix::io::write(stream, bytes))?)));
    written.map(|Length(count)| count)
}

/// Makes reads and writes through this open file description return at once, or wait again.
pub(crate) fn set_non_blocking(stream: BorrowedFd<'_>, on: bool) -> SysResult<()> {
    let flags = ask_how_opened(stream)?;
    let flags = if on { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK };
    call("fcntl", &[("handle", stream.into()), to("F_SETFL")], || Ok(rustix::fs::fcntl_setfl(stream, flags)?))
}
