//! Restarts of a TCP server, which hands its sockets to a new process: no connection is refused or lost, also if the new
//! process fails. The server is that of the example `tcp_restart`.
//!
//! `HANDOVER_CONNECTIONS` sets the number of connections; there is a restart for each thousand.

#[path = "../../crates/handover/examples/tcp_restart/connection.rs"]
mod connection;
#[path = "../../crates/handover/examples/tcp_restart/restart.rs"]
mod restart;
#[path = "../../crates/handover/examples/tcp_restart/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use handover::process::Command;
use handover::{Carried, Channel, Child, Stdio, TypedChannel};
use handover_tests::{expect, role, settled, tests, this_program};
use serde::{Deserialize, Serialize};

use connection::State;
use restart::{Handed, ToNew, ToOld, VERSION};

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            restarts_under_load_lose_no_connection,
            server_goes_on_if_new_process_fails_at_any_step,
            new_process_serves_only_after_the_old_one,
            old_and_new_versions_take_over_from_one_another,
        ],
        tests![serves, fails, serves_version_2],
    )
}

const SOON: Duration = Duration::from_secs(30);
/// More bytes than the buffers of a connection hold.
const LONG_LINES: usize = 8 * 1024;
static LONG_LINE: LazyLock<String> = LazyLock::new(|| "x".repeat(2000) + "\n");
/// The longest life of a server, so that it doesn't outlive a test that fails.
const MAX_LIFE: Duration = Duration::from_secs(350);

/// The arguments of this role.
static ARGUMENTS: OnceLock<Vec<String>> = OnceLock::new();

fn block_on<T>(future: impl Future<Output = restart::Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future).unwrap()
}

/// A server of the example, which starts as its new version the process that the arguments name.
fn serves(arguments: &[String]) {
    ARGUMENTS.set(arguments.to_vec()).unwrap();
    thread::spawn(|| {
        thread::sleep(MAX_LIFE);
        std::process::exit(1);
    });
    block_on(async { server::serve(restart::take_over().await?, new_version).await });
}

/// The steps at which a new process fails.
const FAILURES: [&str; 8] = [
    "exits at once",
    "reads an older version",
    "exits after it has started",
    "exits after the listener",
    "exits after a connection",
    "exits with all, and without a reply",
    "has all, and replies something else",
    "has all, and never replies",
];

/// The number of the new processes that this one has started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

fn new_version() -> Command {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    match ARGUMENTS.get().unwrap().first().map(String::as_str) {
        Some("whose successors fail") if number < FAILURES.len() => server("fails", &[FAILURES[number]]),
        Some("whose successor has version 2") => server("serves_version_2", &["first"]),
        _ => server("serves", &[]),
    }
}

fn server(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

/// Starts a server, and returns its address.
fn start_server(command: Command) -> (Child, SocketAddr) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (child, channel) = restart::start(command).await?;
        restart::hand_over(&channel, &Handed { listener, connections: Vec::new() }).await?;
        Ok((child.into(), address))
    })
}

/// A connection to a server.
struct Client {
    stream: BufReader<TcpStream>,
    requests: usize,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&address, SOON).expect("no connection is refused"))
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), requests: 0 }
    }

    /// Sends several requests in two parts, and returns the processes that answered. The pause is in the middle of a request.
    fn ask_many(&mut self, count: usize, pause: Duration) -> Vec<u32> {
        let text: String = (0..count).map(|number| format!("text {number}\n")).collect();
        let (first, second) = text.split_at(text.len() / 2 + 1);
        self.stream.get_mut().write_all(first.as_bytes()).unwrap();
        thread::sleep(pause);
        self.stream.get_mut().write_all(second.as_bytes()).unwrap();
        (0..count).map(|number| self.answer(&format!("text {number}"))).collect()
    }

    fn ask(&mut self, text: &str) -> u32 {
        writeln!(self.stream.get_mut(), "{text}").unwrap();
        self.answer(text)
    }

    /// Reads one answer, which counts all requests of this connection. Returns the process that gave it.
    fn answer(&mut self, text: &str) -> u32 {
        self.requests += 1;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).expect("no connection is lost");
        let (process, rest) = answer.split_once(": ").unwrap_or_else(|| panic!("{answer:?} for {text:?}"));
        assert_eq!(rest, format!("request {}: {text}\n", self.requests));
        process.strip_prefix("process ").unwrap().parse().unwrap()
    }

    /// Lets the server restart, and returns the new process.
    fn restart(&mut self) -> u32 {
        let (old, asked) = (self.ask("restart"), Instant::now());
        loop {
            let process = self.ask("is it done?");
            if process != old {
                return process;
            }
            assert!(asked.elapsed() < SOON, "process {old} isn't replaced");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the server.
    fn stop(mut self) {
        writeln!(self.stream.get_mut(), "stop").unwrap();
        let mut rest = String::new();
        let _ = self.stream.read_line(&mut rest);
    }
}

struct EndsThreads<'a>(&'a AtomicBool);

