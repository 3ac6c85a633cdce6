//! Tests with injected failures and changes: errors of older kernels and of seccomp filters, and changes by another
//! process just before a system call.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use handover::faults::{self, Turn, taking};
use handover::inspect::{Audit, HandleTable, shared_objects};
use handover::{
    Channel, Child, Command, CreateOutcome, Error, Event, HandleValue, Listener, Message, ObjectKind,
    Process, ResetMode, Result, SharedMemory, Stdio, wait_any,
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
        kind_is_read_from_link_if_statx_fails,
        descriptor_closed_while_table_is_read_is_skipped,
        shared_objects_skips_objects_of_one_process,
        handle_table_does_not_open_files,
        handle_table_does_not_block_on_fifo,
        missing_proc_entry_is_not_reported_as_exit,
        creation_time_works_without_permission_to_signal,
        refused_kill_fails_only_while_child_runs,
        try_wait_works_without_rwf_nowait,
        wait_takes_one_system_call,
        refused_wait_is_not_reported_as_access_denied,
        shared_memory_is_sealed_without_noexec_support,
        interrupted_set_is_retried,
        long_packet_without_memory_is_sent_in_pieces,
        set_polls_foreign_event_for_room,
        refused_clone_flags_are_retried_without,
        later_spawns_use_the_first_ones_stack,
        spawn_reports_failure_of_new_process,
        spawn_needs_no_close_range,
        bind_retries_while_lock_is_checked,
        create_or_open_waits_for_concurrent_creator,
        bind_reports_failure_to_create_folder,
        duplicate_from_reports_exited_process,
        accept_fails_if_client_exits_or_closes,
        connect_retries_while_queue_is_full,
        connect_waits_for_slow_server,
        spawn_reports_error_of_execve,
        connect_accepts_answer_in_two_pieces,
        send_fails_when_peer_shuts_socket_down,
        flush_succeeds_after_failed_send,
        flush_fails_after_failed_send_of_a_later_message,
        flush_fails_if_peer_closes_its_socket_meanwhile,
        flush_fails_if_a_receive_was_told_of_the_lost_message,
        peer_that_closes_during_a_send_on_an_old_kernel_is_a_disconnect,
        read_only_memory_can_be_the_only_object,
        send_at_limit_in_flight_receives_meanwhile,
        refused_trace_names_ptrace_scope,
        audit_fails_if_thread_cannot_be_continued,
        audit_reports_lost_connection_to_command,
        audit_rejects_each_piped_stream,
    ],
    roles: tests![waits, exits, binds_in_its_folder, connects_and_receives],
};

fn fails(call: &'static str, which: std::ops::Range<u32>, code: Errno) -> Turn {
    Turn::fails(call, which, code.raw_os_error())
}

/// The same, for each such call.
fn always_fails(call: &'static str, code: Errno) -> Turn {
    fails(call, 0..u32::MAX, code)
}

