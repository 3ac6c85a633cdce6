//! How an endpoint leaves this process, and how the process at the other endpoint gets known when that has travelled.
//!
//! `SO_PEERPIDFD` names the process that made a socket, which an endpoint that travelled has left. So the processes tell
//! each other by greetings, to which the kernel adds the sender's credentials:
//!
//! - A process that gets an endpoint sends a greeting that asks for another one.
//! - A process that receives it answers. If the kernel had added no credentials, because it must be told before to do so, the
//!   process asks for another greeting itself.
//! - A parent whose child is started by another spawner doesn't know the child either, so it asks as well.
//! - Before an endpoint leaves a process, that says so. Until the next greeting the peer process isn't known, and only the end
//!   of the connection ends a wait.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::endpoint::{Endpoint, Peer, Receiving, Writer};
use super::peers;
use super::receive::Read;
use crate::channel::Channel;
use crate::channel::wire::{Envelope, FrameType, Greeting, Header};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::Reserved;
use crate::process::Process;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights::Rights;
use crate::sys::socket::{SocketType, socket_of};
use crate::sys::unix_socket;

/// The number of handles of an endpoint.
pub(crate) const HANDLES: usize = 1;
/// The beginnings of the names under which a child inherits the handles of an endpoint with a name.
pub(crate) const ENDPOINT_NAMES: [&str; HANDLES] = ["handover/channel/"];

/// Creates two endpoints that are connected to each other.
pub(crate) fn pair() -> Result<(Endpoint, Endpoint)> {
    let failed = |error| Error::system("a pair of endpoints", error);
    let (one, other) = unix_socket::pair().map_err(failed)?;
    // Neither asks for credentials yet, because each message would bring a pidfd of this process. An endpoint that leaves says
    // so first, and the other one asks then. Until one of them leaves, the peer process of both is this one.
    let peer = super::pair::peer(unix_socket::maker_of_other_end(one.as_fd()).map_err(failed)?);
    Ok((Endpoint::new(one.into(), peer.clone()), Endpoint::new(other.into(), peer)))
}

/// Creates an endpoint, and the socket for a process that isn't known yet.
///
/// The endpoint asks that process for a greeting, by which it learns which process that is.
pub(crate) fn with_unknown_peer() -> Result<(Endpoint, Owned)> {
    let failed = |error| Error::system("a channel", error);
    let (ours, theirs) = unix_socket::pair().map_err(failed)?;
    unix_socket::receive_credentials(ours.as_fd(), true).map_err(failed)?;
    let endpoint = Endpoint::new(ours.into(), Peer::Unopened { id: 0, has_exited: false });
    endpoint.receiving.lock().asks = true;
    if let Some(writer) = endpoint.writer.take() {
        endpoint.greet(&writer, Greeting::Asks)?;
    }
    Ok((endpoint, theirs))
}

/// Opens a child's endpoint, from the socket that its parent passed. After an error it can be tried again.
///
/// A parent that doesn't know the child asks for a greeting, which the child sends at once. The question stays in the
/// socket, where the first receive finds it.
pub(crate) fn endpoint_of_child(handles: Reserved<1>) -> Result<Endpoint> {
    let failed = |error| Error::system("a channel", error);
    let [socket] = handles.handles();
    let maker = unix_socket::maker_of_other_end(socket.as_fd()).map_err(failed)?;
    let mut first = [0; Header::LENGTH];
    let length = unix_socket::peek(socket.as_fd(), &mut first).map_err(failed)?;
    let is_asked = length == first.len() && first == greeting(Greeting::Asks, 0);
    if is_asked {
        unix_socket::receive_credentials(socket.as_fd(), true).map_err(failed)?;
    }
    let [socket] = handles.into_handles();
    let endpoint = Endpoint::new(socket.into(), super::pair::peer(maker));
    if is_asked {
        endpoint.receiving.lock().asks = true;
        endpoint.owe(Greeting::Asks);
    }
    Ok(endpoint)
}

/// Returns the frame of a greeting. `number` is that of the next message.
fn greeting(kind: Greeting, number: u64) -> [u8; Header::LENGTH] {
    let envelope = Envelope { frame_type: FrameType::Greeting(kind), number, ..Envelope::default() };
    Header { envelope, ..Header::default() }.encode()
}

/// Creates two endpoints for the processes at the other ends of two channels.
pub(crate) fn introduced(_one: &Endpoint, _other: &Endpoint) -> Result<(Endpoint, Endpoint)> {
    pair()
}

