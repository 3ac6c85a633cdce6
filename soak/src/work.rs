//! What one thread does, one piece at a time: objects that go to the other process and back, are fetched from there, or are
//! found by a name, and calls that fail on purpose.

use std::fs::File;
use std::time::Duration;

use handover::{
    BorrowedObject, Channel, Error, Event, HandleValue, Message, Object, ObjectKind, ReceivedMessage,
    ResetMode, Semaphore, SharedMemory, Timer,
};

use crate::{Outcome, os};

/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of work by its name. It says how many objects have arrived in a process.
pub(crate) type Work = (&'static str, fn(&mut At<'_>) -> Outcome<u64>);

/// Where a thread is.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) random: Random,
    /// A name that no other thread uses.
    pub(crate) name: String,
}

const WORK: &[Work] = &[
    ("there and back", there_and_back),
    ("many there and back", many_there_and_back),
    ("each kind there and back", each_kind),
    ("taken as something else", taken_as_something_else),
    ("a large message", large),
    ("pull", pull),
    ("a name", by_name),
    ("calls that fail", calls_that_fail),
];

/// All there is to do on this system.
pub(crate) fn all() -> Vec<Work> {
    [WORK, os::MORE_WORK].concat()
}

/// What is drawn next. Most of it is what programs do most.
pub(crate) fn next(random: &mut Random, all: &[Work]) -> Work {
    let place = usize::try_from(random.below(4 * all.len() as u64)).unwrap_or(0);
    *all.get(place).unwrap_or(&all[usize::from(place % 4 == 0)])
}

/// Numbers of which each depends on the one before alone (xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Refuses an answer that says something else.
pub(crate) fn expect(message: &ReceivedMessage, expected: &[u8]) -> Outcome {
    if message.bytes() == expected {
        return Ok(());
    }
    let (came, expected) = (String::from_utf8_lossy(message.bytes()), String::from_utf8_lossy(expected));
    Err(format!("expected {expected:?}; came {came:?}").into())
}

/// Sends what is to be sent back, and what came back is it.
fn echoed<'a>(
    at: &At<'_>,
    bytes: &'a [u8],
    objects: Vec<(String, BorrowedObject<'a>)>,
) -> Outcome<ReceivedMessage> {
    let mut message = Message::new([b"echo", bytes].concat());
    for (name, object) in objects {
        message = message.with(name, object);
    }
    at.channel.send(message)?;
    let answer = at.channel.recv_timeout(PATIENCE)?;
    expect(&answer, bytes)?;
    Ok(answer)
}

fn events_there_and_back(at: &At<'_>, count: u64) -> Outcome<u64> {
    let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, Error>>()?;
    let named = events.iter().enumerate().map(|(number, event)| (format!("event {number}"), event.into()));
    let mut answer = echoed(at, b"events", named.collect())?;
    for (number, event) in events.iter().enumerate() {
        let back: Event = answer.take(&format!("event {number}"))?;
        // The other process has set it, and it is this very one.
        if !event.try_wait()? || back.reset().is_err() || event.try_wait()? {
            return Err(format!("event {number} came back as another").into());
        }
    }
    Ok(2 * count)
}

fn there_and_back(at: &mut At<'_>) -> Outcome<u64> {
    events_there_and_back(at, 1)
}

fn many_there_and_back(at: &mut At<'_>) -> Outcome<u64> {
    let count = 2 + at.random.below(23);
    events_there_and_back(at, count)
}

fn each_kind(at: &mut At<'_>) -> Outcome<u64> {
    let (event, semaphore, timer) = (Event::auto_reset()?, Semaphore::new(0)?, Timer::auto_reset()?);
    let section = SharedMemory::new(4096)?;
    let file = File::open(std::env::current_exe()?)?;
    section.view_mut()?.write_at(0, b"from here")?;
    timer.set_once(Duration::from_secs(600))?;
    let objects: Vec<(&str, BorrowedObject<'_>)> = vec![
        ("event", (&event).into()),
        ("semaphore", (&semaphore).into()),
        ("section", (&section).into()),
        ("read only", section.read_only()),
        ("timer", (&timer).into()),
        ("file", (&file).into()),
    ];
    let count = objects.len() as u64;
    let objects = objects.into_iter().map(|(name, object)| (name.to_owned(), object));
    let mut answer = echoed(at, b"each kind", objects.collect())?;
    let _timer: Timer = answer.take("timer")?;
    let _file: File = answer.take("file")?;
    let section: SharedMemory = answer.take("section")?;
    let mut text = [0; 10];
    section.view()?.read_at(0, &mut text)?;
    if !event.try_wait()? || !semaphore.try_wait()? || &text != b"from there" {
        return Err("the objects came back as others".into());
    }
    // The rest is closed with the message.
    Ok(2 * count)
}

fn taken_as_something_else(at: &mut At<'_>) -> Outcome<u64> {
    let (event, semaphore) = (Event::auto_reset()?, Semaphore::new(1)?);
    let objects = vec![("event".to_owned(), (&event).into()), ("semaphore".to_owned(), (&semaphore).into())];
    let mut answer = echoed(at, b"two", objects)?;
    let wrong = answer.take::<SharedMemory>("event");
    let right: Semaphore = answer.take("semaphore")?;
    let twice = answer.take::<Semaphore>("semaphore");
    let nothing = answer.take::<Event>("nothing");
    right.release(1)?;
    match (wrong, twice, nothing) {
        (Err(Error::WrongKind { .. }), Err(Error::AlreadyTaken { .. }), Err(Error::UnknownName { .. })) => {
            Ok(4)
        }
        other => Err(format!("what can't be taken was: {other:?}").into()),
    }
}

