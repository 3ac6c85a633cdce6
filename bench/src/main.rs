//! What handover costs beside the same calls in C and beside other crates: medians of one run, in turn, and their
//! ratio.
//!
//! Absolute times say little: they are this machine's at this moment. The ratio is what counts.

mod hand_over;
#[cfg(feature = "peers")]
mod ipc_channel;
mod measure;
mod os;
mod spawn;

/// What a measurement does, or why it doesn't.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // This program as the other process.
        Some(role) if role.starts_with("--") => hand_over::other_process(role, &words[1..]),
        Some("spawn") => spawn::measure(),
        Some("hand-over") => hand_over::measure(),
        None => {
            spawn::measure()?;
            hand_over::measure()
        }
        Some(other) => Err(format!("expected spawn, hand-over or nothing; came {other:?}").into()),
    }
}
