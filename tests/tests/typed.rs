//! Tests of typed messages: values with objects inside.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Carried, Channel, Error, Event, Message, ObjectKind, OwnedHandle, Process, Semaphore, SharedMemory,
    Timer, TypedChannel,
};
use handover_tests::{assert_exits_successfully, linked_in_role, table, tests, until};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            objects_of_each_type_travel_to_a_child_and_back,
            random_nested_values_arrive_as_they_were,
            value_without_objects_needs_none,
            skipped_objects_stay,
            object_of_another_kind_fails_and_closes_all,
            each_index_is_used_exactly_once,
            bytes_after_the_value_are_an_error,
            message_that_was_not_typed_is_no_value,
            message_with_a_value_and_a_name_is_refused,
            objects_taken_by_name_are_not_in_the_value,
            random_bytes_leave_no_handles,
            long_lists_that_are_not_there_allocate_little,
            lists_without_bytes_are_limited,
            nesting_is_limited,
            value_that_is_serialized_twice_is_refused,
            value_with_too_many_objects_is_refused,
            carried_outside_of_a_message_is_an_error,
            hidden_errors_still_fail,
            panics_end_the_scope,
            messages_inside_messages_have_their_own_objects,
            threads_have_their_own_objects,
            message_keeps_a_temporary_object_open,
            other_formats_carry_objects,
            values_can_borrow_from_the_message,
            channel_moves_with_its_value,
            failed_send_keeps_the_channel_in_its_value,
            channel_is_sent_once,
            channel_and_objects_are_not_confused,
            calls_have_typed_replies,
            invalid_call_is_an_error_and_the_next_one_works,
            typed_channel_is_waited_for,
        ],
        tests![returns_values],
    )
}

/// Asserts that nothing of what the function did keeps a handle open.
fn assert_no_handles_left<T>(run: impl Fn() -> T) {
    // The first time, the system opens handles that stay.
    drop(run());
    let before = table::count();
    drop(run());
    until("the handles are closed", || table::count() <= before);
}

fn event() -> Carried<Event> {
    Event::manual_reset().unwrap().into()
}

/// Sends a message over a channel in this process, and receives it.
fn received(message: Message<'_>) -> handover::ReceivedMessage {
    let (one, other) = Channel::pair().unwrap();
    std::thread::scope(|scope| {
        // A long message doesn't fit into the pipe.
        scope.spawn(|| one.send_timeout(message, SOON).unwrap());
        other.recv_timeout(SOON).unwrap()
    })
}

/// Sends a value over a channel in this process.
fn through<T: Serialize, R: DeserializeOwned>(value: &T) -> Result<R, Error> {
    received(Message::from_value(value).unwrap()).into_value()
}

fn json<T: Serialize>(value: &T) -> Message<'_> {
    Message::from_value_with(value, |value| serde_json::to_vec(value)).unwrap()
}

fn assert_invalid<T>(outcome: Result<T, Error>, part: &str) {
    match outcome.map(drop) {
        Err(error @ Error::InvalidValue { .. }) => {
            let text = error.to_string();
            assert!(text.contains(part), "{text} lacks {part:?}");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        }
        other => panic!("{other:?}"),
    }
}