/// Runs the scenario with one injected event, and asserts that the event has occurred.
fn with<T>(turn: Turn, scenario: impl FnOnce() -> T) -> T {
    let (outcome, was_taken) = taking([turn], scenario);
    assert!(was_taken, "the injected event occurred");
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

fn exits(_: &[String]) {}

fn kind_is_read_from_link_if_statx_fails() {
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

fn descriptor_closed_while_table_is_read_is_skipped() {
    for call in ["readlink", "statx"] {
        // The first link that is read is that of this process.
        let closed = fails(call, 1..u32::MAX, Errno::NOENT);
        let looked = with(closed, || HandleTable::of(&this())).unwrap();
        assert!(looked.entries().len() <= 1, "{call}: {looked:?}");
    }
    let other = with(fails("readlink", 1..2, Errno::IO), || HandleTable::of(&this()));
    assert_eq!(code(&other), Some(Errno::IO));
}

fn shared_objects_skips_objects_of_one_process() {
    let mut command = Command::new(this_program());
    let child = begun(command.args(role("waits", &[])));
    let calls = || {
        let (outcome, calls) = faults::run(None, || shared_objects(&this(), child.process()));
        outcome.unwrap();
        calls
    };
    let file = std::fs::File::open(this_program()).unwrap();
    // The first run also checks which namespace `/proc` belongs to.
    calls();
    let before = calls();
    let _copies = [(); 4].map(|()| file.try_clone().unwrap());
    // Each descriptor takes three calls: its link, its page in `/proc`, and its kind.
    assert_eq!(calls(), before + 4 * 3);
}

fn handle_table_does_not_open_files() {
    let calls = || {
        let (outcome, calls) = faults::run(None, || HandleTable::of(&this()));
        outcome.unwrap();
        calls
    };
    calls();
    let before = calls();
    let _file = std::fs::File::open(this_program()).unwrap();
    assert_eq!(calls(), before + 3);
}

fn handle_table_does_not_block_on_fifo() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    // A FIFO without a writer: opening it without O_NONBLOCK would block.
    let path = std::env::temp_dir().join(format!("handover-pipe-{}", std::process::id()));
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let pipe = open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let memory = raw::section();
    let value = HandleValue::of(&memory).unwrap();
    let place = std::sync::Mutex::new(memory);
    // The first call of `open` opens the folder.
    let turn = Turn::comes_after("open", 1, move || {
        rustix::io::dup2(&pipe, &mut place.lock().unwrap()).unwrap();
    });
    let looked = with(turn, || HandleTable::of(&this()));
    std::fs::remove_file(path).unwrap();
    assert_eq!(looked.unwrap().get(value).unwrap().kind(), Ok(&ObjectKind::File));
}

fn missing_proc_entry_is_not_reported_as_exit() {
    let missing = with(fails("open", 0..1, Errno::NOENT), || HandleTable::of(&this()));
    assert!(matches!(missing, Err(Error::System { .. })), "{missing:?}");
    assert_eq!(code(&missing), Some(Errno::NOENT));
    let mut child = in_role("exits", &[]).spawn().unwrap();
    let process = Process::open_for_query(child.id()).unwrap();
    child.wait_timeout(SOON).unwrap();
    let gone = HandleTable::of(&process);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
}

fn creation_time_works_without_permission_to_signal() {
    let created = this().creation_time().unwrap();
    let ask = || this().creation_time();
    assert_eq!(with(fails("pidfd_send_signal", 0..1, Errno::PERM), ask).unwrap(), created);
    let gone = with(fails("pidfd_send_signal", 0..1, Errno::SRCH), ask);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    let other = with(fails("pidfd_send_signal", 0..1, Errno::BADF), ask);
    assert_eq!(code(&other), Some(Errno::BADF));
}

fn refused_kill_fails_only_while_child_runs() {
    let (program, arguments) = bare("never_ends");
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap();
    let refused = with(fails("pidfd_send_signal", 0..1, Errno::PERM), || child.kill());
    assert_eq!(code(&refused), Some(Errno::PERM));
    child.kill().unwrap();
    until("the process has exited", || child.process().has_exited().unwrap());
    // As other systems report a kill of a process that has exited.
    with(fails("pidfd_send_signal", 0..1, Errno::PERM), || child.kill()).unwrap();
    let other = with(fails("pidfd_send_signal", 0..1, Errno::BADF), || child.kill());
    assert_eq!(code(&other), Some(Errno::BADF));
    child.wait_timeout(SOON).unwrap();
}

/// Returns an event that another program has made, of which a read blocks.
fn of_another_program() -> Event {
    let raw = raw::event();
    this().duplicate_from(HandleValue::of(&raw).unwrap()).unwrap()
}

fn try_wait_works_without_rwf_nowait() {
    for event in [Event::auto_reset().unwrap(), of_another_program()] {
        let take = || with(fails("preadv2", 0..1, Errno::OPNOTSUPP), || event.try_wait());
        assert!(!take().unwrap(), "and doesn't wait");
        event.set().unwrap();
        assert!(take().unwrap());
        assert!(!event.try_wait().unwrap(), "the first wait has reset the event");
        let other = with(fails("preadv2", 0..1, Errno::IO), || event.try_wait());
        assert_eq!(code(&other), Some(Errno::IO));
    }
}

fn wait_takes_one_system_call() {
    for event in [Event::auto_reset().unwrap(), Event::manual_reset().unwrap()] {
        let (outcome, calls) = faults::run(None, || event.wait_timeout(Duration::from_millis(300)));
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
        // The clock may be read slightly early, which adds a call.
        assert!((1..=3).contains(&calls), "{calls}");
    }
}

fn refused_wait_is_not_reported_as_access_denied() {
    let event = Event::manual_reset().unwrap();
    let refused = with(fails("ppoll", 0..1, Errno::ACCESS), || wait_any(&[&event], SOON));
    assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
}

fn shared_memory_is_sealed_without_noexec_support() {
    let section = with(fails("memfd_create", 0..1, Errno::INVAL), || SharedMemory::new(100)).unwrap();
    section.view_mut().unwrap().write_at(0, b"sealed").unwrap();
    let looked = HandleTable::of(&this()).unwrap();
    assert_eq!(looked.get(HandleValue::of(&section).unwrap()).unwrap().kind(), Ok(&ObjectKind::SharedMemory));
    let other = with(fails("memfd_create", 0..1, Errno::MFILE), || SharedMemory::new(100));
    assert_eq!(code(&other), Some(Errno::MFILE));
}

fn long_packet_without_memory_is_sent_in_pieces() {
    let (one, other) = Channel::pair().unwrap();
    std::thread::scope(|scope| {
        let received = scope.spawn(|| other.recv_timeout(SOON).unwrap().into_bytes());
        let refused = fails("sendmsg", 0..5, Errno::NOBUFS);
        with(refused, || one.send_timeout(vec![7; 300_000], SOON)).unwrap();
        assert_eq!(received.join().unwrap(), vec![7; 300_000]);
    });
    // A packet that is short already can't become shorter.
    let refused = with(always_fails("sendmsg", Errno::NOBUFS), || one.send_timeout(vec![7; 300_000], SOON));
    assert_eq!(code(&refused), Some(Errno::NOBUFS));
}

fn interrupted_set_is_retried() {
    let event = Event::auto_reset().unwrap();
    with(fails("write", 0..2, Errno::INTR), || event.set()).unwrap();
    assert!(event.try_wait().unwrap());
    let other = with(fails("write", 0..1, Errno::IO), || event.set());
    assert_eq!(code(&other), Some(Errno::IO));
}

fn set_polls_foreign_event_for_room() {
    let event = of_another_program();
    // The library queries the event itself, and not `/proc`, which may be missing.
    let refused = with(fails("ppoll", 0..1, Errno::IO), || event.set());
    assert_eq!(code(&refused), Some(Errno::IO));
}

/// The first call by which a spawn tries to create the process.
const FIRST_CLONE: &str =
    if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) { "clone3" } else { "clone" };

