//! Records each system call of the library in this process as a line of JSON on standard output.

#![allow(
    clippy::missing_const_for_thread_local,
    reason = "the initializer is const, but the lint does not detect it on Windows"
)]

use std::cell::Cell;
use std::fmt::{self, Debug};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The `tracing` target of the library's events.
const CALLS: &str = "handover::call";

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// The recorder of this process.
#[derive(Debug)]
struct Recorder {
    role: &'static str,
    sequence: AtomicU64,
}

thread_local! {
    /// Whether this thread's calls are left out, because the demonstration itself makes them. Other threads are
    /// recorded.
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Starts to record the system calls of this process.
pub(super) fn start(role: &'static str) {
    let recorder = Recorder { role, sequence: AtomicU64::new(0) };
    // Each process has one role and calls this once, so neither value can already be set.
    let _ = RECORDER.set(recorder);
    let _ = tracing::subscriber::set_global_default(Calls);
}

/// Records an event that is not a call.
pub(super) fn record(data: &Value) {
    record_earlier(Duration::ZERO, data);
}

/// Records an event that happened this long ago.
fn record_earlier(ago: Duration, data: &Value) {
    let Some(recorder) = RECORDER.get() else { return };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(ago);
    let line = json!({
        "time": u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        "sequence": recorder.sequence.fetch_add(1, Ordering::Relaxed),
        "process": std::process::id(),
        "role": recorder.role,
        "data": data,
    });
    // One write for each line, because parent and child write to the same pipe. Errors are ignored, so that the
    // demonstration finishes even if the reader has gone.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// Runs the closure without recording this thread's calls.
pub(super) fn paused<T>(work: impl FnOnce() -> T) -> T {
    let before = PAUSED.replace(true);
    let result = work();
    PAUSED.set(before);
    result
}

/// Receives the library's `tracing` events.
struct Calls;

impl Subscriber for Calls {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == CALLS && !PAUSED.get()
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // `enabled` must be asked for each event, because recording can be paused.
        if metadata.target() == CALLS {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut call = Fields(Map::new());
        event.record(&mut call);
        call.0.insert("query".into(), (*event.metadata().level() == Level::TRACE).into());
        // An event arrives after its call. Most calls are recorded with the time of their start, because they take
        // effect before they return. A call that waits is recorded with the time of its return.
        let name = call.0.get("call").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let waits =
            ["wait", "poll", "recv", "read", "accept", "result"].iter().any(|word| name.contains(word));
        let took = call.0.get("nanoseconds").and_then(Value::as_u64).filter(|_| !waits);
        record_earlier(Duration::from_nanos(took.unwrap_or_default()), &json!({ "call": call.0 }));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fields of an event, by name.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), fmt::format(format_args!("{value:?}")).into());
    }
}
