//! Victims keep serving others: a listener with several honest clients and a hostile one at the same time. Whatever that one
//! does, the others are served all along, the listener's side says what was wrong, and in the end it has what it had before.

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
    ASKS_FOR_MUCH, ASKS_FOR_OBJECTS, Attack, ENDINGS, FLOODS, HEADERS, HERE, Meets, OBJECTS, attacks, hostile,
};
use handover_tests::{left_out, role, table, tests, this_program};

/// How long anything honest may take.
const SOON: Duration = Duration::from_secs(20);
/// How long the victim waits for one message, or for one to be read.
const TURN: Duration = Duration::from_millis(150);
const HONEST: usize = 3;
/// How many questions an honest client asks before it comes in anew.
const QUESTIONS: usize = 3;

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            misdeeds_with_headers_and_numbers,
            misdeeds_with_names_and_objects,
            misdeeds_of_who_stalls_closes_or_ends,
            floods_and_who_never_reads,
            misdeeds_of_this_systems_own,
            each_misdeed_has_a_name_of_its_own,
        ],
        tests![honest, hostile],
    )
}

/// What has come of one process's connections.
#[derive(Debug, Default)]
struct Met {
    questions: usize,
    messages: usize,
    timeouts: usize,
    errors: Vec<Error>,
    /// What couldn't be taken, or sent.
    refused: Vec<Error>,
    not_let_in: Vec<Error>,
}

#[derive(Debug, Default)]
struct Shared {
    met: Mutex<HashMap<u32, Met>>,
    /// How many channels are served.
    live: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn met(&self) -> MutexGuard<'_, HashMap<u32, Met>> {
        self.met.lock().unwrap()
    }

    /// What has come of those who asked no questions.
    fn told(&self) -> String {
        let met = self.met();
        let others = met.iter().filter(|(_, met)| met.questions == 0);
        format!("{} live, {:.2000}", self.live.load(SeqCst), format!("{:?}", others.collect::<Vec<_>>()))
    }

    fn note(&self, process: u32, note: impl FnOnce(&mut Met)) {
        note(self.met().entry(process).or_default());
    }
}

/// Lets everybody in, one after the other, and serves each on a thread.
fn listen(mut listener: Listener, shared: &Arc<Shared>) {
    while !shared.stop.load(SeqCst) {
        let incoming = match listener.accept_timeout(TURN) {
            Ok(incoming) => incoming,
            Err(Error::TimedOut { .. }) => continue,
            Err(other) => panic!("the listener goes on, whoever comes: {other:?}"),
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
            Err(error) => shared.note(process, |met| met.not_let_in.push(error)),
        }
    }
}

