//! Tests of asynchronous channels, listeners, children and waits, on async-io.

use handover_tests::adapters::async_io as runtime;

include!("shared/futures.rs");

fn start(shared: &Suite) -> ExitCode {
    runtime::prepare();
    handover_tests::main_of(std::slice::from_ref(shared))
}
