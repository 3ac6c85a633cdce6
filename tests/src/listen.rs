//! Hearing what the library tells of its calls.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

struct Listener<F>(LevelFilter, F);

/// Has each event that the library makes up to this level heard, in all threads, to the end of the test.
///
/// # Panics
///
/// If somebody listens already: each test is a process of its own, and has one listener.
pub fn listen(level: LevelFilter, hear: impl Fn(&Event<'_>) + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(Listener(level, hear)).expect("one test, one listener");
}

impl<F: Fn(&Event<'_>) + 'static> Subscriber for Listener<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn event(&self, event: &Event<'_>) {
        (self.1)(event);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the library makes no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
