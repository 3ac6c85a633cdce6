//! Tests of handle tables and of shared objects, compared with the kernel's own answers.

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
            handle_table_matches_kernel,
            kinds_are_reported,
            name_of_file_contains_its_path,
            name_of_process_handle_has_its_id,
            table_of_child_contains_inherited_handles,
            reading_tables_leaks_no_handles,
            table_of_exited_process_is_an_error,
            process_killed_while_table_is_read_is_reported,
            table_contains_thousands_of_handles,
            only_inherited_objects_are_shared,
            handles_to_one_object_are_grouped,
            handles_to_one_process_are_grouped,
            separately_opened_file_is_not_shared,
            shared_objects_rejects_same_process,
            shared_objects_fails_for_exited_process,
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
    table.get(u64::from(value).try_into().unwrap()).expect("the table has the entry").clone()
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
    // On a busy machine, a process may still open a handle between the two reads, to begin its wait.
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

fn handle_table_matches_kernel() {
    let _objects = raw::objects();
    let inheritable = Event::manual_reset().unwrap();
    table::make_inheritable(&inheritable);
    assert_as_the_kernel_has_it(&this());
    let child = begun(&mut in_role("waits", &[]));
    assert_as_the_kernel_has_it(child.process());
    assert_as_the_kernel_has_it(&Process::open_for_query(child.id()).unwrap());
}

fn kinds_are_reported() {
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

fn name_of_file_contains_its_path() {
    let file = File::open(this_program()).unwrap();
    let looked = HandleTable::of(&this()).unwrap();
    let entry = entry_of(&looked, table::value(&file));
    let name = entry.name().unwrap().expect("a file has a name");
    let file_name = this_program().file_stem().unwrap().to_string_lossy().into_owned();
    assert!(name.contains(&file_name), "{name}");
    assert!(!entry.is_protected());
}

fn name_of_process_handle_has_its_id() {
    let child = begun(&mut in_role("waits", &[]));
    let looked = HandleTable::of(&this()).unwrap();
    let entry = entry_of(&looked, table::value(child.process()));
    assert_eq!(entry.kind(), Ok(&ObjectKind::Process));
    assert_eq!(entry.name(), Ok(Some(&*format!("process {}", child.id()))));
}

fn table_of_child_contains_inherited_handles() {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(4096).unwrap());
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("event", &event).inherit("section", &section));
    let looked = HandleTable::of(child.process()).unwrap();
    let kinds = [("event", ObjectKind::Event), ("section", ObjectKind::SharedMemory)];
    for ((name, value), (expected_name, kind)) in std::iter::zip(child.inherited_handles(), &kinds) {
        assert_eq!(name, *expected_name);
        let entry = looked.get(value).unwrap();
        assert_eq!(entry.kind(), Ok(kind));
        // The child has not adopted the handle.
        assert!(entry.is_inheritable());
    }
}

fn reading_tables_leaks_no_handles() {
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

fn table_of_exited_process_is_an_error() {
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

fn process_killed_while_table_is_read_is_reported() {
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

fn table_contains_thousands_of_handles() {
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

/// Returns the handles by which both processes refer to this process's object.
fn handles_of(child: &Child, own: &impl handover::AsHandle) -> Option<[Vec<HandleValue>; 2]> {
    let own = HandleValue::of(own).unwrap();
    let sharing = shared_objects(&this(), child.process()).unwrap();
    assert!(sharing.incomplete.is_empty(), "{:?}", sharing.incomplete);
    let mut found = sharing.objects.into_iter().filter(|object| object.handles[0].contains(&own));
    let first = found.next().map(|object| object.handles);
    assert!(found.next().is_none(), "each object is reported once");
    first
}

fn only_inherited_objects_are_shared() {
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
    // The result is symmetric.
    let back = shared_objects(child.process(), &this()).unwrap();
    let event = back.objects.iter().find(|object| object.kind == ObjectKind::Event).unwrap();
    assert_eq!(event.handles, [vec![event_there], vec![HandleValue::of(&passed).unwrap()]]);
}

fn handles_to_one_object_are_grouped() {
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

fn handles_to_one_process_are_grouped() {
    let [one, two] = [raw::this_process(), raw::this_process()];
    let mut command = in_role("waits", &[]);
    let child = begun(command.inherit("process", &one));
    let [here, there] = handles_of(&child, &one).unwrap();
    assert!(here.contains(&HandleValue::of(&two).unwrap()), "{here:?}");
    assert_eq!(there, given(&child));
}

fn separately_opened_file_is_not_shared() {
    let file = File::open(this_program()).unwrap();
    let child = begun(&mut in_role("opens_a_file", &[]));
    assert_eq!(handles_of(&child, &file), None);
    let mut command = in_role("opens_a_file", &[]);
    let child = begun(command.inherit("file", &file));
    let handles = [vec![HandleValue::of(&file).unwrap()], given(&child)];
    assert_eq!(handles_of(&child, &file), Some(handles));
}

fn shared_objects_rejects_same_process() {
    let error = shared_objects(&this(), &this()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
}

fn shared_objects_fails_for_exited_process() {
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
