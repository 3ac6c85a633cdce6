//! Handing objects to a process that runs, over a channel that is open, until its answer.

use std::error::Error;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::time::Duration;

use handover::{Channel, Child, Command, Event, Message, Told};

use crate::floor;
use crate::measure::{Times, order, ratio};

const DEADLINE: Duration = Duration::from_secs(30);

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What this program does as the other process.
pub(crate) fn other_process(role: &str, arguments: &[String]) -> Outcome {
    match role {
        "--ours" => {
            let channel = Channel::parent()?;
            loop {
                match channel.recv_timeout(DEADLINE) {
                    Ok(mut message) => {
                        let names: Vec<String> = message.objects().map(|(name, _)| name.to_owned()).collect();
                        for name in names {
                            drop(message.take::<Event>(&name)?);
                        }
                        channel.send(b"")?;
                    }
                    Err(handover::Error::Closed { .. }) => return Ok(()),
                    Err(other) => return Err(other.into()),
                }
            }
        }
        "--floor" => {
            let pipe = |place| Told::argument(place)?.adopt::<OwnedHandle>();
            floor::take_over(&pipe(2)?, &pipe(3)?);
            Ok(())
        }
        #[cfg(feature = "peers")]
        "--ipmb" => crate::peers::ipmb_child(&arguments[0]),
        #[cfg(feature = "peers")]
        "--ipc-channel" => crate::peers::ipc_channel_child(&arguments[0]),
        other => Err(format!("{other} {arguments:?} is no role").into()),
    }
}

/// This program as the other process, over bare pipes.
struct Bare {
    child: Child,
    to: OwnedHandle,
    from: OwnedHandle,
}

impl Bare {
    fn start() -> Outcome<Self> {
        let ((childs_from, to), (from, childs_to)) = (floor::pipe(), floor::pipe());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg_handle("{from}").arg_handle("{to}").kill_on_drop(true);
        command.inherit("from", &childs_from).inherit("to", &childs_to);
        Ok(Self { child: command.spawn()?, to, from })
    }
}

fn start(role: &str) -> Outcome<(Child, Channel)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(role).kill_on_drop(true).channel().spawn()?;
    let channel = child.channel.take().ok_or("a channel was asked for")?;
    Ok((child, channel))
}

/// The crates to compare with, if they were built in.
#[cfg(feature = "peers")]
struct Peers {
    ipmb: crate::peers::Ipmb,
    ipc_channel: crate::peers::IpcChannel,
}

pub(crate) fn measure() -> Outcome {
    println!("\nSo many objects to a process that runs, until it answers:\n");
    println!("| objects | C floor | ours | ratio | ipmb | ratio | ipc-channel | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    let bare = Bare::start()?;
    let (_child, channel) = start("--ours")?;
    #[cfg(feature = "peers")]
    let mut peers =
        Peers { ipmb: crate::peers::Ipmb::start()?, ipc_channel: crate::peers::IpcChannel::start()? };
    for count in [1_usize, 8, 64, 253] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let objects: Vec<_> = events.iter().map(AsHandle::as_handle).collect();
        #[cfg(feature = "peers")]
        let memory = crate::peers::IpcChannel::memory(count);
        let mut times = Times::<4>::new();
        for round in 0..(8_000 / count).clamp(120, 1500) {
            for which in order::<4>(round) {
                times.add(which, || -> Outcome {
                    match which {
                        0 => {
                            floor::hand_over(bare.child.process(), &bare.to, &bare.from, &objects);
                        }
                        1 => {
                            let message = Message::new(b"");
                            let message = names
                                .iter()
                                .zip(&events)
                                .fold(message, |message, (name, event)| message.with(name, event));
                            channel.send(message)?;
                            channel.recv_timeout(DEADLINE)?;
                        }
                        #[cfg(feature = "peers")]
                        2 => peers.ipmb.hand_over(&events)?,
                        #[cfg(feature = "peers")]
                        3 => peers.ipc_channel.hand_over(&memory)?,
                        _ => {}
                    }
                    Ok(())
                })?;
            }
        }
        let [floor, rest @ ..] = times.medians();
        print!("| {count} | {floor:.1?} |");
        for time in rest {
            print!(" {time:.1?} | {:.2} |", ratio(time, floor));
        }
        println!();
    }
    Ok(())
}
