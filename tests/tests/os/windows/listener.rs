//! Tests of listeners over named pipes.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use handover::faults::{self, Turn};
use handover::{Channel, Error, Event, Listener};
use handover_tests::{Suite, door, raw, role, settled, table, tests, this_program, weaker};

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "listener",
    tests: tests![
        names_are_case_insensitive_and_can_be_long,
        bind_fails_if_name_is_squatted,
        clients_endpoint_has_least_access,
        accept_times_out_for_silent_client,
        connect_rejects_invalid_answers,
        connect_reads_answer_in_parts,
        dropped_listener_frees_its_name,
        connect_rejects_another_channels_ledger,
        client_disconnected_at_once_connects_again,
        accept_waits_for_room_and_loses_no_client,
        accept_says_who_could_not_be_served,
        process_that_only_looks_is_known_to_have_left,
        readiness_shows_exactly_whether_a_client_waits,
        connect_that_could_not_begin_is_repeated,
        connect_of_an_exited_thread_is_repeated,
    ],
    roles: tests![client, connects_silently, is_disconnected_at_once, connects_and_waits, is_refused],
};

fn name(test: &str) -> String {
    format!("windows.{test}.{}", std::process::id())
}

/// Starts a process that knows only the listener's name, by std's `Command`.
fn stranger(role_name: &str, arguments: &[&str]) -> std::process::Child {
    let mut command = std::process::Command::new(this_program());
    command.args(role(role_name, arguments)).stdout(std::process::Stdio::piped());
    command.spawn().unwrap()
}

fn names_are_case_insensitive_and_can_be_long() {
    let name = name("case");
    let _listener = Listener::bind(&name).unwrap();
    assert!(matches!(Listener::bind(&name.to_uppercase()), Err(Error::NameInUse { .. })));
    drop(Listener::bind(&"ä🦀 with spaces".repeat(8)).unwrap());
}

fn bind_fails_if_name_is_squatted() {
    let name = name("squatter");
    let squatter = door::squat(&name).unwrap();
    assert!(matches!(Listener::bind(&name), Err(Error::NameInUse { .. })));
    drop(squatter);
    let _listener = Listener::bind(&name).unwrap();
    assert!(door::squat(&name).is_err(), "no second pipe of the name can be created");
}

fn client(arguments: &[String]) {
    // Windows creates events for itself in each process, and Wine does in one of 32 bits.
    let with_all_rights =
        |table: &[table::Entry]| table.iter().filter(|entry| entry.access == 0x001f_0003).count();
    let before = with_all_rights(&table::of(std::process::id()));
    let channel = Channel::connect_timeout(&arguments[0], SOON).unwrap();
    // The server's event has only the access that the client needs.
    let table = table::of(std::process::id());
    assert!(table.iter().any(|entry| entry.access == 0x0010_0000), "{table:?}");
    let events_of_its_own = with_all_rights(&table) - before;
    let is_expected = if table::is_wine() { events_of_its_own == 2 } else { events_of_its_own >= 2 };
    assert!(is_expected, "{table:?}");
    channel.send(b"looked").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn clients_endpoint_has_least_access() {
    let name = name("needs");
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = stranger("client", &[&name]);
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"looked");
    drop(channel);
    assert_eq!(client.wait().unwrap().code(), Some(0));
}

/// Opens the listener's pipe, and does nothing else.
fn connects_silently(arguments: &[String]) {
    let _door = door::connect(&arguments[0]).unwrap();
    println!("here");
    std::thread::sleep(Duration::from_secs(60));
}

fn accept_times_out_for_silent_client() {
    let name = name("door");
    let mut listener = Listener::bind(&name).unwrap();
    let mut hostile = stranger("connects_silently", &[&name]);
    let incoming = listener.accept_timeout(SOON).unwrap();
    let mut line = String::new();
    BufReader::new(hostile.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "here");
    let theirs = settled(hostile.id());
    let started = Instant::now();
    let late = incoming.accept();
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(settled(hostile.id()), theirs, "the handles that it was given are closed in its table");
    hostile.kill().unwrap();
    hostile.wait().unwrap();
}

fn connect_rejects_invalid_answers() {
    for (answer, part) in [
        (&b"HO\x01\0"[..], ""),
        (b"220 a mail server's greeting", "the listener's answer is malformed"),
        // Handle values of this process that don't form a channel.
        (b"HO\x01\0\x04\0\0\0\x08\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0", ""),
        (
            b"HO\x01\0\xff\xff\xff\xff\x08\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0",
            "the listener's answer is malformed",
        ),
        (b"HO\x01\0\x04\0\0\0\x04\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0", "the listener's answer is malformed"),
    ] {
        let name = name("none");
        let squatter = door::squat(&name).unwrap();
        let before = table::of(std::process::id());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::os::windows::io::AsHandle;
                door::wait_for_client(&squatter);
                assert!(weaker::write(squatter.as_handle(), answer, SOON));
            });
            let error = Channel::connect_timeout(&name, Duration::from_secs(1)).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            if part.is_empty() {
                assert!(matches!(error, Error::TimedOut { .. } | Error::System { .. }), "{error:?}");
            }
        });
        let after = table::of(std::process::id());
        assert!(
            before.iter().all(|entry| after.contains(entry)),
            "none of this process's handles was closed"
        );
        assert!(after.len() <= before.len() + 1, "{before:?} {after:?}");
    }
}

