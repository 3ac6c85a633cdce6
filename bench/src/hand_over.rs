//! Handing objects to a process that runs, over a channel that is open, until its answer.

use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Message, Received};

use crate::Outcome;
use crate::measure::{Way, row, timed};
use crate::os::floor;

const DEADLINE: Duration = Duration::from_secs(30);

/// What this program does as the other process.
pub(crate) fn other_process(role: &str, arguments: &[String]) -> Outcome {
    match role {
        "--ours" => receive(|_| Ok(())),
        "--ours-taken" => receive(|message| {
            let names: Vec<String> = message.names().map(str::to_owned).collect();
            for name in names {
                message.take::<Event>(&name)?;
            }
            Ok(())
        }),
        "--floor" => floor::take_over(),
        #[cfg(feature = "peers")]
        "--ipc-channel" => crate::ipc_channel::other_process(&arguments[0]),
        #[cfg(feature = "peers")]
        "--peer" => crate::os::peer::other_process(&arguments[0]),
        other => Err(format!("{other} {arguments:?} is no role").into()),
    }
}

/// Answers each message, when all of its objects are closed.
fn receive(take: impl Fn(&mut Received) -> Outcome) -> Outcome {
    let channel = Channel::parent()?;
    loop {
        match channel.recv_timeout(DEADLINE) {
            Ok(mut message) => {
                take(&mut message)?;
                drop(message);
                channel.send(b"")?;
            }
            Err(Error::Closed { .. } | Error::PeerGone { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
}

/// This program in a role, until the result is dropped.
pub(crate) fn start(role: &str, prepare: impl FnOnce(&mut Command<'_>)) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    prepare(command.arg(role).kill_on_drop(true));
    Ok(command.spawn()?)
}

/// How many bytes ours sends beside so many objects of these names: its frame, which the floor need not have.
fn frame_length(names: &[String]) -> usize {
    20 + names.iter().map(|name| 1 + name.len()).sum::<usize>()
}

pub(crate) fn measure() -> Outcome {
    println!("\nSo many objects to a process that runs, until it answers:\n");
    let bare = floor::Bare::start()?;
    let (_closing, closed) = behind_channel("--ours")?;
    let (_taking, taken) = behind_channel("--ours-taken")?;
    #[cfg(feature = "peers")]
    let (ipc_channel, mut peer) = (crate::ipc_channel::IpcChannel::start()?, crate::os::peer::Peer::start()?);
    let mut with_head = true;
    for count in [1_usize, 8, 64, 100, 253] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let objects = floor::objects(&events);
        let length = frame_length(&names);
        let floor = || in_a_row(|| bare.hand_over(&objects, length));
        let ours = |channel| in_a_row(|| hand_over(channel, &names, &events));
        #[cfg_attr(not(feature = "peers"), allow(unused_mut))]
        let mut ways = vec![
            Way::new("C floor", floor),
            Way::new("ours", || ours(&closed)),
            Way::new("ours, each taken as an event", || ours(&taken)),
        ];
        #[cfg(feature = "peers")]
        {
            if let Some(peer) = &mut peer {
                ways.push(Way::new("ipmb", || in_a_row(|| peer.hand_over(&events))));
            }
            let memory = crate::ipc_channel::memory(count);
            let ipc_channel = &ipc_channel;
            ways.push(if count <= crate::os::peer::MOST_OF_IPC_CHANNEL {
                Way::new("ipc-channel", move || in_a_row(|| ipc_channel.hand_over(&memory)))
            } else {
                Way::missing("ipc-channel")
            });
        }
        row(count, ways, std::mem::take(&mut with_head))?;
    }
    Ok(())
}

/// How long one of them takes, among several in a row: after another way had its turn, the first finds nothing of its own
/// in the caches, which says more about the other way.
fn in_a_row(mut hand_over: impl FnMut() -> Outcome) -> Outcome<Duration> {
    const SO_MANY: u32 = 10;
    hand_over()?;
    let (time, ()) = timed(|| (0..SO_MANY).try_for_each(|_| hand_over()))?;
    Ok(time / SO_MANY)
}

fn behind_channel(role: &str) -> Outcome<(Child, Channel)> {
    let mut child = start(role, |command| {
        command.channel();
    })?;
    let channel = child.channel.take().ok_or("a channel was asked for")?;
    Ok((child, channel))
}

fn hand_over(channel: &Channel, names: &[String], events: &[Event]) -> Outcome {
    let named = names.iter().zip(events);
    channel.send(named.fold(Message::new(b""), |message, (name, event)| message.with(name, event)))?;
    channel.recv_timeout(DEADLINE)?;
    Ok(())
}
