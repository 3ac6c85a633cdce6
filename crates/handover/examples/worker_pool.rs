//! A pool of worker processes, in which a job that crashes takes down one worker and no other.
//!
//! `cargo run -p handover --example worker_pool`
//!
//! Each worker has a channel to the parent, and inherits no other object. One thread of the parent serves each worker.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use handover::{Channel, Child, Command, Error};

const WORKERS: usize = 3;
/// The longest time that a job may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A job is a number to square. The worker that gets this one crashes.
const CRASHES: u32 = 4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => worker(),
        _ => pool(),
    }
}

/// The worker: takes jobs until the parent closes its endpoint of the channel.
fn worker() -> Result<()> {
    let channel = Channel::parent()?;
    loop {
        // This needs no timeout, because it returns when the parent exits, however that happens.
        let job = match channel.recv() {
            Ok(message) => message,
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let number: u32 = std::str::from_utf8(job.bytes())?.parse()?;
        if number == CRASHES {
            std::process::exit(70);
        }
        channel.send(format!("{}", number * number).as_bytes())?;
    }
}

/// The parent: serves all workers, and returns when no job is left.
fn pool() -> Result<()> {
    let jobs: Mutex<VecDeque<u32>> = Mutex::new((1..=6).collect());
    thread::scope(|scope| {
        let servers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| serve(&jobs))).collect();
        servers.into_iter().try_for_each(|server| server.join().expect("a server doesn't panic"))
    })
}

/// Gives jobs to one worker at a time, and starts another when it exits.
fn serve(jobs: &Mutex<VecDeque<u32>>) -> Result<()> {
    let (mut child, mut channel) = start_worker()?;
    loop {
        // A statement of its own, so that the lock is released while the worker works.
        let next = jobs.lock().expect("no thread panics with the lock held").pop_front();
        let Some(job) = next else { break };
        channel.send(job.to_string().as_bytes())?;
        match channel.recv_timeout(TIMEOUT) {
            Ok(answer) => {
                println!(
                    "process {}: {job} squared is {}",
                    child.id(),
                    String::from_utf8_lossy(answer.bytes())
                );
            }
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => {
                let status = child.wait_timeout(TIMEOUT)?;
                println!("process {}: exited with {status} during job {job}", child.id());
                (child, channel) = start_worker()?;
            }
            // Dropping the child kills it, so a job that takes too long doesn't go on.
            Err(error) => return Err(error.into()),
        }
    }
    drop(channel);
    child.wait_timeout(TIMEOUT)?;
    Ok(())
}

fn start_worker() -> Result<(Child, Channel)> {
    let mut command = Command::new(std::env::current_exe()?);
    // The worker must not outlive the pool: neither after an error here, nor if the pool is killed.
    let mut child = command.arg("worker").channel().kill_on_drop(true).kill_with_parent(true).spawn()?;
    let channel = child.take_channel().expect("the command has one");
    Ok((child, channel))
}