fn connect_reads_answer_in_parts() {
    use std::os::windows::io::AsHandle;
    let name = name("parts");
    let squatter = door::squat(&name).unwrap();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            door::wait_for_client(&squatter);
            for part in [&b"220 a mai"[..], b"l server's ", b"greeting to you"] {
                assert!(weaker::write(squatter.as_handle(), part, SOON));
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Channel::connect_timeout(&name, SOON).unwrap_err()
    });
    // The parts were all read, each of them in time.
    assert!(error.to_string().contains("the listener's answer is malformed"), "{error}");
}

fn dropped_listener_frees_its_name() {
    let name = name("closed");
    let listener = Listener::bind(&name).unwrap();
    // A client has opened the pipe and doesn't close it.
    let _door = door::connect(&name).unwrap();
    drop(listener);
    drop(Listener::bind(&name).unwrap());
}

fn connect_rejects_another_channels_ledger() {
    use std::os::windows::io::AsHandle;
    use std::sync::atomic::Ordering::SeqCst;
    // The squatter is this process itself, so its handle values are valid here. The ledger is right except for one
    // field: the nonce of the answer, or the process id.
    let own = handover::Process::current_identity().unwrap();
    for (id, nonce) in [(own.id, 8), (own.id + 4, 7)] {
        let section = raw::section();
        let words = raw::words(&section, 16);
        for (word, value) in
            [u64::from_le_bytes(*b"handover"), 1, id.into(), own.created, nonce].into_iter().enumerate()
        {
            words[word].store(value, SeqCst);
        }
        let (event, mutex) = (Event::auto_reset().unwrap(), raw::mutex());
        let name = name("another");
        let squatter = door::squat(&name).unwrap();
        let mut answer = Vec::from(*b"HO\x01\0");
        for value in [table::value(&mutex), table::value(&section), table::value(&event)] {
            answer.extend(value.to_le_bytes());
        }
        answer.extend(7_u64.to_le_bytes());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                door::wait_for_client(&squatter);
                assert!(weaker::write(squatter.as_handle(), &answer, SOON));
            });
            match Channel::connect_timeout(&name, SOON) {
                Err(error @ Error::Protocol { .. }) => {
                    assert!(error.to_string().contains("another channel"), "{error}");
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(words[5].load(SeqCst), 0, "nothing was taken");
        event.set().unwrap();
    }
}

/// Connects, but is disconnected before it has asked for the listener's process id. Windows then returns no id; Wine
/// does, so the failure is injected.
fn is_disconnected_at_once(arguments: &[String]) {
    const PIPE_NOT_CONNECTED: i32 = 233;
    let fails = [Turn::fails("GetNamedPipeServerProcessId", 0..1, PIPE_NOT_CONNECTED)];
    let (channel, is_called) = faults::taking(fails, || Channel::connect_timeout(&arguments[0], SOON));
    assert!(is_called);
    channel.unwrap().send(b"connected").unwrap();
}

fn client_disconnected_at_once_connects_again() {
    let name = name("again");
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = stranger("is_disconnected_at_once", &[&name]);
    // Accepting the first connection fails, unless the listener has noticed its end before.
    let channel = loop {
        if let Ok(channel) = listener.accept_timeout(SOON).unwrap().accept() {
            break channel;
        }
    };
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"connected");
    assert!(client.wait().unwrap().success());
}

fn connects_and_waits(arguments: &[String]) {
    let channel = Channel::connect_timeout(&arguments[0], SOON).unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn accept_waits_for_room_and_loses_no_client() {
    const NO_SYSTEM_RESOURCES: i32 = 1450;
    let fails = |times| Turn::fails("OpenProcess", 0..times, NO_SYSTEM_RESOURCES);
    let name = name("room");
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = stranger("connects_and_waits", &[&name]);
    let (started, timeout) = (Instant::now(), Duration::from_millis(2000));
    let (refused, was_taken) =
        faults::taking([fails(u32::MAX)], || listener.accept_timeout(timeout).map(drop));
    assert!(was_taken && started.elapsed() < SOON);
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(NO_SYSTEM_RESOURCES));
    // The same client is still there.
    let accept = || listener.accept_timeout(SOON).unwrap().accept().unwrap();
    let (channel, was_taken) = faults::taking([fails(2)], accept);
    assert!(was_taken);
    assert_eq!(channel.peer().unwrap().id(), client.id());
    drop(channel);
    assert_eq!(client.wait().unwrap().code(), Some(0));
}

