//! Runs the threads in rounds with rests between them, and stops if no thread makes progress.

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

/// The interval between samples while the threads work.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// The interval between progress messages if standard error is not a terminal.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// The time without progress after which the run stops.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The time that the handle counts of both processes may take to return to their values at rest.
const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// The average number of spawns for each spawn that fails on purpose.
const SPAWNS_PER_FAILURE: u64 = 5;
/// The number of bytes that `--leak memory` leaks per hand-over.
const LEAKED_BYTES: usize = 1024;

/// The reason why a run stopped early.
#[derive(Debug)]
pub(crate) enum Stop {
    Stalled(String),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Totals of all threads.
#[derive(Debug, Default)]
struct Counts {
    hand_overs: AtomicU64,
    spawns: AtomicU64,
    failed_spawns: AtomicU64,
    /// Calls of work functions, successful spawns and failures on purpose included.
    pieces: AtomicU64,
}

/// The totals that a thread must have reached at the end of a round.
#[derive(Debug, Clone, Copy)]
struct Quota {
    hand_overs: u64,
    spawns: u64,
}

/// The main thread's side of a working thread.
struct Worker {
    rounds: Sender<Quota>,
    rests: Receiver<Outcome>,
    /// The current work, as an index into `names`.
    current_work: std::sync::Arc<AtomicUsize>,
}

/// Runs the test. Returns the samples, even if the run stopped early, and the outcome.
pub(crate) fn soak(options: &Options) -> (Soaked, Result<(), Stop>) {
    let mut soaked = Soaked { threads: options.threads, seed: options.seed, ..Soaked::default() };
    let outcome = run(options, &mut soaked);
    (soaked, outcome)
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
        let current_work = std::sync::Arc::new(AtomicUsize::new(0));
        let (rounds, thread_rounds) = mpsc::channel();
        let (thread_rests, rests) = mpsc::channel();
        let (counts, thread_work) = (std::sync::Arc::clone(&counts), std::sync::Arc::clone(&current_work));
        let (name, seed, leak) = (format!("{name}.{number}"), options.seed + 1000 * number, options.leak);
        // The threads are never joined, because joining a stalled thread would block.
        std::thread::spawn(move || {
            let at = At { channel: &channel, random: Random::new(seed), name };
            let mut working = Working {
                at,
                all: work::all(),
                counts: &counts,
                current_work: &thread_work,
                done: [0; 2],
                leak,
            };
            let tour = working.tour();
            let _ = thread_rests.send(tour);
            for quota in thread_rounds {
                let _ = thread_rests.send(working.round(quota));
            }
        });
        workers.push(Worker { rounds, rests, current_work });
    }
    let this = Process::open_exact(Process::current_identity()?)?;
    let monitor = Monitor {
        started,
        processes: [&this, peer.process()],
        counts: &counts,
        is_terminal: std::io::stderr().is_terminal(),
        options,
    };
    let rounds = (options.hand_overs / options.threads / 40).clamp(24, 100);
    let mut rest_timeout = REST_TIMEOUT;
    let mut last_report = Instant::now();
    for round in 0..=rounds {
        // In round 0, each thread makes its tour, which needs no quota.
        if round > 0 {
            for (number, worker) in (0..).zip(&workers) {
                let share = |total: u64| {
                    let own = total / options.threads + u64::from(number < total % options.threads);
                    own * round / rounds
                };
                let quota = Quota { hand_overs: share(options.hand_overs), spawns: share(options.spawns) };
                worker.rounds.send(quota).map_err(|_| "a thread has stopped")?;
            }
        }
        let mut progress = (0, Instant::now());
        for worker in &workers {
            loop {
                match worker.rests.recv_timeout(SAMPLE_INTERVAL) {
                    Ok(outcome) => break outcome?,
                    Err(RecvTimeoutError::Timeout) => {
                        soaked.samples.push(monitor.sample(When::AtWork)?);
                        monitor.report(soaked, &mut last_report);
                        let pieces = counts.pieces.load(Relaxed);
                        if pieces != progress.0 {
                            progress = (pieces, Instant::now());
                        }
                        if progress.1.elapsed() > STALL_TIMEOUT {
                            return Err(Stop::Stalled(stall_reason(&workers)));
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return Err("a thread panicked".into()),
                }
            }
        }
        soaked.failed_spawns = counts.failed_spawns.load(Relaxed);
        // The tour creates everything that is created once. Allocators fill their caches during the first tenth of the
        // rounds.
        let when = if round <= rounds / 10 { When::WarmUp } else { When::Rest };
        let expected = [0, 1].map(|process| soaked.handles_at_rest(process));
        let deadline = Instant::now() + rest_timeout;
        let sample = loop {
            let sample = monitor.sample(when)?;
            if expected[0].is_none() || sample.handles == expected {
                break sample;
            }
            if Instant::now() > deadline {
                // The verdict is known after one such rest. The later ones complete the plot, and need no wait.
                rest_timeout = Duration::ZERO;
                break sample;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        soaked.samples.push(sample);
        monitor.report(soaked, &mut last_report);
    }
    if monitor.is_terminal {
        eprintln!();
    }
    Ok(())
}

/// Takes samples of both processes, and reports the progress.
struct Monitor<'a> {
    started: Instant,
    processes: [&'a Process; 2],
    counts: &'a Counts,
    is_terminal: bool,
    options: &'a Options,
}

impl Monitor<'_> {
    fn sample(&self, when: When) -> Outcome<Sample> {
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

    /// Reports the progress: on a terminal as one line that is rewritten, elsewhere as a line per `REPORT_INTERVAL`.
    fn report(&self, soaked: &Soaked, last_report: &mut Instant) {
        let Some(sample) = soaked.samples.last() else { return };
        if !self.is_terminal && last_report.elapsed() < REPORT_INTERVAL {
            return;
        }
        *last_report = Instant::now();
        let at_rest = soaked.samples.iter().rev().find(|sample| sample.when != When::AtWork);
        let pair = |values: fn(&Sample) -> [Option<u64>; 2]| {
            let [this, peer] = at_rest.map(values).unwrap_or_default().map(Option::unwrap_or_default);
            format!("{this} and {peer}")
        };
        let line = format!(
            "{:5.0} s  {} of {} hand-overs  {} of {} spawns  at rest {} handles, {} KiB",
            sample.seconds,
            sample.hand_overs,
            self.options.hand_overs,
            sample.spawns,
            self.options.spawns,
            pair(|sample| sample.handles),
            pair(|sample| sample.memory.map(|bytes| Some(bytes / 1024))),
        );
        if self.is_terminal {
            eprint!("\r{line}\x1b[K");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

/// Returns the reason of a stall, with the current work of each thread.
fn stall_reason(workers: &[Worker]) -> String {
    let names: Vec<&str> = names().collect();
    let work: Vec<&str> = workers.iter().map(|worker| names[worker.current_work.load(Relaxed)]).collect();
    format!("no thread made progress for {STALL_TIMEOUT:?}; their current work is: {}", work.join(", "))
}

/// Returns the names of all kinds of work. The first one stands for no work.
fn names() -> impl Iterator<Item = &'static str> {
    let work = work::all().into_iter().map(|(name, _)| name);
    let spawns = SPAWNS.iter().chain(FAILING).map(|(name, _)| *name);
    ["rest"].into_iter().chain(work).chain(spawns)
}

/// The state of a working thread.
struct Working<'a> {
    at: At<'a>,
    all: Vec<Work>,
    counts: &'a Counts,
    current_work: &'a AtomicUsize,
    /// The number of hand-overs, and of spawns.
    done: [u64; 2],
    leak: Option<Leak>,
}

impl Working<'_> {
    /// Does each kind of work once, so that everything that is created once exists before the first sample.
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

    /// Works until the quota is reached, and then rests.
    fn round(&mut self, quota: Quota) -> Outcome {
        // Distributes the spawns evenly among the hand-overs.
        let [hand_overs, spawns] = self.done;
        let (hand_overs_left, spawns_left) =
            (quota.hand_overs.saturating_sub(hand_overs), quota.spawns.saturating_sub(spawns));
        loop {
            let is_behind = |this: &Self| {
                let share = (this.done[0] - hand_overs).min(hand_overs_left) * spawns_left;
                (this.done[1] - spawns) * hand_overs_left < share
            };
            while self.done[1] < quota.spawns && (is_behind(self) || self.done[0] >= quota.hand_overs) {
                let index = usize::try_from(self.at.random.below(SPAWNS.len() as u64))?;
                self.spawn(SPAWNS[index])?;
                if self.at.random.below(SPAWNS_PER_FAILURE) == 0 {
                    let index = usize::try_from(self.at.random.below(FAILING.len() as u64))?;
                    self.piece(FAILING[index])?;
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
        self.current_work.store(names().position(|other| other == name).unwrap_or(0), Relaxed);
        let arrived = work(&mut self.at).map_err(|error| format!("{name}: {error}"))?;
        self.current_work.store(0, Relaxed);
        self.leak(arrived)?;
        self.done[0] += arrived;
        self.counts.hand_overs.fetch_add(arrived, Relaxed);
        self.counts.pieces.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Leaks what `--leak` asks for.
    fn leak(&self, arrived: u64) -> Outcome {
        match self.leak {
            Some(Leak::Handles) if (self.done[0] + arrived) / 1000 > self.done[0] / 1000 => {
                std::mem::forget(Event::manual_reset()?);
            }
            None | Some(Leak::Handles) => {}
            Some(Leak::Memory) => {
                for _ in 0..arrived {
                    Box::leak(vec![1_u8; LEAKED_BYTES].into_boxed_slice());
                }
            }
        }
        Ok(())
    }

    /// Waits until the peer has closed all objects of this thread.
    fn rest(&self) -> Outcome {
        self.at.channel.send(REST)?;
        expect(&self.at.channel.recv_timeout(PATIENCE)?, REST)
    }
}
