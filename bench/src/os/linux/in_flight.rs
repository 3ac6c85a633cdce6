//! The floor of objects in flight: sockets to processes whose C code keeps what it receives.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulonglong};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use handover::Channel;

use super::baseline::{self, failed};
use crate::Outcome;
use crate::hand_over::frame_length;
use crate::in_flight::{CHANNELS, Objects, Receive, Receiver, Service};
use crate::peer_process::ChannelPeer;

unsafe extern "C" {
    fn floor_receive_and_keep(socket: c_int) -> c_int;
    fn floor_close_kept();
    fn floor_processor_time() -> c_ulonglong;
}

pub(crate) const FLOOR: Option<Service> = Some(Service { name: "C floor", start, receive });

/// Returns the processor time that this process has used.
pub(crate) fn time_worked() -> Duration {
    // SAFETY: the call has no arguments and accesses no memory of the caller.
    Duration::from_nanos(unsafe { floor_processor_time() })
}

fn start(objects: &Rc<Objects>) -> Outcome<Receiver> {
    let pairs = (0..CHANNELS).map(|_| UnixStream::pair()).collect::<Result<Vec<_>, _>>()?;
    let (ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let control = ChannelPeer::start_prepared("in-flight", |command| {
        command.arg("C floor");
        for (index, socket) in theirs.iter().enumerate() {
            command.inherit(index.to_string(), socket);
        }
    })?;
    let objects = Rc::clone(objects);
    let send = move |index: usize| -> Outcome {
        let Objects { names, events } = &*objects;
        baseline::hand_over(ours[index].as_fd(), &baseline::objects(events), frame_length(names), 0)
    };
    Ok(Receiver { control, send: Box::new(send) })
}

struct Kept(Vec<OwnedFd>);

fn receive(_: &Channel) -> Outcome<Box<dyn Receive>> {
    let inherited = handover::inherited()?;
    let sockets = (0..CHANNELS).map(|index| inherited.take(&index.to_string()));
    Ok(Box::new(Kept(sockets.collect::<Result<_, _>>()?)))
}

impl Receive for Kept {
    fn receive(&mut self, channels: usize) -> Outcome {
        for socket in &self.0[..channels] {
            // SAFETY: `socket` is borrowed during the call, so its descriptor is open. The call writes only to the C code's
            // own memory, within its bounds.
            if unsafe { floor_receive_and_keep(socket.as_raw_fd()) } == 0 {
                return Err(failed("recvmsg"));
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        // SAFETY: the call closes descriptors that the C code received, and that no other code owns.
        unsafe { floor_close_kept() };
    }
}
