//! Kills processes at random moments: a child, a parent, peers, the owner of a name, the helper of race-free spawns.
//! The surviving processes don't hang, leak no handles, and get the right error.
//!
//! `HANDOVER_KILLS` sets the number of kills, and `HANDOVER_SEED` the seed of the random moments.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use handover::inspect::HandleTable;
use handover::{
    Channel, Child, Command, Error, Event, Listener, Message, OwnedHandle, Process, ReceivedMessage,
    ResetMode, SharedMemory, Stdio, WaitSet,
};
use handover_tests::{door, expect, role, table, tests, this_program, until, watch};

fn main() -> ExitCode {
    handover_tests::main(
        tests![survivors_of_random_kills_neither_hang_nor_leak],
        tests![
            echoes,
            holds_endpoints,
            holds_sockets,
            calls_and_replies,
            starts_children,
            connects,
            serves,
            owns_a_name,
            stays
        ],
    )
}

const SOON: Duration = Duration::from_secs(20);

/// `SplitMix64`, a generator of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random delay, with all magnitudes equally likely.
    fn moment(&mut self) -> Duration {
        let longest = 1 << (4 + self.next() % expect::DELAY_MAGNITUDES);
        Duration::from_micros(self.next() % longest)
    }
}

/// A run: the name of the process that is killed, and its function.
type Scenario = (&'static str, fn(&mut Numbers));

const A_SERVER: &str = "a server";

const SCENARIOS: [Scenario; 11] = [
    ("a child", a_child_is_killed),
    ("a child beside calls of several threads", a_child_is_killed_beside_calls),
    ("a holder of endpoints that travel", a_holder_of_endpoints_is_killed),
    ("a holder of sockets", a_holder_of_sockets_is_killed),
    ("a member of a set", a_member_of_a_set_is_killed),
    ("a parent", a_parent_is_killed),
    ("a client", a_client_is_killed),
    (A_SERVER, a_server_is_killed),
    ("the source of a duplication", a_source_is_killed),
    ("the owner of a name", the_owner_of_a_name_is_killed),
    ("a child of a race-free spawn, or its helper", a_race_free_spawn_is_disturbed),
];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number: {text:?}")))
}

fn survivors_of_random_kills_neither_hang_nor_leak() {
    let runs = number("HANDOVER_KILLS");
    let seed = number("HANDOVER_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
    });
    // A run with an explicit number prints its progress.
    let shows = runs.is_some();
    let runs = runs.unwrap_or(expect::KILLS);
    println!("{runs} runs, seed {seed}");
    let mut numbers = Numbers(seed);
    watch("the first run of each");
    SCENARIOS.iter().for_each(|(_, run)| run(&mut numbers));
    // A set's waits give Wine's thread pool an event, which it closes when its thread for waits exits, so nothing is compared
    // until then.
    let state = || {
        let is_comparable = table::wine_pool_waiters() == 0;
        is_comparable.then(|| (table::count(), table::children_of(std::process::id()).len()))
    };
    let (mut before, mut stays) = (settled(state), 0);
    // Describes all handles, for the message of a failure.
    let all = || {
        let table = HandleTable::of(&Process::open_for_query(std::process::id()).unwrap()).unwrap();
        table
            .entries()
            .iter()
            .map(|entry| format!("{:?} {:?}", entry.kind(), entry.name()))
            .collect::<Vec<_>>()
    };
    let had = all();
    let mut counts = [0; SCENARIOS.len()];
    let started = Instant::now();
    for run in 0..runs {
        let which = usize::try_from(numbers.next() % SCENARIOS.len() as u64).unwrap();
        let (name, scenario) = SCENARIOS[which];
        let doing = format!("run {run} with seed {seed}, {name}");
        watch(&doing);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&mut numbers)));
        assert!(outcome.is_ok(), "{doing}: see above");
        counts[which] += 1;
        let ended = Instant::now();
        loop {
            let now = state();
            if now == Some(before) {
                break;
            }
            // Handles that a stronger endpoint has put into this process's table stay, if it was killed before it could
            // announce them.
            let may_stay = if name == A_SERVER { expect::LEFT_BY_KILLED_STRONGER } else { 0 };
            let is_late = ended.elapsed() > Duration::from_secs(2);
            match now {
                Some((handles, children))
                    if is_late
                        && children == before.1
                        && (before.0..=before.0 + may_stay).contains(&handles) =>
                {
                    stays += handles - before.0;
                    before.0 = handles;
                    break;
                }
                _ => {}
            }
            assert!(
                ended.elapsed() < SOON,
                "{doing}: handles and children were {before:?}, and are {now:?}; had {had:#?}, has {:#?}",
                all()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        if shows && (run + 1) % 50 == 0 {
            eprintln!("{} of {runs} after {:.0?}", run + 1, started.elapsed());
        }
    }
    watch("");
    for ((name, _), count) in SCENARIOS.iter().zip(counts) {
        println!("{count:5} times {name}");
    }
    println!(
        "{runs} runs with seed {seed} in {:.0?}; {stays} handles of killed servers stay",
        started.elapsed()
    );
}