fn refused_clone_flags_are_retried_without() {
    const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
    const LENT: u64 = CLONE_PIDFD | libc::CLONE_VM as u64 | libc::CLONE_VFORK as u64;
    let spawn = || in_role("exits", &[]).stdin(Stdio::null()).spawn();
    let first =
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) { "clone3" } else { "clone" };
    let failed = with(fails(first, 0..1, Errno::AGAIN), spawn);
    assert_eq!(code(&failed), Some(Errno::AGAIN), "EAGAIN is not retried with other flags");
    assert!(failed.unwrap_err().to_string().contains(first));
    // Which errors say that the call or a flag isn't known, or may not be used.
    for (call, error, flags) in
        [("clone3", Errno::NOSYS, LENT), ("clone", Errno::INVAL, CLONE_PIDFD), ("clone", Errno::PERM, 0)]
    {
        if call == "clone3" && first != call {
            continue;
        }
        let mut child = with(fails(call, 0..1, error), spawn).unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
        assert_eq!(faults::used_flags(), flags);
        let (again, is_tried_again) = taking([always_fails("clone3", Errno::IO)], spawn);
        assert!(!is_tried_again, "the refusal is remembered");
        assert_eq!(again.unwrap().wait_timeout(SOON).unwrap().code(), Some(0));
    }
    let failed = with(always_fails("clone", Errno::PERM), spawn);
    assert_eq!(code(&failed), Some(Errno::PERM), "no other combination of flags is tried");
}

fn later_spawns_use_the_first_ones_stack() {
    let spawn = || in_role("exits", &[]).stdin(Stdio::null()).spawn();
    let exits = |child: Result<Child>| assert_eq!(child.unwrap().wait_timeout(SOON).unwrap().code(), Some(0));
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    assert_eq!(code(&with(fails("mprotect", 0..1, Errno::NOMEM), spawn)), Some(Errno::NOMEM));
    exits(spawn());
    let before = mapped();
    let (child, is_mapped) = taking([always_fails("mmap", Errno::NOMEM)], spawn);
    exits(child);
    assert!(!is_mapped, "the stack is kept");

    // A spawn at the same time needs a stack of its own, and only one is kept.
    let during = move || exits(spawn());
    exits(with(Turn::comes_after(FIRST_CLONE, 0, during), spawn));
    assert_eq!(mapped(), before);
    let failed = with(fails("execve", 0..1, Errno::IO), spawn);
    assert_eq!(code(&failed), Some(Errno::IO));
    let (child, is_mapped) = taking([always_fails("mmap", Errno::NOMEM)], spawn);
    exits(child);
    assert!(!is_mapped, "a failed spawn leaves the stack too");
    assert_eq!(mapped(), before);
}