fn large(at: &mut At<'_>) -> Outcome<u64> {
    /// Below and above what is read at once, and what is kept of a buffer. Always all, so that each buffer soon has the
    /// size that it keeps.
    const LENGTHS: [usize; 3] = [5_000, 100_000, 400_000];
    let event = Event::auto_reset()?;
    for length in LENGTHS {
        drop(echoed(at, &vec![7; length], vec![("event".to_owned(), (&event).into())])?);
    }
    Ok(2 * LENGTHS.len() as u64)
}

fn pull(at: &mut At<'_>) -> Outcome<u64> {
    at.channel.send(b"hold")?;
    let held = at.channel.recv_timeout(PATIENCE)?;
    let value: HandleValue = std::str::from_utf8(held.bytes())?.parse()?;
    let peer = at.channel.peer().ok_or("the peer is not known")?;
    let event: Event = peer.duplicate_from(value)?;
    event.set()?;
    // It lets go of its own now.
    at.channel.send(b"pulled")?;
    expect(&at.channel.recv_timeout(PATIENCE)?, b"set")?;
    Ok(1)
}

fn by_name(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::create_named(&at.name, ResetMode::Manual)?;
    at.channel.send(format!("open {}", at.name).into_bytes())?;
    expect(&at.channel.recv_timeout(PATIENCE)?, b"opened")?;
    if event.try_wait()? { Ok(1) } else { Err("the named event was not set".into()) }
}

fn calls_that_fail(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::auto_reset()?;
    let twice = at.channel.send(Message::new(b"").with("a", &event).with("a", &event));
    let late = at.channel.recv_timeout(Duration::from_millis(1));
    let nobody = Channel::connect_timeout(&format!("{}.nobody", at.name), PATIENCE);
    let nothing = Event::open_named(&format!("{}.nothing", at.name));
    let forever = event.wait_timeout(Duration::ZERO);
    match (twice, late, nobody, nothing, forever) {
        (
            Err(Error::InvalidInput { .. }),
            Err(Error::TimedOut { .. }),
            Err(Error::NoListener { .. }),
            Err(Error::ObjectNotFound { .. }),
            Err(Error::TimedOut { .. }),
        ) => Ok(0),
        other => Err(format!("what can't be done was: {other:?}").into()),
    }
}

/// The other process's half of all that: one message, and its answer.
pub(crate) fn answer(channel: &Channel, held: &mut Option<Event>, mut message: ReceivedMessage) -> Outcome {
    if let Some(bytes) = message.bytes().strip_prefix(b"echo") {
        let bytes = bytes.to_vec();
        return send_back(channel, &bytes, &mut message);
    }
    if let Some(name) = message.bytes().strip_prefix(b"open ") {
        Event::open_named(std::str::from_utf8(name)?)?.set()?;
        return Ok(channel.send(b"opened")?);
    }
    match message.bytes() {
        b"hold" => {
            let event = held.insert(Event::manual_reset()?);
            channel.send(HandleValue::of(event)?.to_string().into_bytes())?;
        }
        b"pulled" => {
            let event = held.take().ok_or("nothing is held")?;
            channel.send(if event.try_wait()? { &b"set"[..] } else { b"not set" })?;
        }
        REST => channel.send(REST)?,
        _ => os::answer_to_more(channel, &message)?,
    }
    Ok(())
}

/// Asks whether the other side has let go of everything; it answers the same.
pub(crate) const REST: &[u8] = b"rest";

/// Takes each object as what it is, uses it, and sends it back.
fn send_back(channel: &Channel, bytes: &[u8], message: &mut ReceivedMessage) -> Outcome {
    fn taken<T>(
        message: &mut ReceivedMessage,
        name: &str,
        into: &mut Vec<(String, Box<dyn Handed>)>,
        using: impl FnOnce(&T) -> Outcome,
    ) -> Outcome
    where
        T: Object + Handed + 'static,
    {
        let object: T = message.take(name)?;
        using(&object)?;
        into.push((name.to_owned(), Box::new(object)));
        Ok(())
    }
    let names: Vec<String> = message.names().map(str::to_owned).collect();
    let mut objects = Vec::with_capacity(names.len());
    for name in &names {
        let into = &mut objects;
        match message.kind(name)? {
            ObjectKind::Event => taken(message, name, into, |event: &Event| Ok(event.set()?))?,
            ObjectKind::Semaphore => taken(message, name, into, |it: &Semaphore| Ok(it.release(1)?))?,
            ObjectKind::SharedMemory if name == "read only" => {
                taken(message, name, into, |_: &SharedMemory| Ok(()))?;
            }
            ObjectKind::SharedMemory => taken(message, name, into, |section: &SharedMemory| {
                Ok(section.view_mut()?.write_at(0, b"from there")?)
            })?,
            ObjectKind::Timer => taken(message, name, into, |timer: &Timer| Ok(timer.cancel()?))?,
            ObjectKind::File => taken(message, name, into, |_: &File| Ok(()))?,
            other => return Err(format!("{name:?} came as {other}").into()),
        }
    }
    let mut answer = Message::new(bytes);
    for (name, object) in &objects {
        answer = answer.with(name.as_str(), object.share());
    }
    Ok(channel.send(answer)?)
}

/// What was taken and is sent on.
trait Handed {
    fn share(&self) -> BorrowedObject<'_>;
}

impl<T> Handed for T
where
    for<'a> &'a T: Into<BorrowedObject<'a>>,
{
    fn share(&self) -> BorrowedObject<'_> {
        self.into()
    }
}
