//! Tests of features that only Windows has.

mod access;
mod access_denied;
mod audit;
mod channel;
mod command;
mod duplication;
mod faults;
mod futures;
mod listener;
mod mutex;
mod names;
mod observe;
mod race_free;
mod sockets;
mod suspended_child;
mod tables;
mod travel;
mod typed;

use handover_tests::Suite;

pub(crate) const SUITES: &[Suite] = &[
    access::SUITE,
    audit::SUITE,
    channel::SUITE,
    command::SUITE,
    duplication::SUITE,
    faults::SUITE,
    futures::SUITE,
    listener::SUITE,
    mutex::SUITE,
    names::SUITE,
    crate::observe::SUITE,
    observe::SUITE,
    access_denied::SUITE,
    race_free::SUITE,
    sockets::SUITE,
    suspended_child::SUITE,
    tables::SUITE,
    travel::SUITE,
    typed::SUITE,
];