fn assert_refused<T>(outcome: Result<T, Error>, part: &str) {
    match outcome.map(drop) {
        Err(error @ Error::InvalidInput { .. }) => {
            let text = error.to_string();
            assert!(text.contains(part), "{text} lacks {part:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// One object of each type that both systems have.
#[derive(Debug, Serialize, Deserialize)]
struct Everything {
    number: u8,
    event: Carried<Event>,
    semaphore: Carried<Semaphore>,
    timer: Carried<Timer>,
    memory: Carried<SharedMemory>,
    file: Carried<File>,
    process: Carried<Process>,
    any: Carried<OwnedHandle>,
    link: Carried<Channel>,
}

fn returns_values(_: &[String]) {
    let channel = Channel::parent().unwrap();
    channel.allow(ObjectKind::Process);
    let channel = TypedChannel::<Everything, Everything>::new(channel);
    while let Ok(mut value) = channel.recv_timeout(SOON) {
        value.number += 1;
        value.event.set().unwrap();
        value.semaphore.release(1).unwrap();
        value.timer.set_once(Duration::ZERO).unwrap();
        value.memory.view_mut().unwrap().write_at(0, b"written").unwrap();
        (&*value.file).write_all(b"more").unwrap();
        assert_eq!(value.process.id(), std::process::id());
        let link = value.link.take().unwrap();
        link.send("over the link").unwrap();
        value.link = link.into();
        channel.send(&value).unwrap();
    }
}

fn file() -> File {
    let path = std::env::temp_dir().join(format!("handover-typed-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn objects_of_each_type_travel_to_a_child_and_back() {
    let (child, channel) = linked_in_role("returns_values", &[]);
    channel.allow(ObjectKind::Process);
    let typed = TypedChannel::<Everything, Everything>::from(channel);
    let round = |number| {
        let (ours, theirs) = Channel::pair().unwrap();
        let any = Event::manual_reset().unwrap();
        let value = Everything {
            number,
            event: event(),
            semaphore: Semaphore::new(0).unwrap().into(),
            timer: Timer::manual_reset().unwrap().into(),
            memory: SharedMemory::new(4096).unwrap().into(),
            file: file().into(),
            process: child.process().clone().into(),
            any: OwnedHandle::from(any.try_clone().unwrap()).into(),
            link: theirs.into(),
        };
        typed.send(&value).unwrap();
        let back = typed.recv_timeout(SOON).unwrap();
        assert_eq!(back.number, number + 1);
        assert!(value.event.try_wait().unwrap() && back.event.try_wait().unwrap());
        assert!(value.semaphore.try_wait().unwrap() && !back.semaphore.try_wait().unwrap());
        value.timer.wait_timeout(SOON).unwrap();
        back.timer.wait_timeout(SOON).unwrap();
        for memory in [&value.memory, &back.memory] {
            let mut bytes = [0; 7];
            memory.view().unwrap().read_at(0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"written");
        }
        let mut text = String::new();
        (&*value.file).seek(SeekFrom::Start(0)).unwrap();
        (&*back.file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "more");
        assert_eq!(back.process.id(), child.id());
        any.set().unwrap();
        assert!(Event::try_from(back.any.into_inner()).unwrap().try_wait().unwrap());
        // The endpoint has left the value, and come back in the other one.
        assert!(matches!(value.link.take(), Err(Error::AlreadyTaken { .. })));
        assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"over the link");
    };
    assert_no_handles_left(|| round(1));
    assert_exits_successfully(child, typed.into_channel());
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(u64),
    Text(String),
    Event(Carried<Event>),
    Both { event: Option<Carried<Event>>, semaphore: Box<Carried<Semaphore>> },
    Pair(Carried<Semaphore>, i16),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

/// A tree without objects, from which one is made, and with which what arrives is compared.
#[derive(Debug, Clone, PartialEq)]
enum Plan {
    Leaf,
    Number(u64),
    Text(String),
    Event(bool),
    Both(Option<bool>, u8),
    Pair(u8, i16),
    List(Vec<Plan>),
    Map(BTreeMap<String, Plan>),
}

fn plans() -> impl Strategy<Value = Plan> {
    let leaf = prop_oneof![
        Just(Plan::Leaf),
        any::<u64>().prop_map(Plan::Number),
        any::<String>().prop_map(Plan::Text),
        any::<bool>().prop_map(Plan::Event),
        (any::<Option<bool>>(), 0..9_u8).prop_map(|(event, count)| Plan::Both(event, count)),
        (0..9_u8, any::<i16>()).prop_map(|(count, number)| Plan::Pair(count, number)),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Plan::List),
            btree_map(any::<String>(), inner, 0..4).prop_map(Plan::Map),
        ]
    })
}

fn event_of(is_set: bool) -> Carried<Event> {
    let event = event();
    if is_set {
        event.set().unwrap();
    }
    event
}

fn semaphore_of(count: u8) -> Carried<Semaphore> {
    Semaphore::new(count.into()).unwrap().into()
}

fn tree(plan: &Plan) -> Tree {
    match plan.clone() {
        Plan::Leaf => Tree::Leaf,
        Plan::Number(number) => Tree::Number(number),
        Plan::Text(text) => Tree::Text(text),
        Plan::Event(is_set) => Tree::Event(event_of(is_set)),
        Plan::Both(event, count) => {
            Tree::Both { event: event.map(event_of), semaphore: Box::new(semaphore_of(count)) }
        }
        Plan::Pair(count, number) => Tree::Pair(semaphore_of(count), number),
        Plan::List(plans) => Tree::List(plans.iter().map(tree).collect()),
        Plan::Map(plans) => Tree::Map(plans.iter().map(|(name, plan)| (name.clone(), tree(plan))).collect()),
    }
}

/// Reads a tree, and changes its semaphores.
fn plan(tree: Tree) -> Plan {
    let is_set = |event: &Carried<Event>| event.try_wait().unwrap();
    let count = |semaphore: &Carried<Semaphore>| {
        let mut count = 0;
        while semaphore.try_wait().unwrap() {
            count += 1;
        }
        count
    };
    match tree {
        Tree::Leaf => Plan::Leaf,
        Tree::Number(number) => Plan::Number(number),
        Tree::Text(text) => Plan::Text(text),
        Tree::Event(event) => Plan::Event(is_set(&event)),
        Tree::Both { event, semaphore } => Plan::Both(event.as_ref().map(is_set), count(&semaphore)),
        Tree::Pair(semaphore, number) => Plan::Pair(count(&semaphore), number),
        Tree::List(trees) => Plan::List(trees.into_iter().map(plan).collect()),
        Tree::Map(trees) => Plan::Map(trees.into_iter().map(|(name, tree)| (name, plan(tree))).collect()),
    }
}

fn random_nested_values_arrive_as_they_were() {
    let (one, other) = Channel::pair().unwrap();
    let before = table::count();
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&plans(), |wanted| {
        one.send(Message::from_value(&tree(&wanted)).unwrap()).unwrap();
        assert_eq!(plan(other.recv_timeout(SOON).unwrap().into_value().unwrap()), wanted);
        one.send(json(&tree(&wanted))).unwrap();
        let message = other.recv_timeout(SOON).unwrap();
        assert_eq!(plan(message.into_value_with(|bytes| serde_json::from_slice(bytes)).unwrap()), wanted);
        until("the handles are closed", || table::count() <= before);
        Ok(())
    });
    outcome.unwrap();
}

fn value_without_objects_needs_none() {
    let message = Message::from_value(&(1_u8, "text")).unwrap();
    let arrived = received(message);
    assert_eq!((arrived.bytes(), arrived.names().len()), (&b"\x01\x04text"[..], 0));
    assert_eq!(arrived.into_value::<(u8, String)>().unwrap(), (1, "text".into()));
    assert_eq!(received(Message::from_value("text").unwrap()).into_value::<String>().unwrap(), "text");
}

#[derive(Debug, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip)]
    skipped: Option<Carried<Event>>,
    #[serde(default)]
    first: Option<Carried<Event>>,
    second: (Carried<Event>, ()),
}

fn skipped_objects_stay() {
    let value = Skipping { skipped: Some(event()), first: None, second: (event(), ()) };
    value.second.0.set().unwrap();
    let arrived: Skipping = through(&value).unwrap();
    assert!(arrived.skipped.is_none() && arrived.first.is_none());
    assert!(arrived.second.0.try_wait().unwrap());
    assert!(!value.skipped.unwrap().into_inner().try_wait().unwrap());
}

fn object_of_another_kind_fails_and_closes_all() {
    assert_no_handles_left(|| {
        let outcome = through::<_, [Carried<Event>; 2]>(&(event(), Carried::new(file())));
        assert_invalid(outcome, "the object \"1\" of the message is a file; expected an event");
        let outcome = through::<_, Vec<Carried<SharedMemory>>>(&[event(), event()].as_slice());
        assert_invalid(outcome, "is an event; expected shared memory");
        through::<_, (Carried<OwnedHandle>, Carried<File>)>(&(event(), Carried::new(file()))).unwrap();
    });
}

fn each_index_is_used_exactly_once() {
    type Two = (Carried<Event>, Carried<Event>);
    assert_no_handles_left(|| {
        let (a, b) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
        let both = |bytes: &'static [u8]| received(Message::new(bytes).with("0", &a).with("1", &b));
        both(&[1, 0]).into_value::<Two>().unwrap();
        assert_invalid(both(&[0, 0]).into_value::<Two>(), "the object 0 was taken before");
        assert_invalid(both(&[0, 2]).into_value::<Two>(), "it uses the object 2 of 2");
        assert_invalid(
            both(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]).into_value::<Two>(),
            "object 4294967295 of 2",
        );
        assert_invalid(both(&[0]).into_value::<Carried<Event>>(), "objects without a field (1)");
        assert_invalid(both(&[]).into_value::<()>(), "objects without a field (2)");
        // The objects of a list with a gap.
        let gap = Message::new(&[0]).with("0", &a).with("2", &b);
        assert_invalid(received(gap).into_value::<Carried<Event>>(), "an object named \"2\"");
        // Names that are numbers, but not the index in its only form.
        for name in ["00", "+0", " 0", "0x0", "-0"] {
            let odd = Message::new(&[0]).with(name, &a);
            assert_invalid(received(odd).into_value::<Carried<Event>>(), "an object named");
        }
        // The indexes say which object is meant, and not the order.
        a.set().unwrap();
        let crossed = received(Message::new(&[0, 1]).with("1", &b).with("0", &a));
        let (first, second) = crossed.into_value::<Two>().unwrap();
        assert!(first.try_wait().unwrap() && !second.try_wait().unwrap());
    });
}

