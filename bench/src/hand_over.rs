//! Handing objects to a process that runs, over a channel that is open.

use std::time::Duration;

use handover::Event;

use crate::Outcome;
use crate::measure::{Bench, Reason, Way, timed};
use crate::os::baseline;
use crate::receive::{ANSWER, Behind};

/// One who hands objects over. It is told whether to wait for an answer.
pub(crate) struct Giver<'a> {
    pub(crate) name: &'static str,
    pub(crate) give: Result<Box<dyn FnMut(bool) -> Outcome + 'a>, Reason>,
}

/// How many times in a row: after another way had its turn, the first finds nothing of its own in the caches, which says
/// more about the other way.
const IN_A_ROW: u32 = 10;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    baseline::room(baseline::WANTED);
    let bare = baseline::Bare::start()?;
    let others = baseline::Bare::start_others()?;
    let (closing, taking) = (Behind::start("ours")?, Behind::start("ours-taken")?);
    #[cfg(feature = "peers")]
    let peers = crate::os::peer::Givers::start()?;
    for (table, is_one_way) in [("hand-over, answered", false), ("hand-over, one way", true)] {
        for count in [1_usize, 8, 64, 253] {
            let (names, events) = objects(count)?;
            let objects = baseline::objects(&events);
            let length = frame_length(&names);
            let ours = |behind: &Behind, answer| behind.hand_over(&names, &events, u8::from(answer));
            let mut givers = vec![
                Giver {
                    name: "C floor",
                    give: Ok(Box::new(|answer| bare.hand_over(&objects, length, u8::from(answer)))),
                },
                Giver { name: "ours", give: Ok(Box::new(|answer| ours(&closing, answer))) },
                Giver { name: "ours, taken", give: Ok(Box::new(|answer| ours(&taking, answer))) },
            ];
            for (name, bare) in &others {
                let objects = &objects;
                let give = move |answer| bare.hand_over(objects, length, u8::from(answer));
                givers.insert(1, Giver { name, give: Ok(Box::new(give)) });
            }
            #[cfg(feature = "peers")]
            givers.extend(peers.of(&events, length));
            let ways = givers.into_iter().map(|giver| match giver.give {
                Ok(give) if is_one_way => Way::new(giver.name, one_way(give)),
                Ok(give) => Way::new(giver.name, answered(give)),
                Err(why) => Way::missing(giver.name, why),
            });
            bench.compare(table, count, ways.collect())?;
        }
    }
    Ok(())
}

/// So many events, and their names.
pub(crate) fn objects(count: usize) -> Outcome<(Vec<String>, Vec<Event>)> {
    let events = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
    Ok(((0..count).map(|number| number.to_string()).collect(), events))
}

/// How many bytes ours sends beside so many objects of these names: its frame, which the floor need not have.
pub(crate) fn frame_length(names: &[String]) -> usize {
    21 + names.iter().map(|name| 1 + name.len()).sum::<usize>()
}

/// Each waits for its answer.
fn answered(mut give: impl FnMut(bool) -> Outcome) -> impl FnMut() -> Outcome<Duration> {
    move || {
        give(true)?;
        let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| give(true)))?;
        Ok(time / IN_A_ROW)
    }
}

/// The last alone is answered, when all have come.
fn one_way(mut give: impl FnMut(bool) -> Outcome) -> impl FnMut() -> Outcome<Duration> {
    move || {
        give(true)?;
        let (time, ()) = timed(|| (1..=IN_A_ROW).try_for_each(|number| give(number == IN_A_ROW)))?;
        Ok(time / IN_A_ROW)
    }
}

const _: () = assert!(ANSWER == 1, "whether an answer is waited for, as a number");