fn spawn_reports_failure_of_new_process() {
    let spawn = || in_role("exits", &[]).stdin(Stdio::null()).spawn();
    assert_eq!(spawn().unwrap().wait_timeout(SOON).unwrap().code(), Some(0));
    for call in ["close_range", "execve"] {
        let failed = with(fails(call, 0..1, Errno::IO), spawn);
        assert_eq!(code(&failed), Some(Errno::IO));
        assert!(failed.unwrap_err().to_string().contains(call));
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn spawn_needs_no_close_range() {
    for code in [Errno::NOSYS, Errno::INVAL, Errno::PERM, Errno::ACCESS] {
        let mut child = with(fails("close_range", 0..1, code), || in_role("exits", &[]).spawn()).unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    }
}

fn name(test: &str) -> String {
    // The first listener removes the files of killed processes.
    drop(Listener::bind(&format!("{test}.sweeps.{}", std::process::id())).unwrap());
    format!("{test}.{}", std::process::id())
}

/// Locks a name's file until the result is dropped.
fn locked(sort: &str, name: &str) -> std::fs::File {
    let path = door::folder().join(format!("lock.{sort}.{name}"));
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

/// Returns an injected event: another process releases the lock just before a call.
fn gives_up(what: std::fs::File, call: &'static str, number: u32) -> Turn {
    let what = std::sync::Mutex::new(Some(what));
    Turn::comes_after(call, number, move || drop(what.lock().unwrap().take()))
}

fn bind_retries_while_lock_is_checked() {
    let name = name("looked-at");
    let sweeper = locked("l", &name);
    drop(with(gives_up(sweeper, "flock", 1), || Listener::bind(&name)).unwrap());
    let _somebody = locked("l", &name);
    let taken = Listener::bind(&name);
    assert!(matches!(taken, Err(Error::NameInUse { .. })), "{taken:?}");
    std::fs::remove_file(door::folder().join(format!("lock.l.{name}"))).unwrap();
}

fn create_or_open_waits_for_concurrent_creator() {
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

fn bind_reports_failure_to_create_folder() {
    // A folder of this user in which no folder can be created.
    let folder = PathBuf::from(format!("/proc/{}", std::process::id()));
    let mut command = in_role("binds_in_its_folder", &[]);
    let status = command.env("XDG_RUNTIME_DIR", folder).stdin(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

fn duplicate_from_reports_exited_process() {
    let event = Event::manual_reset().unwrap();
    let value = HandleValue::of(&event).unwrap();
    let pull = || this().duplicate_from::<Event>(value);
    let gone = with(fails("pidfd_getfd", 0..1, Errno::SRCH), pull);
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    let other = with(fails("pidfd_getfd", 0..1, Errno::MFILE), pull);
    assert_eq!(code(&other), Some(Errno::MFILE));
    pull().unwrap();
}

fn connects_and_receives(arguments: &[String]) {
    let _ = Channel::connect_timeout(&arguments[0], SOON).map(|channel| channel.recv_timeout(SOON));
}

fn accept_fails_if_client_exits_or_closes() {
    let name = name("goes");
    let mut listener = Listener::bind(&name).unwrap();
    let client =
        || in_role("connects_and_receives", &[&name]).stdin(Stdio::null()).kill_on_drop(true).spawn();
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
    // The client is alive, and its endpoint is closed.
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

/// Another program's listening socket under a listener's name; its file is removed on drop.
struct Door(UnixListener, PathBuf);

impl Door {
    fn of(name: &str) -> Self {
        let path = door::path(name);
        let _ = std::fs::remove_file(&path);
        Self(door::listen_at(&path).unwrap(), path)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

const WELCOME: &[u8] = b"HO\x01W";

fn connect_retries_while_queue_is_full() {
    let name = name("full");
    let door = Door::of(&name);
    // Fills the queue of connections; the next connect would block. By default, the queue has room for 4,096.
    table::make_room(5000);
    let mut waiting = Vec::new();
    loop {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
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
        assert!(!client.is_finished(), "the client retries");
        for _ in 0..=waiting.len() {
            let _ = door.0.accept().unwrap().0.write_all(WELCOME);
        }
        client.join().unwrap().unwrap();
    });
}

fn spawn_reports_error_of_execve() {
    let path = std::env::temp_dir().join(format!("handover-loop-{}", std::process::id()));
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let refused = Command::new(&path).spawn();
    std::fs::remove_file(&path).unwrap();
    // The error is that of `execve`.
    assert_eq!(code(&refused), Some(Errno::LOOP));
}

/// Returns the message that a client receives from a server that acts as given.
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

/// Returns a frame that contains only bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    handover_tests::frame::frame(0, &[], bytes)
}

/// Longer than a client waits for the answer of a server that has exited.
const LONG: Duration = Duration::from_millis(1300);

fn connect_waits_for_slow_server() {
    let heard = said_by_a_server(&name("slow"), |mut stream| {
        std::thread::sleep(LONG);
        stream.write_all(&WELCOME[..1]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&WELCOME[1..]).unwrap();
        stream.write_all(&frame(b"at last")).unwrap();
    });
    assert_eq!(heard.unwrap(), b"at last");
}

fn connect_accepts_answer_in_two_pieces() {
    let heard = said_by_a_server(&name("pieces"), |mut stream| {
        stream.write_all(&WELCOME[..2]).unwrap();
        // Waits until the first piece was read.
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&WELCOME[2..]).unwrap();
        stream.write_all(&frame(b"behind it")).unwrap();
    });
    assert_eq!(heard.unwrap(), b"behind it");
}

fn send_fails_when_peer_shuts_socket_down() {
    let name = name("shut");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let channel = Channel::connect_timeout(&name, SOON).unwrap();
            channel.send_timeout(vec![7; 4 << 20], SOON)
        });
        let mut stream = door.0.accept().unwrap().0;
        stream.write_all(WELCOME).unwrap();
        // The client has begun to send, and the server doesn't receive the other packets.
        stream.read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(!client.is_finished(), "the control: the send waits for room");
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        let outcome = client.join().unwrap();
        assert!(matches!(outcome, Err(Error::Disconnected { .. })), "{outcome:?}");
    });
}

fn flush_succeeds_after_failed_send() {
    let name = name("not-lost");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        door.0.accept().unwrap().0.write_all(WELCOME).unwrap();
        let channel = client.join().unwrap();
        let sent = channel.send(b"to nobody");
        assert!(matches!(sent, Err(Error::Disconnected { .. })), "{sent:?}");
        let received = with(fails("recvmsg", 0..1, Errno::PIPE), || channel.recv_timeout(SOON));
        assert!(matches!(received, Err(Error::Disconnected { .. })), "{received:?}");
        channel.flush(SOON).unwrap();
    });
}

