//! Turns that things take on an older kernel, behind a filter, or in a moment between two calls: what a call fails with that
//! fails of itself nowhere here, and what somebody else does just before one.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use handover::faults::{self, Turn, taking};
use handover::inspect::{Audit, HandleTable, shared_objects};
use handover::{
    Channel, Command, CreateOutcome, Error, Event, HandleValue, Listener, Message, ObjectKind, Process,
    ResetMode, Result, SharedMemory, Stdio, wait_any,
};
use handover_tests::{
    Suite, bare, begun, door, in_role_of_std, raw, role, table, tests, this_program, until, waits,
};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "injected_failures",
    tests: tests![
        what_can_not_be_asked_of_a_descriptor_is_seen_by_its_link,
        a_descriptor_that_is_closed_during_a_look_is_none,
        what_only_one_process_has_is_compared_with_nothing,
        a_file_is_not_opened_to_be_looked_at,
        what_has_the_number_of_memory_meanwhile_is_not_waited_for,
        a_process_that_is_there_and_not_in_proc_is_not_gone,
        a_process_that_may_not_be_signalled_has_its_creation_time,
        a_kill_that_is_refused_is_an_error_as_long_as_the_child_runs,
        a_kernel_without_the_flag_takes_what_is_there_all_the_same,
        a_wait_is_one_call_for_as_long_as_it_takes,
        a_wait_that_is_refused_is_no_want_of_a_right,
        a_section_is_sealed_on_a_kernel_that_knows_no_execution,
        a_set_that_is_interrupted_is_done,
        room_in_another_programs_event_is_asked_of_the_event,
        a_clone_that_is_refused_is_tried_in_other_ways,
        what_a_new_process_can_not_do_is_the_error,
        a_kernel_that_can_not_close_the_rest_starts_nothing,
        a_lock_that_is_looked_at_is_nobodys_name,
        who_is_making_a_name_is_waited_for,
        a_folder_that_can_not_be_made_says_why,
        a_pull_from_what_is_missing_says_so,
        a_client_that_goes_in_the_door_is_gone,
        a_full_door_is_tried_again,
        a_slow_server_is_waited_for,
        a_file_that_can_not_be_asked_about_is_started,
        a_welcome_in_two_pieces_is_one,
        a_send_ends_when_the_other_end_is_shut,
        what_could_not_be_sent_was_not_lost,
        a_message_can_have_nothing_but_what_is_there_to_read,
        who_waits_for_others_to_receive_reads_what_they_send,
        a_command_that_may_not_be_traced_says_what_may_forbid_it,
        a_traced_thread_that_can_not_go_on_is_an_error,
        a_command_that_its_tracer_does_not_reach_says_so,
        a_pipe_of_an_audited_command_is_refused_whichever_it_is,
    ],
    roles: tests![waits, ends, binds_in_its_folder, waits_to_be_let_in],
};

fn fails(call: &'static str, which: std::ops::Range<u32>, code: Errno) -> Turn {
    Turn::fails(call, which, code.raw_os_error())
}

/// The same, for all of them.
fn always_fails(call: &'static str, code: Errno) -> Turn {
    fails(call, 0..u32::MAX, code)
}

/// With one turn, which must be taken.
fn with<T>(turn: Turn, scenario: impl FnOnce() -> T) -> T {
    let (outcome, was_taken) = taking([turn], scenario);
    assert!(was_taken, "it came to that");
    outcome
}

