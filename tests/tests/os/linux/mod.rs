//! Tests of features that only Linux has.

mod activation;
mod audit;
mod calls;
mod canaries;
mod channel;
mod child_exec;
mod command;
mod deadlines;
mod events;
mod exec;
mod faults;
mod fd_limit;
mod handle_value;
mod injected_failures;
mod kinds;
mod name_server;
mod names;
#[cfg(target_pointer_width = "64")]
mod observe;
mod odd_hosts;
mod peers;
mod protocol_violations;
mod spawners;
mod spawners_refusals;
mod spawning;
mod tables;
mod trace_events;
mod travel;
mod typed;
mod unprivileged;

use handover_tests::Suite;

pub(crate) const SUITES: &[Suite] = &[
    activation::SUITE,
    name_server::SUITE,
    audit::SUITE,
    canaries::SUITE,
    channel::SUITE,
    command::SUITE,
    deadlines::SUITE,
    events::SUITE,
    exec::SUITE,
    faults::SUITE,
    trace_events::SUITE,
    protocol_violations::SUITE,
    names::SUITE,
    #[cfg(target_pointer_width = "64")]
    crate::observe::SUITE,
    #[cfg(target_pointer_width = "64")]
    observe::SUITE,
    child_exec::SUITE,
    odd_hosts::SUITE,
    peers::SUITE,
    fd_limit::SUITE,
    spawners::SUITE,
    spawners_refusals::SUITE,
    spawning::SUITE,
    tables::SUITE,
    handle_value::SUITE,
    injected_failures::SUITE,
    kinds::SUITE,
    travel::SUITE,
    typed::SUITE,
];