/// The send gets the error by which the kernel tells of the unread message, and the kernel tells it once.
fn flush_fails_after_failed_send_of_a_later_message() {
    let before = table::count();
    let (ours, theirs) = Channel::pair().unwrap();
    ours.send(b"unread").unwrap();
    drop(theirs);
    let sent = ours.send(b"later");
    assert!(matches!(sent, Err(Error::Disconnected { .. })), "{sent:?}");
    let flushed = ours.flush(SOON);
    assert!(matches!(flushed, Err(Error::Disconnected { .. })), "{flushed:?}");
    drop(ours);
    assert_eq!(table::count(), before);
}

/// The peer has shut the connection down, and closes its socket before a call of the flush. Then the kernel discards the
/// unread message.
fn flush_fails_if_peer_closes_its_socket_meanwhile() {
    for call in ["getsockopt", "ioctl"] {
        let before = table::count();
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(b"unread").unwrap();
        theirs.close();
        let theirs = std::sync::Mutex::new(Some(theirs));
        let closes = Turn::comes_after(call, 0, move || drop(theirs.lock().unwrap().take()));
        let flushed = with(closes, || ours.flush(SOON));
        assert!(matches!(flushed, Err(Error::Disconnected { .. })), "{call}: {flushed:?}");
        drop(ours);
        assert_eq!(table::count(), before);
    }
}

