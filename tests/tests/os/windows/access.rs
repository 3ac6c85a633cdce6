//! Tests of access rights: an object travels with exactly the rights that it was given.

use std::time::Duration;

use handover::os::windows::{Access, Mutex};
use handover::{
    BorrowedObject, Channel, Child, Command, Error, Event, HandleValue, Message, ObjectKind, OwnedHandle,
    Process, Semaphore, SharedMemory, Stdio, Timer, faults, wait_any,
};
use handover_tests::{Suite, adopt, left_out, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "access",
    tests: tests![
        inherited_handle_has_exactly_given_access,
        event_with_synchronize_cannot_be_set,
        message_to_child_carries_given_access,
        message_to_parent_carries_given_access,
        read_only_memory_cannot_be_mapped_for_writing,
        objects_travel_with_access_to_use_but_not_to_own,
        too_large_memory_reports_system_error,
        wait_any_reports_missing_synchronize,
        open_with_grants_requested_rights,
        missing_process_right_is_named,
        process_travels_with_the_rights_to_wait_and_query,
    ],
    roles: tests![
        sleeps,
        takes_to_wait,
        prints_access,
        sends_own_objects,
        maps_shared_memory,
        waits_without_the_right
    ],
};

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn with_channel(name: &str) -> (Child, Channel) {
    let mut child = in_role(name).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn own_access(object: &OwnedHandle) -> u32 {
    table::entry(std::process::id(), table::value(object)).unwrap().access
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn inherited_handle_has_exactly_given_access() {
    let event = Event::auto_reset().unwrap();
    let child = in_role("sleeps")
        .inherit("by default", &event)
        .inherit("wait only", event.with_access(Access::SYNCHRONIZE))
        .inherit("set only", event.with_access(Access::EVENT_MODIFY_STATE))
        .spawn()
        .unwrap();
    let masks: Vec<_> = child
        .inherited_handles()
        .map(|(_, value)| table::entry(child.id(), value.get()).expect("the handle has arrived").access)
        .collect();
    assert_eq!(masks, [0x0010_0002, 0x0010_0000, 0x0000_0002]);
}

fn takes_to_wait(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let wait_only: Event = inherited.take("wait only").unwrap();
    assert!(matches!(wait_only.set(), Err(Error::AccessDenied { right: "EVENT_MODIFY_STATE", .. })));
    wait_only.wait_timeout(SOON).unwrap();
}

fn event_with_synchronize_cannot_be_set() {
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    let mut command = in_role("takes_to_wait");
    command.inherit("wait only", event.with_access(Access::SYNCHRONIZE));
    assert_eq!(command.status().unwrap().code(), Some(0));
}

/// Returns an event and shared memory, each with full and with narrowed access.
fn narrowed<'a>(event: &'a Event, section: &'a OwnedHandle) -> [(&'static str, BorrowedObject<'a>, u32); 4] {
    let narrow = |share: BorrowedObject<'a>, access: u32| share.with_access(Access::from_bits_retain(access));
    [
        ("event", event.into(), 0x0010_0002),
        ("wait only", narrow(event.into(), 0x0010_0000), 0x0010_0000),
        ("section", section.into(), own_access(section)),
        ("section to read", narrow(section.into(), 0x4), 0x4),
    ]
}

fn message<'a>(objects: &[(&'static str, BorrowedObject<'a>, u32)]) -> Message<'a> {
    objects.iter().fold(Message::new(b""), |message, (name, share, _)| message.with(*name, *share))
}

fn masks(message: &mut handover::ReceivedMessage) -> String {
    let names: Vec<String> = message.names().map(str::to_owned).collect();
    let mask = |name: &String| {
        let object: OwnedHandle = message.take(name).unwrap();
        format!("{name}={:#x}\n", own_access(&object))
    };
    names.iter().map(mask).collect()
}

fn expected(objects: &[(&'static str, BorrowedObject<'_>, u32)]) -> String {
    objects.iter().map(|(name, _, access)| format!("{name}={access:#x}\n")).collect()
}

fn prints_access(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
    channel.send(masks(&mut message).as_str()).unwrap();
}

fn message_to_child_carries_given_access() {
    let (event, section) = (Event::auto_reset().unwrap(), raw::section());
    let objects = narrowed(&event, &section);
    let (child, channel) = with_channel("prints_access");
    channel.send(message(&objects)).unwrap();
    let said = channel.recv_timeout(SOON).unwrap().into_bytes();
    assert_eq!(String::from_utf8(said).unwrap(), expected(&objects));
    assert_exits_successfully(child, channel);
}

fn sends_own_objects(_: &[String]) {
    let (event, section) = (Event::auto_reset().unwrap(), raw::section());
    let objects = narrowed(&event, &section);
    let channel = Channel::parent().unwrap();
    channel.send(message(&objects)).unwrap();
    channel.send(expected(&objects).as_str()).unwrap();
}

fn message_to_parent_carries_given_access() {
    let (child, channel) = with_channel("sends_own_objects");
    let mut message = channel.recv_timeout(SOON).unwrap();
    let said = channel.recv_timeout(SOON).unwrap().into_bytes();
    assert_eq!(masks(&mut message), String::from_utf8(said).unwrap());
    assert_exits_successfully(child, channel);
}

fn maps_shared_memory(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let section: OwnedHandle = message.take("section").unwrap();
    let can = [false, true].map(|writing| raw::can_map(&section, writing));
    channel.send(format!("{can:?}").as_str()).unwrap();
}

fn read_only_memory_cannot_be_mapped_for_writing() {
    const FILE_MAP_READ: Access = Access::from_bits_retain(0x4);
    let section = raw::section();
    let own = SharedMemory::new(1).unwrap();
    for (share, expected) in [
        (own.read_only(), "[true, false]"),
        (BorrowedObject::from(&section).with_access(FILE_MAP_READ), "[true, false]"),
        (BorrowedObject::from(&section), "[true, true]"),
    ] {
        let (child, channel) = with_channel("maps_shared_memory");
        channel.send(Message::new(b"").with("section", share)).unwrap();
        let answer = channel.recv_timeout(SOON).unwrap();
        assert_eq!(std::str::from_utf8(answer.bytes()).unwrap(), expected);
        assert_exits_successfully(child, channel);
    }
}

fn objects_travel_with_access_to_use_but_not_to_own() {
    let child = in_role("sleeps").spawn().unwrap();
    let mask = |share: BorrowedObject<'_>| {
        let copy = child.process().duplicate_into(share).unwrap();
        table::entry(child.id(), copy.value().get()).unwrap().access
    };
    let (mutex, semaphore) = (Mutex::new().unwrap(), Semaphore::new(0).unwrap());
    let (section, timer) = (SharedMemory::new(1).unwrap(), Timer::manual_reset().unwrap());
    assert_eq!(mask((&mutex).into()), 0x0010_0001);
    assert_eq!(mask((&semaphore).into()), 0x0010_0002);
    assert_eq!(mask((&section).into()), 0x0000_0007);
    assert_eq!(mask((&timer).into()), 0x0010_0003);
    assert_eq!(mask(section.with_access(Access::SECTION_READ)), 0x0000_0005);
    assert_eq!(mask(section.read_only()), 0x0000_0005);
    // A handle with narrowed access is passed on with at most that access.
    let copy = child.process().duplicate_into(section.with_access(Access::SECTION_READ)).unwrap();
    let less: SharedMemory = child.process().duplicate_from(copy.value()).unwrap();
    assert_eq!(mask((&less).into()), 0x0000_0005);
    less.view().unwrap();
    match less.view_mut() {
        Err(Error::AccessDenied { right, .. }) => assert_eq!(right, "SECTION_MAP_WRITE"),
        other => panic!("{other:?}"),
    }
    let copy = child.process().duplicate_into(semaphore.with_access(Access::SYNCHRONIZE)).unwrap();
    let less: Semaphore = child.process().duplicate_from(copy.value()).unwrap();
    assert!(matches!(less.release(1), Err(Error::AccessDenied { right: "SEMAPHORE_MODIFY_STATE", .. })));
    let copy = child.process().duplicate_into(timer.with_access(Access::SYNCHRONIZE)).unwrap();
    let less: Timer = child.process().duplicate_from(copy.value()).unwrap();
    assert!(matches!(less.cancel(), Err(Error::AccessDenied { right: "TIMER_MODIFY_STATE", .. })));
    assert!(!less.try_wait().unwrap());
    assert!(matches!(child.process().duplicate_from::<Timer>(copy.value()).map(drop), Ok(())));
    assert!(matches!(
        child.process().duplicate_from::<Mutex>(copy.value()),
        Err(Error::WrongKind { expected: ObjectKind::Mutex, found: ObjectKind::Timer, .. })
    ));
}

