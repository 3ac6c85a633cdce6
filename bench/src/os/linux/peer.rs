//! Who else can do it here: command-fds starts children with descriptors, sendfd, ipmb and ipc-channel send them.

#![allow(unsafe_code, reason = "ipmb and sendfd deal in numbers")]

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use command_fds::CommandFdExt;
use handover::{Child, Command, Event, HandleValue};
use sendfd::{RecvWithFd, SendWithFd};

use crate::Outcome;
use crate::hand_over::Giver;
use crate::ipc_channel::{self, IpcChannel};
use crate::ipmb::Ipmb;
use crate::measure::{Way, timed};
use crate::spawn::{ended_well, settle};

/// ipc-channel sends no more descriptors in one message, and says so by a panic.
const MOST_OF_IPC_CHANNEL: usize = 64;
/// ipmb has room for the control data of so many where it receives.
const MOST_OF_IPMB: usize = 4;

/// Starting the program with the objects, as other crates do.
pub(crate) fn spawns<'a>(program: &Path, events: &[Event]) -> Outcome<Vec<Way<'a>>> {
    let own: Result<Vec<OwnedFd>, _> =
        events.iter().map(|event| event.as_fd().try_clone_to_owned()).collect();
    let mut command = std::process::Command::new(program);
    command.preserved_fds(own?);
    let started = move || {
        settle();
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        ended_well(child.wait()?)?;
        Ok(time)
    };
    Ok(vec![Way::new("command-fds", started)])
}

/// Processes that others' ways lead to.
pub(crate) struct Givers {
    sendfd: (UnixStream, Child),
    ipmb: RefCell<Ipmb>,
    ipc_channel: IpcChannel,
}

impl Givers {
    pub(crate) fn start() -> Outcome<Self> {
        let (mine, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", "sendfd"]).arg_handle("{socket}").inherit("socket", &theirs).kill_on_drop(true);
        Ok(Self {
            sendfd: (mine, command.spawn()?),
            ipmb: RefCell::new(Ipmb::start()?),
            ipc_channel: IpcChannel::start()?,
        })
    }

    /// Handing these objects over, beside so many bytes where the caller says how many.
    pub(crate) fn of<'a>(&'a self, events: &'a [Event], length: usize) -> Vec<Giver<'a>> {
        let memory = ipc_channel::memory(events.len());
        let numbers: Vec<RawFd> = events.iter().map(|event| event.as_fd().as_raw_fd()).collect();
        let mut bytes = vec![0; length];
        let by_sendfd = move |answer: bool| {
            let mut socket = &self.sendfd.0;
            bytes[0] = u8::from(answer);
            let sent = socket.send_with_fd(&bytes, &numbers)?;
            assert_eq!(sent, bytes.len(), "a few bytes go at once");
            if answer {
                std::io::Read::read_exact(&mut socket, &mut [0])?;
            }
            Ok(())
        };
        let fits = |most: usize| {
            if events.len() <= most { Ok(()) } else { Err(format!("{most} in one message at most")) }
        };
        vec![
            Giver { name: "sendfd", give: Ok(Box::new(by_sendfd)) },
            Giver {
                name: "ipmb",
                give: fits(MOST_OF_IPMB).map(|()| -> Box<dyn FnMut(bool) -> Outcome> {
                    Box::new(|answer| self.ipmb.borrow_mut().hand_over(events, answer))
                }),
            },
            Giver {
                name: "ipc-channel",
                give: fits(MOST_OF_IPC_CHANNEL).map(|()| -> Box<dyn FnMut(bool) -> Outcome> {
                    Box::new(move |answer| self.ipc_channel.hand_over(&memory, answer))
                }),
            },
        ]
    }
}

/// An event as ipmb takes it.
pub(crate) fn object(event: &Event) -> Outcome<ipmb::Object> {
    let copy = event.as_fd().try_clone_to_owned()?.into_raw_fd();
    // SAFETY: the duplicate was made just now, and nobody else owns it.
    Ok(unsafe { ipmb::Object::from_raw(copy) })
}

pub(crate) fn other_process(role: &str, _: &[&str]) -> Outcome {
    if role != "sendfd" {
        return Err(format!("{role} is no role").into());
    }
    let value = HandleValue::from_arg(3)?;
    // SAFETY: the parent let this process inherit the socket and passed its number, and nothing else here owns it.
    #[allow(unsafe_code, reason = "the number comes by hand")]
    let socket: OwnedFd = unsafe { value.adopt() }?;
    let mut socket = UnixStream::from(socket);
    let (mut bytes, mut numbers) = (vec![0; 64 * 1024], vec![-1; 253]);
    loop {
        // Descriptors end a read, so each message comes alone.
        let (length, count) = socket.recv_with_fd(&mut bytes, &mut numbers)?;
        if length == 0 {
            return Ok(());
        }
        for number in &numbers[..count] {
            // SAFETY: the descriptor came just now, and nobody else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(*number) });
        }
        if bytes[0] == 1 {
            std::io::Write::write_all(&mut socket, &[0])?;
        }
    }
}