fn bytes_after_the_value_are_an_error() {
    assert_no_handles_left(|| {
        let event = Event::manual_reset().unwrap();
        let long = received(Message::new(&[0, 9, 9]).with("0", &event));
        assert_invalid(long.into_value::<Carried<Event>>(), "bytes follow the value (2)");
        let short = received(Message::new(&[0]).with("0", &event));
        assert_invalid(short.into_value::<(Carried<Event>, u8)>(), "end");
    });
}

fn message_that_was_not_typed_is_no_value() {
    assert_no_handles_left(|| {
        let event = Event::manual_reset().unwrap();
        let named = received(Message::new(&[0]).with("ready", &event));
        assert_invalid(named.into_value::<Carried<Event>>(), "an object named \"ready\"");
        assert_invalid(received(Message::new("text")).into_value::<bool>(), "sent a message that is no bool");
    });
}

fn message_with_a_value_and_a_name_is_refused() {
    assert_no_handles_left(|| {
        let (value, more) = (event(), Event::manual_reset().unwrap());
        let message = Message::from_value(&value).unwrap().with("more", &more);
        assert_invalid(received(message).into_value::<Carried<Event>>(), "an object named \"more\"");
        let message = Message::from_value(&value).unwrap().with("0", &more);
        assert_refused(Channel::pair().unwrap().0.send(message), "two objects named \"0\"");
    });
}

