//! Threads, rounds, rests, and a deadline on all of it.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use handover::{Child, Command, Event, Listener, Process, Stdio};

use crate::options::{Leak, Options};
use crate::samples::{Sample, Soaked, When};
use crate::spawns::{FAILING, SPAWNS, Spawn};
use crate::work::{self, At, PATIENCE, REST, Random, Work, expect};
use crate::{Failure, Outcome, os};

/// How often is looked while the threads work.
const LOOK: Duration = Duration::from_millis(100);
/// How often is said how far it is, where there is no terminal to say it on all the time.
const SAY: Duration = Duration::from_secs(10);
/// After which time in which nothing went on there is no hope.
const STANDING_STILL: Duration = Duration::from_secs(120);
/// How long both processes may take to come to rest.
const COMING_TO_REST: Duration = Duration::from_secs(10);
/// How many spawns there are for one that fails on purpose.
const SPAWNS_FOR_A_FAILURE: u64 = 5;
/// What is left behind of memory with each hand-over, if that was asked for.
const LEFT: usize = 1024;

/// Why a run ended before its time.
#[derive(Debug)]
pub(crate) enum Stop {
    StoodStill(String),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What all threads count together.
#[derive(Debug, Default)]
struct Counts {
    hand_overs: AtomicU64,
    spawns: AtomicU64,
    failed_spawns: AtomicU64,
    /// Pieces of work, done or not.
    pieces: AtomicU64,
}

/// What one thread has to do up to the end of a round.
#[derive(Debug, Clone, Copy)]
struct Quota {
    hand_overs: u64,
    spawns: u64,
}

/// A thread, as the one that leads them sees it.
struct Worker {
    rounds: Sender<Quota>,
    rests: Receiver<Outcome>,
    /// The name of what it does, as its place in the list of all work.
    doing: std::sync::Arc<AtomicUsize>,
}

/// All that was seen, also if it ended early.
pub(crate) fn soak(options: &Options) -> (Soaked, Result<(), Stop>) {
    let mut soaked = Soaked { threads: options.threads, seed: options.seed, ..Soaked::default() };
    let ended = run(options, &mut soaked);
    (soaked, ended)
}

fn run(options: &Options, soaked: &mut Soaked) -> Result<(), Stop> {
    let started = Instant::now();
    let name = format!("handover-soak.{}", std::process::id());
    let mut listener = Listener::bind(&name)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--as", "peer", &name, &options.threads.to_string()]);
    let peer: Child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let counts = std::sync::Arc::new(Counts::default());
    let mut workers = Vec::new();
    for number in 0..options.threads {
        let channel = listener.accept_timeout(PATIENCE)?.accept()?;
        let doing = std::sync::Arc::new(AtomicUsize::new(0));
        let (rounds, my_rounds) = mpsc::channel();
        let (my_rests, rests) = mpsc::channel();
        let (counts, my_doing) = (std::sync::Arc::clone(&counts), std::sync::Arc::clone(&doing));
        let (name, seed, leak) = (format!("{name}.{number}"), options.seed + 1000 * number, options.leak);
        // Not waited for: one that stands still would be.
        std::thread::spawn(move || {
            let at = At { channel: &channel, random: Random::new(seed), name };
            let mut working =
                Working { at, all: work::all(), counts: &counts, doing: &my_doing, done: [0; 2], leak };
            let tour = working.tour();
            let _ = my_rests.send(tour);
            for quota in my_rounds {
                let _ = my_rests.send(working.round(quota));
            }
        });
        workers.push(Worker { rounds, rests, doing });
    }
    let this = Process::open_exact(Process::current_identity()?)?;
    let looking = Looking {
        started,
        processes: [&this, peer.process()],
        counts: &counts,
        is_terminal: std::io::stderr().is_terminal(),
        options,
    };
    let rounds = (options.hand_overs / options.threads / 40).clamp(24, 100);
    let mut patience = COMING_TO_REST;
    let mut last_said = Instant::now();
    for round in 0..=rounds {
        // The first is everything once.
        if round > 0 {
            for (number, worker) in (0..).zip(&workers) {
                let share = |all: u64| {
                    let mine = all / options.threads + u64::from(number < all % options.threads);
                    mine * round / rounds
                };
                let quota = Quota { hand_overs: share(options.hand_overs), spawns: share(options.spawns) };
                worker.rounds.send(quota).map_err(|_| "a thread has ended")?;
            }
        }
        let mut moved = (0, Instant::now());
        for worker in &workers {
            loop {
                match worker.rests.recv_timeout(LOOK) {
                    Ok(outcome) => break outcome?,
                    Err(RecvTimeoutError::Timeout) => {
                        soaked.samples.push(looking.look(When::AtWork)?);
                        looking.say(soaked, &mut last_said);
                        let pieces = counts.pieces.load(Relaxed);
                        if pieces != moved.0 {
                            moved = (pieces, Instant::now());
                        }
                        if moved.1.elapsed() > STANDING_STILL {
                            return Err(Stop::StoodStill(standing_still(&workers)));
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return Err("a thread panicked".into()),
                }
            }
        }
        soaked.failed_spawns = counts.failed_spawns.load(Relaxed);
        // Everything that is made once is there after the tour, and what allocators keep after a few rounds.
        let when = if round <= rounds / 10 { When::WarmUp } else { When::Rest };
        let expected = [0, 1].map(|process| soaked.handles_at_rest(process));
        let until = Instant::now() + patience;
        let sample = loop {
            let sample = looking.look(when)?;
            if expected[0].is_none() || sample.handles == expected {
                break sample;
            }
            if Instant::now() > until {
                // One such rest is enough to know; the others are for the picture.
                patience = Duration::ZERO;
                break sample;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        soaked.samples.push(sample);
        looking.say(soaked, &mut last_said);
    }
    if looking.is_terminal {
        eprintln!();
    }
    Ok(())
}

/// How it is looked, and said what was seen.
struct Looking<'a> {
    started: Instant,
    processes: [&'a Process; 2],
    counts: &'a Counts,
    is_terminal: bool,
    options: &'a Options,
}

impl Looking<'_> {
    fn look(&self, when: When) -> Outcome<Sample> {
        let is_at_rest = when != When::AtWork;
        let [this, peer] = self.processes;
        Ok(Sample {
            seconds: self.started.elapsed().as_secs_f64(),
            when,
            hand_overs: self.counts.hand_overs.load(Relaxed),
            spawns: self.counts.spawns.load(Relaxed),
            handles: [os::handles(this, is_at_rest)?, os::handles(peer, is_at_rest)?],
            memory: [os::memory(this)?, os::memory(peer)?],
        })
    }

    /// On a terminal, one line that changes; elsewhere, a line now and then.
    fn say(&self, soaked: &Soaked, last: &mut Instant) {
        let Some(sample) = soaked.samples.last() else { return };
        if !self.is_terminal && last.elapsed() < SAY {
            return;
        }
        *last = Instant::now();
        let at_rest = soaked.samples.iter().rev().find(|sample| sample.when != When::AtWork);
        let shown = |of: fn(&Sample) -> [Option<u64>; 2]| {
            let [this, peer] = at_rest.map(of).unwrap_or_default().map(Option::unwrap_or_default);
            format!("{this} and {peer}")
        };
        let line = format!(
            "{:5.0} s  {} of {} hand-overs  {} of {} spawns  at rest {} handles, {} KiB",
            sample.seconds,
            sample.hand_overs,
            self.options.hand_overs,
            sample.spawns,
            self.options.spawns,
            shown(|sample| sample.handles),
            shown(|sample| sample.memory.map(|bytes| Some(bytes / 1024))),
        );
        if self.is_terminal {
            eprint!("\r{line}\x1b[K");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

/// What each thread does while nothing goes on.
fn standing_still(workers: &[Worker]) -> String {
    let names: Vec<&str> = names().collect();
    let doing: Vec<&str> = workers.iter().map(|worker| names[worker.doing.load(Relaxed)]).collect();
    format!("nothing went on for {STANDING_STILL:?}; the threads are at: {}", doing.join(", "))
}

/// The names of all that a thread can do; the first is nothing.
fn names() -> impl Iterator<Item = &'static str> {
    let work = work::all().into_iter().map(|(name, _)| name);
    let spawns = SPAWNS.iter().chain(FAILING).map(|(name, _)| *name);
    ["rest"].into_iter().chain(work).chain(spawns)
}

/// What a thread has and has done.
struct Working<'a> {
    at: At<'a>,
    all: Vec<Work>,
    counts: &'a Counts,
    doing: &'a AtomicUsize,
    /// Hand-overs, and spawns.
    done: [u64; 2],
    leak: Option<Leak>,
}

impl Working<'_> {
    /// Everything once, so that what is made once is there.
    fn tour(&mut self) -> Outcome {
        for work in self.all.clone() {
            self.piece(work)?;
        }
        for spawn in SPAWNS {
            self.spawn(*spawn)?;
        }
        for spawn in FAILING {
            self.piece(*spawn)?;
        }
        self.rest()
    }

    fn round(&mut self, quota: Quota) -> Outcome {
        // Spawns come between the hand-overs, evenly.
        let [hand_overs, spawns] = self.done;
        let (more, children) =
            (quota.hand_overs.saturating_sub(hand_overs), quota.spawns.saturating_sub(spawns));
        loop {
            let is_behind = |this: &Self| {
                let share = (this.done[0] - hand_overs).min(more) * children;
                (this.done[1] - spawns) * more < share
            };
            while self.done[1] < quota.spawns && (is_behind(self) || self.done[0] >= quota.hand_overs) {
                let place = usize::try_from(self.at.random.below(SPAWNS.len() as u64))?;
                self.spawn(SPAWNS[place])?;
                if self.at.random.below(SPAWNS_FOR_A_FAILURE) == 0 {
                    let place = usize::try_from(self.at.random.below(FAILING.len() as u64))?;
                    self.piece(FAILING[place])?;
                    self.counts.failed_spawns.fetch_add(1, Relaxed);
                }
            }
            if self.done[0] >= quota.hand_overs {
                return self.rest();
            }
            let next = work::next(&mut self.at.random, &self.all);
            self.piece(next)?;
        }
    }

    fn spawn(&mut self, spawn: Spawn) -> Outcome {
        self.piece(spawn)?;
        self.done[1] += 1;
        self.counts.spawns.fetch_add(1, Relaxed);
        Ok(())
    }

    fn piece(&mut self, (name, work): Work) -> Outcome {
        self.doing.store(names().position(|other| other == name).unwrap_or(0), Relaxed);
        let arrived = work(&mut self.at).map_err(|error| format!("{name}: {error}"))?;
        self.doing.store(0, Relaxed);
        self.leave(arrived)?;
        self.done[0] += arrived;
        self.counts.hand_overs.fetch_add(arrived, Relaxed);
        self.counts.pieces.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Leaves behind what was asked for.
    fn leave(&self, arrived: u64) -> Outcome {
        match self.leak {
            Some(Leak::Handles) if (self.done[0] + arrived) / 1000 > self.done[0] / 1000 => {
                std::mem::forget(Event::manual_reset()?);
            }
            None | Some(Leak::Handles) => {}
            Some(Leak::Memory) => {
                for _ in 0..arrived {
                    Box::leak(vec![1_u8; LEFT].into_boxed_slice());
                }
            }
        }
        Ok(())
    }

    /// Until the other side has let go of everything.
    fn rest(&self) -> Outcome {
        self.at.channel.send(REST)?;
        expect(&self.at.channel.recv_timeout(PATIENCE)?, REST)
    }
}