fn code(outcome: &Result<impl std::fmt::Debug>) -> Option<Errno> {
    let error = outcome.as_ref().unwrap_err();
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn this() -> Process {
    Process::open_for_query(std::process::id()).unwrap()
}

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

fn ends(_: &[String]) {}

fn what_can_not_be_asked_of_a_descriptor_is_seen_by_its_link() {
    let (socket, _other) = UnixStream::pair().unwrap();
    let (reader, _writer) = raw::pipe();
    let (event, file) = (raw::event(), std::fs::File::open(this_program()).unwrap());
    let looked = with(always_fails("statx", Errno::ACCESS), || HandleTable::of(&this())).unwrap();
    let kind = |value| looked.get(value).unwrap().kind();
    assert_eq!(kind(HandleValue::of(&socket).unwrap()), Ok(&ObjectKind::Socket));
    assert_eq!(kind(HandleValue::of(&reader).unwrap()), Ok(&ObjectKind::File));
    assert_eq!(kind(HandleValue::of(&event).unwrap()), Ok(&ObjectKind::Event));
    let untold = kind(HandleValue::of(&file).unwrap()).unwrap_err();
    assert!(untold.to_string().contains("statx"), "{untold}");
}

fn a_descriptor_that_is_closed_during_a_look_is_none() {
    for call in ["readlink", "statx"] {
        // The first link is that to this process.
        let closed = fails(call, 1..u32::MAX, Errno::NOENT);
        let looked = with(closed, || HandleTable::of(&this())).unwrap();
        assert!(looked.entries().len() <= 1, "{call}: {looked:?}");
    }
    let other = with(fails("readlink", 1..2, Errno::IO), || HandleTable::of(&this()));
    assert_eq!(code(&other), Some(Errno::IO));
}

fn what_only_one_process_has_is_compared_with_nothing() {
    let mut command = Command::new(this_program());
    let child = begun(command.args(role("waits", &[])));
    let calls = || {
        let (outcome, calls) = faults::run(None, || shared_objects(&this(), child.process()));
        outcome.unwrap();
        calls
    };
    let file = std::fs::File::open(this_program()).unwrap();
    let before = calls();
    let _copies = [(); 4].map(|()| file.try_clone().unwrap());
    // Where it leads, the page about it, what it is.
    assert_eq!(calls(), before + 4 * 3);
}

fn a_file_is_not_opened_to_be_looked_at() {
    let calls = || {
        let (outcome, calls) = faults::run(None, || HandleTable::of(&this()));
        outcome.unwrap();
        calls
    };
    let before = calls();
    let _file = std::fs::File::open(this_program()).unwrap();
    assert_eq!(calls(), before + 3);
}

fn what_has_the_number_of_memory_meanwhile_is_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    // A pipe without a writer: to open it otherwise would be to wait for one.
    let path = std::env::temp_dir().join(format!("handover-pipe-{}", std::process::id()));
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let pipe = open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let memory = raw::section();
    let value = HandleValue::of(&memory).unwrap();
    let place = std::sync::Mutex::new(memory);
    // The first that is opened is the folder.
    let turn = Turn::comes_after("open", 1, move || {
        rustix::io::dup2(&pipe, &mut place.lock().unwrap()).unwrap();
    });
    let looked = with(turn, || HandleTable::of(&this()));
    std::fs::remove_file(path).unwrap();
    assert_eq!(looked.unwrap().get(value).unwrap().kind(), Ok(&ObjectKind::File));
}

fn a_process_that_is_there_and_not_in_proc_is_not_gone() {
    let missing = with(fails("open", 0..1, Errno::NOENT), || HandleTable::of(&this()));
    assert!(matches!(missing, Err(Error::System { .. })), "{missing:?}");
    assert_eq!(code(&missing), Some(Errno::NOENT));
    let mut child = in_role("ends", &[]).spawn().unwrap();
    let process = Process::open_for_query(child.id()).unwrap();
    child.wait_timeout(SOON).unwrap();
    let gone = HandleTable::of(&process);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
}

fn a_process_that_may_not_be_signalled_has_its_creation_time() {
    let created = Process::current_identity().unwrap().created;
    let ask = || this().creation_time();
    assert_eq!(with(fails("pidfd_send_signal", 0..1, Errno::PERM), ask).unwrap(), created);
    let gone = with(fails("pidfd_send_signal", 0..1, Errno::SRCH), ask);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    let other = with(fails("pidfd_send_signal", 0..1, Errno::BADF), ask);
    assert_eq!(code(&other), Some(Errno::BADF));
}

fn a_kill_that_is_refused_is_an_error_as_long_as_the_child_runs() {
    let (program, arguments) = bare("never_ends");
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap();
    let refused = with(fails("pidfd_send_signal", 0..1, Errno::PERM), || child.kill());
    assert_eq!(code(&refused), Some(Errno::PERM));
    child.kill().unwrap();
    until("it has ended", || child.process().has_exited().unwrap());
    // As other systems refuse what is of no use any more.
    with(fails("pidfd_send_signal", 0..1, Errno::PERM), || child.kill()).unwrap();
    let other = with(fails("pidfd_send_signal", 0..1, Errno::BADF), || child.kill());
    assert_eq!(code(&other), Some(Errno::BADF));
    child.wait_timeout(SOON).unwrap();
}

