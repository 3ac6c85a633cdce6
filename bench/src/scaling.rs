//! What becomes of the cost as there is more of everything.

use std::time::Duration;

use handover::{Channel, Event, OwnedHandle};

use crate::measure::{Bench, Times, Way, in_turn, timed};
use crate::os::baseline;
use crate::receive::{ANSWER, Behind, KEEP};
use crate::{Outcome, hand_over, memory, spawn};

const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// What the others are compared with.
const FLAT_FROM: usize = 1_000;
/// Every how manieth message is answered, so that less is under way than the system lets be.
const WINDOW: usize = 32;
/// What a process has besides.
const BESIDE: usize = 300;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let room = baseline::room(baseline::WANTED);
    per_object(bench, room)?;
    memory::measure(bench)?;
    as_the_parent_holds(bench, room)
}

/// Hands so many objects over, in messages of as many as fit; the receiver closes them as they come, or keeps them.
fn per_object(bench: &mut Bench, room: usize) -> Outcome {
    let bare = baseline::Bare::start()?;
    let ours = Behind::start("ours")?;
    let (names, events) = hand_over::objects(Channel::MAX_OBJECTS)?;
    let objects = baseline::objects(&events);
    let by_floor = |count: usize, what| {
        bare.hand_over(&objects[..count], hand_over::frame_length(&names[..count]), what)
    };
    let by_us = |count: usize, what| ours.hand_over(&names[..count], &events[..count], what);
    let counts = if bench.effort.is_quick { &COUNTS[..4] } else { &COUNTS };

    let (mut ways, mut labels) = (Vec::new(), Vec::new());
    for &count in counts {
        let fits = count + BESIDE <= room;
        let no_room = || format!("the system lets a process have {room}");
        for (name, keep) in [("C floor", 0), ("ours", 0), ("C floor, kept", KEEP), ("ours, kept", KEEP)] {
            let give: &dyn Fn(usize, u8) -> Outcome =
                if name.starts_with("ours") { &by_us } else { &by_floor };
            labels.push((count, name));
            ways.push(if keep == 0 || fits {
                Way::new(format!("{name} {count}"), move || each_of(count, keep, give))
            } else {
                Way::missing(format!("{name} {count}"), no_room())
            });
        }
    }
    eprintln!("   … cost per object, {counts:?} in turn");
    let (_, times) = in_turn(bench.effort.with_at_least(25), ways)?;
    let of = |count, name| {
        let place = labels.iter().position(|label| *label == (count, name));
        place.map(|place| &times[place]).expect("each was measured")
    };
    let nobody: Times = Err("nothing to compare with".into());
    for &(count, name) in &labels {
        let floor = if name.ends_with("kept") { "C floor, kept" } else { "C floor" };
        bench.time("per object", &count.to_string(), name, of(count, name), of(count, floor));
    }
    for &(count, name) in &labels {
        let base = of(FLAT_FROM, name);
        let base = if base.is_ok() { base } else { &nobody };
        bench.time("per object, against that of 1,000", &count.to_string(), name, of(count, name), base);
    }
    Ok(())
}

/// How long one of so many takes.
fn each_of(count: usize, keep: u8, give: &dyn Fn(usize, u8) -> Outcome) -> Outcome<Duration> {
    // What is small is done several times, or the clock would be measured.
    let times = (200 / count).max(1);
    give(1, ANSWER)?;
    let (time, ()) = timed(|| {
        for _ in 0..times {
            let mut left = count;
            for message in 1.. {
                let now = left.min(Channel::MAX_OBJECTS);
                left -= now;
                let answered = left == 0 || message % WINDOW == 0;
                give(now, keep | if answered { ANSWER } else { 0 })?;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(())
    })?;
    // One that isn't kept lets all go.
    give(1, ANSWER)?;
    Ok(time.div_f64((times * count) as f64))
}

/// A child without objects, of a parent that has so many handles of its own.
fn as_the_parent_holds(bench: &mut Bench, room: usize) -> Outcome {
    let event = [Event::manual_reset()?];
    let mut held: Vec<OwnedHandle> = Vec::new();
    let counts: &[usize] = if bench.effort.is_quick { &[10, 1_000] } else { &[10, 1_000, 10_000, 100_000] };
    for &count in counts {
        let count_now = count.min(room.saturating_sub(BESIDE));
        while held.len() < count_now {
            held.push(baseline::objects(&event)[0].try_clone_to_owned()?);
        }
        let label = if count_now < count { format!("{count_now}, no more") } else { count.to_string() };
        bench.compare("spawn beside handles", label, spawn::ways(&[])?)?;
        if count_now < count {
            break;
        }
    }
    Ok(())
}
