//! A ring buffer in shared memory: a producer and a consumer exchange numbers, mostly without a system call.
//!
//! `cargo run -p handover --example ring`
//!
//! Each side counts the messages that it has written or read. It waits for an event only while the ring is full or
//! empty, and a wait also returns when the other process exits.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use handover::{Channel, Command, Event, Message, Process, SharedMemory, ViewMut, wait_any};

const TIMEOUT: Duration = Duration::from_secs(5);
const MESSAGES: u32 = 10_000;

/// The layout of the memory: two counts, each in a cache line of its own, and then a slot for each number.
const WRITTEN: usize = 0;
const READ: usize = 64;
const FIRST_SLOT: usize = 128;
const SLOTS: u32 = 64;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Ring {
    memory: ViewMut,
    /// Signaled when the ring isn't empty any more. A signal of an auto-reset event stays until a wait takes it.
    filled: Event,
    /// Signaled when the ring isn't full any more.
    freed: Event,
    peer: Process,
}

impl Ring {
    fn push(&self, message: u32) -> Result<()> {
        let (written, read) = (self.memory.atomic_u32(WRITTEN)?, self.memory.atomic_u32(READ)?);
        let number = written.load(SeqCst);
        while number.wrapping_sub(read.load(SeqCst)) >= SLOTS {
            self.wait(&self.freed)?;
        }
        self.slot(number)?.store(message, SeqCst);
        written.store(number.wrapping_add(1), SeqCst);
        // The consumer waits only if it has read all before this message. SeqCst makes one of the two see the other.
        if read.load(SeqCst) == number { Ok(self.filled.set()?) } else { Ok(()) }
    }

    fn pop(&self) -> Result<u32> {
        let (written, read) = (self.memory.atomic_u32(WRITTEN)?, self.memory.atomic_u32(READ)?);
        let number = read.load(SeqCst);
        while written.load(SeqCst) == number {
            self.wait(&self.filled)?;
        }
        let message = self.slot(number)?.load(SeqCst);
        read.store(number.wrapping_add(1), SeqCst);
        if written.load(SeqCst).wrapping_sub(number) >= SLOTS {
            self.freed.set()?;
        }
        Ok(message)
    }

    fn wait(&self, event: &Event) -> Result<()> {
        let signaled = wait_any(&[event, &self.peer], TIMEOUT)?;
        if signaled == 0 { Ok(()) } else { Err("the other process has exited".into()) }
    }

    /// Returns a slot inside the memory for any number, also for one that a hostile peer wrote.
    fn slot(&self, number: u32) -> Result<&AtomicU32> {
        Ok(self.memory.atomic_u32(FIRST_SLOT + (number % SLOTS) as usize * size_of::<u32>())?)
    }
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("consumer") { consumer() } else { producer() }
}

fn producer() -> Result<()> {
    let memory = SharedMemory::new(FIRST_SLOT + SLOTS as usize * size_of::<u32>())?;
    let (filled, freed) = (Event::auto_reset()?, Event::auto_reset()?);
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg("consumer").channel().kill_on_drop(true).spawn()?;
    let channel = child.take_channel().expect("the command has one");
    let objects = Message::new(b"").with("memory", &memory).with("filled", &filled).with("freed", &freed);
    channel.send(objects)?;
    let ring = Ring { memory: memory.view_mut()?, filled, freed, peer: child.process().clone() };
    (0..MESSAGES).try_for_each(|number| ring.push(number))?;
    let answer = channel.recv_timeout(TIMEOUT)?;
    let (answer, status) = (String::from_utf8_lossy(answer.bytes()), child.wait_timeout(TIMEOUT)?);
    println!("process {} received {answer}, and exited with {status}", child.id());
    Ok(())
}

fn consumer() -> Result<()> {
    let channel = Channel::parent()?;
    let objects = channel.recv_timeout(TIMEOUT)?;
    let memory = objects.take::<SharedMemory>("memory")?.view_mut()?;
    let (filled, freed) = (objects.take("filled")?, objects.take("freed")?);
    let ring = Ring { memory, filled, freed, peer: channel.peer().ok_or("the producer has exited")? };
    let sum: u32 = (0..MESSAGES).map(|_| ring.pop()).sum::<Result<u32>>()?;
    Ok(channel.send(format!("{MESSAGES} messages with the sum {sum}").as_bytes())?)
}
