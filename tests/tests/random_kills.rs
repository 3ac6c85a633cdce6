//! Processes are killed at random moments: a child, a parent, peers, the owner of a name, the helper of sealed spawns.
//! Nobody hangs, nothing is left in those that live on, and what they hear is the right error.
//!
//! `HANDOVER_KILLS` says how many are killed, and `HANDOVER_SEED` from which number the moments are drawn.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use handover::inspect::HandleTable;
use handover::{
    Channel, Child, Command, Error, Event, Listener, Message, OwnedHandle, Process, ResetMode, SharedMemory,
    Stdio,
};
use handover_tests::{door, expect, role, table, tests, this_program, until, watch};

fn main() -> ExitCode {
    handover_tests::main(
        tests![whoever_is_killed_whenever_the_others_go_on],
        tests![echoes, a_parent, connects, serves, owns_a_name, stays],
    )
}

const SOON: Duration = Duration::from_secs(20);

/// Numbers that look random: `SplitMix64`.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A while, as often short as long.
    fn moment(&mut self) -> Duration {
        let longest = 1 << (4 + self.next() % expect::MAGNITUDES_OF_A_MOMENT);
        Duration::from_micros(self.next() % longest)
    }
}

/// What is killed in a run, by its name.
type Scenario = (&'static str, fn(&mut Numbers));

const A_SERVER: &str = "a server";

const SCENARIOS: [Scenario; 7] = [
    ("a child", a_child_is_killed),
    ("a parent", a_parent_is_killed),
    ("a client", a_client_is_killed),
    (A_SERVER, a_server_is_killed),
    ("a process that is duplicated from", a_source_is_killed),
    ("the owner of a name", the_owner_of_a_name_is_killed),
    ("a child of a sealed spawn, or its helper", a_sealed_spawn_is_disturbed),
];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number: {text:?}")))
}

fn whoever_is_killed_whenever_the_others_go_on() {
    let runs = number("HANDOVER_KILLS");
    let seed = number("HANDOVER_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
    });
    // Whoever asks for a number looks on.
    let shows = runs.is_some();
    let runs = runs.unwrap_or(expect::KILLS);
    println!("{runs} runs, seed {seed}");
    let mut numbers = Numbers(seed);
    watch("the first run of each");
    SCENARIOS.iter().for_each(|(_, run)| run(&mut numbers));
    let state = || (table::count(), table::children_of(std::process::id()).len());
    let (mut before, mut stays) = (settled(state), 0);
    // What is there more, if anything is.
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
        while state() != before {
            // What a stronger end has put into this process's table, and was killed before it could tell of, stays.
            let (handles, children) = state();
            let may_stay = if name == A_SERVER { expect::LEFT_BY_A_KILLED_STRONGER } else { 0 };
            let is_settled = ended.elapsed() > Duration::from_secs(2) && children == before.1;
            if is_settled && (before.0..=before.0 + may_stay).contains(&handles) {
                stays += handles - before.0;
                before.0 = handles;
                continue;
            }
            assert!(
                ended.elapsed() < SOON,
                "{doing}: handles and children were {before:?}, and are {:?}; had {had:#?}, has {:#?}",
                state(),
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

/// The same twice in a row, with time between.
fn settled<T: PartialEq + Copy>(state: impl Fn() -> T) -> T {
    loop {
        let before = state();
        std::thread::sleep(Duration::from_millis(300));
        if state() == before {
            return before;
        }
    }
}

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Kills a process of this one after a while. Nobody has waited for it until then, so its id is its own.
fn kill_after(process: u32, moment: Duration) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(moment);
        table::kill(process);
    })
}

/// Asserts how a child was that was killed.
fn was_killed(mut child: Child) {
    let status = child.wait_timeout(SOON).unwrap();
    assert!(status.code().is_none_or(|code| code == 77), "{status:?}");
}