impl Drop for EndsThreads<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the handle count of a server that has served several clients at once. On Windows, the first clients that
/// leave make the runtime open handles that it keeps.
fn handles_after_clients(address: SocketAddr, server: u32) -> usize {
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("hello"), server));
    drop(clients);
    settled(server)
}

fn restarts_under_load_lose_no_connection() {
    let total =
        std::env::var("HANDOVER_CONNECTIONS").map_or(expect::CONNECTIONS, |text| text.parse().unwrap());
    let restarts = (total / 1000).max(10);
    let (mut first, address) = start_server(server("serves", &[]));
    let mut control = Client::connect(address);
    let second = control.restart();
    let mut processes = BTreeSet::from([first.id(), second]);
    let before = handles_after_clients(address, second);
    let (made, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while made.fetch_add(1, Ordering::Relaxed) < total {
                    Client::connect(address).ask_many(2, Duration::ZERO);
                }
            });
            // A connection that outlives all restarts.
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !is_done.load(Ordering::Relaxed) {
                    client.ask_many(21, Duration::from_millis(1));
                }
            });
        }
        // A connection that reads its answers only at the end, so that some of them can't be sent for a long time.
        let mut slow = Client::connect(address);
        let mut writer = slow.stream.get_ref().try_clone().unwrap();
        writer.set_write_timeout(None).unwrap();
        scope.spawn(move || (0..LONG_LINES).for_each(|_| writer.write_all(LONG_LINE.as_bytes()).unwrap()));
        // The threads also end if this one panics.
        let is_done = EndsThreads(&is_done);
        for number in 0..restarts {
            while made.load(Ordering::Relaxed) < number * total / restarts {
                control.ask("how far is it?");
                thread::sleep(Duration::from_millis(1));
            }
            processes.insert(control.restart());
        }
        drop(is_done);
        for _ in 0..LONG_LINES {
            slow.answer(LONG_LINE.trim_end());
        }
    });
    let last = control.restart();
    processes.insert(last);
    println!("{total} connections, {restarts} restarts under load");
    assert_eq!(processes.len(), restarts + 3);
    let handles = handles_after_clients(address, last);
    // A busy runtime may have opened a few that it keeps. A handle lost with each connection or restart would be more.
    assert!(
        handles <= before + 4,
        "restarts leave handles in the new process: {handles} instead of {before}"
    );
    assert_eq!(first.wait_timeout(SOON).unwrap().code(), Some(0));
    control.stop();
}

fn server_goes_on_if_new_process_fails_at_any_step() {
    let mut command = server("serves", &["whose successors fail"]);
    command.stdout(Stdio::piped());
    let (mut first, address) = start_server(command);
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut client = Client::connect(address);
    let mut before = None;
    for failure in FAILURES {
        assert_eq!(client.ask("restart"), first.id());
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("goes on: "), "{failure}: {line}");
        println!("{failure}: {line}");
        assert!(client.ask_many(3, Duration::ZERO).iter().all(|process| *process == first.id()), "{failure}");
        assert_eq!(Client::connect(address).ask("hello"), first.id(), "{failure}");
        // On Windows, the first restart also starts a thread that stays.
        let handles = settled(first.id());
        assert_eq!(handles, *before.get_or_insert(handles), "{failure}");
    }
    assert_ne!(client.restart(), first.id());
    assert_eq!(first.wait_timeout(SOON).unwrap().code(), Some(0));
    client.stop();
}

/// A new process that fails at a step.
fn fails(arguments: &[String]) {
    let channel = TypedChannel::<ToOld, ToNew>::new(Channel::parent().unwrap());
    let receive = || drop(channel.recv_timeout(SOON).unwrap());
    let start = |reads_version| channel.send(&ToOld::Started { reads_version }).unwrap();
    match arguments[0].as_str() {
        "exits at once" => {}
        "reads an older version" => {
            start(VERSION - 1);
            channel.recv_timeout(SOON).unwrap_err();
        }
        "exits after it has started" => start(VERSION),
        "exits after the listener" => {
            start(VERSION);
            receive();
        }
        "exits after a connection" => {
            start(VERSION);
            receive();
            receive();
        }
        with_all => {
            start(VERSION + 1);
            let reply = loop {
                if let (ToNew::All, reply) = channel.recv_request().unwrap() {
                    break reply;
                }
            };
            match with_all {
                "exits with all, and without a reply" => {}
                "has all, and replies something else" => {
                    reply.send(&ToOld::Started { reads_version: VERSION }).unwrap();
                    thread::sleep(MAX_LIFE);
                }
                "has all, and never replies" => thread::sleep(MAX_LIFE),
                other => panic!("no such failure: {other}"),
            }
        }
    }
}

