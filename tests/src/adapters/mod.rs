//! The library's adapters to asynchronous runtimes, and what tests need of each runtime, under the same names.

pub mod async_io;
pub mod blocking;
pub mod tokio;
