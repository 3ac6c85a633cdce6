//! Tests of calls and their replies, and of the limits for what a peer sends.

#![allow(clippy::useless_conversion, unused_qualifications, reason = "other kinds of channels are converted")]

mod endpoints {
    pub(crate) use handover::Channel;

    /// Returns the blocking channel, for waits for several objects.
    pub(crate) fn blocking(channel: &Channel) -> &Channel {
        channel
    }
}

include!("shared/calls.rs");

fn main() -> std::process::ExitCode {
    handover_tests::main_of(&[suite("")])
}
