//! Tests of asynchronous channels, listeners, children and waits, on tokio.

use handover_tests::adapters::tokio as runtime;

include!("shared/futures.rs");
