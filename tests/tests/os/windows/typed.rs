//! Tests of values with a mutex inside.

use std::time::Duration;

use handover::os::windows::Mutex;
use handover::{Carried, Channel, Error, Message};
use handover_tests::{Suite, table, tests, until};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite =
    Suite { name: "typed", tests: tests![mutex_travels_in_a_value], roles: tests![] };

fn mutex_travels_in_a_value() {
    let round = || {
        let (one, other) = Channel::pair().unwrap();
        let value = Carried::new(Mutex::new().unwrap());
        for (from, to) in [(&one, &other), (&other, &one)] {
            from.send(Message::from_value(&value).unwrap()).unwrap();
            let arrived: Carried<Mutex> = to.recv_timeout(SOON).unwrap().into_value().unwrap();
            let held = arrived.lock_timeout(SOON).unwrap();
            std::thread::scope(|scope| {
                // Another thread finds the sender's own handle locked.
                let thread = scope.spawn(|| matches!(value.try_lock(), Ok(None)));
                assert!(thread.join().unwrap());
            });
            drop(held);
        }
        one.send(Message::from_value(&value).unwrap()).unwrap();
        let outcome = other.recv_timeout(SOON).unwrap().into_value::<Carried<handover::Event>>();
        assert!(matches!(outcome, Err(Error::InvalidValue { .. })), "{outcome:?}");
    };
    // The first time, the system opens handles that stay.
    round();
    let before = table::count();
    round();
    until("the handles are closed", || table::count() <= before);
}