fn is_refused(arguments: &[String]) {
    let refused = Channel::connect_timeout(&arguments[0], SOON);
    assert!(matches!(refused, Err(Error::ConnectionRefused { .. })), "{refused:?}");
}

fn accept_says_who_could_not_be_served() {
    const ACCESS_DENIED: i32 = 5;
    let name = name("denied");
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = stranger("is_refused", &[&name]);
    let denied = Turn::fails("OpenProcess", 0..1, ACCESS_DENIED);
    let accept = || listener.accept_timeout(Duration::from_secs(5)).map(drop);
    let (outcome, was_taken) = faults::taking([denied], accept);
    assert!(was_taken);
    match outcome {
        Err(error @ Error::TimedOut { .. }) => {
            let text = error.to_string();
            assert!(text.contains("was refused") && text.contains("OpenProcess"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.wait().unwrap().code(), Some(0));
}

fn process_that_only_looks_is_known_to_have_left() {
    let name = name("look");
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    // It has left before the listener has seen it.
    drop(door::connect(&name).unwrap());
    let started = Instant::now();
    let none = listener.accept_timeout(Duration::from_millis(100)).map(drop);
    assert!(matches!(none, Err(Error::TimedOut { .. })), "{none:?}");
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    // It leaves after the listener has seen it.
    let looks = door::connect(&name).unwrap();
    let incoming = listener.accept_timeout(SOON).unwrap();
    drop(looks);
    let started = Instant::now();
    let left = incoming.accept().map(drop);
    let took = started.elapsed();
    assert!(matches!(left, Err(Error::Disconnected { .. })), "{left:?}");
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert_eq!(table::count(), before);
}

const NO_SYSTEM_RESOURCES: i32 = 1450;

/// Returns whether the listener's event is set.
fn is_shown(listener: &Listener) -> bool {
    raw::is_signaled(&listener.readiness().unwrap())
}

fn readiness_shows_exactly_whether_a_client_waits() {
    let name = name("ready");
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    for _ in 0..3 {
        assert!(!is_shown(&listener));
        // A client that leaves again.
        let client = door::connect(&name).unwrap();
        assert!(is_shown(&listener));
        drop(client);
        assert!(listener.try_accept().unwrap().is_none());
        assert!(!is_shown(&listener));
        // A client that is refused.
        let client = door::connect(&name).unwrap();
        assert!(is_shown(&listener));
        listener.try_accept().unwrap().expect("it waits").refuse();
        assert!(!is_shown(&listener));
        drop(client);
        // A client for which there is no room at first.
        let client = door::connect(&name).unwrap();
        let started = Instant::now();
        let fails = [Turn::fails("OpenProcess", 0..1, NO_SYSTEM_RESOURCES)];
        let (refused, was_taken) = faults::taking(fails, || listener.try_accept().map(drop));
        assert!(was_taken && started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(NO_SYSTEM_RESOURCES));
        assert!(is_shown(&listener), "it still waits");
        drop(listener.try_accept().unwrap().expect("it still waits"));
        assert!(!is_shown(&listener));
        drop(client);
    }
    assert_eq!(table::count(), before);
}

fn connect_that_could_not_begin_is_repeated() {
    let name = name("begins");
    let mut listener = Listener::bind(&name).unwrap();
    let client = door::connect(&name).unwrap();
    let incoming = listener.try_accept().unwrap().expect("it waits");
    let fails = [Turn::fails("ConnectNamedPipe", 0..1, NO_SYSTEM_RESOURCES)];
    let ((), was_taken) = faults::taking(fails, || incoming.refuse());
    drop(client);
    assert!(was_taken);
    assert!(is_shown(&listener), "the next call has something to do");
    assert!(listener.try_accept().unwrap().is_none());
    assert!(!is_shown(&listener));
    let _client = door::connect(&name).unwrap();
    assert!(is_shown(&listener));
    drop(listener.try_accept().unwrap().expect("it waits"));
}

fn connect_of_an_exited_thread_is_repeated() {
    let name = name("thread");
    // The system cancels the connect when the thread exits that began it.
    let mut listener =
        std::thread::scope(|scope| scope.spawn(|| Listener::bind(&name).unwrap()).join().unwrap());
    assert!(listener.try_accept().unwrap().is_none());
    assert!(!is_shown(&listener));
    let mut client = stranger("connects_and_waits", &[&name]);
    drop(listener.accept_timeout(SOON).unwrap().accept().unwrap());
    assert_eq!(client.wait().unwrap().code(), Some(0));
    // Without a call in between, a client connects nevertheless.
    drop(listener);
    let mut listener =
        std::thread::scope(|scope| scope.spawn(|| Listener::bind(&name).unwrap()).join().unwrap());
    let mut client = stranger("connects_and_waits", &[&name]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_shown(&listener));
    drop(listener.accept_timeout(SOON).unwrap().accept().unwrap());
    assert_eq!(client.wait().unwrap().code(), Some(0));
}
