//! Looking into handle tables, and which objects two processes have in common; beside the kernel's own view.

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use handover::inspect::{HandleEntry, HandleTable, shared_objects};
use handover::{Child, Command, Error, Event, HandleValue, ObjectKind, OwnedHandle, Process, SharedMemory};
use handover_tests::{begun, raw, role, table, tests, this_program, waits};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_table_is_what_the_kernel_has,
            each_kind_is_the_kernels_answer,
            a_file_is_found_by_its_name,
            a_handle_to_a_process_tells_which,
            the_table_of_a_child_has_what_it_was_given,
            looking_leaves_nothing_open,
            a_process_that_has_ended_has_no_table,
            a_process_that_dies_meanwhile_is_no_surprise,
            thousands_of_handles_are_all_there,
            what_is_inherited_is_shared_and_nothing_else,
            several_handles_to_one_object_are_one_object,
            two_handles_to_one_process_are_one_object,
            a_file_that_both_have_opened_is_not_shared,
            nothing_is_shared_with_oneself,
            nothing_is_shared_with_one_that_has_ended,
        ],
        tests![waits, makes_many, opens_a_file],
    )
}

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

fn makes_many(arguments: &[String]) {
    let count: usize = arguments[0].parse().unwrap();
    table::make_room(count + 100);
    let events: Vec<Event> = (0..count).map(|_| Event::manual_reset().unwrap()).collect();
    waits(&[]);
    drop(events);
}

fn opens_a_file(_: &[String]) {
    let file = File::open(this_program()).unwrap();
    waits(&[]);
    drop(file);
}

fn this() -> Process {
    Process::open_for_query(std::process::id()).unwrap()
}

fn entry_of(table: &HandleTable, value: u32) -> HandleEntry {
    table.get(u64::from(value).try_into().unwrap()).expect("it is in the table").clone()
}

#[track_caller]
fn assert_as_the_kernel_has_it(process: &Process) {
    let both = || {
        let looked = HandleTable::of(process).unwrap();
        assert_eq!(looked.process(), process.id());
        let found = looked.entries().iter().map(|entry| table::Entry {
            value: entry.value().get(),
            access: entry.access(),
            inheritable: entry.is_inheritable(),
        });
        let mut expected = table::of(process.id());
        expected.sort_unstable_by_key(|entry| entry.value);
        (found.collect::<Vec<_>>(), expected)
    };
    // On a machine that is busy elsewhere, one that is about to wait may still open a handle between the two looks.
    for _ in 0..100 {
        let (found, expected) = both();
        if found == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (found, expected) = both();
    assert_eq!(found, expected);
}

fn a_table_is_what_the_kernel_has() {
    let _objects = raw::objects();
    let inheritable = Event::manual_reset().unwrap();
    table::make_inheritable(&inheritable);
    assert_as_the_kernel_has_it(&this());
    let child = begun(&mut in_role("waits", &[]));
    assert_as_the_kernel_has_it(child.process());
    assert_as_the_kernel_has_it(&Process::open_for_query(child.id()).unwrap());
}

fn each_kind_is_the_kernels_answer() {
    let event = Event::auto_reset().unwrap();
    let mut expected = raw::objects();
    expected.extend(raw::power());
    expected.push(("event", event.into(), ObjectKind::Event));
    expected.push(("file", File::open(this_program()).unwrap().into(), ObjectKind::File));
    let looked = HandleTable::of(&this()).unwrap();
    for (name, handle, kind) in &expected {
        let entry = entry_of(&looked, table::value(handle));
        assert_eq!(entry.kind(), Ok(kind), "{name}");
        assert!(!entry.rights().is_empty(), "{name}");
    }
}

fn a_file_is_found_by_its_name() {
    let file = File::open(this_program()).unwrap();
    let looked = HandleTable::of(&this()).unwrap();
    let entry = entry_of(&looked, table::value(&file));
    let name = entry.name().unwrap().expect("a file has a name");
    let file_name = this_program().file_stem().unwrap().to_string_lossy().into_owned();
    assert!(name.contains(&file_name), "{name}");
    assert!(!entry.is_protected());
}

fn a_handle_to_a_process_tells_which() {
    let child = begun(&mut in_role("waits", &[]));
    let looked = HandleTable::of(&this()).unwrap();
    let entry = entry_of(&looked, table::value(child.process()));
    assert_eq!(entry.kind(), Ok(&ObjectKind::Process));
    assert_eq!(entry.name(), Ok(Some(&*format!("process {}", child.id()))));
}

fn the_table_of_a_child_has_what_it_was_given() {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(4096).unwrap());
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event).inherit("section", &section));
    let looked = HandleTable::of(child.process()).unwrap();
    let kinds = [("event", ObjectKind::Event), ("section", ObjectKind::SharedMemory)];
    for ((name, value), (expected_name, kind)) in std::iter::zip(child.inherited_handles(), &kinds) {
        assert_eq!(name, *expected_name);
        let entry = looked.get(value).unwrap();
        assert_eq!(entry.kind(), Ok(kind));
        // Nobody over there has adopted it.
        assert!(entry.is_inheritable());
    }
}

fn looking_leaves_nothing_open() {
    let child = begun(&mut in_role("waits", &[]));
    let look = || {
        HandleTable::of(child.process()).unwrap();
        HandleTable::of(&this()).unwrap();
        shared_objects(&this(), child.process()).unwrap();
    };
    look();
    let (here, there) = (table::count(), table::of(child.id()));
    for _ in 0..5 {
        look();
    }
    assert_eq!(table::count(), here);
    assert_eq!(table::of(child.id()), there);
}

