//! Measures how the cost changes with the number of objects, channels and open handles.

use std::time::Duration;

use handover::{Channel, Event, OwnedHandle};

use crate::measure::{Bench, Times, Way, in_turn, timed};
use crate::os::baseline;
use crate::peer_process::{ANSWER, ChannelPeer, KEEP};
use crate::{Outcome, hand_over, memory, spawn};

const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// The number of objects that the other numbers are compared with.
const FLAT_FROM: usize = 1_000;
/// Every 32nd message is answered, so that the unreceived messages stay below the system's limit.
const WINDOW: usize = 32;
/// The number of handles that a process may need for other purposes.
pub(crate) const BESIDE: usize = 300;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let limit = baseline::raise_handle_limit(baseline::WANTED);
    per_object(bench, limit)?;
    memory::measure(bench)
}

/// Measures the time per object when many are sent, in messages with as many objects as fit. The receiver closes the
/// objects of each message at once, or keeps them.
fn per_object(bench: &mut Bench, limit: usize) -> Outcome {
    let floor = baseline::FloorPeer::start()?;
    let ours = ChannelPeer::start("handover")?;
    let (names, events) = hand_over::objects(Channel::MAX_OBJECTS)?;
    let objects = baseline::objects(&events);
    let by_floor = |count: usize, flags| {
        floor.send_objects(&objects[..count], hand_over::frame_length(&names[..count]), flags)
    };
    let by_us = |count: usize, flags| ours.send_objects(&names[..count], &events[..count], flags);
    let counts = if bench.effort.is_quick { &COUNTS[..4] } else { &COUNTS };

    let (mut ways, mut labels) = (Vec::new(), Vec::new());
    for &count in counts {
        let fits = count + BESIDE <= limit;
        let limit_reason = || format!("the system limits a process to {limit}");
        for (name, keep) in
            [("C floor", 0), ("handover", 0), ("C floor, kept", KEEP), ("handover, kept", KEEP)]
        {
            let send: &dyn Fn(usize, u8) -> Outcome =
                if name.starts_with("handover") { &by_us } else { &by_floor };
            labels.push((count, name));
            ways.push(if keep == 0 || fits {
                Way::new(format!("{name} {count}"), move || time_per_object(count, keep, send))
            } else {
                Way::missing(format!("{name} {count}"), limit_reason())
            });
        }
    }
    eprintln!("   … cost per object, {counts:?} in turn");
    let (_, times) = in_turn(bench.effort.with_at_least(25), ways)?;
    let of = |count, name| {
        let index = labels.iter().position(|label| *label == (count, name));
        index.map(|index| &times[index]).expect("each label has times")
    };
    let no_base: Times = Err("nothing to compare with".into());
    for &(count, name) in &labels {
        let floor = if name.ends_with("kept") { "C floor, kept" } else { "C floor" };
        bench.time("per object", &count.to_string(), name, of(count, name), of(count, floor));
    }
    for &(count, name) in &labels {
        let base = of(FLAT_FROM, name);
        let base = if base.is_ok() { base } else { &no_base };
        bench.time("per object, against that of 1,000", &count.to_string(), name, of(count, name), base);
    }
    Ok(())
}

/// Returns the time per object when `count` are sent.
fn time_per_object(count: usize, keep: u8, send: &dyn Fn(usize, u8) -> Outcome) -> Outcome<Duration> {
    // Small numbers are sent several times, because the clock is too coarse for one.
    let times = (200 / count).max(1);
    send(1, ANSWER)?;
    let (time, ()) = timed(|| {
        for _ in 0..times {
            let mut left = count;
            for message in 1.. {
                let now = left.min(Channel::MAX_OBJECTS);
                left -= now;
                let answered = left == 0 || message % WINDOW == 0;
                send(now, keep | if answered { ANSWER } else { 0 })?;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(())
    })?;
    // A message without `KEEP` makes the receiver close all kept objects.
    send(1, ANSWER)?;
    Ok(time.div_f64((times * count) as f64))
}

/// Measures spawning a child without objects while the parent has many running children.
pub(crate) fn spawn_beside_children(bench: &mut Bench) -> Outcome {
    let limit = baseline::raise_handle_limit(baseline::WANTED);
    let mut running = Vec::new();
    let counts: &[usize] = if bench.effort.is_quick { &[1, 10] } else { &[10, 100, 1_000] };
    for &count in counts {
        // Each child with its channel takes a few handles.
        if count * 4 + BESIDE > limit {
            break;
        }
        while running.len() < count {
            running.push(ChannelPeer::start("handover")?);
        }
        bench.compare("spawn beside children", count, spawn::ways(&[])?)?;
    }
    Ok(())
}

/// Measures spawning a child without objects while the parent has many open handles.
pub(crate) fn spawn_beside_handles(bench: &mut Bench) -> Outcome {
    let limit = baseline::raise_handle_limit(baseline::WANTED);
    let event = [Event::manual_reset()?];
    let mut held: Vec<OwnedHandle> = Vec::new();
    let counts: &[usize] = if bench.effort.is_quick { &[10, 1_000] } else { &[10, 1_000, 10_000, 100_000] };
    for &count in counts {
        let possible = count.min(limit.saturating_sub(BESIDE));
        while held.len() < possible {
            held.push(baseline::objects(&event)[0].try_clone_to_owned()?);
        }
        let label = if possible < count { format!("{possible} (the limit)") } else { count.to_string() };
        bench.compare("spawn beside handles", label, spawn::ways(&[])?)?;
        if possible < count {
            break;
        }
    }
    Ok(())
}