fn too_large_memory_reports_system_error() {
    let Some(size) = 1_usize.checked_shl(60) else {
        return left_out("each 32-bit size can be available");
    };
    let huge = SharedMemory::new(size).unwrap_err();
    assert!(matches!(huge, Error::System { call: "CreateFileMappingW", .. }), "{huge:?}");
}

fn wait_any_reports_missing_synchronize() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("waits_without_the_right", &[]));
    command.inherit("event", event.with_access(Access::EVENT_MODIFY_STATE)).arg_handle("{event}");
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert_eq!(table::count(), before);
}

fn waits_without_the_right(_: &[String]) {
    let own = Event::manual_reset().unwrap();
    let event: Event = adopt(HandleValue::from_arg(3).unwrap()).unwrap();
    // Another error is reported as it is, even though the right is missing as well.
    let fails = [faults::Turn::fails("WaitForMultipleObjects", 0..1, faults::CODE)];
    match faults::taking(fails, || wait_any(&[&own, &event], SOON)).0 {
        Err(Error::System { source, .. }) => assert_eq!(source.raw_os_error(), Some(faults::CODE)),
        other => panic!("{other:?}"),
    }
    match wait_any(&[&own, &event], SOON) {
        Err(error @ Error::AccessDenied { right: "SYNCHRONIZE", .. }) => {
            assert!(error.to_string().contains("index 1"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

fn open_with_grants_requested_rights() {
    let child = in_role("sleeps").spawn().unwrap();
    let process = Process::open_with(child.id(), Access::PROCESS_DUP_HANDLE).unwrap();
    let mask = table::entry(std::process::id(), table::value(&process)).unwrap().access;
    assert_eq!(mask & 0x0010_1040, 0x0010_1040);
    assert_eq!(mask & 1, 0, "the right to kill it was not requested");
    let event = Event::manual_reset().unwrap();
    let copy = process.duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()), [copy.value().get()]);
    drop(copy);
    assert_eq!(table::values_of(&event, child.id()), []);
    assert!(!process.has_exited().unwrap());
    assert_eq!(process.identity().unwrap(), child.process().identity().unwrap());
    // A right that the library requests anyway can be requested explicitly.
    let process = Process::open_with(child.id(), Access::SYNCHRONIZE).unwrap();
    assert!(!process.has_exited().unwrap());
    {
        use std::os::windows::io::AsRawHandle;
        assert_eq!(child.as_raw_handle().addr(), table::value(&child) as usize);
    }
    match Process::open_with(0x7fff_fff0, Access::PROCESS_DUP_HANDLE) {
        Err(Error::ProcessExited { pid: 0x7fff_fff0, .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn missing_process_right_is_named() {
    let child = in_role("sleeps").spawn().unwrap();
    let process = Process::open_with(child.id(), Access::empty()).unwrap();
    let event = Event::manual_reset().unwrap();
    let lacks = |outcome: Result<(), Error>| match outcome {
        Err(error @ Error::AccessDenied { .. }) => {
            let text = error.to_string();
            assert!(text.contains("PROCESS_DUP_HANDLE") && text.contains(&child.id().to_string()), "{text}");
        }
        other => panic!("{other:?}"),
    };
    lacks(process.duplicate_into(&event).map(drop));
    lacks(process.duplicate_from::<Event>("4".parse().unwrap()).map(drop));
}

fn process_travels_with_the_rights_to_wait_and_query() {
    let mut child = in_role("sleeps").spawn().unwrap();
    let before = table::count();
    let minimum = Access::SYNCHRONIZE | Access::PROCESS_QUERY_LIMITED_INFORMATION;
    let process = child.process();
    let this = Process::open_with(std::process::id(), Access::PROCESS_DUP_HANDLE).unwrap();
    let shared = |object: BorrowedObject<'_>| -> OwnedHandle {
        adopt(this.duplicate_into(object).unwrap().into_value()).unwrap()
    };
    let copy = shared(BorrowedObject::from(process));
    assert_eq!(own_access(&copy), minimum.bits());
    let taken = Process::try_from(copy).unwrap();
    assert_eq!(taken.id(), child.id());
    // A handle that carries fewer rights passes on no more than it has, and isn't a `Process` then.
    let waits = shared(BorrowedObject::from(process).with_access(Access::SYNCHRONIZE));
    match Process::try_from(waits) {
        Err(Error::AccessDenied { right, .. }) => assert_eq!(right, "PROCESS_QUERY_LIMITED_INFORMATION"),
        other => panic!("{other:?}"),
    }
    drop((taken, this));
    assert_eq!(table::count(), before);
    child.kill().unwrap();
}