/// Waits until there is a state that is the same twice in a row.
fn settled<T: PartialEq + Copy>(state: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        let before = state();
        std::thread::sleep(Duration::from_millis(300));
        match before {
            Some(before) if state() == Some(before) => return before,
            _ => assert!(started.elapsed() < SOON, "the state changes for {SOON:?}"),
        }
    }
}

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Kills a process after a delay. The process hasn't been waited for, so its id can't have been reused.
fn kill_after(process: u32, moment: Duration) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(moment);
        table::kill(process);
    })
}

/// Asserts that a child was killed.
fn assert_was_killed(mut child: Child) {
    let status = child.wait_timeout(SOON).unwrap();
    assert!(status.code().is_none_or(|code| code == 77), "{status:?}");
}

fn assert_process_exited(error: &Error, process: u32) {
    assert!(matches!(error, Error::ProcessExited { pid: gone, .. } if *gone == process), "{error:?}");
}

/// Sends and receives objects until that fails. Every second message is a call, and its answer the reply.
fn talk(channel: &Channel) -> Error {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    let once = |length: u64, is_call: bool| {
        let bytes = vec![7; usize::try_from(length).unwrap()];
        let message = Message::new(bytes).with("event", &event).with("section", &section);
        let message = if is_call {
            channel.call(message, SOON)?
        } else {
            channel.send_timeout(message, SOON)?;
            channel.recv_timeout(SOON)?
        };
        let _: Event = message.take("event")?;
        let _: SharedMemory = message.take("section")?;
        Ok(())
    };
    let (mut length, mut is_call) = (1, false);
    loop {
        if let Err(error) = once(length, is_call) {
            return error;
        }
        (length, is_call) = (length * 7 % 300_007, !is_call);
    }
}

fn echo(channel: &Channel) -> Error {
    loop {
        let once = || {
            let message = channel.recv_timeout(SOON)?;
            let (event, section): (Event, SharedMemory) = (message.take("event")?, message.take("section")?);
            let answer = Message::new(message.bytes()).with("event", &event).with("section", &section);
            if message.expects_reply() {
                message.reply_timeout(answer, SOON)
            } else {
                channel.send_timeout(answer, SOON)
            }
        };
        if let Err(error) = once() {
            return error;
        }
    }
}

/// Calls with objects until a call fails. Each call asks for a reply of another length.
fn call(channel: &Channel) -> Error {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    let once = |length: u64| {
        let asked = Message::new(length.to_le_bytes().to_vec());
        let reply = channel.call(asked.with("event", &event).with("section", &section), SOON)?;
        assert_eq!(reply.bytes().len() as u64, length, "the reply belongs to another call");
        let _: Event = reply.take("event")?;
        Ok(())
    };
    let mut length = 1;
    loop {
        if let Err(error) = once(length) {
            return error;
        }
        length = length * 7 % 300_007;
    }
}

/// Makes calls that time out before their replies are sent, until one fails for another reason.
fn call_in_vain(channel: &Channel) -> Error {
    let event = Event::manual_reset().unwrap();
    loop {
        match channel.call(Message::new(LATE).with("event", &event), Duration::from_millis(1)) {
            Err(Error::TimedOut { .. }) => {}
            Err(other) => return other,
            Ok(reply) => panic!("the reply comes with the next call: {reply:?}"),
        }
    }
}

/// The bytes of a call that gets its reply when the next such call arrives.
const LATE: &[u8] = b"late";

