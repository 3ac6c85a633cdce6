//! Tests that victims keep serving: a listener serves several honest clients while a hostile one attacks. During each
//! attack the honest clients are served, the listener's side reports the attack, and afterwards its handle count is as
//! before.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, ChildStdin, ChildStdout, Command, Error, Event, Listener, Message, OwnedHandle,
    ReceivedMessage, Stdio,
};
use handover_tests::attacks::{
    ASKS_FOR_MUCH, ASKS_FOR_OBJECTS, Attack, ENDINGS, Effect, FLOODS, HEADERS, OBJECTS, SYSTEM_SPECIFIC,
    attacks, hostile,
};
use handover_tests::{left_out, role, table, tests, this_program};

/// The timeout for honest processes.
const SOON: Duration = Duration::from_secs(20);
/// The victim's timeout for one receive or send.
const TURN: Duration = Duration::from_millis(150);
const HONEST: usize = 3;
/// The number of questions that an honest client asks on each connection.
const QUESTIONS: usize = 3;

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            victims_survive_header_attacks,
            victims_survive_object_attacks,
            victims_survive_stalls_and_disconnects,
            victims_survive_floods_and_unread_messages,
            victims_survive_system_specific_attacks,
            attack_names_are_unique,
        ],
        tests![honest, hostile],
    )
}

/// The outcome of one process's connections.
#[derive(Debug, Default)]
struct Met {
    questions: usize,
    messages: usize,
    timeouts: usize,
    errors: Vec<Error>,
    /// Errors of taking objects and of sending.
    refused: Vec<Error>,
    not_accepted: Vec<Error>,
}

#[derive(Debug, Default)]
struct Shared {
    met: Mutex<HashMap<u32, Met>>,
    /// The number of open channels.
    live: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn met(&self) -> MutexGuard<'_, HashMap<u32, Met>> {
        self.met.lock().unwrap()
    }

    /// Describes the outcome of the clients that asked no questions.
    fn describe(&self) -> String {
        let met = self.met();
        let others = met.iter().filter(|(_, met)| met.questions == 0);
        format!("{} live, {:.2000}", self.live.load(SeqCst), format!("{:?}", others.collect::<Vec<_>>()))
    }

    fn note(&self, process: u32, note: impl FnOnce(&mut Met)) {
        note(self.met().entry(process).or_default());
    }
}

/// Accepts all clients, one after the other, and serves each one on a thread.
fn listen(mut listener: Listener, shared: &Arc<Shared>) {
    while !shared.stop.load(SeqCst) {
        let incoming = match listener.accept_timeout(TURN) {
            Ok(incoming) => incoming,
            Err(Error::TimedOut { .. }) => continue,
            Err(other) => panic!("the listener accepts the next client: {other:?}"),
        };
        let process = incoming.process().id();
        match incoming.accept() {
            Ok(channel) => {
                shared.live.fetch_add(1, SeqCst);
                let shared = Arc::clone(shared);
                std::thread::spawn(move || {
                    serve(&channel, process, &shared);
                    drop(channel);
                    shared.live.fetch_sub(1, SeqCst);
                });
            }
            Err(error) => shared.note(process, |met| met.not_accepted.push(error)),
        }
    }
}

fn serve(channel: &Channel, process: u32, shared: &Shared) {
    let mut kept = Vec::new();
    loop {
        match channel.recv_timeout(TURN) {
            Ok(message) => answer(channel, message, process, shared, &mut kept),
            Err(Error::TimedOut { .. }) => shared.note(process, |met| met.timeouts += 1),
            Err(error @ Error::KindNotAllowed { .. }) => shared.note(process, |met| met.refused.push(error)),
            Err(error) => {
                // Each error is final; only after `Disconnected` can messages still arrive that were sent before.
                if !matches!(error, Error::Disconnected { .. }) {
                    assert!(!matches!(channel.recv_timeout(TURN), Ok(_) | Err(Error::TimedOut { .. })));
                }
                return shared.note(process, |met| met.errors.push(error));
            }
        }
    }
}

fn answer(
    channel: &Channel,
    message: ReceivedMessage,
    process: u32,
    shared: &Shared,
    kept: &mut Vec<ReceivedMessage>,
) {
    let event = Event::manual_reset().unwrap();
    let mut refused = Vec::new();
    match message.bytes() {
        b"question" => {
            // An honest client may disconnect at any time, so errors are ignored.
            if let Ok(theirs) = message.take::<Event>("event") {
                let _ = theirs.set();
            }
            let _ = channel.send_timeout(Message::new(b"answer").with("event", &event), SOON);
            return shared.note(process, |met| met.questions += 1);
        }
        ASKS_FOR_MUCH => {
            let much = Message::new(vec![7; 4 << 20]).with("event", &event);
            refused.extend(channel.send_timeout(much, TURN).err());
            refused.extend(channel.send_timeout(b"more", TURN).err());
        }
        ASKS_FOR_OBJECTS => {
            refused.extend(channel.send_timeout(Message::new(b"").with("event", &event), TURN).err());
        }
        b"keep" => {
            kept.push(message);
            return shared.note(process, |met| met.messages += 1);
        }
        _ => {
            let names: Vec<String> = message.names().map(str::to_owned).collect();
            refused.extend(names.iter().filter_map(|name| message.take::<OwnedHandle>(name).err()));
        }
    }
    drop(message);
    shared.note(process, |met| {
        met.messages += 1;
        met.refused.extend(refused);
    });
}