/// Opens an endpoint that has travelled to this process. `describe` names it in errors.
pub(crate) fn arrive(
    handles: [Owned; HANDLES],
    _from: Option<Process>,
    describe: impl Fn() -> String,
) -> Result<Endpoint, (Error, [Owned; HANDLES])> {
    let [socket] = handles;
    if let Err(error) = prepare(&socket, &describe) {
        return Err((error, [socket]));
    }
    let endpoint = Endpoint::new(socket.into(), Peer::Unopened { id: 0, has_exited: false });
    let mut receiving = endpoint.receiving.lock();
    receiving.buffer.accept_any_number();
    receiving.asks = true;
    drop(receiving);
    endpoint.owe(Greeting::Asks);
    Ok(endpoint)
}

/// Opens an endpoint that the parent gave this process. After an error it can be tried again.
pub(crate) fn arrive_inherited(
    handles: Reserved<HANDLES>,
    describe: impl Fn() -> String,
) -> Result<Endpoint> {
    prepare(&handles.handles()[0], &describe)?;
    arrive(handles.into_handles(), None, describe).map_err(|(error, _)| error)
}

fn prepare(socket: &Owned, describe: &dyn Fn() -> String) -> Result<()> {
    let failed = |error| Error::on_handle(describe(), error);
    let is_sequence = socket_of(HandleValue::of(socket)?).map_err(failed)? == SocketType::UnixSequence;
    if !is_sequence || !unix_socket::was_connected(socket.as_fd()).map_err(failed)? {
        return Err(Error::invalid(
            describe(),
            "is not an endpoint of a channel; expected a connected Unix socket of sequenced packets (SOCK_SEQPACKET)",
        ));
    }
    unix_socket::receive_credentials(socket.as_fd(), true).map_err(failed)
}

/// Creates a channel from a socket of this process, on Linux.
pub trait ChannelExt: Sized + Sealed {
    /// Makes a connected Unix socket of sequenced packets (`SOCK_SEQPACKET`) an endpoint of a channel, such as one of
    /// socketpair(2), or one that another library has passed to this process. std has no type of its own for it.
    ///
    /// The channel owns the socket. The process at the other end must use this crate too, or speak
    /// [its protocol](https://docs.rs/crate/handover/latest/source/docs/protocol.md). No data may be in transit that is not a
    /// whole message.
    ///
    /// ```no_run
    /// use std::os::fd::OwnedFd;
    /// use handover::Channel;
    /// use handover::os::linux::ChannelExt;
    ///
    /// // The parent has passed a socket under this name.
    /// let socket: OwnedFd = handover::inherited()?.take("socket")?;
    /// let channel = Channel::from_socket(socket)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it isn't such a socket. The socket is closed then.
    ///
    /// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html),
    /// [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    fn from_socket(socket: impl Into<OwnedFd>) -> Result<Self>;
}

/// Only this crate implements the trait.
pub trait Sealed {}

impl Sealed for Channel {}

impl ChannelExt for Channel {
    fn from_socket(socket: impl Into<OwnedFd>) -> Result<Self> {
        let describe = || "the socket".to_owned();
        arrive([socket.into().into()], None, describe).map(Self::new).map_err(|(error, _)| error)
    }
}

const OWED_ANSWER: u8 = 1;
const OWED_ASK: u8 = 2;

impl Endpoint {
    /// Lets the endpoint leave this process, which can't use it any more. Its descriptor stays open until it is dropped.
    pub(in crate::channel) fn depart(&self, describe: &dyn Fn() -> String) -> Result<()> {
        let refused = |reason| Err(Error::invalid(describe(), reason));
        self.memberships.leave();
        let Some(writer) = self.writer.take() else { return refused("is in use by another thread") };
        self.check_writer(&writer)?;
        if writer.unfinished.is_some() {
            return refused("has begun to send a message; flush it first");
        }
        let mut receiving = self.receiving.lock();
        self.receive_greetings(&mut receiving)?;
        if receiving.calls.has_message() || !receiving.buffer.is_empty() {
            return refused("has received messages that only this process can read; receive them first");
        }
        self.reset_receive_timeout(&mut receiving)?;
        if !self.greet(&writer, Greeting::Leaves)? {
            return refused("can't leave until its peer process has received what was sent; try again later");
        }
        self.is_closed.store(true, Relaxed);
        Ok(())
    }

