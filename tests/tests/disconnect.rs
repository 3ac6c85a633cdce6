//! Tests of peers that disappear: killed, closed or returned, before, during and after a message. No wait hangs, and no
//! handles leak.

#![allow(clippy::useless_conversion, reason = "other kinds of channels are converted")]

mod endpoints {
    pub(crate) use handover::Channel;
}

include!("shared/disconnect.rs");

fn main() -> std::process::ExitCode {
    handover_tests::main_of(&[suite("")])
}
