//! Tests of peers that disappear, with asynchronous channels on async-io.

use handover_tests::adapters::blocking::on_async_io as endpoints;

include!("shared/disconnect.rs");

fn start(shared: &Suite) -> ExitCode {
    handover_tests::adapters::async_io::prepare();
    handover_tests::main_of(std::slice::from_ref(shared))
}
