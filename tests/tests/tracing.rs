//! Tests of tracing events: each system call is an event, and the effects together explain the handle tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Error as IoError, Read};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use handover::inspect::Audit;
use handover::{
    Channel, Child, Command, Error, Event, HandleValue, Message, OwnedHandle, Process, ResetMode, Semaphore,
    SharedMemory, Stdio, faults, wait_any,
};
use handover_tests::expect::call_names as call;
use handover_tests::{role, settled, table, tests, this_program};
use tracing::Level;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            each_call_of_an_event_is_reported,
            wait_reports_its_outcome,
            failed_call_reports_its_error,
            injected_failure_is_reported,
            queries_are_reported_at_trace_level_only,
            no_events_without_subscriber,
            calls_of_a_subscriber_are_not_reported,
            panicking_subscriber_changes_nothing,
            subscriber_can_send_over_the_reported_channel,
            last_error_is_preserved,
            spawn_reports_childs_handles,
            passed_and_received_objects_are_reported,
            text_arguments_are_reported,
            effects_explain_the_handle_table,
            calls_of_an_audit_are_reported,
        ],
        tests![sleeps, echoes, echoes_all, exits],
    )
}

const SOON: Duration = Duration::from_secs(10);

/// An event as a subscriber gets it.
#[derive(Debug, Clone, Default)]
struct CallEvent {
    trace: bool,
    call: String,
    arguments: String,
    result: String,
    failed: Option<bool>,
    nanoseconds: Option<u64>,
    effects: String,
}

impl Visit for CallEvent {
    fn record_str(&mut self, field: &Field, text: &str) {
        assert_eq!(field.name(), "call", "{text}");
        self.call = text.to_owned();
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        assert_eq!(field.name(), "failed");
        self.failed = Some(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        assert_eq!(field.name(), "nanoseconds");
        self.nanoseconds = Some(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let place = match field.name() {
            "arguments" => &mut self.arguments,
            "result" => &mut self.result,
            "effects" => &mut self.effects,
            other => panic!("a field {other}"),
        };
        *place = format!("{value:?}");
    }
}

static ALL: Mutex<Vec<CallEvent>> = Mutex::new(Vec::new());
/// Whether the subscriber calls the library itself.
static CALLS_LIBRARY: AtomicBool = AtomicBool::new(false);
static LIBRARY_CALLS: AtomicUsize = AtomicUsize::new(0);
/// Whether the subscriber panics.
static PANICS: AtomicBool = AtomicBool::new(false);
static PANICKED: AtomicUsize = AtomicUsize::new(0);
/// The channel over which the subscriber sends one message.
static LOG: Mutex<Option<Channel>> = Mutex::new(None);
/// Whether an assertion of the subscriber has failed. The library catches its panics.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

struct NoteFailure;

impl Drop for NoteFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            HAS_FAILED.store(true, SeqCst);
        }
    }
}

fn listen(level: LevelFilter) {
    handover_tests::listen(level, on_event);
}

fn on_event(event: &tracing::Event<'_>) {
    if PANICS.load(SeqCst) {
        PANICKED.fetch_add(1, SeqCst);
        panic!("the subscriber panics");
    }
    let _note = NoteFailure;
    assert_eq!(event.metadata().target(), "handover::call");
    let level = *event.metadata().level();
    assert!(level == Level::DEBUG || level == Level::TRACE);
    let mut call = CallEvent { trace: level == Level::TRACE, ..CallEvent::default() };
    event.record(&mut call);
    assert!(!call.call.is_empty() && !call.result.is_empty() && call.failed.is_some(), "{call:?}");
    assert!(call.nanoseconds.is_some_and(|time| time > 0), "{call:?}");
    if CALLS_LIBRARY.load(SeqCst) {
        LIBRARY_CALLS.fetch_add(1, SeqCst);
        assert!(!Event::manual_reset().unwrap().try_wait().unwrap());
        // Changes this thread's last error.
        assert!(std::fs::File::open(this_program().join("no").join("such")).is_err());
    }
    ALL.lock().unwrap().push(call);
    let log = LOG.lock().unwrap().take();
    if let Some(log) = log {
        log.send_timeout(b"log", SOON).unwrap();
    }
}

