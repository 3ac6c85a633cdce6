//! What only Windows can do: rights that a handle carries, putting handles into a running process, mutexes, names in the
//! kernel, suspended children, and the ways of its pipes and command lines.

mod access;
mod audit;
mod channel;
mod command;
mod duplication;
mod faults;
mod listener;
mod mutex;
mod names;
mod refusals;
mod sealed;
mod suspended;
mod tables;

use handover_tests::Suite;

pub(crate) const SUITES: &[Suite] = &[
    access::SUITE,
    audit::SUITE,
    channel::SUITE,
    command::SUITE,
    duplication::SUITE,
    faults::SUITE,
    listener::SUITE,
    mutex::SUITE,
    names::SUITE,
    refusals::SUITE,
    sealed::SUITE,
    suspended::SUITE,
    tables::SUITE,
];
