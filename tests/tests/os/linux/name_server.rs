//! Tests of processes that serve a name's object and don't answer as the library would: silent, busy or exited.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use handover::{Command, Error, Event, ResetMode, Stdio};
use handover_tests::{Suite, door, role, table, tests, this_program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(super) const SUITE: Suite = Suite {
    name: "name_server",
    tests: tests![
        open_times_out_if_server_never_answers,
        open_retries_while_server_is_busy,
        open_fails_if_server_exits_before_answer,
        open_reports_fd_limit,
    ],
    roles: tests![serves],
};

/// The answer of a server that can't send the object at this moment.
const NOT_NOW: [u8; 1] = [2];

/// A name that the test serves instead of the library.
struct Served {
    name: String,
    path: PathBuf,
    listener: UnixListener,
}

impl Served {
    fn new(test: &str) -> Self {
        let name = format!("asked.{test}.{}", std::process::id());
        // The first name creates the folder.
        drop(Event::create_named(&name, ResetMode::Auto).unwrap());
        let path = door::folder().join(format!("o.{name}"));
        let listener = door::listen_at(&path).unwrap();
        Self { name, path, listener }
    }

    /// Returns the next connection, if one arrives within two seconds.
    fn next(&self) -> Option<UnixStream> {
        let two_seconds = Timespec { tv_sec: 2, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
        (poll(&mut polled, Some(&two_seconds)).unwrap() > 0).then(|| self.listener.accept().unwrap().0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn assert_not_found(outcome: &Result<Event, Error>) {
    assert!(matches!(outcome, Err(Error::ObjectNotFound { .. })), "{outcome:?}");
}

/// One server never answers, and another one always answers that it can't send the object now.
fn open_times_out_if_server_never_answers() {
    let (silent, busy) = (Served::new("silent"), Served::new("busy"));
    let before = table::count();
    let started = Instant::now();
    let asked = |served: &Served| Event::open_named(&served.name).map(drop);
    let outcomes = std::thread::scope(|scope| {
        let threads = [&silent, &busy].map(|served| scope.spawn(move || asked(served)));
        let kept = silent.next();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert!(started.elapsed() < Duration::from_secs(60), "the opens don't time out");
            if let Some(mut asks) = busy.next() {
                // The client may have timed out at this moment.
                let _ = asks.write_all(&NOT_NOW);
            }
        }
        drop(kept);
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    }
    assert_eq!(table::count(), before);
}

fn open_retries_while_server_is_busy() {
    let served = Served::new("later");
    let before = table::count();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| Event::open_named(&served.name));
        for _ in 0..3 {
            served.next().expect("the client connects again").write_all(&NOT_NOW).unwrap();
        }
        // The connection ends without an answer, as if the server had just exited.
        drop(served.next().expect("the client connects again"));
        assert_not_found(&thread.join().unwrap());
    });
    assert_eq!(table::count(), before);
}

fn open_fails_if_server_exits_before_answer() {
    let served = Served::new("gone");
    let name = served.name.clone();
    let before = table::count();
    let thread = std::thread::spawn(move || Event::open_named(&name));
    let mut polled = [PollFd::new(&served.listener, PollFlags::IN)];
    let ten_seconds = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&ten_seconds)).unwrap(), 1, "the client connects");
    // The connection was never accepted, so the kernel resets it.
    drop(served);
    assert_not_found(&thread.join().unwrap());
    // The listening socket is closed as well.
    assert_eq!(table::count(), before - 1);
}

fn serves(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    println!("serves");
    std::thread::sleep(Duration::from_secs(30));
}

fn open_reports_fd_limit() {
    let name = format!("asked.room.{}", std::process::id());
    let mut command = Command::new(this_program());
    command.args(role("serves", &[&name])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "serves\n");
    drop(Event::open_named(&name).unwrap());
    let before = table::count();
    let mut opened = Vec::new();
    for room in 0..6 {
        table::leave_room_for(room);
        let outcome = Event::open_named(&name).map(drop);
        table::make_room(1000);
        match outcome {
            Ok(()) => opened.push(room),
            // EMFILE.
            Err(error @ Error::System { .. }) => {
                assert_eq!(error.raw_os_error(), Some(24), "with room for {room}: {error}");
            }
            Err(other) => panic!("with room for {room}: {other:?}"),
        }
        assert_eq!(table::count(), before, "with room for {room}");
    }
    assert!(opened.len() >= 2 && opened[0] >= 2, "one for the connection and one for the event: {opened:?}");
    server.kill().unwrap();
    server.wait_timeout(Duration::from_secs(10)).unwrap();
}