/// Returns the events since the last call.
fn take_events() -> Vec<CallEvent> {
    assert!(!HAS_FAILED.load(SeqCst), "an assertion of the subscriber has failed");
    std::mem::take(&mut *ALL.lock().unwrap())
}

fn single(events: &[CallEvent], call: &str) -> CallEvent {
    let mut of_that = events.iter().filter(|one| one.call == call);
    let found = of_that.next().unwrap_or_else(|| panic!("no {call} in {events:#?}"));
    assert!(of_that.next().is_none(), "more than one {call} in {events:#?}");
    found.clone()
}

/// A handle: its value, and the id of its process unless it is this one.
type Slot = (u32, Option<u32>);

#[derive(Debug, PartialEq)]
enum Effect {
    Opened(Slot, Option<Slot>),
    Closed(Slot),
}

fn slot(text: &str) -> Slot {
    let (value, process) = text.split_once('@').map_or((text, None), |(value, id)| (value, Some(id)));
    let digits = value.strip_prefix("0x").unwrap_or_else(|| panic!("{text:?}"));
    let process = process.map(|id| id.parse().unwrap_or_else(|_| panic!("{text:?}")));
    (u32::from_str_radix(digits, 16).unwrap(), process)
}

/// Parses an event's effects.
fn effects(event: &CallEvent) -> Vec<Effect> {
    let effect = |text: &str| match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(opened), _) => match opened.split_once('=') {
            Some((copy, source)) => Effect::Opened(slot(copy), Some(slot(source))),
            None => Effect::Opened(slot(opened), None),
        },
        (_, Some(closed)) => Effect::Closed(slot(closed)),
        _ => panic!("{event:?}"),
    };
    event.effects.split_whitespace().map(effect).collect()
}

fn all_effects(events: &[CallEvent]) -> Vec<Effect> {
    events.iter().flat_map(effects).collect()
}

fn each_call_of_an_event_is_reported() {
    listen(LevelFilter::TRACE);
    let event = Event::auto_reset().unwrap();
    let value = table::value(&event);
    let created = single(&take_events(), call::CREATE);
    assert_eq!((created.result, created.failed), (format!("{value:#x}"), Some(false)));
    assert_eq!(created.effects, format!("+{value:#x}"));
    event.set().unwrap();
    let set = single(&take_events(), call::SET);
    assert!(set.arguments.contains(&format!("{value:#x}")), "{set:?}");
    assert_eq!((set.result.as_str(), set.effects.as_str(), set.trace), ("ok", "", false));
    drop(event);
    let all = take_events();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].call, call::CLOSE);
    assert_eq!((all[0].arguments.as_str(), all[0].result.as_str()), (&*format!("handle {value:#x}"), "ok"));
    assert_eq!(all[0].effects, format!("-{value:#x}"));
    assert!(table::entry(std::process::id(), value).is_none());
    // std closes a handle that was converted to std's type, without an event.
    drop(OwnedHandle::from(Event::manual_reset().unwrap()));
    assert!(take_events().iter().all(|one| one.call != call::CLOSE));
}