fn is_gone(error: &Error, process: u32) {
    assert!(matches!(error, Error::ProcessExited { pid: gone, .. } if *gone == process), "{error:?}");
}

/// Sends and receives objects until that fails.
fn talk(channel: &Channel) -> Error {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    let once = |length: u64| {
        let bytes = vec![7; usize::try_from(length).unwrap()];
        channel.send_timeout(Message::new(bytes).with("event", &event).with("section", &section), SOON)?;
        let mut message = channel.recv_timeout(SOON)?;
        let _: Event = message.take("event")?;
        let _: SharedMemory = message.take("section")?;
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

fn echo(channel: &Channel) -> Error {
    loop {
        let once = || {
            let mut message = channel.recv_timeout(SOON)?;
            let (event, section): (Event, SharedMemory) = (message.take("event")?, message.take("section")?);
            let answer = Message::new(message.bytes()).with("event", &event).with("section", &section);
            channel.send_timeout(answer, SOON)
        };
        if let Err(error) = once() {
            return error;
        }
    }
}

fn echoes(_: &[String]) {
    echo(&Channel::parent().unwrap());
}

/// Waits until a child has begun, where that is the only safe time to kill it: under Wine, one that is killed in its start,
/// or while it creates another, can leave one that never begins, or a caller that waits for ever.
fn begun(channel: &Channel) {
    if !table::is_wine() {
        return;
    }
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(10).unwrap());
    channel.send(Message::new(b"").with("event", &event).with("section", &section)).unwrap();
    drop(channel.recv_timeout(SOON).unwrap());
}

fn a_child_is_killed(numbers: &mut Numbers) {
    let mut child = in_role("echoes", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    begun(&channel);
    let killer = kill_after(child.id(), numbers.moment());
    is_gone(&talk(&channel), child.id());
    is_gone(&channel.recv_timeout(SOON).unwrap_err(), child.id());
    is_gone(&channel.send(b"more").unwrap_err(), child.id());
    killer.join().unwrap();
    was_killed(child);
}

fn name() -> String {
    format!("kills.{}", std::process::id())
}

fn a_parent(arguments: &[String]) {
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

/// A child of that, which says what it hears when its parent ends, and whether it has more handles than before.
fn stays(arguments: &[String]) {
    let channel = match Channel::parent() {
        Ok(channel) => channel,
        Err(error) => return println!("{} {} 0 0", arguments[0], word(&error)),
    };
    let before = table::count();
    let error = echo(&channel);
    until("the same handles", || table::count() <= before + expect::LEFT_BY_A_KILLED_STRONGER);
    println!("{} {} {before} {}", arguments[0], word(&error), table::count());
}

/// What an error is, without what it is about.
fn word(error: &Error) -> String {
    let whole = format!("{error:?}");
    whole.split([' ', '(']).next().unwrap_or_default().to_owned()
}

fn a_parent_is_killed(numbers: &mut Numbers) {
    let name = name();
    let mut parent = in_role("a_parent", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    if table::is_wine() || numbers.next() % 2 == 0 {
        out.read_line(&mut line).unwrap();
    }
    let killer = kill_after(parent.id(), numbers.moment());
    // All of them have this pipe, so its end is the end of them all.
    let (tell, hear) = channel();
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let _ = tell.send(rest);
    });
    let rest = match hear.recv_timeout(SOON) {
        Ok(rest) => rest,
        Err(RecvTimeoutError::Timeout) => panic!("a child of a killed parent lives on: {line:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the pipe couldn't be read"),
    };
    reader.join().unwrap();
    killer.join().unwrap();
    was_killed(parent);
    let said = format!("{line}{rest}");
    for line in said.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [which @ ("kept" | "free"), heard, before, after] = words[..] else { continue };
        assert!(expect::HEARD_OF_A_PARENT.contains(&heard), "{which}: {said:?}");
        // An end that has heard it may have closed what it has no more use for.
        let [before, after] = [before, after].map(|text| text.parse::<usize>().unwrap());
        assert!(after <= before + expect::LEFT_BY_A_KILLED_STRONGER, "{which}: {said:?}");
    }
    if !line.is_empty() {
        assert!(said.contains("free "), "the one that lives on says so: {said:?}");
    }
    // Its names are free, and nothing is left of them afterwards.
    drop(Listener::bind(&name).unwrap());
    drop(Event::create_named(&format!("{name}.event"), ResetMode::Manual).unwrap());
    assert!(!door::is_left(&name) && !door::is_left(&format!("{name}.event")));
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
    // One that is killed before it comes doesn't come.
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "the client neither comes nor ends");
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
            Ok(channel) => is_gone(&echo(&channel), id),
            Err(error) => is_gone(&error, id),
        }
        until("it is killed", || killer.is_finished());
        break;
    }
    killer.unwrap().join().unwrap();
    was_killed(client);
    drop(listener);
    assert!(!door::is_left(&name));
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

