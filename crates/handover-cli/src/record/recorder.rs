//! Recording: each system call that the library makes in this process becomes a line of JSON on standard output.

#![allow(clippy::missing_const_for_thread_local, reason = "it is; on Windows the lint does not see it")]

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

/// The target of the library's events.
const CALLS: &str = "handover::call";

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Who records, and how far it is.
#[derive(Debug)]
struct Recorder {
    role: &'static str,
    sequence: AtomicU64,
}

thread_local! {
    /// While the demonstration itself looks at tables, its calls aren't the story's. Other threads play on.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Begins to record all that this process does from now on.
pub(super) fn begin(role: &'static str) {
    let recorder = Recorder { role, sequence: AtomicU64::new(0) };
    // A process plays one role, so neither was set before.
    let _ = RECORDER.set(recorder);
    let _ = tracing::subscriber::set_global_default(Calls);
}

/// Writes down something that is no call.
pub(super) fn note(what: &Value) {
    note_of(Duration::ZERO, what);
}

/// The same of what was so long ago.
fn note_of(ago: Duration, what: &Value) {
    let Some(recorder) = RECORDER.get() else { return };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(ago);
    let line = json!({
        "time": u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        "sequence": recorder.sequence.fetch_add(1, Ordering::Relaxed),
        "process": std::process::id(),
        "role": recorder.role,
        "what": what,
    });
    // In one piece: parent and child write to the same pipe. If nobody reads any more, the story still goes on.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// Does something that isn't part of the story.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let before = ASIDE.replace(true);
    let done = work();
    ASIDE.set(before);
    done
}

/// Hears the library's events.
struct Calls;

impl Subscriber for Calls {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == CALLS && !ASIDE.get()
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // Asked each time: it can be paused.
        if metadata.target() == CALLS {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut call = Fields(Map::new());
        event.record(&mut call);
        call.0.insert("asks".into(), (*event.metadata().level() == Level::TRACE).into());
        // A call has its effect before it returns, and one that waits has seen something by then.
        let name = call.0.get("call").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let waits =
            ["wait", "poll", "recv", "read", "accept", "result"].iter().any(|word| name.contains(word));
        let took = call.0.get("nanoseconds").and_then(Value::as_u64).filter(|_| !waits);
        note_of(Duration::from_nanos(took.unwrap_or_default()), &json!({ "call": call.0 }));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's fields under their names.
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
