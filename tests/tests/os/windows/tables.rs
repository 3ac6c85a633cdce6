//! Tests of handle tables that are specific to Windows.

use std::io::Read;
use std::time::{Duration, Instant};

use handover::inspect::{HandleTable, shared_objects};
use handover::os::windows::Access;
use handover::{Command, Event, HandleValue, ObjectKind, OwnedHandle, Process, ResetMode, Semaphore, faults};
use handover_tests::{Suite, begun, raw, role, settled, table, tests, this_program, waits};

pub(super) const SUITE: Suite = Suite {
    name: "tables",
    tests: tests![
        protected_handle_is_reported,
        name_is_the_kernels_full_name,
        rights_are_named_by_kind,
        hanging_name_query_does_not_block,
        pipe_being_read_does_not_block,
        missing_right_is_reported_in_each_entry,
    ],
    roles: tests![waits],
};

fn of_this_process() -> HandleTable {
    HandleTable::of(&Process::open_for_query(std::process::id()).unwrap()).unwrap()
}

fn protected_handle_is_reported() {
    let (protected, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::protect_from_close(&protected, true);
    let looked = of_this_process();
    let is_protected = |event| looked.get(HandleValue::of(event).unwrap()).unwrap().is_protected();
    assert!(is_protected(&protected) && !is_protected(&other));
    table::protect_from_close(&protected, false);
}

fn name_is_the_kernels_full_name() {
    let name = format!("handover-test.{}", std::process::id());
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    let unnamed = Event::manual_reset().unwrap();
    let looked = of_this_process();
    let entry = |event| looked.get(HandleValue::of(event).unwrap()).unwrap();
    let found = entry(&event).name().unwrap().unwrap();
    assert!(found.starts_with('\\') && found.ends_with(&format!("\\{name}")), "{found}");
    assert_eq!(entry(&unnamed).name(), Ok(None));
}

fn rights_are_named_by_kind() {
    let (event, semaphore) = (Event::manual_reset().unwrap(), Semaphore::new(1).unwrap());
    let mut command = Command::new(this_program());
    command.args(role("waits", &[])).inherit("event", event.with_access(Access::SYNCHRONIZE));
    let child = begun(command.inherit("semaphore", &semaphore));
    let looked = HandleTable::of(child.process()).unwrap();
    let rights: Vec<_> =
        child.inherited_handles().map(|(_, value)| looked.get(value).unwrap().rights()).collect();
    assert_eq!(rights, ["SYNCHRONIZE", "SEMAPHORE_MODIFY_STATE, SYNCHRONIZE"]);
}

fn hanging_name_query_does_not_block() {
    let files: Vec<_> = (0..25).map(|_| std::fs::File::open(this_program()).unwrap()).collect();
    let process = Process::open_for_query(std::process::id()).unwrap();
    HandleTable::of(&process).unwrap();
    let before = table::count();
    faults::let_names_hang(true);
    let started = Instant::now();
    let looked = HandleTable::of(&process).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let found: Vec<_> =
        looked.entries().iter().filter(|entry| entry.kind() == Ok(&ObjectKind::File)).collect();
    assert!(found.len() >= files.len());
    // Each query that doesn't return costs a tenth of a second, so their number is limited.
    for (place, file) in found.into_iter().enumerate() {
        let why = file.name().unwrap_err().to_string();
        assert!(why.contains(if place < 20 { "doesn't answer" } else { "not asked" }), "{file:?}");
    }
    assert_eq!(table::count(), before);
    faults::let_names_hang(false);
    let looked = HandleTable::of(&process).unwrap();
    let is_told = |entry: &handover::inspect::HandleEntry| entry.name().is_ok();
    assert!(looked.entries().iter().all(is_told));
    assert_eq!(table::count(), before);
}

fn pipe_being_read_does_not_block() {
    let (reader, writer) = raw::pipe();
    let value = HandleValue::of(&reader).unwrap();
    let reading = std::thread::spawn(move || std::fs::File::from(reader).read(&mut [0]).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    let looked = of_this_process();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // Windows doesn't tell the pipe's name during a read; Wine does.
    assert_eq!(looked.get(value).unwrap().kind(), Ok(&ObjectKind::File));
    drop(writer);
    assert_eq!(reading.join().unwrap(), 0);
}

fn missing_right_is_reported_in_each_entry() {
    let event: OwnedHandle = Event::manual_reset().unwrap().into();
    let mut command = Command::new(this_program());
    let child = begun(command.args(role("waits", &[])).inherit("event", &event));
    let (_, value) = child.inherited_handles().next().unwrap();
    let process = Process::open(child.id()).unwrap();
    let looked = HandleTable::of(&process).unwrap();
    assert_eq!(looked.entries().len(), settled(child.id()));
    for entry in looked.entries() {
        let why = entry.name().unwrap_err().to_string();
        assert!(why.contains("PROCESS_DUP_HANDLE") && why.contains(&child.id().to_string()), "{why}");
    }
    // The kind is known from this process's own handles.
    assert_eq!(looked.get(value).unwrap().kind(), Ok(&ObjectKind::Event));
    let this = Process::open_for_query(std::process::id()).unwrap();
    let sharing = shared_objects(&this, &process).unwrap();
    assert_eq!((sharing.objects.len(), sharing.incomplete.len()), (0, looked.entries().len()));
}