fn objects_taken_by_name_are_not_in_the_value() {
    assert_no_handles_left(|| {
        let arrived = received(Message::from_value(&event()).unwrap());
        arrived.take::<Event>("0").unwrap();
        assert_invalid(arrived.take_value::<Carried<Event>>(), "the object 0 was taken before");
        assert_invalid(arrived.take_value::<()>(), "bytes follow the value (1)");
        let arrived = received(Message::from_value(&event()).unwrap());
        arrived.take_value::<Carried<Event>>().unwrap();
        assert!(matches!(arrived.take::<Event>("0"), Err(Error::AlreadyTaken { .. })));
        assert!(matches!(arrived.kind("0"), Err(Error::AlreadyTaken { .. })));
        assert!(matches!(arrived.take_channel("0"), Err(Error::AlreadyTaken { .. })));
    });
}

fn random_bytes_leave_no_handles() {
    let (one, other) = Channel::pair().unwrap();
    let objects = [Event::manual_reset().unwrap(), Event::manual_reset().unwrap()];
    let link = Channel::pair().unwrap();
    let before = table::count();
    let bytes = vec(prop_oneof![0..9_u8, any::<u8>()], 0..40);
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(bytes, 0..3_usize), |(bytes, count)| {
        let mut message = Message::new(&bytes);
        for (index, object) in objects[..count].iter().enumerate() {
            message.add(index.to_string(), object);
        }
        one.send(message).unwrap();
        let outcome = other.recv_timeout(SOON).unwrap().into_value::<Vec<Tree>>();
        assert!(matches!(outcome, Ok(_) | Err(Error::InvalidValue { .. })), "{outcome:?}");
        drop(outcome);
        until("the handles are closed", || table::count() <= before);
        Ok(())
    });
    outcome.unwrap();
    drop(link);
    // The channel is as it was.
    one.send(Message::from_value(&1).unwrap()).unwrap();
    assert_eq!(other.recv_timeout(SOON).unwrap().into_value::<i32>().unwrap(), 1);
}

fn long_lists_that_are_not_there_allocate_little() {
    // 2^63 elements, of which none is there. Memory for them would end the process.
    let claim = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<u64>>(), "end");
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<Vec<[u64; 32]>>>(), "end");
    assert_invalid(received(Message::new(&claim)).into_value::<String>(), "end");
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<u8>>(), "end");
    assert_invalid(received(Message::new(&claim)).into_value::<HashMap<u64, u64>>(), "end");
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<Carried<Event>>>(), "end");
}