fn wait_reports_its_outcome() {
    listen(LevelFilter::DEBUG);
    let event = Event::manual_reset().unwrap();
    let process = Process::open(std::process::id()).unwrap();
    take_events();
    assert!(matches!(event.wait_timeout(Duration::from_millis(20)), Err(Error::TimedOut { .. })));
    let waits = take_events();
    let last = waits.iter().rfind(|one| one.call == call::WAIT).expect("a wait");
    assert_eq!((last.result.as_str(), last.failed), ("timed out", Some(false)));
    assert!(last.arguments.contains(" ms"), "{last:?}");
    let total: u64 = waits.iter().filter_map(|one| one.nanoseconds).sum();
    assert!(total >= 10_000_000, "{waits:?}");
    event.set().unwrap();
    take_events();
    event.wait_timeout(SOON).unwrap();
    assert_eq!(single(&take_events(), call::WAIT).result, "signaled");
    assert!(wait_any(&[&process, &event], SOON).is_ok());
    let waits = take_events();
    let last = waits.last().unwrap();
    assert!(last.result.starts_with("signaled"), "{last:?}");
    for handle in [table::value(&process), table::value(&event)] {
        assert!(last.arguments.contains(&format!("{handle:#x}")), "{last:?}");
    }
}

fn failed_call_reports_its_error() {
    listen(LevelFilter::DEBUG);
    let error = Process::open(0x7fff_fffc).expect_err("no process has that id");
    let failed = single(&take_events(), call::OPEN_PROCESS);
    assert!(failed.arguments.starts_with("process 2147483644"), "{failed:?}");
    assert_eq!((failed.failed, failed.effects.as_str()), (Some(true), ""), "{error}");
    assert_eq!(failed.result, IoError::from_raw_os_error(call::NO_PROCESS).to_string());
}

fn injected_failure_is_reported() {
    listen(LevelFilter::TRACE);
    let event = Event::manual_reset().unwrap();
    let before = take_events().len();
    assert!(before > 0);
    let (outcome, _) = faults::run(Some(0), || event.set());
    outcome.unwrap_err();
    let all = take_events();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].failed, Some(true));
    assert_eq!(all[0].result, IoError::from_raw_os_error(faults::CODE).to_string());
    // A close can't be made to fail; it always runs.
    let value = table::value(&event);
    let ((), calls) = faults::run(Some(0), || drop(event));
    assert_eq!(calls, 0);
    assert_eq!(single(&take_events(), call::CLOSE).effects, format!("-{value:#x}"));
}

/// Duplicates a handle from the child, which queries its kind.
fn ask(child: &Child, value: HandleValue) {
    drop(child.process().duplicate_from::<Event>(value).unwrap());
}

fn queries_are_reported_at_trace_level_only() {
    listen(LevelFilter::TRACE);
    let event = Event::manual_reset().unwrap();
    let child = never_ends().inherit("event", &event).spawn().unwrap();
    take_events();
    ask(&child, child.inherited_handles().next().unwrap().1);
    let all = take_events();
    let asked = all.iter().find(|one| one.call == call::KIND).expect("a question");
    assert!(asked.trace && asked.effects.is_empty(), "{asked:?}");
    for one in &all {
        // Effects are reported at the level DEBUG only, so that level is enough to follow all handles.
        assert!(!one.trace || one.effects.is_empty(), "{one:?}");
    }
    assert_eq!(all.iter().filter(|one| !one.trace).count(), 2, "a copy is made, and closed: {all:#?}");
}

fn no_events_without_subscriber() {
    listen(LevelFilter::INFO);
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    drop(never_ends().inherit("event", &event).spawn().unwrap());
    drop(event);
    assert!(take_events().is_empty());
}

fn calls_of_a_subscriber_are_not_reported() {
    listen(LevelFilter::TRACE);
    let before = table::count();
    CALLS_LIBRARY.store(true, SeqCst);
    let event = Event::auto_reset().unwrap();
    event.set().unwrap();
    drop(event);
    CALLS_LIBRARY.store(false, SeqCst);
    let all = take_events();
    let is_expected = |one: &&CallEvent| [call::CREATE, call::SET, call::CLOSE].contains(&one.call.as_str());
    assert_eq!(all.iter().filter(is_expected).count(), 3, "{all:#?}");
    assert_eq!(all.len(), LIBRARY_CALLS.load(SeqCst));
    assert_eq!(table::count(), before);
    // Later calls are reported again.
    drop(Event::manual_reset());
    assert!(!take_events().is_empty());
}

