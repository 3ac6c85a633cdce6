//! The kinds of work that a thread does with the peer: it sends objects and sockets there and back, duplicates an object from
//! the peer, shares an object by name, calls the peer from several threads, sends it an endpoint, and makes calls that fail on
//! purpose. The peer's half of each is here too.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use handover::{
    BorrowedObject, Channel, Error, Event, HandleValue, Message, Object, ObjectKind, ReceivedMessage,
    ResetMode, Semaphore, SharedMemory, Timer,
};

use crate::{Outcome, os};

/// The timeout of each wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of work: its name, and a function that does it and returns the number of objects that arrived in a process.
pub(crate) type Work = (&'static str, fn(&mut At<'_>) -> Outcome<u64>);

/// The resources of one thread.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) random: Random,
    /// An object name that no other thread uses.
    pub(crate) name: String,
}

const WORK: &[Work] = &[
    ("one event, there and back", one_event),
    ("many events, there and back", many_events),
    ("each kind, there and back", each_kind),
    ("sockets, there and back", sockets),
    ("taken as the wrong kind", taken_as_wrong_kind),
    ("a large message", large),
    ("duplicated from the peer", duplicate_from_peer),
    ("opened by name", by_name),
    ("calls from several threads", calls),
    ("an endpoint, sent to the peer", endpoint),
    ("calls that fail", calls_that_fail),
];

/// Returns all kinds of work of this system.
pub(crate) fn all() -> Vec<Work> {
    [WORK, os::MORE_WORK].concat()
}

/// Draws the next kind of work. About three quarters are the first two kinds, which programs do most.
pub(crate) fn next(random: &mut Random, all: &[Work]) -> Work {
    let index = usize::try_from(random.below(4 * all.len() as u64)).unwrap_or(0);
    *all.get(index).unwrap_or(&all[usize::from(index % 4 == 0)])
}

/// A xorshift generator: the same seed gives the same numbers on each system.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Returns an error unless the message has these bytes.
pub(crate) fn expect(message: &ReceivedMessage, expected: &[u8]) -> Outcome {
    if message.bytes() == expected {
        return Ok(());
    }
    let (actual, expected) = (String::from_utf8_lossy(message.bytes()), String::from_utf8_lossy(expected));
    Err(format!("expected the message {expected:?}, got {actual:?}").into())
}

/// Sends bytes and objects that the peer sends back, and checks the bytes of its answer.
fn echo<'a>(
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

fn echo_events(at: &At<'_>, count: u64) -> Outcome<u64> {
    let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, Error>>()?;
    let named = events.iter().enumerate().map(|(number, event)| (format!("event {number}"), event.into()));
    let answer = echo(at, b"events", named.collect())?;
    for (number, event) in events.iter().enumerate() {
        let back: Event = answer.take(&format!("event {number}"))?;
        // The peer has set the event. Resetting the returned handle resets the original, so both are the same object.
        if !event.try_wait()? || back.reset().is_err() || event.try_wait()? {
            return Err(format!("event {number} came back as another object").into());
        }
    }
    Ok(2 * count)
}

fn one_event(at: &mut At<'_>) -> Outcome<u64> {
    echo_events(at, 1)
}

fn many_events(at: &mut At<'_>) -> Outcome<u64> {
    let count = 2 + at.random.below(23);
    echo_events(at, count)
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
    let answer = echo(at, b"each kind", objects.collect())?;
    let _timer: Timer = answer.take("timer")?;
    let _file: File = answer.take("file")?;
    let section: SharedMemory = answer.take("section")?;
    let mut text = [0; 10];
    section.view()?.read_at(0, &mut text)?;
    if !event.try_wait()? || !semaphore.try_wait()? || &text != b"from peer " {
        return Err("the objects that came back are not the ones that were sent".into());
    }
    // Dropping the message closes the objects that were not taken.
    Ok(2 * count)
}