/// Replies to calls until that fails.
fn reply(channel: &Channel) -> Error {
    let mut late: Option<ReceivedMessage> = None;
    let mut once = || {
        let called = channel.recv_timeout(SOON)?;
        let (called, length) = match <[u8; 8]>::try_from(called.bytes()) {
            Ok(length) => (called, u64::from_le_bytes(length)),
            Err(_) => match late.replace(called) {
                Some(earlier) => (earlier, 0),
                None => return Ok(()),
            },
        };
        let event: Event = called.take("event")?;
        let bytes = vec![7; usize::try_from(length).unwrap()];
        called.reply_timeout(Message::new(bytes).with("event", &event), SOON)
    };
    loop {
        if let Err(error) = once() {
            return error;
        }
    }
}

/// Calls from several threads and replies to the peer's calls, until that fails. Returns the error of each thread.
fn call_and_reply(channel: &Channel) -> [Error; 4] {
    std::thread::scope(|scope| {
        [call, call, call_in_vain, reply]
            .map(|work| scope.spawn(move || work(channel)))
            .map(|thread| thread.join().unwrap())
    })
}

fn calls_and_replies(_: &[String]) {
    call_and_reply(&Channel::parent().unwrap());
}

fn echoes(_: &[String]) {
    echo(&Channel::parent().unwrap());
}

/// Waits until a child has begun to run, under Wine only. Killing a process there while it starts or creates another
/// one can leave a process that never runs, or a caller that waits forever.
fn begun(channel: &Channel) {
    if !table::is_wine() {
        return;
    }
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    channel.send(Message::new(b"").with("event", &event).with("section", &section)).unwrap();
    drop(channel.recv_timeout(SOON).unwrap());
}

/// The child has the listening socket, and each connection until it drops it.
fn a_holder_of_sockets_is_killed(numbers: &mut Numbers) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = in_role("holds_sockets", &[]);
    let mut child = command.channel().inherit("listener", &listener).spawn().unwrap();
    let channel = child.take_channel().unwrap();
    let connect = || {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        (client, listener.accept().unwrap().0)
    };
    let once = || {
        let (mut client, server) = connect();
        channel.call(Message::new(b"").with("listener", &listener).with("server", &server), SOON)?;
        client.read_exact(&mut [0; 5]).unwrap();
        Ok(())
    };
    if table::is_wine() {
        // See `begun`.
        once().unwrap();
    }
    let killer = kill_after(child.id(), numbers.moment());
    let error = loop {
        if let Err(error) = once() {
            break error;
        }
    };
    assert_process_exited(&error, child.id());
    // This process's sockets work as before.
    let (mut client, mut server) = connect();
    server.write_all(b"still").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    killer.join().unwrap();
    assert_was_killed(child);
}

fn holds_sockets(_: &[String]) {
    let (channel, inherited) = (Channel::parent().unwrap(), handover::inherited().unwrap());
    let address = inherited.take::<TcpListener>("listener").unwrap().local_addr().unwrap();
    let once = || {
        let message = channel.recv_timeout(SOON)?;
        let listener: TcpListener = message.take("listener")?;
        assert_eq!(listener.local_addr().unwrap(), address);
        message.take::<TcpStream>("server")?.write_all(b"hello").unwrap();
        message.reply_timeout(b"", SOON)
    };
    while once().is_ok() {}
}