fn new_process_serves_only_after_the_old_one() {
    let (mut child, mut waiting) = block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut waiting = Client::connect(listener.local_addr()?);
        writeln!(waiting.stream.get_mut(), "hello")?;
        let (connection, _) = listener.accept()?;
        let connections = vec![(connection, State::default())];
        let (child, channel) = restart::start(server("serves", &[])).await?;
        restart::hand_over(&channel, &Handed { listener, connections }).await?;
        // The old process could still be reading.
        waiting.stream.get_ref().set_read_timeout(Some(Duration::from_millis(300)))?;
        assert!(waiting.stream.fill_buf().is_err(), "the new process has answered");
        // As if it were killed now.
        drop(channel);
        Ok((Child::from(child), waiting))
    });
    waiting.stream.get_ref().set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(waiting.answer("hello"), child.id());
    waiting.stop();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn old_and_new_versions_take_over_from_one_another() {
    let (mut first, address) = start_server(server("serves", &["whose successor has version 2"]));
    let mut client = Client::connect(address);
    // From version 1 to 2, from 2 to 2, and back to 1.
    let first_of_2 = client.restart();
    let waits = TcpStream::connect(address).unwrap();
    let second_of_2 = client.restart();
    let last = client.restart();
    assert_eq!(BTreeSet::from([first.id(), first_of_2, second_of_2, last]).len(), 4);
    let mut waits = Client::of(waits);
    assert_eq!(waits.ask("version 2 accepted no connection"), last);
    assert_eq!(client.ask_many(3, Duration::ZERO), [last; 3]);
    assert_eq!(first.wait_timeout(SOON).unwrap().code(), Some(0));
    client.stop();
}

/// The messages of version 2, which adds to those of version 1.
#[derive(Debug, Serialize, Deserialize)]
enum ToNew2 {
    Listener(Carried<TcpListener>),
    Connection(Carried<TcpStream>, State),
    All,
    Connection2(Carried<TcpStream>, State2),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State2 {
    state: State,
    restarts: u32,
}

/// A server of version 2 with one connection. It hands the connection to the process that the argument names.
fn serves_version_2(arguments: &[String]) {
    let channel = TypedChannel::<ToOld, ToNew2>::new(Channel::parent().unwrap());
    channel.send(&ToOld::Started { reads_version: 2 }).unwrap();
    let (mut listener, mut connection) = (None, None);
    let reply = loop {
        match channel.recv_request().unwrap() {
            (ToNew2::Listener(socket), _) => listener = Some(socket),
            (ToNew2::Connection(socket, state), _) => {
                connection = Some((socket, State2 { state, restarts: 1 }));
            }
            (ToNew2::Connection2(socket, mut state), _) => {
                state.restarts += 1;
                connection = Some((socket, state));
            }
            (ToNew2::All, reply) => break reply,
        }
    };
    reply.send(&ToOld::HasAll).unwrap();
    drop(reply);
    assert!(channel.recv_timeout(SOON).is_err(), "the old process only exits");
    let (socket, mut state) = connection.unwrap();
    let (mut next, restarts) = match arguments[0].as_str() {
        "first" => (server("serves_version_2", &["second"]), 1),
        _ => (server("serves", &[]), 2),
    };
    assert_eq!(state.restarts, restarts);
    serve_until_restart(&socket, &mut state.state);

    let mut child = next.channel().spawn().unwrap();
    let channel = TypedChannel::<ToNew2, ToOld>::new(child.take_channel().unwrap());
    let ToOld::Started { reads_version } = channel.recv_timeout(SOON).unwrap() else { panic!() };
    channel.send(&ToNew2::Listener(listener.unwrap())).unwrap();
    let message = match reads_version {
        1 => ToNew2::Connection(socket, state.state),
        _ => ToNew2::Connection2(socket, state),
    };
    channel.send(&message).unwrap();
    assert!(matches!(channel.call(&ToNew2::All, SOON).unwrap(), ToOld::HasAll));
}

/// Answers the requests of one connection up to `restart`.
fn serve_until_restart(mut stream: &TcpStream, state: &mut State) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    loop {
        let mut byte = [0];
        stream.write_all(&std::mem::take(&mut state.unsent)).unwrap();
        while !state.unread.contains(&b'\n') {
            stream.read_exact(&mut byte).unwrap();
            state.unread.push(byte[0]);
        }
        let end = state.unread.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8(state.unread.drain(..=end).collect()).unwrap();
        state.requests += 1;
        let answer = format!("process {}: request {}: {line}", std::process::id(), state.requests);
        stream.write_all(answer.as_bytes()).unwrap();
        if line == "restart\n" {
            return;
        }
    }
}