    /// Returns the handles that another process needs to get the endpoint.
    #[allow(clippy::unnecessary_wraps, reason = "on Windows the endpoint may be closed")]
    pub(in crate::channel) fn handles(&self) -> Result<[(Arc<Owned>, Rights); HANDLES]> {
        Ok([(self.socket.owner(), Rights::Same)])
    }

    /// Returns the peer as a sender of endpoints.
    pub(in crate::channel) fn carrier(&self) -> Option<Process> {
        self.process()
    }

    /// Notes that a child has got the endpoint.
    #[allow(clippy::unused_self, reason = "on Windows the process at the other endpoint is told")]
    pub(in crate::channel) fn departed_to(&self, _child: &Process) {}

    /// Receives the greetings in the buffer, and keeps the messages between them.
    fn receive_greetings(&self, receiving: &mut Receiving) -> Result<()> {
        while let Some(arrived) = self.next_message(receiving)? {
            match arrived.envelope.frame_type {
                FrameType::Greeting(greeting) => self.greeted(receiving, greeting),
                _ => receiving.calls.keep(arrived),
            }
        }
        Ok(())
    }

    /// Returns whether the peer's endpoint has left the process that was its peer when `peer_changes` was the given number.
    /// A thread that finds the exit of that process asks, because the greeting may not be received yet.
    pub(super) fn has_left(&self, peer: u32) -> Result<bool> {
        let mut receiving = self.receiving.lock();
        // Otherwise the thread that waits receives it.
        if receiving.waiting == 0 {
            // They leave room for others, which may not have been read yet.
            self.receive_greetings(&mut receiving)?;
            while !receiving.buffer.is_full() && !receiving.calls.are_full() {
                let read = self.read(&mut receiving)?;
                self.receive_greetings(&mut receiving)?;
                if matches!(read, Read::Nothing | Read::End) {
                    break;
                }
            }
            self.publish(&mut receiving)?;
            receiving.tasks.wake_all();
        }
        Ok(self.peer_changes.load(Relaxed) != peer)
    }

    /// Makes this process use the endpoint again, which has not left it after all.
    pub(in crate::channel) fn stay(&self) {
        self.is_closed.store(false, Relaxed);
        let mut receiving = self.receiving.lock();
        receiving.asks = true;
        // Without it, only the peer process stays unknown.
        let _ = unix_socket::receive_credentials(self.socket.as_fd(), true);
        drop(receiving);
        self.owe(Greeting::Asks);
    }

    /// Sends a greeting as soon as it can be sent without waiting.
    fn owe(&self, greeting: Greeting) {
        self.owed.fetch_or(if greeting == Greeting::Asks { OWED_ASK } else { OWED_ANSWER }, Relaxed);
        self.settle();
    }

    /// Sends the greeting that this process still has to send, if no other thread or task sends. That one will do it.
    #[inline]
    pub(super) fn settle(&self) {
        if self.owes() && self.writer.tasks.are_none() {
            // A greeting may not come in the middle of a message.
            let writer = self.writer.take().filter(|writer| !writer.cut_off && writer.unfinished.is_none());
            if let Some(writer) = writer {
                self.settle_with(&writer);
            }
        }
    }

