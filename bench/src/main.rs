//! What handover costs beside the same calls in C and beside other crates: medians of one run, in turn, and their
//! ratio.
//!
//! Absolute times say little: they are this machine's at this moment. The ratio is what counts.

#[cfg(windows)]
mod floor;
#[cfg(windows)]
mod hand_over;
#[cfg(windows)]
mod measure;
#[cfg(all(windows, feature = "peers"))]
mod peers;
#[cfg(windows)]
mod spawn;

#[cfg(not(windows))]
fn main() {
    eprintln!("the floor is Win32's; `cargo xtask bench` builds and runs this here too");
    std::process::exit(2);
}

#[cfg(windows)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // This program as the other process.
        Some(role) if role.starts_with("--") => hand_over::other_process(role, &words[1..]),
        Some("spawn") => spawn::measure().map_err(Into::into),
        Some("hand-over") => hand_over::measure(),
        None => {
            spawn::measure()?;
            hand_over::measure()
        }
        Some(other) => Err(format!("expected spawn, hand-over or nothing; came {other:?}").into()),
    }
}
