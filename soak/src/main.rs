//! A soak: threads that hand objects over and start children of all sorts, for as long as it takes, and a look at what the
//! two processes have meanwhile. Their handle counts and their memory must be as flat at the end as at the beginning.
//!
//! | file | its one idea |
//! |---|---|
//! | `options.rs` | what was asked for |
//! | `work.rs`, `spawns.rs` | what one thread does, one piece at a time |
//! | `other.rs` | the other processes |
//! | `run.rs` | threads, rounds, rests, and a deadline on all of it |
//! | `samples.rs` | what was seen, and whether it is flat (pure) |
//! | `record.rs`, `plot.rs` | the same as a file and as a picture |

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

/// What is done, or why it isn't.
type Outcome<T = ()> = Result<T, Failure>;

/// The exit code of a run that stood still.
const STOOD_STILL: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // This program as another process.
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
        Err(why) => {
            eprintln!("soak: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (soaked, ended) = run::soak(&options);
    if let Some(file) = &options.save {
        if let Err(error) = record::save(file, &soaked) {
            eprintln!("soak: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    println!("{}", soaked.summary());
    match ended {
        Err(run::Stop::StoodStill(why)) => {
            eprintln!("soak: {why}");
            // Whatever stands still would be waited for.
            std::process::exit(STOOD_STILL.into());
        }
        Err(run::Stop::Failed(why)) => {
            eprintln!("soak: {why}");
            std::process::exit(1);
        }
        Ok(()) => match soaked.judge() {
            Ok(()) => {
                println!("flat: nothing is left behind");
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("soak: not flat: {why}");
                ExitCode::FAILURE
            }
        },
    }
}

/// The system's last error, with the call's name.
#[allow(dead_code, reason = "not each system's half makes calls itself")]
fn failed(call: &str) -> Failure {
    format!("{call}: {}", std::io::Error::last_os_error()).into()
}
