//! Runs the other processes: the peer, which answers requests until the test closes its channels, and the children.

use handover::{Channel, Error, Event, HandleValue, Message};

use crate::work::{Held, PATIENCE, answer, expect};
use crate::{Failure, Outcome};

pub(crate) fn process(role: &str, arguments: &[&str]) -> Outcome {
    match (role, arguments) {
        ("peer", [name, threads]) => peer(name, threads.parse()?),
        ("inherits", []) => inherits(),
        ("talks", []) => talks(),
        ("adopts", [_]) => adopts(),
        ("fails", []) => std::process::exit(7),
        ("lasts", []) => {
            std::thread::sleep(PATIENCE);
            Ok(())
        }
        _ => Err("the role or its arguments are unknown".into()),
    }
}

/// Runs a thread for each thread of the test. Each thread returns when the test closes its channel.
fn peer(name: &str, threads: u64) -> Outcome {
    std::thread::scope(|scope| {
        let serve = || {
            let channel = Channel::connect_timeout(name, PATIENCE)?;
            let mut held = Held::default();
            loop {
                match channel.recv_timeout(PATIENCE) {
                    Ok(message) => answer(&channel, &mut held, message)?,
                    Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
                    // The test's thread may be busy with children that take longer than the timeout.
                    Err(Error::TimedOut { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        };
        // Prints an error at once, because the other threads may continue for long.
        let serve_and_report =
            move || serve().inspect_err(|error: &Failure| eprintln!("soak, as peer: {error}"));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(serve_and_report)).collect();
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
    let message = channel.recv_timeout(PATIENCE)?;
    expect(&message, b"go")?;
    message.take::<Event>("event")?.set()?;
    let back = Event::manual_reset()?;
    back.set()?;
    channel.send(Message::new(b"done").with("back", &back))?;
    Ok(())
}

#[allow(
    unsafe_code,
    reason = "the parent passes a plain handle value, as to a program that doesn't use the library"
)]
fn adopts() -> Outcome {
    let value = HandleValue::from_arg(3)?;
    // SAFETY: the parent let this process inherit the handle and passed its value as argument 3. Only this function
    // adopts that argument, and it runs once.
    let event: Event = unsafe { value.adopt() }?;
    Ok(event.set()?)
}