/// A value without bytes that takes memory.
#[derive(Debug, Serialize, Deserialize)]
struct Bulky {
    #[serde(skip, default = "bulk")]
    #[allow(dead_code, reason = "it only takes memory")]
    bulk: Box<[u8; 4096]>,
}

fn bulk() -> Box<[u8; 4096]> {
    Box::new([0; 4096])
}

fn lists_without_bytes_are_limited() {
    // 2^63 elements.
    let claim = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<()>>(), "its lists have more elements");
    assert_invalid(received(Message::new(&claim)).into_value::<Vec<Bulky>>(), "its lists have more elements");
    assert_invalid(received(Message::new(&claim)).into_value::<HashMap<(), ()>>(), "its lists have more");
    assert_eq!(through::<_, Vec<()>>(&vec![(); 4_000]).unwrap().len(), 4_000);
    assert_invalid(through::<_, Vec<()>>(&vec![(); 4_097]), "its lists have more elements");
    // A list with bytes isn't limited, for any type of elements.
    let long = vec![(Some(1_u8), (), [0_u8; 3], (), ()); 100_000];
    assert_eq!(through::<_, Vec<(Option<u8>, (), [u8; 3], (), ())>>(&long).unwrap(), long);
    let map: BTreeMap<u32, ()> = (0..100_000).map(|number| (number, ())).collect();
    assert_eq!(through::<_, BTreeMap<u32, ()>>(&map).unwrap(), map);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
    Pair { next: Box<Chain> },
}

fn nesting_is_limited() {
    let chain = |levels: usize| {
        (0..levels).fold(Chain::End, |chain, level| match level % 2 {
            0 => Chain::Link(chain.into()),
            _ => Chain::Pair { next: chain.into() },
        })
    };
    assert_eq!(through::<_, Chain>(&chain(100)).unwrap(), chain(100));
    assert_invalid(through::<_, Chain>(&chain(128)), "deeper than 128 levels");
    // As many levels as a message has bytes would use up the stack.
    for variant in [1, 2] {
        let deep = vec![variant; 1 << 20];
        assert_invalid(received(Message::new(&deep)).into_value::<Chain>(), "deeper than 128 levels");
    }
    #[derive(Debug, Deserialize)]
    struct Nest(#[allow(dead_code)] Option<Box<Nest>>);
    let deep = vec![1; 1 << 20];
    assert_invalid(received(Message::new(&deep)).into_value::<Nest>(), "deeper than 128 levels");
    #[derive(Debug, Deserialize)]
    struct Lists(#[allow(dead_code)] Vec<Lists>);
    assert_invalid(received(Message::new(&deep)).into_value::<Lists>(), "deeper than 128 levels");
}

fn value_that_is_serialized_twice_is_refused() {
    let carried = event();
    assert_refused(Message::from_value(&(&carried, &carried)), "serialized twice");
    let measured = Message::from_value_with(&carried, |carried| {
        serde_json::to_vec(carried)?;
        serde_json::to_vec(carried)
    });
    assert_refused(measured, "serialized twice");
    // Two messages may have it at once.
    let messages = [Message::from_value(&carried).unwrap(), Message::from_value(&carried).unwrap()];
    for message in messages {
        received(message).into_value::<Carried<Event>>().unwrap();
    }
    let (link, _other) = Channel::pair().unwrap();
    let link = Carried::new(link);
    assert_refused(Message::from_value(&[&link, &link]), "serialized twice");
}

fn value_with_too_many_objects_is_refused() {
    let mut events: Vec<_> = (0..Channel::MAX_OBJECTS).map(|_| event()).collect();
    assert_eq!(through::<_, Vec<Carried<Event>>>(&events).unwrap().len(), 253);
    events.push(event());
    assert_refused(Message::from_value(&events), "more than 253 objects");
}

fn carried_outside_of_a_message_is_an_error() {
    let error = serde_json::to_string(&event()).unwrap_err().to_string();
    assert!(error.contains("only be serialized by Message::from_value"), "{error}");
    let error = serde_json::from_str::<Carried<Event>>("0").unwrap_err().to_string();
    assert!(error.contains("only be deserialized by ReceivedMessage::into_value"), "{error}");
    // Neither while a message is decoded or encoded in the other direction.
    let message = received(json(&event()));
    let outcome = message.into_value_with(|bytes| {
        assert!(serde_json::to_string(&event()).is_err());
        serde_json::from_slice::<Carried<Event>>(bytes)
    });
    outcome.unwrap();
    let message = Message::from_value_with(&1, |value| {
        assert!(serde_json::from_str::<Carried<Event>>("0").is_err());
        serde_json::to_vec(value)
    });
    drop(message.unwrap());
}

fn hidden_errors_still_fail() {
    assert_no_handles_left(|| {
        let carried = event();
        let message = Message::from_value_with(&carried, |carried| {
            serde_json::to_vec(carried)?;
            let _ = serde_json::to_vec(carried);
            Ok::<_, serde_json::Error>(Vec::new())
        });
        assert_refused(message, "serialized twice");
        let message = received(json(&carried));
        let outcome = message.into_value_with(|bytes| {
            let first = serde_json::from_slice::<Carried<Event>>(bytes)?;
            assert!(serde_json::from_slice::<Carried<Event>>(bytes).is_err());
            Ok::<_, serde_json::Error>(first)
        });
        assert_invalid(outcome, "the object 0 was taken before");
    });
}

/// Panics when it is serialized or deserialized, after the object.
#[derive(Debug)]
struct Panics(Carried<Event>);

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        drop(self.0.serialize(serializer)?);
        panic!("on purpose");
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _carried = Carried::<Event>::deserialize(deserializer)?;
        panic!("on purpose");
    }
}

