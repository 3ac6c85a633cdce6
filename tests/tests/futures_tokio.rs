//! Tests of asynchronous channels, listeners, children and waits, on tokio.

use handover_tests::adapters::tokio as runtime;

include!("shared/futures.rs");

fn start(shared: &Suite) -> ExitCode {
    runtime::prepare();
    handover_tests::main_of(std::slice::from_ref(shared))
}