fn serve(channel: &Channel, process: u32, shared: &Shared) {
    let mut kept = Vec::new();
    loop {
        match channel.recv_timeout(TURN) {
            Ok(message) => answer(channel, message, process, shared, &mut kept),
            Err(Error::TimedOut { .. }) => shared.note(process, |met| met.timeouts += 1),
            Err(error) => {
                // It stays the end, unless somebody only says that he has closed.
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
    mut message: ReceivedMessage,
    process: u32,
    shared: &Shared,
    kept: &mut Vec<ReceivedMessage>,
) {
    let event = Event::manual_reset().unwrap();
    let mut refused = Vec::new();
    match message.bytes() {
        b"question" => {
            // An honest one may end at any moment, because it was told to.
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

/// Comes in, asks a few questions and leaves, again and again, as long as it is to.
fn honest(arguments: &[String]) {
    let inherited = handover::inherited().unwrap();
    let (go, end): (Event, Event) = (inherited.take("go").unwrap(), inherited.take("end").unwrap());
    let event = Event::manual_reset().unwrap();
    while handover::wait_any(&[&end, &go], Duration::from_secs(120)).unwrap() == 1 {
        let channel = Channel::connect_timeout(&arguments[0], SOON).unwrap();
        for _ in 0..QUESTIONS {
            event.reset().unwrap();
            channel.send_timeout(Message::new(b"question").with("event", &event), SOON).unwrap();
            let mut answer = channel.recv_timeout(SOON).unwrap();
            assert_eq!(answer.bytes(), b"answer");
            let theirs: Event = answer.take("event").unwrap();
            assert!(event.try_wait().unwrap() && !theirs.try_wait().unwrap());
        }
    }
}

/// A hostile process, which does what it is told.
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

    /// Does it; false if it has ended with that.
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
        // What is made once is there from now on.
        this.go.set().unwrap();
        this.serves(&|| "the honest ones at first".into());
        this
    }

    /// Asks again and again until the answer is yes.
    fn until(&mut self, what: &dyn Fn() -> String, mut yes: impl FnMut(&Shared) -> bool) {
        let started = Instant::now();
        while !yes(&self.shared) {
            for honest in &mut self.honest {
                let ended = honest.try_wait().unwrap();
                assert_eq!(ended, None, "an honest client wasn't served: {}", what());
            }
            assert!(!self.listening.as_ref().unwrap().is_finished(), "the listener has ended: {}", what());
            assert!(started.elapsed() < SOON, "{}: not within {SOON:?}: {}", what(), self.shared.told());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Until each of the honest clients has been served once more from its coming in to its leaving.
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

    /// Until nobody is there.
    fn rests(&mut self, what: &dyn Fn() -> String) {
        self.go.reset().unwrap();
        // Who is on its way in isn't served yet, and isn't for long.
        let mut quiet_since = Instant::now();
        self.until(what, |shared| {
            if shared.live.load(SeqCst) != 0 {
                quiet_since = Instant::now();
            }
            quiet_since.elapsed() > Duration::from_millis(60)
        });
    }

    /// Lets the hostile process do it, and sees what becomes of that.
    fn suffers(&mut self, hostile: &mut Option<Hostile>, attack: &Attack) {
        let doer = hostile.get_or_insert_with(|| Hostile::start(&self.name));
        let process = doer.child.id();
        let at = |step: &'static str| move || format!("{:?}: {step}", attack.name);
        self.rests(&at("before"));
        let before = table::count();
        self.go.set().unwrap();
        self.shared.met().remove(&process);
        let lives = doer.does(attack.name);
        // Also while it lasts.
        self.serves(&at("the honest ones beside it"));
        self.until(&at("what becomes of it"), |shared| {
            shared.met().get(&process).is_some_and(|met| is_met(attack.meets, met, process))
                || attack.meets == Meets::Nothing
        });
        self.serves(&at("the honest ones after it"));
        if lives {
            assert!(doer.does(""), "{:?}", attack.name);
        }
        self.rests(&at("afterwards"));
        self.until(&|| format!("{:?}: {before} handles and not {}", attack.name, table::count()), |_| {
            table::count() == before
        });
        if !lives {
            // On purpose, and not in a panic.
            assert!(doer.child.wait_timeout(SOON).unwrap().success(), "{:?}", attack.name);
            *hostile = None;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let _ = self.end.set();
        // A panic of the listener's has been told.
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

/// Whether it has come as it must. What must not come hasn't, as far as can be seen.
fn is_met(meets: Meets, met: &Met, process: u32) -> bool {
    let none_but = |right: &dyn Fn(&Error) -> bool| !met.errors.is_empty() && met.errors.iter().all(right);
    match meets {
        Meets::Rule(part) => none_but(&|error| match error {
            Error::Protocol { pid: breaker, .. } => {
                assert!(*breaker == process && error.to_string().contains(part), "{part}: {error}");
                true
            }
            _ => false,
        }),
        Meets::Gone => {
            none_but(&|error| matches!(error, Error::ProcessExited { pid: gone, .. } if *gone == process))
        }
        Meets::Closed => none_but(&|error| matches!(error, Error::Disconnected { .. })),
        Meets::Silence => met.timeouts >= 3 && met.errors.is_empty() && met.messages == 0,
        Meets::Messages(least) => met.messages >= least && met.errors.is_empty() && met.refused.is_empty(),
        Meets::NotAllowed => met.refused.iter().any(|error| matches!(error, Error::KindNotAllowed { .. })),
        Meets::Unread => matches!(met.refused[..], [Error::TimedOut { .. }, Error::PartialSend { .. }]),
        Meets::TakesNothing => matches!(met.refused[..], [Error::Disconnected { .. }]),
        Meets::NotLetIn => {
            !met.not_let_in.is_empty()
                && met
                    .not_let_in
                    .iter()
                    .all(|error| matches!(error, Error::TimedOut { .. } | Error::ProcessExited { .. }))
        }
        Meets::Nothing => true,
    }
}

/// What only Windows can show.
const WINE_STANDS_STILL_AT: &str = "hears its handles in the door, and closes them";

/// All of them, or those in whose name there is what the variable `ATTACK` says.
fn suffers_all(name: &str, attacks: &[Attack]) {
    let part = std::env::var("ATTACK").unwrap_or_default();
    let mut victim = Victim::new(name);
    let mut hostile = None;
    for attack in attacks.iter().filter(|attack| attack.name.contains(&part)) {
        if table::is_wine() && attack.name == WINE_STANDS_STILL_AT {
            left_out(
                "under Wine, closing a value in another process that isn't open there any more never ends",
            );
            continue;
        }
        let started = Instant::now();
        victim.suffers(&mut hostile, attack);
        println!("{:?}: {:?}", attack.name, started.elapsed());
    }
}

fn misdeeds_with_headers_and_numbers() {
    suffers_all("headers", HEADERS);
}

fn misdeeds_with_names_and_objects() {
    suffers_all("objects", OBJECTS);
}

fn misdeeds_of_who_stalls_closes_or_ends() {
    suffers_all("endings", ENDINGS);
}

fn floods_and_who_never_reads() {
    suffers_all("floods", FLOODS);
}

fn misdeeds_of_this_systems_own() {
    suffers_all("here", HERE);
}

fn each_misdeed_has_a_name_of_its_own() {
    let mut names: Vec<&str> = attacks().map(|attack| attack.name).collect();
    assert!(names.len() > 70, "{} attacks", names.len());
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
