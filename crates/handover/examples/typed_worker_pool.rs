//! A pool of worker processes whose jobs are values with objects inside.
//!
//! `cargo run -p handover --features serde --example typed_worker_pool`
//!
//! A job brings the memory to work in, and an event that says when it is done. One definition describes both, so neither
//! program needs names for the objects.

use std::time::Duration;

use handover::{Carried, Channel, Child, Command, Error, Event, SharedMemory, TypedChannel};
use serde::{Deserialize, Serialize};

const WORKERS: u8 = 3;
const PIXELS: usize = 64;
/// The longest time that a job may take.
const TIMEOUT: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Serialize, Deserialize)]
enum Job {
    Render {
        shade: u8,
        frame: Carried<SharedMemory>,
        done: Carried<Event>,
    },
    /// Asks how many frames the worker has rendered. It is sent as a call.
    Count,
}

#[derive(Debug, Serialize, Deserialize)]
struct Count {
    frames: u32,
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("worker") => worker(),
        _ => pool(),
    }
}

/// The worker: takes jobs until the parent closes its endpoint of the channel.
fn worker() -> Result<()> {
    let channel = TypedChannel::<Count, Job>::new(Channel::parent()?);
    let mut frames = 0;
    loop {
        // This needs no timeout, because it returns when the parent exits, however that happens.
        match channel.recv_request() {
            Ok((Job::Render { shade, frame, done }, _)) => {
                frame.view_mut()?.write_at(0, &[shade; PIXELS])?;
                frames += 1;
                done.set()?;
            }
            Ok((Job::Count, reply)) => reply.send(&Count { frames })?,
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The parent: gives each worker a frame to render, and reads all frames when they are done.
fn pool() -> Result<()> {
    let workers = (0..WORKERS).map(|_| start_worker()).collect::<Result<Vec<_>>>()?;
    let mut jobs = Vec::new();
    for (shade, (_, channel)) in (1..).zip(&workers) {
        let (frame, done) = (SharedMemory::new(PIXELS)?.into(), Event::manual_reset()?.into());
        let job = Job::Render { shade, frame, done };
        channel.send(&job)?;
        jobs.push(job);
    }
    for ((child, _), job) in workers.iter().zip(&jobs) {
        // The parent still has the objects that it has sent.
        let Job::Render { shade, frame, done } = job else { continue };
        done.wait_timeout(TIMEOUT)?;
        let mut pixels = [0; PIXELS];
        frame.view()?.read_at(0, &mut pixels)?;
        let result = if pixels.iter().all(|pixel| pixel == shade) { "right" } else { "wrong" };
        println!("process {}: rendered shade {shade}, {result}", child.id());
    }
    for (mut child, channel) in workers {
        let Count { frames } = channel.call(&Job::Count, TIMEOUT)?;
        println!("process {}: {frames} frame in all", child.id());
        drop(channel);
        child.wait_timeout(TIMEOUT)?;
    }
    Ok(())
}

fn start_worker() -> Result<(Child, TypedChannel<Job, Count>)> {
    let mut command = Command::new(std::env::current_exe()?);
    // The worker must not outlive the pool: neither after an error here, nor if the pool is killed.
    let mut child = command.arg("worker").channel().kill_on_drop(true).kill_with_parent(true).spawn()?;
    let channel = child.take_channel().expect("the command has one");
    Ok((child, channel.into()))
}