/// Connects, asks questions and disconnects, repeatedly, while the event `go` is set.
fn honest(arguments: &[String]) {
    let inherited = handover::inherited().unwrap();
    let (go, end): (Event, Event) = (inherited.take("go").unwrap(), inherited.take("end").unwrap());
    let event = Event::manual_reset().unwrap();
    while handover::wait_any(&[&end, &go], Duration::from_secs(120)).unwrap() == 1 {
        let channel = Channel::connect_timeout(&arguments[0], SOON).unwrap();
        for _ in 0..QUESTIONS {
            event.reset().unwrap();
            channel.send_timeout(Message::new(b"question").with("event", &event), SOON).unwrap();
            let answer = channel.recv_timeout(SOON).unwrap();
            assert_eq!(answer.bytes(), b"answer");
            let theirs: Event = answer.take("event").unwrap();
            assert!(event.try_wait().unwrap() && !theirs.try_wait().unwrap());
        }
    }
}

/// A hostile process, which runs the attacks that the test names.
struct Hostile {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Hostile {
    fn start(listener: &str) -> Self {
        let mut command = Command::new(this_program());
        command.args(role("hostile", &[listener])).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(from.next().unwrap().unwrap(), "ready");
        Self { child, to, from }
    }

    /// Runs an attack. Returns false if the process has exited with it.
    fn does(&mut self, attack: &str) -> bool {
        writeln!(self.to, "{attack}").is_ok() && matches!(self.from.next(), Some(Ok(line)) if line == "done")
    }
}

/// A listener with its honest clients.
struct Victim {
    name: String,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
    honest: Vec<Child>,
    go: Event,
    end: Event,
}

impl Victim {
    fn new(name: &str) -> Self {
        let name = format!("victims.{name}.{}", std::process::id());
        let listener = Listener::bind(&name).unwrap();
        let shared = Arc::<Shared>::default();
        let (go, end) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
        let honest = (0..HONEST).map(|_| {
            let mut command = Command::new(this_program());
            command.args(role("honest", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
            command.inherit("go", &go).inherit("end", &end).spawn().unwrap()
        });
        let honest = honest.collect();
        let theirs = Arc::clone(&shared);
        let listening = Some(std::thread::spawn(move || listen(listener, &theirs)));
        let mut this = Self { name, shared, listening, honest, go, end };
        // Serves once before anything is counted, so that state which is created once exists.
        this.go.set().unwrap();
        this.serves(&|| "the honest clients before the first attack".into());
        this
    }

    /// Polls until the condition holds, and asserts meanwhile that the listener and the honest clients still run.
    fn until(&mut self, what: &dyn Fn() -> String, mut yes: impl FnMut(&Shared) -> bool) {
        let started = Instant::now();
        while !yes(&self.shared) {
            for honest in &mut self.honest {
                let ended = honest.try_wait().unwrap();
                assert_eq!(ended, None, "an honest client wasn't served: {}", what());
            }
            assert!(
                !self.listening.as_ref().unwrap().is_finished(),
                "the listener's thread has ended: {}",
                what()
            );
            assert!(started.elapsed() < SOON, "{}: not within {SOON:?}: {}", what(), self.shared.describe());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until each honest client has been served once more, from its connection to its end.
    fn serves(&mut self, what: &dyn Fn() -> String) {
        let questions = |shared: &Shared, honest: &[u32]| -> Vec<usize> {
            let met = shared.met();
            honest.iter().map(|process| met.get(process).map_or(0, |met| met.questions)).collect()
        };
        let honest: Vec<u32> = self.honest.iter().map(Child::id).collect();
        let before = questions(&self.shared, &honest);
        self.until(what, |shared| {
            let now = questions(shared, &honest);
            before.iter().zip(now).all(|(before, now)| now > before + QUESTIONS)
        });
    }

    /// Stops the honest clients, and waits until no channel is open.
    fn rests(&mut self, what: &dyn Fn() -> String) {
        self.go.reset().unwrap();
        // A client that is being accepted isn't counted yet, so the count must stay 0 for a moment.
        let mut quiet_since = Instant::now();
        self.until(what, |shared| {
            if shared.live.load(SeqCst) != 0 {
                quiet_since = Instant::now();
            }
            quiet_since.elapsed() > Duration::from_millis(60)
        });
    }

    /// Runs one attack, and checks its effect.
    fn suffers(&mut self, hostile: &mut Option<Hostile>, attack: &Attack) {
        let doer = hostile.get_or_insert_with(|| Hostile::start(&self.name));
        let process = doer.child.id();
        let at = |step: &'static str| move || format!("{:?}: {step}", attack.name);
        self.rests(&at("before"));
        let before = table::count();
        self.go.set().unwrap();
        self.shared.met().remove(&process);
        let lives = doer.does(attack.name);
        // The honest clients are served during the attack.
        self.serves(&at("the honest clients during the attack"));
        self.until(&at("the effect"), |shared| {
            shared.met().get(&process).is_some_and(|met| has_effect(attack.effect, met, process))
                || attack.effect == Effect::Nothing
        });
        self.serves(&at("the honest clients after the attack"));
        if lives {
            assert!(doer.does(""), "{:?}", attack.name);
        }
        self.rests(&at("afterwards"));
        self.until(&|| format!("{:?}: {before} handles and not {}", attack.name, table::count()), |_| {
            table::count() == before
        });
        if !lives {
            // The process has exited on purpose, and not by a panic.
            assert!(doer.child.wait_timeout(SOON).unwrap().success(), "{:?}", attack.name);
            *hostile = None;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let _ = self.end.set();
        // A panic of the listener's thread has already been printed.
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

/// Returns whether the expected effect has occurred, and no other.
fn has_effect(expected: Effect, met: &Met, process: u32) -> bool {
    let none_but = |right: &dyn Fn(&Error) -> bool| !met.errors.is_empty() && met.errors.iter().all(right);
    match expected {
        Effect::Violation(part) => none_but(&|error| match error {
            Error::Protocol { pid: breaker, .. } => {
                assert!(*breaker == process && error.to_string().contains(part), "{part}: {error}");
                true
            }
            _ => false,
        }),
        Effect::OtherVersion(version) => none_but(
            &|error| matches!(error, Error::IncompatibleVersion { ours: 1, theirs, .. } if *theirs == version),
        ),
        Effect::Exited => {
            none_but(&|error| matches!(error, Error::ProcessExited { pid: gone, .. } if *gone == process))
        }
        Effect::Closed => none_but(&|error| matches!(error, Error::Disconnected { .. })),
        Effect::Silence => met.timeouts >= 3 && met.errors.is_empty() && met.messages == 0,
        Effect::Messages(least) => met.messages >= least && met.errors.is_empty() && met.refused.is_empty(),
        Effect::NotAllowed => met.refused.iter().any(|error| matches!(error, Error::KindNotAllowed { .. })),
        Effect::Unread => matches!(met.refused[..], [Error::TimedOut { .. }, Error::PartialSend { .. }]),
        Effect::Rejected => matches!(met.refused[..], [Error::Disconnected { .. }]),
        Effect::NotAccepted => {
            !met.not_accepted.is_empty()
                && met.not_accepted.iter().all(|error| {
                    matches!(
                        error,
                        Error::TimedOut { .. } | Error::ProcessExited { .. } | Error::Disconnected { .. }
                    )
                })
        }
        Effect::Nothing => true,
    }
}

/// An attack that can be tested on Windows only.
const WINE_HANGS_AT: &str = "reads its handle values, and closes the handles";

/// Runs all attacks, or those whose names contain the value of the variable `ATTACK`.
fn suffers_all(name: &str, attacks: &[Attack]) {
    let part = std::env::var("ATTACK").unwrap_or_default();
    let mut victim = Victim::new(name);
    let mut hostile = None;
    for attack in attacks.iter().filter(|attack| attack.name.contains(&part)) {
        if table::is_wine() && attack.name == WINE_HANGS_AT {
            left_out("under Wine, closing a handle of another process that is already closed there hangs");
            continue;
        }
        let started = Instant::now();
        victim.suffers(&mut hostile, attack);
        println!("{:?}: {:?}", attack.name, started.elapsed());
    }
}

fn victims_survive_header_attacks() {
    suffers_all("headers", HEADERS);
}

fn victims_survive_object_attacks() {
    suffers_all("objects", OBJECTS);
}

fn victims_survive_stalls_and_disconnects() {
    suffers_all("endings", ENDINGS);
}

fn victims_survive_floods_and_unread_messages() {
    suffers_all("floods", FLOODS);
}

fn victims_survive_system_specific_attacks() {
    suffers_all("here", SYSTEM_SPECIFIC);
}

fn attack_names_are_unique() {
    let mut names: Vec<&str> = attacks().map(|attack| attack.name).collect();
    assert!(names.len() > 70, "{} attacks", names.len());
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