/// Sends each message back, with its event.
fn echoes_all(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(received) = channel.recv() {
        let event = received.take::<Event>("event").ok();
        let bytes = received.bytes().to_vec();
        let mut message = Message::new(&bytes);
        if let Some(event) = &event {
            message = message.with("event", event);
        }
        channel.send(message).unwrap();
    }
}

fn echo_all() -> (Child, Channel) {
    let mut command = Command::new(this_program());
    let mut child = command.args(role("echoes_all", &[])).kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn panicking_subscriber_changes_nothing() {
    listen(LevelFilter::TRACE);
    let name = format!("tracing.panics.{}", std::process::id());
    // On Windows the first name opens the folder of names, which stays open.
    drop(Event::create_named(&name, ResetMode::Auto).unwrap());
    let before = table::count();
    let (mut child, channel) = echo_all();
    let event = Event::auto_reset().unwrap();
    std::panic::set_hook(Box::new(|_| ()));
    PANICS.store(true, SeqCst);
    for number in 0..100_u8 {
        channel.send(Message::new(&[number]).with("event", &event)).unwrap();
        let answer = channel.recv_timeout(SOON).unwrap();
        assert_eq!(answer.bytes(), [number], "each message arrives once, in order");
        answer.take::<Event>("event").unwrap().set().unwrap();
        assert!(event.try_wait().unwrap(), "it is the same event");
    }
    assert!(channel.try_recv().unwrap().is_none());
    let named = Event::create_named(&name, ResetMode::Auto).unwrap();
    Event::open_named(&name).unwrap().set().unwrap();
    named.wait_timeout(SOON).unwrap();
    drop((named, channel, event));
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(child);
    PANICS.store(false, SeqCst);
    drop(std::panic::take_hook());
    assert!(PANICKED.load(SeqCst) > 300, "{PANICKED:?}");
    assert_eq!(settled(std::process::id()), before);
}

fn subscriber_can_send_over_the_reported_channel() {
    listen(LevelFilter::DEBUG);
    let (mut child, channel) = echo_all();
    let started = Instant::now();
    *LOG.lock().unwrap() = Some(channel.clone());
    channel.send(b"first").unwrap();
    assert!(LOG.lock().unwrap().is_none(), "the subscriber has used the channel");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"first");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"log");
    // Receiving is reported too, and it holds another lock.
    channel.send(b"second").unwrap();
    *LOG.lock().unwrap() = Some(channel.clone());
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"second");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"log");
    assert!(started.elapsed() < Duration::from_secs(5), "no lock was waited for");
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    take_events();
}

fn last_error_is_preserved() {
    listen(LevelFilter::TRACE);
    let event = Event::auto_reset().unwrap();
    CALLS_LIBRARY.store(true, SeqCst);
    assert!(std::fs::File::open(this_program().with_extension("none")).is_err());
    let before = IoError::last_os_error().raw_os_error();
    drop(event);
    assert_eq!(IoError::last_os_error().raw_os_error(), before);
    assert_eq!(LIBRARY_CALLS.load(SeqCst), 1);
    // The control: the subscriber would have changed the last error.
    assert!(std::fs::File::open(this_program().join("no").join("such")).is_err());
    assert_ne!(IoError::last_os_error().raw_os_error(), before);
}

