//! Measures many objects in flight at once: sent over many channels before the first one is received, and then received
//! and kept.

mod ours;

use std::rc::Rc;
use std::time::Duration;

use handover::Event;

use crate::measure::{Bench, Way, in_turn};
use crate::os::baseline;
use crate::os::in_flight::{FLOOR, time_worked};
use crate::peer_process::{ChannelPeer, DEADLINE, until_closed};
use crate::{Outcome, hand_over};

/// The numbers of objects. The others are compared with the first.
const COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
/// The number of objects in each message. Each channel has one message.
pub(crate) const IN_MESSAGE: usize = 100;
/// The number of channels of one receiver. Its objects must fit into its limit of open handles.
pub(crate) const CHANNELS: usize = 100;

/// One way to send objects to processes that keep them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// Starts a process that runs `receive`, with `CHANNELS` channels to it. Its messages have these objects, with
    /// these names.
    pub(crate) start: fn(&Rc<Objects>) -> Outcome<Receiver>,
    /// Runs in the receiver, and returns its channels.
    pub(crate) receive: fn(&handover::Channel) -> Outcome<Box<dyn Receive>>,
}

/// The objects of each message.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) names: Vec<String>,
    pub(crate) events: Vec<Event>,
}

/// A process that receives and keeps objects.
pub(crate) struct Receiver {
    /// Tells the process what to do, and isn't measured.
    pub(crate) control: ChannelPeer,
    /// Sends the objects on the channel with this index.
    pub(crate) send: Box<dyn Fn(usize) -> Outcome>,
}

/// The channels of a receiver, and the objects that it keeps.
pub(crate) trait Receive {
    /// Receives one message from each of the first `channels`, and keeps its objects.
    fn receive(&mut self, channels: usize) -> Outcome;
    /// Closes all objects.
    fn close(&mut self);
}

/// The whole work, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    All,
    Sending,
    Receiving,
    Closing,
}

const STEPS: [(&str, Step); 4] = [
    ("", Step::All),
    (", sending", Step::Sending),
    (", receiving", Step::Receiving),
    (", closing", Step::Closing),
];

/// Returns all ways, the floor first.
fn services() -> impl Iterator<Item = Service> {
    FLOOR.into_iter().chain([ours::OURS])
}

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const TABLE: &str = "in flight, against that of 1,000";
    baseline::raise_handle_limit(baseline::WANTED);
    let counts = if bench.effort.is_quick { &COUNTS[..1] } else { &COUNTS };
    let (names, events) = hand_over::objects(IN_MESSAGE)?;
    let objects = Rc::new(Objects { names, events });
    let receivers = counts.iter().max().map_or(0, |most| most.div_ceil(IN_MESSAGE * CHANNELS));
    let (mut ways, mut labels) = (Vec::new(), Vec::new());
    for service in services() {
        let receivers: Outcome<Vec<Receiver>> = (0..receivers).map(|_| (service.start)(&objects)).collect();
        let receivers = Rc::new(receivers.map_err(|error| format!("{}: {error}", service.name))?);
        for &count in counts {
            // The first messages on a channel do more work than later ones.
            time_of(&receivers, count, Step::Sending)?;
            for (name, step) in STEPS {
                let name = format!("{}{name}", service.name);
                let receivers = Rc::clone(&receivers);
                ways.push(Way::new(format!("{name} {count}"), move || time_of(&receivers, count, step)));
                labels.push((count, name));
            }
        }
    }
    eprintln!("   … objects in flight, {counts:?} in turn");
    let (_, times) = in_turn(bench.effort.with_at_least(25), ways)?;
    for ((count, name), time) in labels.iter().zip(&times) {
        let first = labels.iter().position(|(other, same)| *other == COUNTS[0] && same == name);
        let base = &times[first.expect("each way has the first number")];
        bench.time(TABLE, &count.to_string(), name, time, base);
    }
    Ok(())
}

/// Sends objects, so that all of them are in flight, then lets all of them be received, and then closes them. Returns the
/// processor time for each message.
fn time_of(receivers: &[Receiver], count: usize, step: Step) -> Outcome<Duration> {
    // Small numbers are sent several times, because the processes have to wake up.
    let times = (COUNTS[1] / count).max(1);
    let messages = count / IN_MESSAGE;
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let filled = |index: usize| messages.saturating_sub(index * CHANNELS).min(CHANNELS);
        let used = || receivers.iter().enumerate().map(|(index, one)| (one, filled(index)));
        let used = || used().take_while(|(_, channels)| *channels > 0);
        let sending = working(|| {
            for (receiver, channels) in used() {
                (0..channels).try_for_each(|channel| (receiver.send)(channel))?;
            }
            Ok(())
        })?;
        let (mut receiving, mut closing) = (Duration::ZERO, Duration::ZERO);
        for (receiver, channels) in used() {
            receiving += receiver.ask(channels)?;
        }
        for (receiver, _) in used() {
            closing += receiver.ask(0)?;
        }
        total += match step {
            Step::All => sending + receiving + closing,
            Step::Sending => sending,
            Step::Receiving => receiving,
            Step::Closing => closing,
        };
    }
    Ok(total.div_f64((times * messages) as f64))
}

/// Returns the processor time of work that never waits. Other programs on the same core stretch the real time of long work
/// more than that of short work.
fn working(work: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let before = time_worked();
    work()?;
    Ok(time_worked() - before)
}

impl Receiver {
    /// Lets the process receive from this number of channels, or close its objects if the number is 0. Returns the time
    /// that it took there.
    fn ask(&self, channels: usize) -> Outcome<Duration> {
        self.control.channel.send(u64::try_from(channels)?.to_le_bytes().to_vec())?;
        let answer = self.control.channel.recv_timeout(DEADLINE)?;
        Ok(Duration::from_nanos(u64::from_le_bytes(answer.bytes().try_into()?)))
    }
}

/// Runs as the receiver.
pub(crate) fn other_process(name: &str) -> Outcome {
    let parent = handover::Channel::parent()?;
    let service = services().find(|service| service.name == name);
    let service = service.ok_or_else(|| format!("no service has the name {name}"))?;
    let mut receiver = (service.receive)(&parent)?;
    while let Some(request) = until_closed(parent.recv_timeout(DEADLINE))? {
        let channels = usize::try_from(u64::from_le_bytes(request.bytes().try_into()?))?;
        let time = working(|| {
            if channels > 0 {
                return receiver.receive(channels);
            }
            receiver.close();
            Ok(())
        })?;
        parent.send(u64::try_from(time.as_nanos())?.to_le_bytes().to_vec())?;
    }
    Ok(())
}
