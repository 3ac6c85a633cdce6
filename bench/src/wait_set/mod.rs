//! Measures one thread that serves many channels: the time from a message on one of them to its answer.

#[cfg(feature = "peers")]
mod ipc_channel;
mod ours;
pub(crate) mod pair;

use std::rc::Rc;

use self::pair::Pair;
use crate::Outcome;
use crate::measure::{Bench, Way, in_turn};
use crate::os::baseline;
use crate::os::wait_set::{FLOOR, MOST};
use crate::scaling::BESIDE;

/// The number of bytes in each message.
pub(crate) const LENGTH: usize = 64;
/// The number of channels that the other numbers are compared with, and of those that have messages in the other rows.
const FEW: usize = 10;

/// Sends a message on the channel with this index, and waits for the answer.
pub(crate) type RoundTrip = Box<dyn FnMut(usize) -> Outcome>;

/// Tells the parent process a text.
pub(crate) type Tell<'a> = &'a dyn Fn(&str) -> Outcome;

/// One way to serve many channels with one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// Runs in the server: tells the address for `connect`, accepts this number of channels, tells that it has all of
    /// them, and answers each message.
    pub(crate) serve: fn(usize, Tell<'_>) -> Outcome,
    /// Runs in the client: opens this number of channels to the address.
    pub(crate) connect: fn(&str, usize) -> Outcome<RoundTrip>,
}

/// Returns all ways, the floor first.
fn services() -> impl Iterator<Item = Service> {
    let services = FLOOR.into_iter().chain([ours::OURS]);
    #[cfg(feature = "peers")]
    let services = services.chain([ipc_channel::IPC_CHANNEL]);
    services
}

/// The number of channels, the number of those that have messages, and the name of the way.
type Label = (usize, usize, &'static str);

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let limit = baseline::raise_handle_limit(baseline::WANTED);
    let fitting =
        services().map(|service| Ok((service, most(&service, limit)?))).collect::<Outcome<Vec<_>>>()?;
    let ours = fitting.iter().find(|(service, _)| service.name == ours::OURS.name);
    let (_, ours) = *ours.expect("the ways contain handover");
    let wanted: &[usize] = if bench.effort.is_quick { &[FEW, 100] } else { &[FEW, 1_000, MOST] };
    let mut counts: Vec<usize> = wanted.iter().map(|count| ours.min(*count)).collect();
    counts.dedup();

    let (mut ways, mut labels): (Vec<Way<'_>>, Vec<Label>) = (Vec::new(), Vec::new());
    for &count in &counts {
        for (service, fitting) in &fitting {
            let pair = if count <= *fitting {
                let pair = Pair::start(service, count);
                Ok(Rc::new(pair.map_err(|error| format!("{}, {count}: {error}", service.name))?))
            } else {
                Err(format!("the system limits a process to {limit}"))
            };
            let mut actives = vec![FEW, count];
            actives.dedup();
            for active in actives {
                let name = format!("{} {active} of {count}", service.name);
                labels.push((count, active, service.name));
                ways.push(match pair.clone() {
                    Ok(pair) => Way::new(name, move || pair.round_trip(active)),
                    Err(reason) => Way::missing(name, reason),
                });
            }
        }
    }
    eprintln!("   … wait set, {counts:?} in turn");
    let (_, times) = in_turn(bench.effort, ways)?;
    let of = |label: Label| {
        let index = labels.iter().position(|other| *other == label);
        index.map(|index| &times[index]).expect("each label has times")
    };
    let mut add = |table, label: Label, base| {
        bench.time(table, &label.0.to_string(), label.2, of(label), of(base));
    };
    let floor = labels[0].2;
    let (mostly_silent, in_turn): (Vec<_>, Vec<_>) = labels.iter().partition(|(_, active, _)| *active == FEW);
    for &(count, active, name) in &mostly_silent {
        add("wait set", (count, active, name), (count, active, floor));
    }
    for &(count, active, name) in &mostly_silent {
        add("wait set, against that of 10", (count, active, name), (FEW, FEW, name));
    }
    for (count, active, name) in in_turn {
        add("wait set, in turn", (count, active, name), (count, active, floor));
    }
    Ok(())
}

/// Returns the largest number of channels that can be measured: one that fits into the limit of open handles of both
/// processes. It is rounded down to hundreds if it is less than `MOST`.
fn most(service: &Service, limit: usize) -> Outcome<usize> {
    const MORE: usize = 100;
    let few = Pair::start(service, FEW)?.handles()?;
    let more = Pair::start(service, FEW + MORE)?.handles()?;
    let each = more.iter().zip(few).map(|(more, few)| (more.saturating_sub(few) + MORE / 2) / MORE).max();
    let fitting = limit.saturating_sub(BESIDE) / each.unwrap_or(1).max(1);
    Ok(if fitting < MOST { (fitting / 100 * 100).max(FEW) } else { MOST })
}