/// An event that another program has made, which a read waits for.
fn of_another_program() -> Event {
    let raw = raw::event();
    this().duplicate_from(HandleValue::of(&raw).unwrap()).unwrap()
}

fn a_kernel_without_the_flag_takes_what_is_there_all_the_same() {
    for event in [Event::auto_reset().unwrap(), of_another_program()] {
        let take = || with(fails("preadv2", 0..1, Errno::OPNOTSUPP), || event.try_wait());
        assert!(!take().unwrap(), "and doesn't wait");
        event.set().unwrap();
        assert!(take().unwrap());
        assert!(!event.try_wait().unwrap(), "it was taken");
        let other = with(fails("preadv2", 0..1, Errno::IO), || event.try_wait());
        assert_eq!(code(&other), Some(Errno::IO));
    }
}

fn a_wait_is_one_call_for_as_long_as_it_takes() {
    for event in [Event::auto_reset().unwrap(), Event::manual_reset().unwrap()] {
        let (outcome, calls) = faults::run(None, || event.wait_timeout(Duration::from_millis(300)));
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
        // A clock that is read a moment early makes it one more.
        assert!((1..=3).contains(&calls), "{calls}");
    }
}

fn a_wait_that_is_refused_is_no_want_of_a_right() {
    let event = Event::manual_reset().unwrap();
    let refused = with(fails("ppoll", 0..1, Errno::ACCESS), || wait_any(&[&event], SOON));
    assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
}

fn a_section_is_sealed_on_a_kernel_that_knows_no_execution() {
    let section = with(fails("memfd_create", 0..1, Errno::INVAL), || SharedMemory::new(100)).unwrap();
    section.view_mut().unwrap().write_at(0, b"sealed").unwrap();
    let looked = HandleTable::of(&this()).unwrap();
    assert_eq!(looked.get(HandleValue::of(&section).unwrap()).unwrap().kind(), Ok(&ObjectKind::SharedMemory));
    let other = with(fails("memfd_create", 0..1, Errno::MFILE), || SharedMemory::new(100));
    assert_eq!(code(&other), Some(Errno::MFILE));
}

fn a_set_that_is_interrupted_is_done() {
    let event = Event::auto_reset().unwrap();
    with(fails("write", 0..2, Errno::INTR), || event.set()).unwrap();
    assert!(event.try_wait().unwrap());
    let other = with(fails("write", 0..1, Errno::IO), || event.set());
    assert_eq!(code(&other), Some(Errno::IO));
}

fn room_in_another_programs_event_is_asked_of_the_event() {
    let event = of_another_program();
    // And of no page, which isn't everywhere.
    let refused = with(fails("ppoll", 0..1, Errno::IO), || event.set());
    assert_eq!(code(&refused), Some(Errno::IO));
}

fn a_clone_that_is_refused_is_tried_in_other_ways() {
    let spawn = || in_role("ends", &[]).stdin(Stdio::null()).spawn();
    let failed = with(fails("clone", 0..1, Errno::AGAIN), spawn);
    assert_eq!(code(&failed), Some(Errno::AGAIN), "no other way has more room");
    let best = faults::used_flags();
    for (refusals, flags) in [(1, libc::CLONE_PIDFD), (1, 0)] {
        let mut child = with(fails("clone", 0..refusals, Errno::INVAL), spawn).unwrap();
        assert!(child.wait_timeout(SOON).unwrap().success());
        assert!(faults::used_flags() == flags && best != flags, "{:#x}", faults::used_flags());
    }
    let failed = with(always_fails("clone", Errno::PERM), spawn);
    assert_eq!(code(&failed), Some(Errno::PERM), "there is no further way");
}

