//! The floor of one thread that serves many channels: sockets in an epoll descriptor, served by C code.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use super::baseline::{failed, hand_over};
use crate::Outcome;
use crate::peer_process::{ANSWER, DEADLINE};
use crate::wait_set::{LENGTH, RoundTrip, Service, Tell};

unsafe extern "C" {
    fn floor_set_of(sockets: *const c_int, count: c_uint) -> c_int;
    fn floor_serve(set: c_int, sockets: *const c_int, milliseconds: c_uint);
}

pub(crate) const FLOOR: Option<Service> = Some(Service { name: "C floor", serve, connect });

/// The largest number of channels to measure.
pub(crate) const MOST: usize = 10_000;

/// Serves clients until one of them closes its socket.
fn serve(count: usize, tell: Tell<'_>) -> Outcome {
    let name = format!("handover-bench-floor.{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    tell(&name)?;
    let sockets: Vec<OwnedFd> =
        listener.incoming().take(count).map(|socket| socket.map(OwnedFd::from)).collect::<Result<_, _>>()?;
    let count = c_uint::try_from(count)?;
    // SAFETY: `sockets` has `count` elements, and an `OwnedFd` has the layout of a `c_int`.
    let set = unsafe { floor_set_of(sockets.as_ptr().cast(), count) };
    if set < 0 {
        return Err(failed("epoll_create1 or epoll_ctl"));
    }
    // SAFETY: `floor_set_of` has just created this descriptor for its caller, and no other value owns it.
    let set = unsafe { OwnedFd::from_raw_fd(set) };
    tell("")?;
    let milliseconds = c_uint::try_from(DEADLINE.as_millis())?;
    // SAFETY: `set` and `sockets` live until after the call, so their descriptors are open. The members of `set` are the
    // elements of `sockets`, each under its index.
    unsafe { floor_serve(set.as_raw_fd(), sockets.as_ptr().cast(), milliseconds) };
    Ok(())
}

/// Connects clients to the server.
fn connect(name: &str, count: usize) -> Outcome<RoundTrip> {
    let address = SocketAddr::from_abstract_name(name)?;
    let sockets: Vec<UnixStream> =
        (0..count).map(|_| UnixStream::connect_addr(&address)).collect::<Result<_, _>>()?;
    Ok(Box::new(move |index| hand_over(sockets[index].as_fd(), &[], LENGTH, ANSWER)))
}