fn panics_end_the_scope() {
    std::panic::set_hook(Box::new(|_| {}));
    assert_no_handles_left(|| {
        let value = Panics(event());
        assert!(catch_unwind(AssertUnwindSafe(|| Message::from_value(&value).map(drop))).is_err());
        assert!(serde_json::to_string(&value.0).is_err(), "no scope is left");
        let message = received(Message::from_value(&value.0).unwrap());
        assert!(catch_unwind(AssertUnwindSafe(|| message.into_value::<Panics>())).is_err());
        assert!(serde_json::from_str::<Carried<Event>>("0").is_err(), "no scope is left");
        // No message keeps the object.
        value.0.into_inner().set().unwrap();
    });
}

/// Sends a message of its own while it is serialized, and receives one while it is deserialized.
#[derive(Debug)]
struct Nested {
    before: Carried<Event>,
    inner: Carried<Event>,
    after: Carried<Event>,
}

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = Message::from_value(&self.inner).unwrap();
        let arrived: Carried<Event> = received(inner).into_value().unwrap();
        arrived.set().unwrap();
        assert!(catch_unwind(|| Message::from_value(&Panics(event())).map(drop)).is_err());
        (&self.before, &self.after).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = event();
        sent.set().unwrap();
        let inner = through(&sent).map_err(D::Error::custom)?;
        let (before, after) = Deserialize::deserialize(deserializer)?;
        Ok(Self { before, inner, after })
    }
}

fn messages_inside_messages_have_their_own_objects() {
    std::panic::set_hook(Box::new(|_| {}));
    assert_no_handles_left(|| {
        let value = Nested { before: event(), inner: event(), after: event() };
        value.after.set().unwrap();
        let arrived: Nested = through(&value).unwrap();
        assert!(value.inner.try_wait().unwrap());
        assert!(arrived.inner.try_wait().unwrap());
        assert!(!arrived.before.try_wait().unwrap() && arrived.after.try_wait().unwrap());
    });
}

/// Serializes an object in another thread.
struct Elsewhere(Carried<Event>);

impl Serialize for Elsewhere {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let in_thread = std::thread::scope(|scope| {
            let thread = scope.spawn(|| serde_json::to_string(&self.0).is_err());
            thread.join().unwrap()
        });
        in_thread.serialize(serializer)
    }
}

fn threads_have_their_own_objects() {
    assert!(through::<_, bool>(&Elsewhere(event())).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (one, other) = Channel::pair().unwrap();
                for number in 0..50_u32 {
                    let events: Vec<_> = (0..number % 7).map(|_| event()).collect();
                    one.send(Message::from_value(&(number, &events)).unwrap()).unwrap();
                    let message = other.recv_timeout(SOON).unwrap();
                    let (back, arrived) = message.into_value::<(u32, Vec<Carried<Event>>)>().unwrap();
                    assert_eq!((back, arrived.len()), (number, events.len()));
                }
            });
        }
    });
}

/// Serializes an object that it drops before the message is sent.
struct Temporary<'a>(&'a Event);

impl Serialize for Temporary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Carried::new(self.0.try_clone().unwrap()).serialize(serializer)
    }
}