fn a_child_is_killed(numbers: &mut Numbers) {
    let mut child = in_role("echoes", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    begun(&channel);
    let killer = kill_after(child.id(), numbers.moment());
    assert_process_exited(&talk(&channel), child.id());
    assert_process_exited(&channel.recv_timeout(SOON).unwrap_err(), child.id());
    assert_process_exited(&channel.send(b"more").unwrap_err(), child.id());
    killer.join().unwrap();
    assert_was_killed(child);
}

/// The child calls too, so this process waits for replies and owes some when the child is killed.
fn a_child_is_killed_beside_calls(numbers: &mut Numbers) {
    let mut child = in_role("calls_and_replies", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    if table::is_wine() {
        // See `begun`.
        drop(channel.recv_timeout(SOON).unwrap());
    }
    let killer = kill_after(child.id(), numbers.moment());
    for error in call_and_reply(&channel) {
        assert_process_exited(&error, child.id());
    }
    assert_process_exited(&channel.call(b"more", SOON).unwrap_err(), child.id());
    killer.join().unwrap();
    assert_was_killed(child);
}

/// Sends endpoints back, or keeps a few of them and says so over them, until the parent closes.
fn holds_endpoints(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut kept = std::collections::VecDeque::new();
    let mut once = || {
        let message = channel.recv_timeout(SOON)?;
        if message.names().len() == 0 {
            return channel.send_timeout(message.bytes(), SOON);
        }
        let link = message.take_channel("link")?;
        if message.bytes() == b"back" {
            return channel.send_timeout(Message::new("").with_channel("link", link), SOON);
        }
        // The process at the other end may be gone.
        let _ = link.send_timeout("here", SOON);
        kept.push_back(link);
        kept.truncate(8);
        Ok(())
    };
    while once().is_ok() {}
}

/// Sends endpoints to two processes and back, and introduces them to each other, until that fails.
fn pass_endpoints(first: &Channel, second: &Channel) -> Error {
    let once = || {
        let (ours, theirs) = Channel::pair()?;
        first.send_timeout(Message::new("back").with_channel("link", theirs), SOON)?;
        let theirs = first.recv_timeout(SOON)?.take_channel("link")?;
        second.send_timeout(Message::new("keep").with_channel("link", theirs), SOON)?;
        let heard = ours.recv_timeout(SOON)?;
        assert_eq!(heard.bytes(), b"here");
        handover::introduce_timeout(first, second, "link", SOON)
    };
    loop {
        if let Err(error) = once() {
            return error;
        }
    }
}

fn a_holder_of_endpoints_is_killed(numbers: &mut Numbers) {
    let start = || {
        let mut child = in_role("holds_endpoints", &[]).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        if table::is_wine() {
            // See `begun`.
            channel.send("begun").unwrap();
            drop(channel.recv_timeout(SOON).unwrap());
        }
        (child, channel)
    };
    let ((first, of_first), (mut second, of_second)) = (start(), start());
    // Either of them.
    let (killed, other) = if numbers.next() % 2 == 0 { (&first, &second) } else { (&second, &first) };
    let (killed, other) = (killed.id(), other.id());
    let killer = kill_after(killed, numbers.moment());
    match pass_endpoints(&of_first, &of_second) {
        Error::NotSent { source, .. } if matches!(*source, Error::ProcessExited { pid, .. } if pid == killed) =>
            {}
        Error::ProcessExited { pid, .. } if pid == killed => {}
        // An endpoint was lost in transit, or the process at the other end wasn't known yet.
        Error::Disconnected { .. } | Error::ProcessExited { pid: 0, .. } => {}
        error => panic!("{error:?}"),
    }
    killer.join().unwrap();
    // The other one lives on, and is told.
    drop((of_first, of_second));
    if second.id() == other {
        assert!(second.wait_timeout(SOON).unwrap().success());
        assert_was_killed(first);
    } else {
        assert_was_killed(second);
        let mut first = first;
        assert!(first.wait_timeout(SOON).unwrap().success());
    }
}

/// One thread waits for a child that is killed, for its channel, and for another child that lives on.
fn a_member_of_a_set_is_killed(numbers: &mut Numbers) {
    let start = || {
        let mut child = in_role("echoes", &[]).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        begun(&channel);
        (child, channel)
    };
    let ((killed, of_killed), (lives, of_lives)) = (start(), start());
    let set = WaitSet::new().unwrap();
    for (key, channel) in [(1, &of_killed), (2, &of_lives)] {
        set.add(key, channel).unwrap();
    }
    set.add(3, &killed).unwrap();
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    let send = |channel: &Channel| {
        let message = Message::new(vec![7; 20_000]).with("event", &event).with("section", &section);
        channel.send_timeout(message, SOON)
    };
    let _ = send(&of_killed);
    send(&of_lives).unwrap();
    let killer = kill_after(killed.id(), numbers.moment());
    let (mut error, mut has_exited, mut answers) = (None, false, 0);
    while error.is_none() || !has_exited {
        let ready = set.wait(SOON).unwrap();
        assert!(ready.len() > 0, "{error:?}, {has_exited}, {answers} answers");
        for ready in ready {
            let received = match ready.key() {
                1 => of_killed.try_recv(),
                2 => of_lives.try_recv(),
                _ => {
                    has_exited = true;
                    set.remove(3);
                    continue;
                }
            };
            match (ready.key(), received) {
                (1, Ok(Some(_))) => drop(send(&of_killed)),
                (1, Err(failed)) => {
                    error = Some(failed);
                    set.remove(1);
                }
                (2, Ok(Some(_))) => {
                    answers += 1;
                    send(&of_lives).unwrap();
                }
                (_, Ok(None)) => {}
                (key, other) => panic!("{key}: {other:?}"),
            }
        }
    }
    assert_process_exited(&error.unwrap(), killed.id());
    killer.join().unwrap();
    assert_was_killed(killed);
    drop((of_lives, lives));
}

fn name() -> String {
    format!("kills.{}", std::process::id())
}

fn starts_children(arguments: &[String]) {
    let _listener = Listener::bind(&arguments[0]).unwrap();
    let _event = Event::create_named(&format!("{}.event", arguments[0]), ResetMode::Manual).unwrap();
    let spawn = |is_kept: bool| {
        let mut command = Command::new(this_program());
        command.args(role("stays", &[if is_kept { "kept" } else { "free" }])).stdin(Stdio::null());
        let mut child = command.kill_with_parent(is_kept).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        (child, channel)
    };
    let ((kept, one), (free, other)) = (spawn(true), spawn(false));
    println!("{} {}", kept.id(), free.id());
    std::thread::scope(|scope| {
        scope.spawn(|| talk(&one));
        scope.spawn(|| talk(&other));
    });
}

/// A child of that parent. Prints the error that it gets when its parent is killed, and its handle counts.
fn stays(arguments: &[String]) {
    let channel = match Channel::parent() {
        Ok(channel) => channel,
        Err(error) => return println!("{} {} 0 0", arguments[0], word(&error)),
    };
    let before = table::count();
    let error = echo(&channel);
    until("the same handles", || table::count() <= before + expect::LEFT_BY_KILLED_STRONGER);
    println!("{} {} {before} {}", arguments[0], word(&error), table::count());
}

/// Returns the name of an error's variant.
fn word(error: &Error) -> String {
    let whole = format!("{error:#?}");
    whole.split([' ', '(']).next().unwrap_or_default().to_owned()
}

fn a_parent_is_killed(numbers: &mut Numbers) {
    let name = name();
    let mut parent = in_role("starts_children", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    if table::is_wine() || numbers.next() % 2 == 0 {
        out.read_line(&mut line).unwrap();
    }
    let killer = kill_after(parent.id(), numbers.moment());
    // All processes have this pipe, so end of file means that all of them have exited.
    let (sender, receiver) = channel();
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let _ = sender.send(rest);
    });
    let rest = match receiver.recv_timeout(SOON) {
        Ok(rest) => rest,
        Err(RecvTimeoutError::Timeout) => panic!("a child of a killed parent lives on: {line:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the pipe couldn't be read"),
    };
    reader.join().unwrap();
    killer.join().unwrap();
    assert_was_killed(parent);
    let said = format!("{line}{rest}");
    for line in said.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [which @ ("kept" | "free"), error, before, after] = words[..] else { continue };
        assert!(expect::ERRORS_AFTER_PARENT_KILL.contains(&error), "{which}: {said:?}");
        // An endpoint may close handles that it no longer needs after the error.
        let [before, after] = [before, after].map(|text| text.parse::<usize>().unwrap());
        assert!(after <= before + expect::LEFT_BY_KILLED_STRONGER, "{which}: {said:?}");
    }
    if !line.is_empty() {
        assert!(said.contains("free "), "the surviving child reports: {said:?}");
    }
    // The parent's names are free, and no files of them are left.
    drop(Listener::bind(&name).unwrap());
    drop(Event::create_named(&format!("{name}.event"), ResetMode::Manual).unwrap());
    assert!(!door::exists(&name) && !door::exists(&format!("{name}.event")));
}

