//! Tests of channels between a parent and its child, in both directions, with asynchronous channels on async-io.

use handover_tests::adapters::blocking::on_async_io as endpoints;

include!("shared/channel.rs");

fn start(shared: &Suite) -> ExitCode {
    handover_tests::adapters::async_io::prepare();
    handover_tests::main_of(std::slice::from_ref(shared))
}
