//! The other processes: the peer, which answers as long as the soak lasts, and the children.

use handover::{Channel, Error, Event, HandleValue, Message};

use crate::work::{PATIENCE, answer, expect};
use crate::{Failure, Outcome};

pub(crate) fn process(role: &str, arguments: &[&str]) -> Outcome {
    match (role, arguments) {
        ("peer", [name, threads]) => peer(name, threads.parse()?),
        ("inherits", []) => inherits(),
        ("talks", []) => talks(),
        ("told", [_]) => told(),
        ("fails", []) => std::process::exit(7),
        ("lasts", []) => {
            std::thread::sleep(PATIENCE);
            Ok(())
        }
        _ => Err("no such role".into()),
    }
}

/// A thread for each thread over there. It ends when the soak lets go of it.
fn peer(name: &str, threads: u64) -> Outcome {
    std::thread::scope(|scope| {
        let serve = || {
            let channel = Channel::connect_timeout(name, PATIENCE)?;
            let mut held: Option<Event> = None;
            loop {
                match channel.recv_timeout(PATIENCE) {
                    Ok(message) => answer(&channel, &mut held, message)?,
                    Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
                    // Another thread may have children that take long.
                    Err(Error::TimedOut { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        };
        // Said at once: the other threads go on.
        let said = move || serve().inspect_err(|error: &Failure| eprintln!("soak, as peer: {error}"));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(said)).collect();
        let mut outcome: Outcome = Ok(());
        for thread in threads {
            outcome = outcome.and(thread.join().map_err(|_| "a thread of the peer panicked")?);
        }
        outcome
    })
}

fn inherits() -> Outcome {
    let inherited = handover::inherited()?;
    let names = inherited.names();
    for name in &names {
        inherited.take::<Event>(name)?.set()?;
    }
    println!("{}", names.len());
    Ok(())
}

fn talks() -> Outcome {
    let channel = Channel::parent()?;
    let mut message = channel.recv_timeout(PATIENCE)?;
    expect(&message, b"go")?;
    message.take::<Event>("event")?.set()?;
    let back = Event::manual_reset()?;
    back.set()?;
    channel.send(Message::new(b"done").with("back", &back))?;
    Ok(())
}

#[allow(unsafe_code, reason = "the value comes by hand, as to a program that doesn't know the library")]
fn told() -> Outcome {
    let value = HandleValue::from_arg(3)?;
    // SAFETY: the parent let this process inherit the handle and passed its value, and nothing else here owns it.
    let event: Event = unsafe { value.adopt() }?;
    Ok(event.set()?)
}
