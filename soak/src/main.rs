//! A soak test: threads transfer objects and spawn children of all kinds, while the test samples the handle counts and
//! the memory of both processes. Both must stay flat: as low at the end as after the warm-up.
//!
//! | file | purpose |
//! |---|---|
//! | `options.rs` | the command line |
//! | `work.rs`, `spawns.rs` | the kinds of work that a thread does |
//! | `other.rs` | the other processes: the peer and the children |
//! | `run.rs` | the threads, their rounds and rests, and a timeout |
//! | `samples.rs` | the samples, and the verdict on them (pure) |
//! | `record.rs`, `plot.rs` | the samples as a file and as a plot |

mod options;
mod os;
mod other;
mod plot;
mod record;
mod run;
mod samples;
mod spawns;
mod work;

use std::process::ExitCode;

use options::{Options, USAGE};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of anything that can fail.
type Outcome<T = ()> = Result<T, Failure>;

/// The exit code of a run in which no thread made progress.
const STALLED: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // This process was started as one of the other processes.
    if let ["--as", role, arguments @ ..] = words.as_slice() {
        return match other::process(role, arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("soak, as {role}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let ["--draw", file] = words.as_slice() {
        return match record::draw(file.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("soak: {file}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("soak: {reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (soaked, outcome) = run::soak(&options);
    if let Some(file) = &options.save {
        if let Err(error) = record::save(file, &soaked) {
            eprintln!("soak: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    println!("{}", soaked.summary());
    match outcome {
        Err(run::Stop::Stalled(reason)) => {
            eprintln!("soak: {reason}");
            // `exit` does not wait for the stalled threads.
            std::process::exit(STALLED.into());
        }
        Err(run::Stop::Failed(error)) => {
            eprintln!("soak: {error}");
            std::process::exit(1);
        }
        Ok(()) => match soaked.judge() {
            Ok(()) => {
                println!("flat: nothing leaks");
                ExitCode::SUCCESS
            }
            Err(reason) => {
                eprintln!("soak: not flat: {reason}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Returns the system's last error, with the name of the call.
#[allow(dead_code, reason = "only the Windows module makes system calls")]
fn failed(call: &str) -> Failure {
    format!("{call} failed: {}", std::io::Error::last_os_error()).into()
}