fn a_process_that_has_ended_has_no_table() {
    let mut child = begun(&mut in_role("waits", &[]));
    let process = child.process().clone();
    drop(child.stdin.take());
    assert!(table::ends_within(child.id(), 10_000));
    for may_be_forgotten in [false, true] {
        match HandleTable::of(&process) {
            Err(Error::ProcessExited { pid: id, .. }) => assert_eq!(id, process.id()),
            other => panic!("{other:?}"),
        }
        if !may_be_forgotten {
            child.wait_timeout(SOON).unwrap();
        }
    }
    match Process::open_for_query(0x7fff_fff0) {
        Err(Error::ProcessExited { .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn a_process_that_dies_meanwhile_is_no_surprise() {
    let mut gone = 0;
    for round in 0..20_u64 {
        let child = begun(&mut in_role("makes_many", &["300"]));
        let process = child.process().clone();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300 * round));
            table::kill(child.id());
            child
        });
        for _ in 0..50 {
            match HandleTable::of(&process).and_then(|_| shared_objects(&this(), &process)) {
                Ok(_) => {}
                Err(Error::ProcessExited { .. }) => gone += 1,
                Err(other) => panic!("{other}"),
            }
        }
        let mut child = killer.join().unwrap();
        child.wait_timeout(SOON).unwrap();
    }
    assert!(gone > 0);
}

fn thousands_of_handles_are_all_there() {
    let child = begun(&mut in_role("makes_many", &["2000"]));
    let looked = HandleTable::of(child.process()).unwrap();
    let events = looked.entries().iter().filter(|entry| entry.kind() == Ok(&ObjectKind::Event)).count();
    assert!(events >= 2000, "{events}");
    assert!(looked.entries().is_sorted_by_key(HandleEntry::value));
    assert!(shared_objects(&this(), child.process()).unwrap().incomplete.is_empty());
}

fn given(child: &Child) -> Vec<HandleValue> {
    child.inherited_handles().map(|(_, value)| value).collect()
}

/// The handles under which both have the object that this process has under the value.
fn handles_of(child: &Child, own: &impl handover::AsHandle) -> Option<[Vec<HandleValue>; 2]> {
    let own = HandleValue::of(own).unwrap();
    let sharing = shared_objects(&this(), child.process()).unwrap();
    assert!(sharing.incomplete.is_empty(), "{:?}", sharing.incomplete);
    let mut found = sharing.objects.into_iter().filter(|object| object.handles[0].contains(&own));
    let first = found.next().map(|object| object.handles);
    assert!(found.next().is_none(), "one object is told once");
    first
}

fn what_is_inherited_is_shared_and_nothing_else() {
    let (passed, kept) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let section = SharedMemory::new(4096).unwrap();
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &passed).inherit("section", &section));
    let [event_there, section_there] = given(&child)[..] else { panic!("{child:?}") };
    assert_eq!(
        handles_of(&child, &passed),
        Some([vec![HandleValue::of(&passed).unwrap()], vec![event_there]])
    );
    let handles = Some([vec![HandleValue::of(&section).unwrap()], vec![section_there]]);
    assert_eq!(handles_of(&child, &section), handles);
    assert_eq!(handles_of(&child, &kept), None);
    let sharing = shared_objects(&this(), child.process()).unwrap();
    let of_kind = |kind| sharing.objects.iter().filter(|object| object.kind == kind).count();
    assert_eq!(
        (of_kind(ObjectKind::Event), of_kind(ObjectKind::SharedMemory)),
        (1, 1),
        "{:?}",
        sharing.objects
    );
    // The other way round it is the same.
    let back = shared_objects(child.process(), &this()).unwrap();
    let event = back.objects.iter().find(|object| object.kind == ObjectKind::Event).unwrap();
    assert_eq!(event.handles, [vec![event_there], vec![HandleValue::of(&passed).unwrap()]]);
}

fn several_handles_to_one_object_are_one_object() {
    let one: OwnedHandle = Event::manual_reset().unwrap().into();
    let two = one.try_clone().unwrap();
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("one", &one).inherit("two", &two));
    let sorted = |mut values: Vec<HandleValue>| {
        values.sort_unstable();
        values
    };
    let [here, there] = handles_of(&child, &one).unwrap().map(sorted);
    assert_eq!(here, sorted(vec![HandleValue::of(&one).unwrap(), HandleValue::of(&two).unwrap()]));
    assert_eq!(there, sorted(given(&child)));
}

fn two_handles_to_one_process_are_one_object() {
    let [one, two] = [raw::this_process(), raw::this_process()];
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("process", &one));
    let [here, there] = handles_of(&child, &one).unwrap();
    assert!(here.contains(&HandleValue::of(&two).unwrap()), "{here:?}");
    assert_eq!(there, given(&child));
}

fn a_file_that_both_have_opened_is_not_shared() {
    let file = File::open(this_program()).unwrap();
    let child = begun(&mut in_role("opens_a_file", &[]));
    assert_eq!(handles_of(&child, &file), None);
    let mut command = in_role("opens_a_file", &[]);
    let child = begun(command.inherit("file", &file));
    let handles = [vec![HandleValue::of(&file).unwrap()], given(&child)];
    assert_eq!(handles_of(&child, &file), Some(handles));
}

fn nothing_is_shared_with_oneself() {
    let error = shared_objects(&this(), &this()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
}

fn nothing_is_shared_with_one_that_has_ended() {
    let mut child = begun(&mut in_role("waits", &[]));
    drop(child.stdin.take());
    child.wait_timeout(SOON).unwrap();
    for (one, other) in [(&this(), child.process()), (child.process(), &this())] {
        match shared_objects(one, other) {
            Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
            other => panic!("{other:?}"),
        }
    }
}
