//! Tests of channels between a parent and its child, in both directions, with asynchronous channels on tokio.

use handover_tests::adapters::blocking::on_tokio as endpoints;

include!("shared/channel.rs");

fn start(shared: &Suite) -> ExitCode {
    handover_tests::adapters::tokio::prepare();
    handover_tests::main_of(std::slice::from_ref(shared))
}