fn sockets(at: &mut At<'_>) -> Outcome<u64> {
    // On Windows, a parent accepts sockets only from a child that it trusts.
    at.channel.allow(ObjectKind::Socket);
    let (listener, socket) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let objects = vec![("listener".to_owned(), (&listener).into()), ("socket".to_owned(), (&socket).into())];
    let answer = echo(at, b"sockets", objects)?;
    let (listener_back, socket_back): (TcpListener, UdpSocket) =
        (answer.take("listener")?, answer.take("socket")?);
    let mut text = [0; 10];
    socket_back.set_read_timeout(Some(PATIENCE))?;
    let length = socket_back.recv(&mut text)?;
    if text.get(..length) != Some(b"from peer") || listener_back.local_addr()? != listener.local_addr()? {
        return Err("the sockets that came back are not the ones that were sent".into());
    }
    Ok(4)
}

fn taken_as_wrong_kind(at: &mut At<'_>) -> Outcome<u64> {
    let (event, semaphore) = (Event::auto_reset()?, Semaphore::new(1)?);
    let objects = vec![("event".to_owned(), (&event).into()), ("semaphore".to_owned(), (&semaphore).into())];
    let answer = echo(at, b"two", objects)?;
    let wrong_kind = answer.take::<SharedMemory>("event");
    let semaphore_back: Semaphore = answer.take("semaphore")?;
    let taken_twice = answer.take::<Semaphore>("semaphore");
    let unknown = answer.take::<Event>("unknown");
    semaphore_back.release(1)?;
    match (wrong_kind, taken_twice, unknown) {
        (Err(Error::WrongKind { .. }), Err(Error::AlreadyTaken { .. }), Err(Error::UnknownName { .. })) => {
            Ok(4)
        }
        other => Err(format!("a `take` that must fail gave another result: {other:?}").into()),
    }
}

fn large(at: &mut At<'_>) -> Outcome<u64> {
    /// Lengths below and above the size of one read, and above the size of a buffer that is kept. All of them are sent
    /// each time, so that each buffer soon has its final size.
    const LENGTHS: [usize; 3] = [5_000, 100_000, 400_000];
    let event = Event::auto_reset()?;
    for length in LENGTHS {
        drop(echo(at, &vec![7; length], vec![("event".to_owned(), (&event).into())])?);
    }
    Ok(2 * LENGTHS.len() as u64)
}

fn duplicate_from_peer(at: &mut At<'_>) -> Outcome<u64> {
    at.channel.send(b"hold")?;
    let held = at.channel.recv_timeout(PATIENCE)?;
    let value: HandleValue = std::str::from_utf8(held.bytes())?.parse()?;
    let peer = at.channel.peer().ok_or("the peer is not known")?;
    let event: Event = peer.duplicate_from(value)?;
    event.set()?;
    // The peer closes its own handle now.
    at.channel.send(b"duplicated")?;
    expect(&at.channel.recv_timeout(PATIENCE)?, b"set")?;
    Ok(1)
}

fn by_name(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::create_named(&at.name, ResetMode::Manual)?;
    at.channel.send(format!("open {}", at.name).into_bytes())?;
    expect(&at.channel.recv_timeout(PATIENCE)?, b"opened")?;
    if event.try_wait()? { Ok(1) } else { Err("the named event was not set".into()) }
}

/// Several threads call over the channel at the same time, and one call gets its reply too late.
fn calls(at: &mut At<'_>) -> Outcome<u64> {
    const CALLERS: usize = 3;
    const CALLS: u64 = 4;
    let channel = at.channel;
    let make_calls = || (0..CALLS).try_for_each(|_| call_with_event(channel));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(make_calls)).collect();
        let arrived = late_reply(channel)?;
        for caller in callers {
            caller.join().map_err(|_| "a thread that calls panicked")??;
        }
        Ok(arrived + 2 * CALLERS as u64 * CALLS)
    })
}