/// A thread waits to receive, and gets the error that the kernel reports once, while another one flushes.
fn flush_fails_if_a_receive_was_told_of_the_lost_message() {
    let before = table::count();
    let (to_receiver, channels) = std::sync::mpsc::channel::<std::sync::Arc<Channel>>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for channel in channels {
                // The first receive finds nothing, so that the others wait in the call that receives.
                for _ in 0..2 {
                    let end = channel.recv_timeout(SOON);
                    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
                }
            }
        });
        for round in 0..10_000 {
            let (ours, theirs) = Channel::pair().unwrap();
            let ours = std::sync::Arc::new(ours);
            ours.send(b"unread").unwrap();
            to_receiver.send(ours.clone()).unwrap();
            (0..round % 200).for_each(|_| std::hint::spin_loop());
            drop(theirs);
            let flushed = ours.flush(SOON);
            assert!(matches!(flushed, Err(Error::Disconnected { .. })), "round {round}: {flushed:?}");
        }
        drop(to_receiver);
    });
    assert_eq!(table::count(), before);
}

fn peer_that_closes_during_a_send_on_an_old_kernel_is_a_disconnect() {
    let (ours, _theirs) = Channel::pair().unwrap();
    let sent = with(fails("sendto", 0..1, Errno::CONNREFUSED), || ours.send(b"message"));
    assert!(matches!(sent, Err(Error::Disconnected { .. })), "{sent:?}");
}

fn read_only_memory_can_be_the_only_object() {
    let name = name("to-read");
    let mut listener = Listener::bind(&name).unwrap();
    let section = SharedMemory::new(100).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        let client = client.join().unwrap();
        client.send(Message::new(b"").with("section", section.read_only())).unwrap();
        let received: SharedMemory = channel.recv_timeout(SOON).unwrap().take("section").unwrap();
        assert!(matches!(received.view_mut(), Err(Error::AccessDenied { .. })));
        assert!(received.view().is_ok());
    });
}

fn send_at_limit_in_flight_receives_meanwhile() {
    let name = name("others");
    let door = Door::of(&name);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).unwrap());
        let mut stream = door.0.accept().unwrap().0;
        stream.write_all(WELCOME).unwrap();
        stream.write_all(&frame(b"theirs")).unwrap();
        let channel = client.join().unwrap();
        let event = Event::manual_reset().unwrap();
        // The user has reached the limit of descriptors in flight; the peer may wait for the same limit.
        let crowded = fails("sendmsg", 0..2, Errno::TOOMANYREFS);
        let reads = Turn::comes_after("recvmsg", 0, || {});
        let send = || channel.send(Message::new(b"ours").with("event", &event));
        let (sent, were_taken) = taking([crowded, reads], send);
        sent.unwrap();
        assert!(were_taken);
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"theirs");
    });
}

fn audit_fails_if_thread_cannot_be_continued() {
    let audit = || Audit::new(in_role_of_std("exits", &[])).run(SOON);
    // The earlier calls have seized the thread and queried it twice while it was stopped.
    let failed = with(fails("ptrace", 3..4, Errno::IO), audit);
    assert_eq!(code(&failed), Some(Errno::IO));
    assert_eq!(table::children_of(std::process::id()), []);
}

fn audit_reports_lost_connection_to_command() {
    // The command doesn't become its program; std reports why.
    for call in ["recvmsg", "sendto"] {
        let audit = || Audit::new(in_role_of_std("exits", &[])).run(SOON);
        let error = with(fails(call, 0..1, Errno::PIPE), audit).unwrap_err();
        assert!(matches!(error, Error::System { call: "execve", .. }), "{error:?}");
        // The failure may be before or after the command has sent its id.
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        assert!(matches!(code, Some(Errno::CANCELED | Errno::PIPE | Errno::CONNRESET)), "{error:?}");
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn refused_trace_names_ptrace_scope() {
    let audit = || Audit::new(in_role_of_std("exits", &[])).run(SOON);
    let refused = with(fails("ptrace", 0..1, Errno::PERM), audit);
    assert_eq!(code(&refused), Some(Errno::PERM));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("ptrace_scope") && !text.contains("already"), "{text}");
    let other = with(fails("ptrace", 0..1, Errno::IO), audit).unwrap_err().to_string();
    assert!(!other.contains("ptrace_scope"), "{other}");
}

fn audit_rejects_each_piped_stream() {
    let piped: [fn(&mut std::process::Command) -> &mut std::process::Command; 3] = [
        |command| command.stdin(std::process::Stdio::piped()),
        |command| command.stdout(std::process::Stdio::piped()),
        |command| command.stderr(std::process::Stdio::piped()),
    ];
    for piped in piped {
        let mut command = in_role_of_std("exits", &[]);
        piped(&mut command);
        let error = Audit::new(command).run(SOON).unwrap_err().to_string();
        assert!(error.contains("has a pipe to this process"), "{error}");
    }
}