fn message_keeps_a_temporary_object_open() {
    assert_no_handles_left(|| {
        let event = Event::manual_reset().unwrap();
        let temporary = [Temporary(&event), Temporary(&event)];
        let message = Message::from_value(temporary.as_slice()).unwrap();
        // An object that reuses the handle's value must not travel instead.
        let _others: Vec<_> = (0..4).map(|_| Semaphore::new(0).unwrap()).collect();
        let arrived: Vec<Carried<Event>> = received_owned(message);
        event.set().unwrap();
        assert!(arrived.iter().all(|event| event.try_wait().unwrap()));
    });
}

fn received_owned<T: DeserializeOwned>(message: Message<'_>) -> T {
    let (one, other) = Channel::pair().unwrap();
    one.send(message).unwrap();
    other.recv_timeout(SOON).unwrap().into_value().unwrap()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Ready { events: HashMap<String, Carried<Event>> },
}

fn other_formats_carry_objects() {
    assert_no_handles_left(|| {
        let value = Tagged::Ready { events: [("a".into(), event()), ("b".into(), event())].into() };
        let arrived = received(json(&value));
        assert!(arrived.bytes().starts_with(b"{\"type\":\"Ready\",\"events\":{"));
        let Tagged::Ready { events } =
            arrived.into_value_with(|bytes| serde_json::from_slice(bytes)).unwrap();
        events["a"].set().unwrap();
        let Tagged::Ready { events } = value;
        assert!(events["a"].try_wait().unwrap() && !events["b"].try_wait().unwrap());

        let message = received(json(&event()));
        let outcome = message.into_value_with(|bytes| serde_json::from_slice::<Vec<Carried<Event>>>(bytes));
        assert_invalid(outcome, "invalid type");
        let map = HashMap::from([((1, 2), 3)]);
        let unserializable = Message::from_value_with(&map, serde_json::to_vec);
        assert_refused(unserializable, "key must be a string");
    });
}

fn values_can_borrow_from_the_message() {
    let carried = event();
    let message = received(Message::from_value(&("a text", &carried)).unwrap());
    let (text, _event): (&str, Carried<Event>) = message.take_value().unwrap();
    assert_eq!(text, "a text");
    let value = ("a text", &carried);
    let message = received(json(&value));
    let (text, _event): (&str, Carried<Event>) = message.take_value_with(serde_json::from_slice).unwrap();
    assert_eq!(text, "a text");
}

/// A channel between two objects, so that its index isn't its position in the message.
#[derive(Debug, Serialize, Deserialize)]
struct Linked {
    before: Carried<Event>,
    links: Vec<Carried<Channel>>,
    after: Carried<Semaphore>,
}

fn linked() -> (Channel, Linked) {
    let (ours, theirs) = Channel::pair().unwrap();
    let after = Semaphore::new(3).unwrap().into();
    (ours, Linked { before: event(), links: vec![theirs.into()], after })
}

fn channel_moves_with_its_value() {
    assert_no_handles_left(|| {
        let (ours, value) = linked();
        let arrived: Linked = through(&value).unwrap();
        assert_eq!(format!("{:?}", value.links[0]), "Carried(None)");
        assert!(arrived.after.try_wait().unwrap() && !arrived.before.try_wait().unwrap());
        let link = arrived.links.into_iter().next().unwrap().into_inner().unwrap();
        link.send("hello").unwrap();
        assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"hello");
        drop(link);
        // No endpoint is left in the value that was sent.
        assert!(matches!(ours.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    });
}

fn failed_send_keeps_the_channel_in_its_value() {
    assert_no_handles_left(|| {
        let (ours, value) = linked();
        drop(Message::from_value(&value).unwrap());
        // The peer of the channel has gone.
        let (one, other) = Channel::pair().unwrap();
        drop(other);
        let outcome = one.send(Message::from_value(&value).unwrap());
        assert!(matches!(outcome, Err(Error::Disconnected { .. })), "{outcome:?}");
        // A second channel in it can't leave.
        let (clone, _far) = Channel::pair().unwrap();
        let (one, other) = Channel::pair().unwrap();
        let both = (&value, Carried::new(clone.clone()));
        assert_refused(one.send(Message::from_value(&both).unwrap()), "has clones in use");
        // Nor one whose message names it as well: the name's owner gets it back in the error.
        let (named, _far) = Channel::pair().unwrap();
        let message = Message::from_value(&both).unwrap().with_channel("named", named);
        let mut error = one.send(message).unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
        assert!(error.take_channel("named").is_some() && error.take_channel("1").is_none());
        drop((clone, both.1));
        one.send(Message::from_value(&value).unwrap()).unwrap();
        let arrived: Linked = other.recv_timeout(SOON).unwrap().into_value().unwrap();
        arrived.links[0].take().unwrap().send("hello").unwrap();
        assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"hello");
    });
}