/// A child that says when it is ready.
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
        assert!(Instant::now() < deadline, "the server doesn't end");
        match Channel::connect_timeout(&name, SOON) {
            Ok(channel) => {
                // For a while, and then by another connection.
                if numbers.next() % 2 == 0 {
                    is_gone(&talk(&channel), id);
                }
            }
            Err(error @ Error::ProcessExited { .. }) => is_gone(&error, id),
            Err(Error::NoListener { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    killer.join().unwrap();
    was_killed(server);
    drop(Listener::bind(&name).unwrap());
    assert!(!door::is_left(&name));
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
        assert!(Instant::now() < deadline, "the process doesn't end");
        let outcome = match numbers.next() % 4 {
            0 => child.process().duplicate_from::<Event>(value).map(drop),
            1 => child.process().duplicate_from::<OwnedHandle>(value).map(drop),
            2 => HandleTable::of(child.process()).map(drop),
            _ => expect::push(child.process(), &event),
        };
        if let Err(error) = outcome {
            is_gone(&error, child.id());
            failed += 1;
        }
    }
    killer.join().unwrap();
    let again = Process::open_exact(identity);
    assert!(again.is_err() || again.unwrap().ends(), "one that was killed is no process to share with");
    was_killed(child);
    assert!(!event.try_wait().unwrap());
}

trait Ends {
    fn ends(&self) -> bool;
}

impl Ends for Process {
    fn ends(&self) -> bool {
        until("it has ended", || self.has_exited().unwrap());
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
        assert!(Instant::now() < deadline, "the owner doesn't end");
        match Event::open_named(&name) {
            Ok(event) => assert!(!event.try_wait().unwrap()),
            Err(Error::ObjectNotFound { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    killer.join().unwrap();
    was_killed(owner);
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
    assert!(!door::is_left(&name));
}

fn a_sealed_spawn_is_disturbed(numbers: &mut Numbers) {
    let event = Event::manual_reset().unwrap();
    let spawn = || in_role("echoes", &[]).race_free().inherit("event", &event).channel().spawn();
    let helpers = table::children_of(std::process::id());
    // Where there is a helper, it is killed; elsewhere the child is.
    let mut killer = helpers.first().map(|helper| kill_after(*helper, numbers.moment()));
    for _ in 0..3 {
        if table::is_wine() {
            // A process whose parent is killed while it is created never begins there, and has an empty table.
            killer.take().map_or(Ok(()), std::thread::JoinHandle::join).unwrap();
        }
        match spawn() {
            Ok(mut child) => {
                let channel = child.take_channel().unwrap();
                begun(&channel);
                let killer = kill_after(child.id(), numbers.moment());
                is_gone(&talk(&channel), child.id());
                killer.join().unwrap();
                was_killed(child);
            }
            Err(error) => expect::helper_is_gone(&error),
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    // It is healed.
    let child = spawn().unwrap();
    table::kill(child.id());
    was_killed(child);
}