fn connects(arguments: &[String]) {
    while let Ok(channel) = Channel::connect_timeout(&arguments[0], SOON) {
        talk(&channel);
    }
}

fn a_client_is_killed(numbers: &mut Numbers) {
    let name = name();
    let mut listener = Listener::bind(&name).unwrap();
    let client = in_role("connects", &[&name]).spawn().unwrap();
    let id = client.id();
    let mut killer = None;
    if !table::is_wine() {
        killer = Some(kill_after(id, numbers.moment()));
    }
    // The client may be killed before it connects.
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "the client neither connects nor exits");
        let incoming = match listener.accept_timeout(Duration::from_millis(50)) {
            Ok(incoming) => incoming,
            Err(Error::TimedOut { .. }) if client.process().has_exited().unwrap() => break,
            Err(Error::TimedOut { .. }) => continue,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(incoming.process().id(), id);
        let moment = numbers.moment();
        let killer = killer.get_or_insert_with(|| kill_after(id, moment));
        match incoming.accept() {
            Ok(channel) => assert_process_exited(&echo(&channel), id),
            Err(error) => assert_process_exited(&error, id),
        }
        until("the client is killed", || killer.is_finished());
        break;
    }
    killer.unwrap().join().unwrap();
    assert_was_killed(client);
    drop(listener);
    assert!(!door::exists(&name));
}

