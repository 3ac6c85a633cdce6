//! What is told of calls that nothing else shows: whom an audit ends, and what the kernel has answered.

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
        whoever_has_ended_is_not_ended_again,
        what_the_kernel_says_of_memory_and_of_the_other_end_is_told,
        a_tracer_looks_more_and_more_rarely,
    ],
    roles: tests![sleeps, goes_on_in_a_thread, sleeps_for_a_moment],
};

/// A call, what it was made with, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Heard {
    call: String,
    arguments: String,
    result: String,
}

impl Visit for Heard {
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

static ALL: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

/// What is told of such calls in a scenario, in this process, which has no other.
fn heard(call: &str, scenario: impl FnOnce()) -> Vec<Heard> {
    listen(LevelFilter::TRACE, |event| {
        let mut heard = Heard::default();
        event.record(&mut heard);
        ALL.lock().unwrap().push(heard);
    });
    scenario();
    let mut all = std::mem::take(&mut *ALL.lock().unwrap());
    all.retain(|heard| heard.call == call);
    all
}

fn sleeps(_: &[String]) {
    std::thread::sleep(SOON);
}

/// Has a child, which ends, and becomes another program by a thread that isn't the first.
fn goes_on_in_a_thread(_: &[String]) {
    let goes_on = || {
        assert!(std::process::Command::new("true").status().unwrap().success());
        panic!("{}", in_role_of_std("sleeps", &[]).exec())
    };
    std::thread::spawn(goes_on).join().unwrap();
}

fn whoever_has_ended_is_not_ended_again() {
    let mut ids = Vec::new();
    let ended = heard("tkill", || {
        let watch = |started: &handover::inspect::AuditedProcess| {
            ids.push(started.id);
            assert!(ids.len() < 3, "the command, its child, and what the command has become");
        };
        let audit = Audit::new(in_role_of_std("goes_on_in_a_thread", &[])).watch(watch);
        let outcome = catch_unwind(AssertUnwindSafe(|| audit.run(SOON)));
        assert!(outcome.is_err(), "{outcome:?}");
    });
    assert_eq!((ids.len(), ids[0]), (3, ids[2]));
    // The number of whoever has ended may be a stranger's.
    let only =
        Heard { call: "tkill".into(), arguments: format!("thread {}, SIGKILL", ids[0]), result: "ok".into() };
    assert_eq!(ended, [only]);
}

fn what_the_kernel_says_of_memory_and_of_the_other_end_is_told() {
    let (this, user) = (std::process::id(), rustix::process::geteuid().as_raw());
    let mut results = heard("getsockopt", || {
        drop(SharedMemory::new(100).unwrap().view().unwrap());
        let name = format!("heard.{this}");
        let mut listener = Listener::bind(&name).unwrap();
        std::thread::scope(|scope| {
            let client = scope.spawn(|| drop(Channel::connect_timeout(&name, SOON).unwrap()));
            let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
            client.join().unwrap();
            channel.flush(SOON).unwrap();
        });
        for heard in ALL.lock().unwrap().iter_mut().filter(|heard| heard.arguments.contains("F_GET_SEALS")) {
            heard.call = "getsockopt".into();
        }
    });
    let mut told = |asked: &str| {
        let place = results.iter().position(|heard| heard.arguments.contains(asked)).expect(asked);
        results.swap_remove(place).result
    };
    // F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW; and F_SEAL_EXEC, which a newer kernel adds.
    assert!(["0x7", "0x27"].contains(&told("F_GET_SEALS").as_str()));
    assert_eq!(told("SO_ERROR"), "none");
    assert_eq!(told("SO_PEERCRED"), format!("process {this} of user {user}"));
}

fn sleeps_for_a_moment(_: &[String]) {
    std::thread::sleep(Duration::from_millis(500));
}

fn a_tracer_looks_more_and_more_rarely() {
    let began = Instant::now();
    let looks = heard("waitid", || {
        Audit::new(in_role_of_std("sleeps_for_a_moment", &[])).run(SOON).unwrap();
    });
    let took = began.elapsed().as_millis();
    let longest = looks.split(|heard| heard.result != "nothing").map(<[_]>::len).max().unwrap_or(0);
    // No more than one in a millisecond, but for the first.
    assert!(longest > 10 && (longest as u128) < took + 20, "{longest} in {took} ms");
}
