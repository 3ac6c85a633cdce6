//! Tests of tracing events that have no other visible effect: the processes that an audit kills, and the kernel's
//! answers to queries.

use std::fmt::Debug;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use handover::inspect::Audit;
use handover::{Channel, Listener, SharedMemory};
use handover_tests::{Suite, in_role_of_std, listen, tests};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "trace_events",
    tests: tests![
        audit_kills_only_running_processes,
        queries_of_seals_and_peer_are_events,
        tracer_polls_less_and_less_often,
        short_message_takes_two_calls,
    ],
    roles: tests![sleeps, execs_in_a_thread, sleeps_briefly],
};

/// A system call with its arguments and its result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct CallEvent {
    call: String,
    arguments: String,
    result: String,
}

impl Visit for CallEvent {
    fn record_str(&mut self, _: &Field, text: &str) {
        self.call = text.to_owned();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "arguments" => self.arguments = format!("{value:?}"),
            "result" => self.result = format!("{value:?}"),
            _ => {}
        }
    }
}

static ALL: Mutex<Vec<CallEvent>> = Mutex::new(Vec::new());

/// Returns the events of this call in a scenario.
fn events_of(call: &str, scenario: impl FnOnce()) -> Vec<CallEvent> {
    let mut all = events(scenario);
    all.retain(|event| event.call == call);
    all
}

/// Returns the events of a scenario. Each test calls it once in its process.
fn events(scenario: impl FnOnce()) -> Vec<CallEvent> {
    listen(LevelFilter::TRACE, |event| {
        let mut call = CallEvent::default();
        event.record(&mut call);
        ALL.lock().unwrap().push(call);
    });
    scenario();
    std::mem::take(&mut *ALL.lock().unwrap())
}

fn sleeps(_: &[String]) {
    std::thread::sleep(SOON);
}

/// Another call would cost as much as all that the library does. A receive that opened a descriptor for the sender would have
/// to close it, for example.
fn short_message_takes_two_calls() {
    let (one, other) = Channel::pair().unwrap();
    let lengths = [0, 64, 300, 2000];
    let calls = events(|| {
        for length in lengths {
            one.send(vec![7; length]).unwrap();
            assert_eq!(other.recv_timeout(SOON).unwrap().bytes(), vec![7; length]);
        }
    });
    let calls: Vec<_> = calls.iter().map(|event| &*event.call).collect();
    let expected =
        [["sendto", "recvmsg"], ["sendto", "recvmsg"], ["sendto", "recvmsg"], ["sendmsg", "recvmsg"]];
    assert_eq!(calls, expected.concat());
}

/// Starts a child that exits, and then execs another program on a thread that is not the first.
fn execs_in_a_thread(_: &[String]) {
    let goes_on = || {
        assert_eq!(std::process::Command::new("true").status().unwrap().code(), Some(0));
        panic!("{}", in_role_of_std("sleeps", &[]).exec())
    };
    std::thread::spawn(goes_on).join().unwrap();
}

fn audit_kills_only_running_processes() {
    let mut ids = Vec::new();
    let ended = events_of("tkill", || {
        let watch = |started: &handover::inspect::AuditedProcess| {
            ids.push(started.id);
            assert!(ids.len() < 3, "the command, its child, and the command after execve");
        };
        let audit = Audit::new(in_role_of_std("execs_in_a_thread", &[])).watch(watch);
        let outcome = catch_unwind(AssertUnwindSafe(|| audit.run(SOON)));
        assert!(outcome.is_err(), "{outcome:?}");
    });
    assert_eq!((ids.len(), ids[0]), (3, ids[2]));
    // The id of a process that has exited may have been reused.
    let only = CallEvent {
        call: "tkill".into(),
        arguments: format!("thread {}, SIGKILL", ids[0]),
        result: "ok".into(),
    };
    assert_eq!(ended, [only]);
}

fn queries_of_seals_and_peer_are_events() {
    let (this, user) = (std::process::id(), rustix::process::geteuid().as_raw());
    let mut results = events_of("getsockopt", || {
        drop(SharedMemory::new(100).unwrap().view().unwrap());
        let name = format!("heard.{this}");
        let mut listener = Listener::bind(&name).unwrap();
        std::thread::scope(|scope| {
            let client = scope.spawn(|| drop(Channel::connect_timeout(&name, SOON).unwrap()));
            let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
            client.join().unwrap();
            channel.flush(SOON).unwrap();
        });
        for event in ALL.lock().unwrap().iter_mut().filter(|event| event.arguments.contains("F_GET_SEALS")) {
            event.call = "getsockopt".into();
        }
    });
    let mut result_of = |asked: &str| {
        let place = results.iter().position(|event| event.arguments.contains(asked)).expect(asked);
        results.swap_remove(place).result
    };
    // F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW; and F_SEAL_EXEC, which newer kernels add.
    assert!(["0x7", "0x27"].contains(&result_of("F_GET_SEALS").as_str()));
    assert_eq!(result_of("SO_ERROR"), "none");
    assert_eq!(result_of("SO_PEERCRED"), format!("process {this} of user {user}"));
}

fn sleeps_briefly(_: &[String]) {
    std::thread::sleep(Duration::from_millis(500));
}

fn tracer_polls_less_and_less_often() {
    let began = Instant::now();
    let looks = events_of("waitid", || {
        Audit::new(in_role_of_std("sleeps_briefly", &[])).run(SOON).unwrap();
    });
    let took = began.elapsed().as_millis();
    let longest = looks.split(|event| event.result != "nothing").map(<[_]>::len).max().unwrap_or(0);
    // At most one per millisecond, except at the beginning.
    assert!(longest > 10 && (longest as u128) < took + 20, "{longest} in {took} ms");
}