fn what_a_new_process_can_not_do_is_the_error() {
    let spawn = || in_role("ends", &[]).stdin(Stdio::null()).spawn();
    assert!(spawn().unwrap().wait_timeout(SOON).unwrap().success());
    for call in ["close_range", "execve"] {
        let failed = with(fails(call, 0..1, Errno::TXTBSY), spawn);
        assert_eq!(code(&failed), Some(Errno::TXTBSY));
        assert!(failed.unwrap_err().to_string().contains(call));
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn a_kernel_that_can_not_close_the_rest_starts_nothing() {
    let spawn = || in_role("ends", &[]).stdin(Stdio::null()).spawn();
    let failed = with(fails("close_range", 0..1, Errno::NOSYS), spawn);
    assert_eq!(code(&failed), Some(Errno::NOSYS));
    assert_eq!(faults::used_flags(), 0, "no process was made");
    assert!(spawn().unwrap().wait_timeout(SOON).unwrap().success());
}

fn name(test: &str) -> String {
    // What is left of killed processes is swept by the first.
    drop(Listener::bind(&format!("{test}.sweeps.{}", std::process::id())).unwrap());
    format!("{test}.{}", std::process::id())
}

/// The lock of a name, which this holds until it is dropped.
fn locked(sort: &str, name: &str) -> std::fs::File {
    let path = door::folder().join(format!("lock.{sort}.{name}"));
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

/// Somebody who gives something up in the moment before a call.
fn gives_up(what: std::fs::File, call: &'static str, number: u32) -> Turn {
    let what = std::sync::Mutex::new(Some(what));
    Turn::comes_after(call, number, move || drop(what.lock().unwrap().take()))
}

fn a_lock_that_is_looked_at_is_nobodys_name() {
    let name = name("looked-at");
    let sweeper = locked("l", &name);
    drop(with(gives_up(sweeper, "flock", 1), || Listener::bind(&name)).unwrap());
    let _somebody = locked("l", &name);
    let taken = Listener::bind(&name);
    assert!(matches!(taken, Err(Error::NameInUse { .. })), "{taken:?}");
    std::fs::remove_file(door::folder().join(format!("lock.l.{name}"))).unwrap();
}

fn who_is_making_a_name_is_waited_for() {
    let name = name("is-made");
    let somebody = locked("o", &name);
    let make = || Event::create_or_open_named(&name, ResetMode::Manual);
    let (_event, found) = with(gives_up(somebody, "flock", 4), make).unwrap();
    assert_eq!(found, CreateOutcome::Created);
}

fn binds_in_its_folder(_: &[String]) {
    let error = Listener::bind("nowhere").unwrap_err();
    assert!(error.to_string().contains("mkdir"), "{error}");
}

fn a_folder_that_can_not_be_made_says_why() {
    // A folder of this user's in which nobody makes one.
    let folder = PathBuf::from(format!("/proc/{}", std::process::id()));
    let mut command = in_role("binds_in_its_folder", &[]);
    let status = command.env("XDG_RUNTIME_DIR", folder).stdin(Stdio::null()).status().unwrap();
    assert!(status.success());
}

fn a_pull_from_what_is_missing_says_so() {
    let event = Event::manual_reset().unwrap();
    let value = HandleValue::of(&event).unwrap();
    let pull = || this().duplicate_from::<Event>(value);
    let gone = with(fails("pidfd_getfd", 0..1, Errno::SRCH), pull);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    let other = with(fails("pidfd_getfd", 0..1, Errno::MFILE), pull);
    assert_eq!(code(&other), Some(Errno::MFILE));
    pull().unwrap();
}

fn waits_to_be_let_in(arguments: &[String]) {
    let _ = Channel::connect_timeout(&arguments[0], SOON).map(|channel| channel.recv_timeout(SOON));
}

fn a_client_that_goes_in_the_door_is_gone() {
    let name = name("goes");
    let mut listener = Listener::bind(&name).unwrap();
    let client = || in_role("waits_to_be_let_in", &[&name]).stdin(Stdio::null()).kill_on_drop(true).spawn();
    let before = table::count();
    let first = client().unwrap();
    let id = first.id();
    let incoming = listener.accept_timeout(SOON).unwrap();
    let goes = Turn::comes_after("sendto", 0, move || {
        table::kill(id);
        assert!(table::ends_within(id, 10_000));
    });
    let gone = with(goes, || incoming.accept());
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    drop(first);
    // One that is there, and whose end is closed.
    let second = client().unwrap();
    let incoming = listener.accept_timeout(SOON).unwrap();
    let closed = with(fails("sendto", 0..1, Errno::PIPE), || incoming.accept());
    assert!(matches!(closed, Err(Error::Disconnected { .. })), "{closed:?}");
    drop(second);
    let third = client().unwrap();
    let incoming = listener.accept_timeout(SOON).unwrap();
    let other = with(fails("sendto", 0..1, Errno::NOBUFS), || incoming.accept());
    assert_eq!(code(&other), Some(Errno::NOBUFS));
    drop(third);
    assert_eq!(table::count(), before);
}

/// A server of another program's, of which this is the door; its file goes with the test.
struct Door(UnixListener, PathBuf);

impl Door {
    fn of(name: &str) -> Self {
        let path = door::path(name);
        let _ = std::fs::remove_file(&path);
        Self(UnixListener::bind(&path).unwrap(), path)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

const WELCOME: &[u8] = b"HO\0\x01";

fn a_full_door_is_tried_again() {
    let name = name("full");
    let door = Door::of(&name);
    // As many as there is room for; the next would wait.
    let mut waiting = Vec::new();
    loop {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        match rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&door.1).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                break;
            }
        }
        assert!(waiting.len() < 100_000);
    }
    let full = Channel::connect_timeout(&name, Duration::ZERO);
    assert!(matches!(full, Err(Error::TimedOut { .. })), "{full:?}");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).map(drop));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!client.is_finished(), "it tries again");
        for _ in 0..=waiting.len() {
            let _ = door.0.accept().unwrap().0.write_all(WELCOME);
        }
        client.join().unwrap().unwrap();
    });
}