fn never_ends<'a>() -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role("sleeps", &[])).kill_on_drop(true);
    command
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn spawn_reports_childs_handles() {
    listen(LevelFilter::DEBUG);
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(100).unwrap());
    let mut command = never_ends();
    command.inherit("event", &event).inherit("section", section.read_only());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let child = command.spawn().unwrap();
    let all = take_events();
    let spawned = single(&all, call::SPAWN);
    assert_eq!(spawned.result, format!("process {}", child.id()));
    let opened = effects(&spawned);
    let before = all_effects(&all);
    for ((_, value), own) in child.inherited_handles().zip([table::value(&event), table::value(&section)]) {
        let there = (value.get(), Some(child.id()));
        let source = opened.iter().find_map(|effect| match effect {
            Effect::Opened(slot, source) if *slot == there => Some(source.expect("the source of the copy")),
            _ => None,
        });
        let source = source.unwrap_or_else(|| panic!("no {value:#x} in {spawned:?}"));
        assert_eq!(source.1, None, "the source is in this process");
        // The source is the handle itself, or a duplicate that was made for the child.
        let duplicate = Effect::Opened(source, Some((own, None)));
        assert!(source.0 == own || before.contains(&duplicate), "{own:#x} {duplicate:?} in {all:#?}");
        assert!(table::entry(child.id(), value.get()).is_some());
    }
    // The other effects are the three streams.
    let theirs = |effect: &&Effect| matches!(effect, Effect::Opened((_, Some(id)), _) if *id == child.id());
    assert_eq!(opened.iter().filter(theirs).count(), 2 + 3, "{spawned:?}");
}

fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let received = channel.recv().unwrap();
    let event: Event = received.take("event").unwrap();
    channel.send(Message::new(b"again").with("event", &event)).unwrap();
    // The parent fetches the event out of this process.
    channel.flush(SOON).unwrap();
    let mut rest = String::new();
    std::io::stdin().read_to_string(&mut rest).unwrap();
}

fn echo() -> Child {
    let mut command = Command::new(this_program());
    command.args(role("echoes", &[])).kill_on_drop(true).channel().stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn passed_and_received_objects_are_reported() {
    listen(LevelFilter::DEBUG);
    let event = Event::manual_reset().unwrap();
    let mut child = echo();
    let channel = child.take_channel().unwrap();
    take_events();
    channel.send(Message::new(b"go").with("event", &event)).unwrap();
    let own = table::value(&event);
    let sent = take_events();
    let passed = single(&sent, call::PASS);
    let (arguments, effects_of_it) = call::passing(own, child.id(), &passed.result);
    assert!(passed.arguments.contains(&arguments), "{passed:?}");
    assert_eq!(passed.effects, effects_of_it);
    let received = channel.recv_timeout(SOON).unwrap();
    let all = take_events();
    let again: Event = received.take("event").unwrap();
    let value = table::value(&again);
    let arrived = all.iter().flat_map(effects).find_map(|effect| match effect {
        Effect::Opened(slot, source) if slot == (value, None) => Some(source),
        _ => None,
    });
    let source = arrived.unwrap_or_else(|| panic!("no {value:#x} in {all:#?}"));
    assert_eq!(source.and_then(|(_, process)| process), call::PARENT_FETCHES.then(|| child.id()));
    drop(again);
    assert_eq!(single(&take_events(), call::CLOSE).effects, format!("-{value:#x}"));
}

fn text_arguments_are_reported() {
    listen(LevelFilter::DEBUG);
    let mut child = echo();
    let channel = child.take_channel().unwrap();
    take_events();
    channel.send(Message::new(vec![7; 100])).unwrap();
    let sent = single(&take_events(), call::SEND);
    assert!(sent.arguments.contains(" bytes") && !sent.arguments.contains('"'), "{sent:?}");
    let name = format!("tracing-{}", std::process::id());
    drop(Event::create_named(&*name, ResetMode::Manual).unwrap());
    let named = take_events();
    assert!(
        named.iter().any(|one| one.arguments.contains('"') && one.arguments.contains(&name)),
        "{named:#?}"
    );
}

/// Uses each kind of call, and returns handles that are still open.
fn scenario() -> (Child, Vec<OwnedHandle>) {
    let (event, other) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    event.set().unwrap();
    event.wait_timeout(SOON).unwrap();
    let semaphore = Semaphore::new(1).unwrap();
    let section = SharedMemory::new(10_000).unwrap();
    drop(section.view().unwrap());
    let mut child = echo();
    let channel = child.take_channel().unwrap();
    let message = Message::new(b"go").with("event", &event).with("section", section.read_only());
    channel.send(message).unwrap();
    let received = channel.recv_timeout(SOON).unwrap();
    let again: Event = received.take("event").unwrap();
    let mut sleeper = never_ends();
    sleeper.inherit("event", &event).inherit("section", section.read_only());
    sleeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::from(OwnedHandle::from(other)));
    let mut sleeper = sleeper.spawn().unwrap();
    let value = sleeper.inherited_handles().next().unwrap().1;
    let pulled: Event = sleeper.process().duplicate_from(value).unwrap();
    // Killing and waiting closes the child's piped standard input.
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(Process::open(0x7fff_fffc).is_err());
    drop(channel);
    (child, vec![again.into(), pulled.into(), semaphore.into()])
}