    /// Returns whether this process still has to send a greeting.
    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.owed.load(Relaxed) != 0
    }

    /// Sends the greeting that this process still has to send. Returns false if it can't be sent without waiting.
    pub(super) fn settle_with(&self, writer: &Writer) -> bool {
        let greeting = match self.owed.load(Relaxed) {
            0 => return true,
            OWED_ANSWER => Greeting::Answers,
            _ => Greeting::Asks,
        };
        // An error shows again in the next call, which reports it.
        let is_sent = self.greet(writer, greeting).unwrap_or(true);
        if is_sent {
            self.owed.store(0, Relaxed);
        }
        is_sent
    }

    /// Sends a greeting. Returns false if it can't be sent without waiting.
    fn greet(&self, writer: &Writer, kind: Greeting) -> Result<bool> {
        match unix_socket::send_with_credentials(self.socket.as_fd(), &greeting(kind, writer.next)) {
            Ok(is_sent) => Ok(is_sent),
            // The next receive returns what was sent before, and then the end.
            Err(error) if unix_socket::is_end(&error) => {
                self.note_reset(&error);
                Ok(true)
            }
            Err(source) => Err(self.failed()(source)),
        }
    }

    /// Learns the peer process from a greeting, which was just received.
    pub(super) fn greeted(&self, receiving: &mut Receiving, greeting: Greeting) {
        let sender = receiving.buffer.take_last_sender();
        // The peer process changes.
        receiving.tasks.wake_all();
        if greeting == Greeting::Leaves {
            receiving.buffer.accept_any_number();
            // For the greeting of the next process.
            let _ = unix_socket::receive_credentials(self.socket.as_fd(), true);
            return self.change_peer(Peer::Unopened { id: 0, has_exited: false });
        }
        match sender {
            Some(sender) => {
                receiving.asks = false;
                let _ = unix_socket::receive_credentials(self.socket.as_fd(), false);
                let id = sender.id;
                let peer = match unix_socket::process_of_sender(sender, self.socket.as_fd()) {
                    Ok(Ok(process)) => match self.process() {
                        // The known process has had this id since before the sender ran.
                        Some(known) if known.id() == id && unix_socket::is_running(known.handle()) => {
                            Peer::Known(known)
                        }
                        _ => Peer::Known(peers::process(process, id)),
                    },
                    Ok(Err(has_exited)) => Peer::Unopened { id, has_exited },
                    // Without a free descriptor, only the end of the connection tells of its exit.
                    Err(_) => Peer::Unopened { id, has_exited: false },
                };
                self.change_peer(peer);
                if greeting == Greeting::Asks {
                    self.owe(Greeting::Answers);
                }
            }
            // The kernel adds credentials only once they were asked for.
            None if greeting == Greeting::Asks && !receiving.asks => {
                receiving.asks = true;
                let _ = unix_socket::receive_credentials(self.socket.as_fd(), true);
                self.owe(Greeting::Asks);
            }
            None => {}
        }
    }

    fn change_peer(&self, peer: Peer) {
        self.peer_id.store(peer.id(), Relaxed);
        let before = std::mem::replace(&mut *self.peer.lock(), peer);
        self.peer_changes.fetch_add(1, Relaxed);
        let process = self.process();
        if let Some(readiness) = self.readiness.get() {
            let before = match &before {
                Peer::Known(process) => Some(process.handle()),
                Peer::Unopened { .. } => None,
            };
            // If the exit can't be watched, the end of the connection still shows.
            let _ = readiness.replace_process(before, process.as_ref().map(HasHandle::handle));
        }
        let _ = self.tell_process();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Weak;
    use std::time::Duration;

    use super::*;
    use crate::WaitSet;
    use crate::sys::wait::Target;
    use crate::wait::sealed::{ReadyCheck, Sealed as WaitTarget};
    use crate::wait::set::Memberships;
    use crate::wait::{Member, Waitable};

    const SOON: Duration = Duration::from_secs(20);

    /// A channel whose peer changes while a set asks for it.
    struct Moving<'a>(&'a Channel, &'a Process);

    impl WaitTarget for Moving<'_> {
        fn target(&self) -> Result<Target<'_>> {
            self.0.target()
        }

        fn member(&self) -> Result<Member> {
            let member = self.0.member();
            let _receiving = self.0.endpoint.receiving.lock();
            self.0.endpoint.change_peer(Peer::Known(self.1.clone()));
            member
        }

        fn joined(&self) -> Result<()> {
            self.0.joined()
        }

        fn memberships(&self) -> &Memberships {
            self.0.memberships()
        }

        fn ready_check(&self) -> Option<Weak<dyn ReadyCheck>> {
            self.0.ready_check()
        }
    }

    impl Waitable for Moving<'_> {}

    #[test]
    fn set_watches_a_peer_that_comes_while_the_channel_joins() {
        let (one, _other) = Channel::pair().unwrap();
        // Each one ends with its standard input.
        let child = || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (mut before, mut after) = (child(), child());
        one.endpoint.change_peer(Peer::Known(Process::open(before.id()).unwrap()));
        let set = WaitSet::new().unwrap();
        set.add(7, &Moving(&one, &Process::open(after.id()).unwrap())).unwrap();
        drop(after.stdin.take());
        let ready: Vec<_> = set.wait(SOON).unwrap().map(|ready| ready.key()).collect();
        assert_eq!(ready, [7]);
        drop(before.stdin.take());
        before.wait().unwrap();
        after.wait().unwrap();
    }
}