fn call_with_event(channel: &Channel) -> Outcome {
    let event = Event::manual_reset()?;
    let reply = channel.call(Message::new(b"echocall").with("event", &event), PATIENCE)?;
    expect(&reply, b"call")?;
    let back: Event = reply.take("event")?;
    if !event.try_wait()? || back.reset().is_err() || event.try_wait()? {
        return Err("the event of a call came back as another object".into());
    }
    Ok(())
}

/// Makes a call that times out. The peer replies to it later, with an object, and sends a message that is no reply.
fn late_reply(channel: &Channel) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    match channel.call(Message::new(LATE).with("event", &event), Duration::from_millis(1)) {
        Err(Error::TimedOut { .. }) => {}
        other => return Err(format!("a call without a reply gave another result: {other:?}").into()),
    }
    let reply = channel.call(REPLY_NOW, PATIENCE)?;
    expect(&channel.recv_timeout(PATIENCE)?, REPLY_NOW)?;
    // If other threads were sending for the whole millisecond, the first call wasn't sent.
    let was_sent = reply.bytes() == LATE;
    if was_sent != event.try_wait()? {
        return Err(format!("the peer set the event of another call: {reply:?}").into());
    }
    Ok(u64::from(was_sent))
}

fn calls_that_fail(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::auto_reset()?;
    let duplicate_name = at.channel.send(Message::new(b"").with("a", &event).with("a", &event));
    let no_message = at.channel.recv_timeout(Duration::from_millis(1));
    let no_listener = Channel::connect_timeout(&format!("{}.no-listener", at.name), PATIENCE);
    let no_object = Event::open_named(&format!("{}.no-object", at.name));
    let no_signal = event.wait_timeout(Duration::ZERO);
    match (duplicate_name, no_message, no_listener, no_object, no_signal) {
        (
            Err(Error::InvalidInput { .. }),
            Err(Error::TimedOut { .. }),
            Err(Error::NoListener { .. }),
            Err(Error::ObjectNotFound { .. }),
            Err(Error::TimedOut { .. }),
        ) => Ok(0),
        other => Err(format!("a call that must fail gave another result: {other:?}").into()),
    }
}

/// Sends the peer an endpoint, over which it sends an event back.
fn endpoint(at: &mut At<'_>) -> Outcome<u64> {
    let (ours, theirs) = Channel::pair()?;
    let event = Event::manual_reset()?;
    at.channel.send(Message::new(ENDPOINT).with_channel("endpoint", theirs))?;
    ours.send(Message::new("echoevent").with("event", &event))?;
    let answer = ours.recv_timeout(PATIENCE)?;
    expect(&answer, b"event")?;
    let back: Event = answer.take("event")?;
    if !event.try_wait()? || back.reset().is_err() || event.try_wait()? {
        return Err("the event came back over the endpoint as another object".into());
    }
    // The peer closes its endpoint after that.
    match ours.recv_timeout(PATIENCE) {
        Err(Error::Disconnected { .. }) => Ok(3),
        other => Err(format!("the peer didn't close its endpoint: {other:?}").into()),
    }
}

/// The state that the peer keeps for one thread between two of its messages.
#[derive(Debug, Default)]
pub(crate) struct Held {
    event: Option<Event>,
    /// A call whose reply comes too late.
    call: Option<ReceivedMessage>,
    /// Whether the reply to such a call was delayed once.
    has_paused: bool,
}

/// The message with an endpoint, over which the peer answers one message.
const ENDPOINT: &[u8] = b"endpoint";
/// A call to which the peer doesn't reply before `REPLY_NOW`.
const LATE: &[u8] = b"late";
/// The call with which a thread asks for the reply to `LATE`. The peer sends the same bytes as a message beforehand.
const REPLY_NOW: &[u8] = b"reply now";