fn open_here() -> BTreeSet<u32> {
    table::of(std::process::id()).iter().map(|entry| entry.value).collect()
}

/// Returns the open handles, once other processes have closed theirs in this process.
fn settled_here() -> BTreeSet<u32> {
    let _ = settled(std::process::id());
    open_here()
}

fn effects_explain_the_handle_table() {
    listen(LevelFilter::DEBUG);
    // The first run makes the system create what it creates once for a process.
    drop(scenario());
    let before = settled_here();
    take_events();
    let kept = scenario();
    let all = take_events();
    let after = settled_here();
    let mut replayed = before.clone();
    let mut opened = BTreeSet::new();
    for effect in all_effects(&all) {
        match effect {
            Effect::Opened((value, None), _) => {
                opened.insert(value);
                assert!(replayed.insert(value), "{value:#x} was opened twice: {all:#?}");
            }
            Effect::Closed((value, None)) => {
                assert!(replayed.remove(&value), "{value:#x} was closed, and not open: {all:#?}");
            }
            _ => {}
        }
    }
    assert_eq!(replayed, after, "{all:#?}");
    assert!(opened.len() > 5 && after.len() >= before.len() + 3, "{all:#?}");
    // Closes everything again. The wait also closes the child's piped input.
    let (mut child, kept) = kept;
    child.kill().unwrap();
    child.wait().unwrap();
    drop(child);
    for effect in all_effects(&take_events()) {
        if let Effect::Closed((value, None)) = effect {
            assert!(replayed.remove(&value), "{value:#x}");
        }
    }
    for handle in kept {
        replayed.remove(&table::value(&handle));
    }
    assert_eq!(replayed.difference(&before).count(), 0, "{replayed:?} {before:?}");
}

fn exits(_: &[String]) {}

fn calls_of_an_audit_are_reported() {
    listen(LevelFilter::TRACE);
    let audit = || {
        let mut command = std::process::Command::new(this_program());
        command.args(role("exits", &[]));
        Audit::new(command).run(Duration::from_secs(60)).unwrap()
    };
    // The first audit makes the system create what it creates once for a process.
    audit();
    let before = settled_here();
    take_events();
    let audit = audit();
    let all = take_events();
    assert!(
        audit.status.success() && audit.processes.iter().all(|started| started.incomplete.is_none()),
        "{audit}"
    );
    for name in call::AUDIT {
        assert!(all.iter().any(|one| one.call == name), "no {name} in {all:#?}");
    }
    let id = audit.processes[0].id;
    assert_eq!(single(&all, call::SPAWN_OF_STD).result, format!("process {id}"));
    // Two threads report their events, each in its own order, so only the totals are compared: each value is opened as
    // often as it is closed.
    let mut open = BTreeMap::new();
    for effect in all_effects(&all) {
        match effect {
            Effect::Opened((value, None), _) => *open.entry(value).or_insert(0) += 1,
            Effect::Closed((value, None)) => *open.entry(value).or_insert(0) -= 1,
            other => panic!("{other:?} in {all:#?}"),
        }
    }
    assert!(!open.is_empty());
    open.retain(|_, count| *count != 0);
    assert_eq!((open, settled_here()), (BTreeMap::new(), before), "{all:#?}");
}
