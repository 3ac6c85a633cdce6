//! Tests of each kind of object: its operations, also in another process that got it by inheritance, duplication or
//! naming.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{
    AsObjectName, BorrowedObject, Channel, Child, Command, Error, Event, HandleValue, Listener, Message,
    Object, ObjectKind, OwnedHandle, Process, Semaphore, SharedMemory, SingleInstance, Stdio, Timer,
    wait_any,
};
use handover_tests::{raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            each_kind_travels_by_each_strategy,
            files_and_pipes_travel_by_inheritance_and_duplication,
            semaphore_counts,
            timer_expires,
            shared_memory_can_be_viewed_whole_or_in_part,
            shared_memory_rejects_invalid_ranges,
            numbers_of_two_widths_need_two_views,
            views_outlive_shared_memory,
            semaphore_excludes_two_processes,
            wait_any_accepts_all_kinds,
            events_reset_manually_or_by_one_waiter,
            clones_are_second_handles_to_one_object,
            handles_convert_to_the_type_of_their_object,
            debug_shows_no_internals,
            process_travels_as_itself,
            objects_can_be_taken_while_bytes_are_borrowed,
            timeouts_say_what_was_awaited,
        ],
        tests![uses, exits, sleeps, writes, counts, takes_processes, takes_at_once],
    )
}

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn exits(_: &[String]) {}