fn a_file_that_can_not_be_asked_about_is_started() {
    let path = std::env::temp_dir().join(format!("handover-loop-{}", std::process::id()));
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let refused = Command::new(&path).spawn();
    std::fs::remove_file(&path).unwrap();
    // The call that starts it says why it can't.
    assert_eq!(code(&refused), Some(Errno::LOOP));
}

/// What a client hears of a server that says this.
fn said_by_a_server(name: &str, says: impl FnOnce(UnixStream) + Send) -> Result<Vec<u8>> {
    let door = Door::of(name);
    std::thread::scope(|scope| {
        let server = scope.spawn(move || says(door.0.accept().unwrap().0));
        let heard = Channel::connect_timeout(name, SOON)
            .and_then(|channel| channel.recv_timeout(SOON))
            .map(handover::ReceivedMessage::into_bytes);
        server.join().unwrap();
        heard
    })
}

/// A frame with bytes alone.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = b"HO\x01\0\0\0\0\0".to_vec();
    frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    frame.extend(0_u64.to_le_bytes());
    frame.extend(bytes);
    frame
}

/// Longer than a client waits for the answer of a server that has ended.
const LONG: Duration = Duration::from_millis(1300);

fn a_slow_server_is_waited_for() {
    let heard = said_by_a_server(&name("slow"), |mut stream| {
        std::thread::sleep(LONG);
        stream.write_all(&WELCOME[..1]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&[&WELCOME[1..], &frame(b"at last")].concat()).unwrap();
    });
    assert_eq!(heard.unwrap(), b"at last");
}

fn a_welcome_in_two_pieces_is_one() {
    let heard = said_by_a_server(&name("pieces"), |mut stream| {
        stream.write_all(&WELCOME[..2]).unwrap();
        // Until it was read.
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&[&WELCOME[2..], &frame(b"behind it")].concat()).unwrap();
    });
    assert_eq!(heard.unwrap(), b"behind it");
}

fn a_send_ends_when_the_other_end_is_shut() {
    let name = name("shut");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let channel = Channel::connect_timeout(&name, SOON).unwrap();
            channel.send_timeout(vec![7; 4 << 20], SOON)
        });
        let mut stream = door.0.accept().unwrap().0;
        stream.write_all(WELCOME).unwrap();
        // It has begun, and nobody reads the rest.
        stream.read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(!client.is_finished(), "the control: it waits for room");
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        let outcome = client.join().unwrap();
        assert!(matches!(outcome, Err(Error::Disconnected { .. })), "{outcome:?}");
    });
}

