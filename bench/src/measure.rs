//! Medians, in turn.

use std::time::{Duration, Instant};

/// Times of several ways to do the same, by their place.
#[derive(Debug)]
pub(crate) struct Times<const N: usize>([Vec<Duration>; N]);

impl<const N: usize> Times<N> {
    pub(crate) fn new() -> Self {
        Self([const { Vec::new() }; N])
    }

    /// Does one thing and keeps how long it took.
    pub(crate) fn add<T>(&mut self, which: usize, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        self.0[which].push(started.elapsed());
        done
    }

    pub(crate) fn medians(self) -> [Duration; N] {
        self.0.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
    }
}

/// The order in which the ways are taken this time: each begins as often, and goes both ways round.
pub(crate) fn order<const N: usize>(round: usize) -> [usize; N] {
    std::array::from_fn(|place| {
        let place = if (round / N) % 2 == 0 { place } else { N - 1 - place };
        (place + round) % N
    })
}

pub(crate) fn ratio(time: Duration, floor: Duration) -> f64 {
    time.as_secs_f64() / floor.as_secs_f64()
}
