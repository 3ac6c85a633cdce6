//! What only Linux can show: programs in other languages on the other side, descriptors that somebody has left open,
//! service managers, and what can be done wrong with descriptors beside bytes.

mod activation;
mod asked;
mod audit;
mod calls;
mod canaries;
mod channel;
mod command;
mod deadlines;
mod events;
mod everybody;
mod faults;
mod heard;
mod hostile;
mod names;
mod newborn;
mod peers;
mod room;
mod spawning;
mod tables;
mod told;
mod turns;

use handover_tests::Suite;

pub(crate) const SUITES: &[Suite] = &[
    activation::SUITE,
    asked::SUITE,
    audit::SUITE,
    canaries::SUITE,
    channel::SUITE,
    command::SUITE,
    deadlines::SUITE,
    events::SUITE,
    faults::SUITE,
    heard::SUITE,
    hostile::SUITE,
    names::SUITE,
    newborn::SUITE,
    peers::SUITE,
    room::SUITE,
    spawning::SUITE,
    tables::SUITE,
    told::SUITE,
    turns::SUITE,
];