fn what_could_not_be_sent_was_not_lost() {
    let name = name("not-lost");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        door.0.accept().unwrap().0.write_all(WELCOME).unwrap();
        let channel = client.join().unwrap();
        let sent = channel.send(b"to nobody");
        assert!(matches!(sent, Err(Error::Disconnected { .. })), "{sent:?}");
        let came = with(fails("recvmsg", 0..1, Errno::PIPE), || channel.recv_timeout(SOON));
        assert!(matches!(came, Err(Error::Disconnected { .. })), "{came:?}");
        channel.flush(SOON).unwrap();
    });
}

fn a_message_can_have_nothing_but_what_is_there_to_read() {
    let name = name("to-read");
    let mut listener = Listener::bind(&name).unwrap();
    let section = SharedMemory::new(100).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        let client = client.join().unwrap();
        client.send(Message::new(b"").with("section", section.read_only())).unwrap();
        let came: SharedMemory = channel.recv_timeout(SOON).unwrap().take("section").unwrap();
        assert!(matches!(came.view_mut(), Err(Error::AccessDenied { .. })));
        assert!(came.view().is_ok());
    });
}

fn who_waits_for_others_to_receive_reads_what_they_send() {
    let name = name("others");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        let mut stream = door.0.accept().unwrap().0;
        stream.write_all(&[WELCOME, &frame(b"theirs")].concat()).unwrap();
        let channel = client.join().unwrap();
        let event = Event::manual_reset().unwrap();
        // As many descriptors are under way as this user may have; the other end may wait for the same.
        let crowded = fails("sendmsg", 0..2, Errno::TOOMANYREFS);
        let reads = Turn::comes_after("recvmsg", 0, || {});
        let send = || channel.send(Message::new(b"ours").with("event", &event));
        let (sent, were_taken) = taking([crowded, reads], send);
        sent.unwrap();
        assert!(were_taken);
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"theirs");
    });
}

fn a_traced_thread_that_can_not_go_on_is_an_error() {
    let audit = || Audit::new(in_role_of_std("ends", &[])).run(SOON);
    // It was seized, and was asked twice while it stood still.
    let failed = with(fails("ptrace", 3..4, Errno::IO), audit);
    assert_eq!(code(&failed), Some(Errno::IO));
    assert_eq!(table::children_of(std::process::id()), []);
}

fn a_command_that_its_tracer_does_not_reach_says_so() {
    // It doesn't become its program, and std hears from it why.
    for call in ["recvmsg", "sendto"] {
        let audit = || Audit::new(in_role_of_std("ends", &[])).run(SOON);
        let error = with(fails(call, 0..1, Errno::PIPE), audit).unwrap_err();
        assert!(matches!(error, Error::System { call: "execve", .. }), "{error:?}");
        // It may be before it has said its id, or after.
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        assert!(matches!(code, Some(Errno::CANCELED | Errno::PIPE | Errno::CONNRESET)), "{error:?}");
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn a_command_that_may_not_be_traced_says_what_may_forbid_it() {
    let audit = || Audit::new(in_role_of_std("ends", &[])).run(SOON);
    let refused = with(fails("ptrace", 0..1, Errno::PERM), audit);
    assert_eq!(code(&refused), Some(Errno::PERM));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("ptrace_scope") && !text.contains("already"), "{text}");
    let other = with(fails("ptrace", 0..1, Errno::IO), audit).unwrap_err().to_string();
    assert!(!other.contains("ptrace_scope"), "{other}");
}

fn a_pipe_of_an_audited_command_is_refused_whichever_it_is() {
    let piped: [fn(&mut std::process::Command) -> &mut std::process::Command; 3] = [
        |command| command.stdin(std::process::Stdio::piped()),
        |command| command.stdout(std::process::Stdio::piped()),
        |command| command.stderr(std::process::Stdio::piped()),
    ];
    for piped in piped {
        let mut command = in_role_of_std("ends", &[]);
        piped(&mut command);
        let error = Audit::new(command).run(SOON).unwrap_err().to_string();
        assert!(error.contains("has a pipe to this process"), "{error}");
    }
}