/// Runs in the peer: handles one message, and answers it.
pub(crate) fn answer(channel: &Channel, held: &mut Held, mut message: ReceivedMessage) -> Outcome {
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
            let event = held.event.insert(Event::manual_reset()?);
            channel.send(HandleValue::of(event)?.to_string().into_bytes())?;
        }
        b"duplicated" => {
            let event = held.event.take().ok_or("no event is held")?;
            channel.send(if event.try_wait()? { &b"set"[..] } else { b"not set" })?;
        }
        ENDPOINT => {
            let endpoint = message.take_channel("endpoint")?;
            let message = endpoint.recv_timeout(PATIENCE)?;
            answer(&endpoint, held, message)?;
            endpoint.flush(PATIENCE)?;
        }
        LATE => held.call = Some(message),
        REPLY_NOW => {
            let late = held.call.take();
            if let Some(late) = &late {
                let event: Event = late.take("event")?;
                event.set()?;
                late.reply(Message::new(LATE).with("event", &event))?;
            }
            channel.send(REPLY_NOW)?;
            // On Windows, an endpoint creates an event the first time that a call waits while a message is kept. The pause
            // lets that happen before the first rest.
            if !std::mem::replace(&mut held.has_paused, true) {
                std::thread::sleep(Duration::from_millis(200));
            }
            message.reply(late.as_ref().map_or(&b""[..], ReceivedMessage::bytes))?;
        }
        REST => channel.send(REST)?,
        _ => os::answer_to_more(channel, &message)?,
    }
    Ok(())
}

/// The message with which a thread asks the peer to close all of its objects. The peer answers with the same bytes.
pub(crate) const REST: &[u8] = b"rest";

/// Takes each object by its kind, uses it, and sends it back, in a reply if the message is a call.
fn send_back(channel: &Channel, bytes: &[u8], message: &mut ReceivedMessage) -> Outcome {
    fn take_and_use<T>(
        message: &mut ReceivedMessage,
        name: &str,
        taken: &mut Vec<(String, Box<dyn Handed>)>,
        use_object: impl FnOnce(&T) -> Outcome,
    ) -> Outcome
    where
        T: Object + Handed + 'static,
    {
        let object: T = message.take(name)?;
        use_object(&object)?;
        taken.push((name.to_owned(), Box::new(object)));
        Ok(())
    }
    let names: Vec<String> = message.names().map(str::to_owned).collect();
    let mut objects = Vec::with_capacity(names.len());
    for name in &names {
        let taken = &mut objects;
        match message.kind(name)? {
            ObjectKind::Event => take_and_use(message, name, taken, |event: &Event| Ok(event.set()?))?,
            ObjectKind::Semaphore => take_and_use(message, name, taken, |it: &Semaphore| Ok(it.release(1)?))?,
            ObjectKind::SharedMemory if name == "read only" => {
                take_and_use(message, name, taken, |_: &SharedMemory| Ok(()))?;
            }
            ObjectKind::SharedMemory => take_and_use(message, name, taken, |section: &SharedMemory| {
                Ok(section.view_mut()?.write_at(0, b"from peer ")?)
            })?,
            ObjectKind::Timer => take_and_use(message, name, taken, |timer: &Timer| Ok(timer.cancel()?))?,
            ObjectKind::File => take_and_use(message, name, taken, |_: &File| Ok(()))?,
            ObjectKind::Socket if name == "listener" => {
                take_and_use(message, name, taken, |_: &TcpListener| Ok(()))?;
            }
            ObjectKind::Socket => take_and_use(message, name, taken, |socket: &UdpSocket| {
                socket.send_to(b"from peer", socket.local_addr()?)?;
                Ok(())
            })?,
            other => return Err(format!("the object {name:?} arrived as {other}, which was not sent").into()),
        }
    }
    let mut answer = Message::new(bytes);
    for (name, object) in &objects {
        answer = answer.with(name.as_str(), object.share());
    }
    if message.expects_reply() { Ok(message.reply(answer)?) } else { Ok(channel.send(answer)?) }
}

/// An object that was taken, and can be sent again.
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
