//! Subscribes to the library's tracing events.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

struct Listener<F>(LevelFilter, F);

/// Calls `hear` for each of the library's events up to this level, on all threads, until the process exits.
///
/// # Panics
///
/// Panics if a subscriber is installed already; each test is a process of its own, so it can have one subscriber.
pub fn listen(level: LevelFilter, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(Listener(level, on_event)).expect("a test subscribes once");
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