fn serves(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    loop {
        if let Ok(channel) = listener.accept().unwrap().accept() {
            std::thread::spawn(move || echo(&channel));
        }
    }
}

/// Starts a child, and waits until it prints a line.
fn ready(mut command: Command<'_>) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child
}

fn a_server_is_killed(numbers: &mut Numbers) {
    let name = name();
    let server = ready(in_role("serves", &[&name]));
    let id = server.id();
    let killer = kill_after(id, numbers.moment());
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "the server doesn't exit");
        match Channel::connect_timeout(&name, SOON) {
            Ok(channel) => {
                // Talks until the server is killed, or connects anew.
                if numbers.next() % 2 == 0 {
                    assert_process_exited(&talk(&channel), id);
                }
            }
            Err(error @ Error::ProcessExited { .. }) => assert_process_exited(&error, id),
            Err(Error::NoListener { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    killer.join().unwrap();
    assert_was_killed(server);
    drop(Listener::bind(&name).unwrap());
    assert!(!door::exists(&name));
}

fn a_source_is_killed(numbers: &mut Numbers) {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("echoes", &[]);
    let mut child = command.inherit("event", &event).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    begun(&channel);
    let value = child.inherited_handles().next().unwrap().1;
    let identity = child.process().identity().unwrap();
    let killer = kill_after(child.id(), numbers.moment());
    let mut failed = 0;
    let deadline = Instant::now() + SOON;
    while failed < 3 {
        assert!(Instant::now() < deadline, "the process doesn't exit");
        let outcome = match numbers.next() % 4 {
            0 => child.process().duplicate_from::<Event>(value).map(drop),
            1 => child.process().duplicate_from::<OwnedHandle>(value).map(drop),
            2 => HandleTable::of(child.process()).map(drop),
            _ => expect::push(child.process(), &event),
        };
        if let Err(error) = outcome {
            assert_process_exited(&error, child.id());
            failed += 1;
        }
    }
    killer.join().unwrap();
    let again = Process::open_exact(identity);
    assert!(again.is_err() || again.unwrap().ends(), "the killed process exits");
    assert_was_killed(child);
    assert!(!event.try_wait().unwrap());
}

trait Ends {
    fn ends(&self) -> bool;
}

impl Ends for Process {
    fn ends(&self) -> bool {
        until("the process has exited", || self.has_exited().unwrap());
        true
    }
}

fn owns_a_name(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    println!("has it");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn the_owner_of_a_name_is_killed(numbers: &mut Numbers) {
    let name = name();
    let owner = ready(in_role("owns_a_name", &[&name]));
    let killer = kill_after(owner.id(), numbers.moment());
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "the owner doesn't exit");
        match Event::open_named(&name) {
            Ok(event) => assert!(!event.try_wait().unwrap()),
            Err(Error::ObjectNotFound { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    killer.join().unwrap();
    assert_was_killed(owner);
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
    assert!(!door::exists(&name));
}

fn a_race_free_spawn_is_disturbed(numbers: &mut Numbers) {
    let event = Event::manual_reset().unwrap();
    let spawn = || in_role("echoes", &[]).race_free().inherit("event", &event).channel().spawn();
    let helpers = table::children_of(std::process::id());
    // Kills the helper, if the system has one; otherwise the child.
    let mut killer = helpers.first().map(|helper| kill_after(*helper, numbers.moment()));
    for _ in 0..3 {
        if table::is_wine() {
            // Under Wine, a process whose parent is killed while it is created never runs, and has an empty table.
            killer.take().map_or(Ok(()), std::thread::JoinHandle::join).unwrap();
        }
        match spawn() {
            Ok(mut child) => {
                let channel = child.take_channel().unwrap();
                begun(&channel);
                let killer = kill_after(child.id(), numbers.moment());
                assert_process_exited(&talk(&channel), child.id());
                killer.join().unwrap();
                assert_was_killed(child);
            }
            Err(error) => expect::assert_helper_exited(&error),
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    // A later spawn works again.
    let child = spawn().unwrap();
    table::kill(child.id());
    assert_was_killed(child);
}
