//! Measures the other crates on Linux: command-fds starts children with descriptors; sendfd, ipmb and ipc-channel send
//! them.

#![allow(unsafe_code, reason = "ipmb and sendfd take and return raw descriptors")]

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use command_fds::CommandFdExt;
use handover::{Child, Command, Event, HandleValue};
use sendfd::{RecvWithFd, SendWithFd};

use crate::Outcome;
use crate::ipc_channel::{self, IpcChannel};
use crate::ipmb::Ipmb;
use crate::measure::{Way, check_success, settle, timed};
use crate::peer_process::ObjectSender;

/// The maximum number of descriptors in a message of ipc-channel, which panics if there are more.
const IPC_CHANNEL_MAX_OBJECTS: usize = 64;
/// The maximum number of descriptors in a message of ipmb: its receive buffer has no space for more.
const IPMB_MAX_OBJECTS: usize = 4;

/// Returns the ways that other crates have to start the program with the objects.
pub(crate) fn spawns<'a>(program: &Path, events: &[Event]) -> Outcome<Vec<Way<'a>>> {
    let duplicates: Result<Vec<OwnedFd>, _> =
        events.iter().map(|event| event.as_fd().try_clone_to_owned()).collect();
    let mut command = std::process::Command::new(program);
    command.preserved_fds(duplicates?);
    let time_spawn = move || {
        settle();
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        check_success(child.wait()?)?;
        Ok(time)
    };
    Ok(vec![Way::new("command-fds", time_spawn)])
}

/// The other crates that can send objects, each with a started process to send to.
pub(crate) struct PeerSenders {
    sendfd: (UnixStream, Child),
    ipmb: RefCell<Ipmb>,
    ipc_channel: IpcChannel,
}

impl PeerSenders {
    pub(crate) fn start() -> Outcome<Self> {
        let (socket, child_socket) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--as", "sendfd"])
            .arg_handle("{socket}")
            .inherit("socket", &child_socket)
            .kill_on_drop(true);
        Ok(Self {
            sendfd: (socket, command.spawn()?),
            ipmb: RefCell::new(Ipmb::start()?),
            ipc_channel: IpcChannel::start()?,
        })
    }

    /// Returns the ways to send these objects. sendfd sends `length` bytes with them; ipmb and ipc-channel choose the
    /// bytes themselves.
    pub(crate) fn of<'a>(&'a self, events: &'a [Event], length: usize) -> Vec<ObjectSender<'a>> {
        let memory = ipc_channel::memory(events.len());
        let numbers: Vec<RawFd> = events.iter().map(|event| event.as_fd().as_raw_fd()).collect();
        let mut bytes = vec![0; length];
        let by_sendfd = move |answer: bool| {
            let mut socket = &self.sendfd.0;
            bytes[0] = u8::from(answer);
            let sent = socket.send_with_fd(&bytes, &numbers)?;
            assert_eq!(sent, bytes.len(), "a small message is sent in one call");
            if answer {
                std::io::Read::read_exact(&mut socket, &mut [0])?;
            }
            Ok(())
        };
        let fits = |maximum: usize| {
            if events.len() <= maximum { Ok(()) } else { Err(format!("at most {maximum} in one message")) }
        };
        vec![
            ObjectSender { name: "sendfd", send: Ok(Box::new(by_sendfd)) },
            ObjectSender {
                name: "ipmb",
                send: fits(IPMB_MAX_OBJECTS).map(|()| -> Box<dyn FnMut(bool) -> Outcome> {
                    Box::new(|answer| self.ipmb.borrow_mut().send_objects(events, answer))
                }),
            },
            ObjectSender {
                name: "ipc-channel",
                send: fits(IPC_CHANNEL_MAX_OBJECTS).map(|()| -> Box<dyn FnMut(bool) -> Outcome> {
                    Box::new(move |answer| self.ipc_channel.send_objects(&memory, answer))
                }),
            },
        ]
    }
}

/// Duplicates an event into an object of ipmb, which owns the duplicate.
pub(crate) fn object(event: &Event) -> Outcome<ipmb::Object> {
    let copy = event.as_fd().try_clone_to_owned()?.into_raw_fd();
    // SAFETY: `into_raw_fd` has just given up ownership of the duplicate, and no other value owns it.
    Ok(unsafe { ipmb::Object::from_raw(copy) })
}

pub(crate) fn other_process(role: &str, _: &[&str]) -> Outcome {
    if role != "sendfd" {
        return Err(format!("there is no role {role}").into());
    }
    let value = HandleValue::from_arg(3)?;
    // SAFETY: the parent let this process inherit the socket and passed its number as argument 3. Only this function
    // adopts that argument, and it runs once.
    #[allow(unsafe_code, reason = "the parent passes the raw descriptor")]
    let socket: OwnedFd = unsafe { value.adopt() }?;
    let mut socket = UnixStream::from(socket);
    let (mut bytes, mut numbers) = (vec![0; 64 * 1024], vec![-1; 253]);
    loop {
        // One read returns one message, because the kernel ends a read after the descriptors of a message.
        let (length, count) = socket.recv_with_fd(&mut bytes, &mut numbers)?;
        if length == 0 {
            return Ok(());
        }
        for number in &numbers[..count] {
            // SAFETY: `recv_with_fd` has just received this descriptor, and no other value owns it.
            drop(unsafe { OwnedFd::from_raw_fd(*number) });
        }
        if bytes[0] == 1 {
            std::io::Write::write_all(&mut socket, &[0])?;
        }
    }
}