fn timeouts_say_what_was_awaited() {
    let message = |waited: handover::Result<()>| waited.unwrap_err().to_string();
    let moment = Duration::from_millis(2);
    assert_eq!(
        [
            message(Event::auto_reset().unwrap().wait_timeout(moment)),
            message(Semaphore::new(0).unwrap().wait_timeout(moment)),
            message(Timer::auto_reset().unwrap().wait_timeout(moment)),
        ],
        [
            "timed out after 2 ms: waiting for the event to be set",
            "timed out after 2 ms: waiting for the semaphore's count to rise above zero",
            "timed out after 2 ms: waiting for the timer to expire",
        ]
    );
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

const STRATEGIES: [&str; 3] = ["inheritance", "duplication", "naming"];

/// Returns the object that the test has passed by this strategy.
fn take_object<T: Object>(
    strategy: &str,
    by_name: impl FnOnce(&str) -> handover::Result<T>,
    name: &str,
) -> T {
    match strategy {
        "inheritance" => handover::inherited().unwrap().take("object").unwrap(),
        "duplication" => Channel::parent().unwrap().recv_timeout(SOON).unwrap().take("object").unwrap(),
        _ => by_name(name).unwrap(),
    }
}

/// Uses the object in a way that the test can observe.
fn uses(arguments: &[String]) {
    let [kind, strategy, name] = arguments else { panic!("{arguments:?}") };
    match kind.as_str() {
        "event" => {
            let event = take_object(strategy, Event::open_named, name);
            event.set().unwrap();
        }
        "semaphore" => {
            let semaphore = take_object(strategy, Semaphore::open_named, name);
            semaphore.release(2).unwrap();
        }
        "section" => {
            let section = take_object(strategy, SharedMemory::open_named, name);
            assert_eq!(section.size().unwrap(), 8192, "the size is the kernel's answer");
            section.view_mut().unwrap().write_at(5000, b"from the child").unwrap();
        }
        "timer" => {
            let timer = take_object(strategy, Timer::open_named, name);
            timer.set_once(Duration::ZERO).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// Lets a child use the object, and asserts that an unrelated process doesn't have it.
fn travels<T: Object + handover::AsHandle>(kind: &str, strategy: &str, name: &str, object: &T)
where
    for<'a> BorrowedObject<'a>: From<&'a T>,
{
    let before = table::count();
    let mut nobody = in_role("sleeps", &[]).spawn().unwrap();
    let mut command = in_role("uses", &[kind, strategy, name]);
    let mut child: Child = match strategy {
        "inheritance" => command.inherit("object", object).spawn().unwrap(),
        "duplication" => command.channel().spawn().unwrap(),
        _ => command.spawn().unwrap(),
    };
    let channel = child.take_channel();
    if let Some(channel) = &channel {
        channel.send(Message::new(b"").with("object", object)).unwrap();
    }
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "{kind} by {strategy}");
    assert_eq!(table::values_of(object, nobody.id()), [], "{kind} by {strategy}");
    nobody.kill().unwrap();
    nobody.wait_timeout(SOON).unwrap();
    drop((child, channel, command, nobody));
    // The thread that serves the name closes its connection a moment later.
    until(&format!("{kind} by {strategy} leaves nothing"), || table::count() == before);
}

fn each_kind_travels_by_each_strategy() {
    fn named<N: AsObjectName + ?Sized>(name: &N) -> &N {
        name
    }
    for strategy in STRATEGIES {
        let name = format!("matrix.{strategy}.{}", std::process::id());
        let name = |kind: &str| format!("{name}.{kind}");
        let is_named = strategy == "naming";
        let reset = handover::ResetMode::Auto;

        let of = name("event");
        let event = if is_named { Event::create_named(named(&of), reset) } else { Event::auto_reset() };
        let event = event.unwrap();
        travels("event", strategy, &of, &event);
        assert!(event.try_wait().unwrap());

        let of = name("semaphore");
        let semaphore = if is_named { Semaphore::create_named(&of, 0) } else { Semaphore::new(0) };
        let semaphore = semaphore.unwrap();
        travels("semaphore", strategy, &of, &semaphore);
        let waits = [(); 3].map(|()| semaphore.try_wait().unwrap());
        assert_eq!(waits, [true, true, false]);

        let of = name("section");
        let section = if is_named { SharedMemory::create_named(&of, 5001) } else { SharedMemory::new(5001) };
        let section = section.unwrap();
        travels("section", strategy, &of, &section);
        let mut bytes = [0; 14];
        section.view().unwrap().read_at(5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"from the child");

        let of = name("timer");
        let timer = if is_named { Timer::create_named(&of, reset) } else { Timer::auto_reset() };
        let timer = timer.unwrap();
        travels("timer", strategy, &of, &timer);
        timer.wait_timeout(SOON).unwrap();
    }
}

/// Writes to the object that it was passed.
fn writes(arguments: &[String]) {
    use std::io::Write;
    let mut file: std::fs::File = match arguments[0].as_str() {
        "inheritance" => handover::inherited().unwrap().take("object").unwrap(),
        _ => Channel::parent().unwrap().recv_timeout(SOON).unwrap().take("object").unwrap(),
    };
    file.write_all(b"from the child").unwrap();
}

fn files_and_pipes_travel_by_inheritance_and_duplication() {
    use std::io::{Read, Seek};
    let path = std::env::temp_dir().join(format!("handover-test-{}", std::process::id()));
    for strategy in &STRATEGIES[..2] {
        let mut file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let (from, to) = raw::pipe();
        for object in [BorrowedObject::from(&file), BorrowedObject::from(&to)] {
            let mut command = in_role("writes", &[strategy]);
            if *strategy == "inheritance" {
                command.inherit("object", object);
            } else {
                command.channel();
            }
            let mut child = command.spawn().unwrap();
            let channel = child.take_channel();
            if let Some(channel) = channel {
                channel.send(Message::new(b"").with("object", object)).unwrap();
                drop(channel);
            }
            assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
        }
        drop(to);
        for written in [&mut file, &mut std::fs::File::from(from)] {
            let mut text = String::new();
            // A pipe can't seek.
            let _ = written.rewind();
            written.read_to_string(&mut text).unwrap();
            assert_eq!(text, "from the child", "by {strategy}");
        }
    }
    std::fs::remove_file(path).unwrap();
}

fn semaphore_counts() {
    let semaphore = Semaphore::new(1).unwrap();
    semaphore.wait().unwrap();
    let time = Duration::from_millis(50);
    assert!(matches!(semaphore.wait_timeout(time), Err(Error::TimedOut { .. })));
    semaphore.release(1).unwrap();
    semaphore.release(1).unwrap();
    for wrong in [0, 1 << 31, u32::MAX] {
        let error = semaphore.release(wrong).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{wrong}: {error:?}");
    }
    assert!(semaphore.try_wait().unwrap() && semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    let before = table::count();
    for wrong in [1 << 31, u32::MAX] {
        assert!(matches!(Semaphore::new(wrong), Err(Error::InvalidInput { .. })));
    }
    drop(Semaphore::new(0x7fff_ffff).unwrap());
    assert_eq!(table::count(), before);
}

fn timer_expires() {
    let (manual, auto) = (Timer::manual_reset().unwrap(), Timer::auto_reset().unwrap());
    let (started, time) = (Instant::now(), Duration::from_millis(60));
    for timer in [&manual, &auto] {
        assert!(!timer.try_wait().unwrap());
        timer.set_once(time).unwrap();
    }
    manual.wait_timeout(SOON).unwrap();
    auto.wait_timeout(SOON).unwrap();
    assert!(started.elapsed() >= time - Duration::from_millis(16), "{:?}", started.elapsed());
    assert!(manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    auto.set_periodic(Duration::ZERO, Duration::from_millis(20)).unwrap();
    for _ in 0..3 {
        auto.wait_timeout(SOON).unwrap();
    }
    auto.cancel().unwrap();
    let _ = auto.try_wait().unwrap();
    assert!(matches!(auto.wait_timeout(time), Err(Error::TimedOut { .. })), "the timer was canceled");
    auto.set_once(Duration::from_secs(3600)).unwrap();
    assert!(!auto.try_wait().unwrap());
    for wrong in [Duration::ZERO, Duration::from_micros(900), Duration::from_secs(u64::MAX)] {
        assert!(matches!(auto.set_periodic(Duration::ZERO, wrong), Err(Error::InvalidInput { .. })));
    }
    assert!(matches!(auto.set_once(Duration::MAX), Err(Error::InvalidInput { .. })));
}

fn shared_memory_can_be_viewed_whole_or_in_part() {
    let section = SharedMemory::new(200_000).unwrap();
    let size = section.size().unwrap();
    assert_eq!(size, 200_704, "whole pages");
    let whole = section.view_mut().unwrap();
    assert_eq!(whole.len(), size);
    assert!(whole.to_vec().iter().all(|byte| *byte == 0));
    whole.write_at(70_000, b"in the middle").unwrap();
    whole.write_at(size - 3, b"end").unwrap();
    // The offset is not at the beginning of a page.
    let part = section.view_range(70_000, 13).unwrap();
    assert_eq!((part.len(), part.to_vec().as_slice()), (13, &b"in the middle"[..]));
    let part = section.view_mut_range(69_996, 100).unwrap();
    part.write_at(4, b"IN").unwrap();
    let mut bytes = [0; 4];
    whole.read_at(70_000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"IN t");
}

fn numbers_of_two_widths_need_two_views() {
    use std::sync::atomic::Ordering::SeqCst;
    let section = SharedMemory::new(4096).unwrap();
    let (wide, narrow) = (section.view_mut().unwrap(), section.view_mut_range(8, 8).unwrap());
    wide.atomic_u64(8).unwrap().store(7 << 32 | 9, SeqCst);
    for at in [0, 8, 16] {
        match wide.atomic_u32(at) {
            Err(error @ Error::InvalidInput { .. }) => {
                assert!(error.to_string().contains("another width"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(narrow.atomic_u32(0).unwrap().load(SeqCst), 9);
    assert_eq!(narrow.atomic_u32(4).unwrap().load(SeqCst), 7);
    assert!(matches!(narrow.atomic_u64(0), Err(Error::InvalidInput { .. })));
    // Copies go beside numbers of each width.
    wide.write_at(9, &[1]).unwrap();
    assert_eq!(narrow.atomic_u32(0).unwrap().load(SeqCst), 0x109);
    assert_eq!(wide.atomic_u64(8).unwrap().load(SeqCst), 7 << 32 | 0x109);
}

fn shared_memory_rejects_invalid_ranges() {
    let before = table::count();
    let invalid = |error: Error| assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    invalid(SharedMemory::new(0).unwrap_err());
    let huge = SharedMemory::new(usize::MAX).unwrap_err();
    assert!(matches!(huge, Error::System { .. } | Error::InvalidInput { .. }), "{huge:?}");
    // A program of 32 bits can't ask for so much.
    if let Ok(size) = usize::try_from(1_u64 << 46) {
        let large = SharedMemory::new(size).unwrap_err();
        assert!(matches!(large, Error::System { .. }), "{large:?}");
        assert!(large.to_string().contains("the new shared memory of 70368744177664 bytes"), "{large}");
    }
    let section = SharedMemory::new(4096).unwrap();
    for (from, length) in [(0, 0), (0, 4097), (4096, 1), (1, 4096), (usize::MAX, 1), (1, usize::MAX)] {
        invalid(section.view_range(from, length).unwrap_err());
        invalid(section.view_mut_range(from, length).unwrap_err());
    }
    let view = section.view_mut_range(8, 16).unwrap();
    invalid(view.write_at(0, &[1; 17]).unwrap_err());
    assert!(view.to_vec().iter().all(|byte| *byte == 0), "none of it was written");
    for at in [16, 17, usize::MAX] {
        invalid(view.write_at(at, b"x").unwrap_err());
        invalid(view.read_at(at, &mut [0]).unwrap_err());
        invalid(view.atomic_u32(at).map(drop).unwrap_err());
    }
    view.read_at(16, &mut []).unwrap();
    for at in [1, 2, 4, 12] {
        invalid(view.atomic_u64(at).map(drop).unwrap_err());
    }
    for at in [1, 2, 3, 14] {
        invalid(view.atomic_u32(at).map(drop).unwrap_err());
    }
    view.atomic_u64(8).map(drop).unwrap();
    drop((section, view));
    assert_eq!(table::count(), before);
}

fn views_outlive_shared_memory() {
    let section = SharedMemory::new(100).unwrap();
    let (writing, reading) = (section.view_mut().unwrap(), section.view().unwrap());
    drop(section);
    writing.write_at(0, b"still here").unwrap();
    drop(writing);
    assert!(reading.to_vec().starts_with(b"still here"));
}

/// Increments a number in shared memory this many times. It holds the semaphore during each increment, and doesn't use
/// atomic arithmetic.
fn count(place: &Semaphore, section: &SharedMemory, times: u32) {
    use std::sync::atomic::Ordering::Relaxed;
    let view = section.view_mut().unwrap();
    let number = view.atomic_u32(0).unwrap();
    for _ in 0..times {
        place.wait_timeout(SOON).unwrap();
        number.store(number.load(Relaxed) + 1, Relaxed);
        place.release(1).unwrap();
    }
}

const TIMES: u32 = 50_000;

fn counts(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let (place, section) = (message.take("place").unwrap(), message.take("section").unwrap());
    channel.send(b"begins").unwrap();
    count(&place, &section, TIMES);
    channel.send(b"done").unwrap();
}

fn semaphore_excludes_two_processes() {
    let (place, section) = (Semaphore::new(1).unwrap(), SharedMemory::new(4).unwrap());
    let mut child = in_role("counts", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"").with("place", &place).with("section", &section)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"begins");
    count(&place, &section, TIMES);
    assert_eq!(channel.recv_timeout(Duration::from_secs(120)).unwrap().bytes(), b"done");
    let view = section.view_mut().unwrap();
    assert_eq!(view.atomic_u32(0).unwrap().load(std::sync::atomic::Ordering::SeqCst), 2 * TIMES);
}

fn wait_any_accepts_all_kinds() {
    let (event, semaphore) = (Event::auto_reset().unwrap(), Semaphore::new(0).unwrap());
    let timer = Timer::auto_reset().unwrap();
    semaphore.release(1).unwrap();
    assert_eq!(wait_any(&[&event, &semaphore, &timer], SOON).unwrap(), 1);
    assert!(!semaphore.try_wait().unwrap(), "the wait has reset the object");
    timer.set_once(Duration::ZERO).unwrap();
    assert_eq!(wait_any(&[&event, &semaphore, &timer], SOON).unwrap(), 2);
    event.set().unwrap();
    assert_eq!(wait_any(&[&event, &semaphore, &timer], SOON).unwrap(), 0);
    assert!(matches!(
        wait_any(&[&event, &semaphore, &timer], Duration::from_millis(50)),
        Err(Error::TimedOut { .. })
    ));
}

fn events_reset_manually_or_by_one_waiter() {
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    for event in [&manual, &auto] {
        assert!(!event.try_wait().unwrap(), "the event begins unset");
        event.set().unwrap();
        event.reset().unwrap();
        assert!(!event.try_wait().unwrap(), "the event was reset");
        event.set().unwrap();
        assert!(event.try_wait().unwrap());
    }
    assert!(manual.try_wait().unwrap(), "a manual-reset event stays set");
    assert!(!auto.try_wait().unwrap(), "an auto-reset event releases one waiter");
    let started = Instant::now();
    let late = auto.wait_timeout(Duration::from_millis(120));
    assert!(
        matches!(late, Err(Error::TimedOut { timeout: after, .. }) if after == Duration::from_millis(120)),
        "{late:?}"
    );
    assert!(started.elapsed() >= Duration::from_millis(120), "{:?}", started.elapsed());
}

fn clones_are_second_handles_to_one_object() {
    let before = table::count();
    {
        let event = Event::manual_reset().unwrap();
        let second = event.try_clone().unwrap();
        drop(event);
        second.set().unwrap();
        assert!(second.try_clone().unwrap().try_wait().unwrap(), "both handles refer to one event");

        let semaphore = Semaphore::new(0).unwrap();
        semaphore.try_clone().unwrap().release(1).unwrap();
        assert!(semaphore.try_wait().unwrap());

        let timer = Timer::manual_reset().unwrap();
        timer.try_clone().unwrap().set_once(Duration::ZERO).unwrap();
        timer.wait_timeout(SOON).unwrap();

        let memory = SharedMemory::new(100).unwrap();
        memory.try_clone().unwrap().view_mut().unwrap().write_at(7, b"shared").unwrap();
        let mut bytes = [0; 6];
        memory.view().unwrap().read_at(7, &mut bytes).unwrap();
        assert_eq!(&bytes, b"shared");
    }
    assert_eq!(table::count(), before);
}

fn handles_convert_to_the_type_of_their_object() {
    let before = table::count();
    {
        let event = Event::manual_reset().unwrap();
        event.set().unwrap();
        let event = Event::try_from(OwnedHandle::from(event)).unwrap();
        assert!(event.try_wait().unwrap());
        let memory = SharedMemory::try_from(OwnedHandle::from(SharedMemory::new(1).unwrap())).unwrap();
        assert!(memory.size().unwrap() > 0);
        Semaphore::try_from(OwnedHandle::from(Semaphore::new(1).unwrap())).unwrap();
        Timer::try_from(OwnedHandle::from(Timer::auto_reset().unwrap())).unwrap();

        let wrong = Timer::try_from(OwnedHandle::from(event));
        assert!(
            matches!(
                wrong,
                Err(Error::WrongKind { expected: ObjectKind::Timer, found: ObjectKind::Event, .. })
            ),
            "{wrong:?}"
        );
        let wrong = Process::try_from(OwnedHandle::from(memory));
        assert!(
            matches!(
                wrong,
                Err(Error::WrongKind { expected: ObjectKind::Process, found: ObjectKind::SharedMemory, .. })
            ),
            "{wrong:?}"
        );
    }
    assert_eq!(table::count(), before, "after an error the handle is closed");
}

fn debug_shows_no_internals() {
    let event = Event::manual_reset().unwrap();
    let value = HandleValue::of(&event).unwrap().get();
    assert_eq!(format!("{event:?}"), format!("Event {{ handle: {value} }}"));
    assert_eq!(
        format!("{:?}", BorrowedObject::from(&event)),
        format!("BorrowedObject {{ handle: {value}, .. }}")
    );
    let memory = SharedMemory::new(1).unwrap();
    let size = memory.size().unwrap();
    assert_eq!(format!("{:?}", memory.view().unwrap()), format!("View {{ len: {size}, .. }}"));
    assert_eq!(format!("{:?}", memory.view_mut().unwrap()), format!("ViewMut {{ len: {size}, .. }}"));
    let mut command = in_role("sleeps", &[]);
    command.inherit("event", &event).channel();
    let shown = format!("{command:?}");
    assert!(shown.ends_with("sleeps\"") && !shown.contains("event"), "{shown}");
    // The longer form shows names and options, and nothing of their types.
    let all = format!("{command:#?}");
    assert!(all.contains("\"event\"") && all.contains("attachments: 1"), "{all}");
    assert!(!all.contains("Listed") && !all.contains(&format!("handle: {value}")), "{all}");
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let id = child.id();
    assert_eq!(
        format!("{child:?}"),
        format!("Child {{ id: {id}, stdin: None, stdout: None, stderr: None, .. }}")
    );
    assert_eq!(format!("{:?}", child.process()), format!("Process {{ id: {id}, .. }}"));
    let channel = child.take_channel().unwrap();
    assert_eq!(format!("{channel:?}"), format!("Channel {{ peer: {id}, .. }}"));
    let name = format!("debug {}", std::process::id());
    let listener = Listener::bind(&name).unwrap();
    assert_eq!(format!("{listener:?}"), format!("Listener {{ name: {name:?}, .. }}"));
    let instance = SingleInstance::acquire(&name).unwrap();
    assert_eq!(format!("{instance:?}"), "SingleInstance { previous_owner_crashed: false, .. }");
}

fn takes_processes(_: &[String]) {
    let inherited: Process = handover::inherited().unwrap().take("process").unwrap();
    let channel = Channel::parent().unwrap();
    let refused = channel.recv_timeout(SOON);
    assert!(matches!(refused, Err(Error::KindNotAllowed { found: ObjectKind::Process, .. })), "{refused:?}");
    channel.allow(ObjectKind::Process);
    let message = channel.recv_timeout(SOON).unwrap();
    let sent: Process = message.take("process").unwrap();
    assert_eq!(sent.id(), inherited.id());
    assert_eq!(sent.identity().unwrap(), inherited.identity().unwrap());
    for process in [&sent, &inherited] {
        assert!(!process.has_exited().unwrap());
        assert_eq!(process.creation_time().unwrap(), sent.creation_time().unwrap());
    }
    let exited: Process = message.take("exited").unwrap();
    assert!(exited.has_exited().unwrap());
    channel.send(sent.id().to_string()).unwrap();
    assert_eq!(wait_any(&[&sent, &inherited], SOON).unwrap(), 0);
    channel.send("exited").unwrap();
}

fn process_travels_as_itself() {
    let other = in_role("sleeps", &[]).spawn().unwrap();
    let mut child =
        in_role("takes_processes", &[]).inherit("process", other.process()).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    let mut exited = in_role("exits", &[]).spawn().unwrap();
    exited.wait_timeout(SOON).unwrap();
    for _ in 0..2 {
        channel
            .send(Message::new(b"").with("process", other.process()).with("exited", exited.process()))
            .unwrap();
    }
    let id = channel.recv_timeout(SOON).unwrap();
    assert_eq!(id.bytes(), other.id().to_string().as_bytes());
    drop(other);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"exited");
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn takes_at_once(_: &[String]) {
    let channel = Channel::parent().unwrap();
    for _ in 0..50 {
        let message = channel.recv_timeout(SOON).unwrap();
        let bytes = message.bytes();
        let owners = std::thread::scope(|scope| {
            let take = || message.take::<Event>("event").map(drop);
            let takers = [scope.spawn(take), scope.spawn(take), scope.spawn(take)];
            takers.map(|taker| taker.join().unwrap())
        });
        for refused in owners.iter().filter_map(|owner| owner.as_ref().err()) {
            assert!(matches!(refused, Error::AlreadyTaken { .. }), "{refused:?}");
        }
        assert_eq!(owners.iter().filter(|owner| owner.is_ok()).count(), 1, "{owners:?}");
        let second = message.take::<Event>(std::str::from_utf8(bytes).unwrap()).unwrap();
        second.set().unwrap();
    }
    channel.send("done").unwrap();
}

fn objects_can_be_taken_while_bytes_are_borrowed() {
    let mut child = in_role("takes_at_once", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    let (event, second) = (Event::auto_reset().unwrap(), Event::auto_reset().unwrap());
    for _ in 0..50 {
        channel.send(Message::new(b"second").with("event", &event).with("second", &second)).unwrap();
        second.wait_timeout(SOON).unwrap();
    }
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"done");
    assert!(child.wait_timeout(SOON).unwrap().success());
}