fn channel_is_sent_once() {
    assert_no_handles_left(|| {
        let (_ours, value) = linked();
        let (one, other) = Channel::pair().unwrap();
        let messages = [Message::from_value(&value).unwrap(), Message::from_value(&value).unwrap()];
        let [first, second] = messages;
        one.send(first).unwrap();
        assert_refused(one.send(second), "was sent before");
        assert_refused(Message::from_value(&value), "a channel that was sent before");
        other.recv_timeout(SOON).unwrap().into_value::<Linked>().unwrap();
        assert!(other.try_recv().unwrap().is_none());
        let Linked { links, .. } = value;
        for link in links {
            assert!(matches!(link.into_inner(), Err(Error::AlreadyTaken { .. })));
        }
    });
}

fn channel_and_objects_are_not_confused() {
    assert_no_handles_left(|| {
        let (_ours, value) = linked();
        assert_invalid(
            through::<_, (Carried<Event>, Vec<Carried<File>>, Carried<Semaphore>)>(&value),
            "is an endpoint of a channel",
        );
        let objects = (event(), vec![event()], Carried::new(Semaphore::new(1).unwrap()));
        assert_invalid(through::<_, Linked>(&objects), "is no endpoint of a channel");
    });
}

fn calls_have_typed_replies() {
    type Client = TypedChannel<(u32, Carried<Event>), String>;
    type Server = TypedChannel<String, (u32, Carried<Event>)>;
    assert_no_handles_left(|| {
        let (one, other) = Channel::pair().unwrap();
        let (client, server) = (Client::new(one), Server::new(other));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    let ((number, done), reply) = server.recv_request_timeout(SOON).unwrap();
                    assert!(reply.is_expected());
                    done.set().unwrap();
                    reply.send_timeout(&number.to_string(), SOON).unwrap();
                    assert!(!reply.is_expected());
                    assert_refused(reply.send(&String::new()), "was replied to before");
                }
            });
            for number in 0..3 {
                let value = (number, event());
                assert_eq!(client.call(&value, SOON).unwrap(), number.to_string());
                assert!(value.1.try_wait().unwrap());
            }
        });
        client.send_timeout(&(7, event()), SOON).unwrap();
        let ((number, _), reply) = server.recv_request().unwrap();
        assert_eq!((number, reply.is_expected()), (7, false));
        assert_refused(reply.send(&String::new()), "has no receiver");
        assert!(server.try_recv_request().unwrap().is_none());
        assert!(matches!(client.call(&(8, event()), SHORT), Err(Error::TimedOut { .. })));
        assert_eq!(server.try_recv_request().unwrap().unwrap().0.0, 8);
    });
}

fn invalid_call_is_an_error_and_the_next_one_works() {
    let (one, other) = Channel::pair().unwrap();
    let server = TypedChannel::<(), (u32, Carried<Event>)>::from(other);
    one.send("nothing typed").unwrap();
    one.send(Message::from_value(&(1_u32, event())).unwrap()).unwrap();
    one.send("again").unwrap();
    one.send(Message::from_value(&(2_u32, event())).unwrap()).unwrap();
    assert_invalid(server.recv(), "check that both programs use the same definition of the type");
    assert_eq!(server.recv().unwrap().0, 1);
    assert_invalid(server.recv_request(), "sent a message that is no (u32");
    assert_eq!(server.try_recv().unwrap().unwrap().0, 2);
    assert!(matches!(server.recv_timeout(SHORT), Err(Error::TimedOut { .. })));
}

fn typed_channel_is_waited_for() {
    let (one, other) = Channel::pair().unwrap();
    let (one, other) = (TypedChannel::<u8, ()>::new(one), TypedChannel::<(), u8>::new(other));
    let clone = other.clone();
    one.send(&5).unwrap();
    assert_eq!(handover::wait_any(&[other.channel()], SOON).unwrap().index, 0);
    assert_eq!(clone.recv_timeout(SOON).unwrap(), 5);
    one.channel().close();
    assert!(matches!(other.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    drop(Channel::from(other));
}
