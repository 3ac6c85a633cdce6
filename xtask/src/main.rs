//! The project's commands, `cargo xtask COMMAND`. They do all the set-up there is.

mod bench;
mod check;
mod debian;
mod faults;
mod fuzz;
#[cfg(test)]
mod layers;
mod mutants;
mod native;
#[cfg(test)]
mod seam;
mod soak;
mod step;
mod tools;
mod win32;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use step::Failed;
use win32::Win32;

const USAGE: &str = "\
cargo xtask [COMMAND]

  demo [--native]          run the exercises and show what they print
  test [--native]          run everything that CI runs
  pictures [--native]      draw the demonstrations of the program `handover` into docs/pictures
  bench [--native] [--quick] [WHAT]
                           measure beside the same calls in C and beside other crates, into docs/performance.md:
                           spawn, hand-over, signal, bytes, growth, allocations, weight, or all
  soak [--native] [--hand-overs N] [--spawns N] [--threads N] [--seed N]
                           hand over a million objects and start ten thousand children, by 8 threads, and see that handle
                           counts and memory of both processes are flat, into docs/verified; under Wine, a part of it
  fuzz --quick [TARGET]    let libFuzzer try all targets of the folder `fuzz`, or one, for seconds
  fuzz --runs N [TARGET]   for so many inputs each, into docs/verified/fuzzing.tsv
  fuzz --keep [TARGET]     keep the fewest of the inputs that were found
  fuzz --add FILE TARGET   keep this input too
  sanitize address|memory [ARGS…]
                           run the native tests under AddressSanitizer, those of what is pure under valgrind
  miri                     run the tests of what is pure under Miri, where rustup has it
  deny [--advisories]      look at the dependencies' licences, duplicates and sources; and at what is known against them
  semver REVISION          compare the public interface with that of a revision
  faults [--native]        let each system call of each scenario fail in turn, and say how many that were
  kills [--native] [--runs N] [--seed S]
                           kill 1,000 processes at random moments, which the seed says
  mutants --in-diff REVISION [ARGS…]
                           break what has changed in the library since a revision, in each way that cargo-mutants knows,
                           and see whether a test fails; ARGS go to cargo-mutants, such as --list
  win32 ARGS…              run `cargo ARGS…` for the Win32 target, e.g. `cargo xtask win32 test -p exercises`

Without a command it is `demo --native`, and so is `cargo run`.

demo, test, bench, soak, faults and kills take the native programs first and, on Linux, the Win32 ones under Wine after. What is missing for
Wine is installed from Debian's packages, after saying what and why; on other systems the commands stop and say what to
install. --native leaves Wine out, and installs nothing. bench --quick takes seconds: it tries each way twice, and keeps
nothing.";

/// The targets that Windows users build for and that nobody needs a linker to check.
const CHECKED_TARGETS: [&str; 3] =
    ["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc", "i686-pc-windows-gnu"];

const LINT: [&str; 7] = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
const BUILD_EXERCISES: [&str; 5] = ["build", "--quiet", "--package", "exercises", "--bins"];
/// Why a command of ours stops.
#[derive(Debug)]
enum Stop {
    Usage(String),
    Failed(Failed),
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// Which of the programs are meant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Which {
    /// Those of this system.
    Native,
    /// Those of Windows too.
    All,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Failed(failed)) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
        Err(Stop::Usage(why)) => {
            eprintln!("xtask: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn command(words: &[&str]) -> Result<(), Stop> {
    match words {
        [] => demo(Which::Native)?,
        ["demo", rest @ ..] => match rest {
            [] => demo(Which::All)?,
            ["--native"] => demo(Which::Native)?,
            _ => return Err(unexpected("demo takes --native or nothing", rest)),
        },
        ["test", rest @ ..] => match rest {
            [] => test(Which::All)?,
            ["--native"] => test(Which::Native)?,
            _ => return Err(unexpected("test takes --native or nothing", rest)),
        },
        ["bench", rest @ ..] => {
            let (which, rest) = match rest {
                ["--native", rest @ ..] => (Which::Native, rest),
                rest => (Which::All, rest),
            };
            let (is_quick, what) = match rest {
                ["--quick", what @ ..] => (true, what),
                what => (false, what),
            };
            match what {
                [] => bench::measure(which, is_quick, &bench::MEASURED)?,
                [one] if bench::MEASURED.contains(one) => bench::measure(which, is_quick, what)?,
                _ => {
                    let expected = format!(
                        "bench takes --native, then --quick, and then one of {}",
                        bench::MEASURED.join(", ")
                    );
                    return Err(unexpected(&expected, rest));
                }
            }
        }
        ["soak", rest @ ..] => {
            const OPTIONS: [&str; 4] = ["--hand-overs", "--spawns", "--threads", "--seed"];
            let (which, rest) = match rest {
                ["--native", rest @ ..] => (Which::Native, rest),
                rest => (Which::All, rest),
            };
            // What a number has to be, the program says.
            if !rest.chunks(2).all(|pair| pair.len() == 2 && OPTIONS.contains(&pair[0])) {
                let expected =
                    format!("soak takes --native, then {}, each with a number", OPTIONS.join(", "));
                return Err(unexpected(&expected, rest));
            }
            soak::soak(which, rest)?;
        }
        ["pictures", rest @ ..] => match rest {
            [] => pictures(Which::All)?,
            ["--native"] => pictures(Which::Native)?,
            _ => return Err(unexpected("pictures takes --native or nothing", rest)),
        },
        ["faults", rest @ ..] => match rest {
            [] => faults::faults(Which::All)?,
            ["--native"] => faults::faults(Which::Native)?,
            _ => return Err(unexpected("faults takes --native or nothing", rest)),
        },
        ["kills", rest @ ..] => {
            let (which, rest) = match rest {
                ["--native", rest @ ..] => (Which::Native, rest),
                rest => (Which::All, rest),
            };
            let number = |text: &str| text.parse::<u64>().ok();
            let (runs, seed) = match rest {
                [] => (Some(1000), None),
                ["--runs", runs] => (number(runs), None),
                ["--seed", seed] => (number(seed).map(|_| 1000), number(seed)),
                ["--runs", runs, "--seed", seed] => (number(seed).and(number(runs)), number(seed)),
                _ => (None, None),
            };
            match runs {
                Some(runs @ 1..) => faults::kills(which, runs, seed)?,
                _ => {
                    let expected =
                        "kills takes --native, then --runs with a number, and then --seed with one";
                    return Err(unexpected(expected, rest));
                }
            }
        }
        ["fuzz", "--add", file, target] if fuzz::TARGETS.contains(target) => fuzz::add(file, target)?,
        ["fuzz", rest @ ..] => {
            let expected = || {
                unexpected(
                    "fuzz takes --quick, --keep or --runs and a number, and then a target or none; or --add, a \
                     file and a target",
                    rest,
                )
            };
            let (how, targets) = match rest {
                ["--quick", targets @ ..] => (fuzz::How::Quick, targets),
                ["--keep", targets @ ..] => (fuzz::How::Keep, targets),
                ["--runs", number, targets @ ..] => {
                    (fuzz::How::Long(number.parse().map_err(|_| expected())?), targets)
                }
                _ => return Err(expected()),
            };
            match targets {
                [] => fuzz::fuzz(how, &fuzz::TARGETS)?,
                [one] if fuzz::TARGETS.contains(one) => fuzz::fuzz(how, targets)?,
                _ => return Err(expected()),
            }
        }
        ["sanitize", "address", what @ ..] => check::sanitize(check::Sanitizer::Address, what)?,
        ["sanitize", "memory", what @ ..] => check::sanitize(check::Sanitizer::Memory, what)?,
        ["sanitize", ..] => return Err(unexpected("sanitize takes address or memory", words)),
        ["miri"] => check::miri()?,
        ["deny"] => check::deny(false)?,
        ["deny", "--advisories"] => check::deny(true)?,
        ["semver", revision] => check::semver(revision)?,
        ["mutants", "--in-diff", revision, more @ ..] if !revision.starts_with('-') => {
            mutants::mutants(revision, more)?;
        }
        ["mutants", rest @ ..] => {
            return Err(unexpected(
                "mutants takes --in-diff, a revision, and what cargo-mutants takes",
                rest,
            ));
        }
        ["win32"] => return Err(Stop::Usage("win32 needs a command of cargo's".into())),
        ["win32", rest @ ..] => Win32::ready()?.cargo("cargo for the Win32 target", rest)?,
        ["help" | "--help" | "-h"] => println!("{USAGE}"),
        _ => return Err(unexpected("expected a command from the list", words)),
    }
    Ok(())
}

fn unexpected(expected: &str, came: &[&str]) -> Stop {
    Stop::Usage(format!("{expected}; came: {}", came.join(" ")))
}

/// The exercises, as a newcomer would run them.
fn demo(which: Which) -> Result<(), Failed> {
    const PARENTS: [&str; 3] = ["naming-parent", "inheritance-parent", "duplication-parent"];
    native::check()?;
    native::cargo("build the exercises", &BUILD_EXERCISES)?;
    for parent in PARENTS {
        println!("\n{parent}");
        native::program(parent, &["--package", "exercises"], &[])?;
    }
    let Some(win32) = beside_native(which)? else { return Ok(()) };
    win32.cargo("build the exercises for Windows", &BUILD_EXERCISES)?;
    for parent in PARENTS {
        println!("\n{parent}, under Wine");
        win32.program("debug", parent, &[])?;
    }
    Ok(())
}

/// The pictures of README and docs, by the program itself.
fn pictures(which: Which) -> Result<(), Failed> {
    const STRATEGIES: [&str; 4] = ["inheritance", "duplication", "naming", "channel"];
    const BUILD: [&str; 4] = ["build", "--quiet", "--package", "handover-cli"];
    let file = |system: &str, strategy: &str| format!("docs/pictures/{system}-{strategy}.svg");
    native::check()?;
    native::cargo("build the program", &BUILD)?;
    for strategy in STRATEGIES {
        let file = file(std::env::consts::OS, strategy);
        native::program("handover", &["--package", "handover-cli"], &["demo", strategy, "--svg", &file])?;
    }
    let Some(win32) = beside_native(which)? else { return Ok(()) };
    win32.cargo("build the program for Windows", &BUILD)?;
    for strategy in STRATEGIES {
        let file = file("windows", strategy);
        win32.program("debug", "handover", &["demo", strategy, "--svg", &file])?;
    }
    Ok(())
}

/// Everything that CI runs.
fn test(which: Which) -> Result<(), Failed> {
    native::check()?;
    if which == Which::All {
        native::install_peers()?;
    }
    native::cargo("format", &["fmt", "--all", "--check"])?;
    native::cargo("lint", &LINT)?;
    // As a newcomer types it: the default members are all that have tests.
    native::cargo("test", &["test"])?;
    native::documentation()?;
    bench::try_all()?;

    if let Some(win32) = beside_native(which)? {
        win32.cargo("lint for Windows", &LINT)?;
        // The benchmark has no tests, and long to build; the lint has looked at it.
        win32
            .cargo("test under Wine", &["test", "--workspace", "--exclude", "xtask", "--exclude", "bench"])?;
        win32.documentation()?;
        win32.check(&CHECKED_TARGETS)?;
    } else if which == Which::All {
        Win32::ready()?.check(&CHECKED_TARGETS)?;
    }
    Ok(())
}

/// The Win32 programs, where they aren't the native ones.
fn beside_native(which: Which) -> Result<Option<Win32>, Failed> {
    if which == Which::Native || win32::IS_HERE {
        return Ok(None);
    }
    let explained = |Failed(why)| Failed(format!("{why}\n\nThe native programs need none of this: --native"));
    Win32::ready().map(Some).map_err(explained)
}

/// The repository's root, wherever the command was called from.
fn root() -> PathBuf {
    // As cargo says it now: what it said when it built this is another place once the folder was moved.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf(), PathBuf::from);
    xtask.parent().unwrap_or(&xtask).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_command_takes_is_refused_before_anything_is_done() {
        for (words, part) in [
            (&["demo", "--wine"][..], "--wine"),
            (&["demo", "--native", "twice"], "twice"),
            (&["test", "-p"], "-p"),
            (&["bench", "spawn", "--native"], "--native"),
            (&["bench", "--native", "speed"], "speed"),
            (&["bench", "--quick", "--native"], "--native"),
            (&["bench", "spawn", "hand-over"], "hand-over"),
            (&["soak", "--spawns"], "--spawns"),
            (&["soak", "--spawns", "10", "--native"], "--native"),
            (&["soak", "--save", "file"], "--save"),
            (&["fuzz"], "--quick"),
            (&["fuzz", "--runs", "many"], "many"),
            (&["fuzz", "--quick", "frame"], "frame"),
            (&["fuzz", "--add", "crash-1"], "crash-1"),
            (&["fuzz", "--add", "crash-1", "frame"], "frame"),
            (&["sanitize", "all"], "all"),
            (&["deny", "advisories"], "advisories"),
            (&["semver"], "semver"),
            (&["faults", "--wine"], "--wine"),
            (&["kills", "--runs"], "--runs"),
            (&["kills", "--runs", "many"], "many"),
            (&["kills", "--runs", "0"], "--runs"),
            (&["kills", "--seed", "1", "--native"], "--native"),
            (&["mutants", "--in-diff"], "--in-diff"),
            (&["mutants", "--in-diff", "--list"], "--list"),
            (&["mutants", "--wine", "--in-diff", "main"], "--wine"),
            (&["win32"], "win32"),
            (&["--native"], "--native"),
            (&["tests"], "tests"),
        ] {
            match command(words) {
                Err(Stop::Usage(why)) => assert!(why.contains(part), "{why}"),
                other => panic!("{words:?} gave {other:?}"),
            }
        }
    }

    /// What the documentation calls a test is one.
    #[test]
    fn each_test_that_is_named_is_there() {
        let text = |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_default();
        let mut count = 0;
        for page in ["docs/verified.md", "docs/threat-model.md"] {
            let page_text = text(page);
            let quoted = page_text.split('`').skip(1).step_by(2);
            for (file, name) in quoted.filter_map(|quoted| quoted.split_once("::")) {
                let name = name.trim_end_matches('*');
                let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/".contains(c);
                if !name.contains('_') || !(file.chars().chain(name.chars())).all(is_small) {
                    continue;
                }
                let source = text(&format!("tests/tests/{file}.rs"));
                assert!(source.contains(&format!("fn {name}")), "{page}: {file}::{name} isn't there");
                count += 1;
            }
        }
        assert!(count > 80, "{count}");
    }

    /// Each package asks in one kind of place which system it is: in the face of a concept that has a half for each
    /// system (`mod.rs`), in those halves, in `os` and in `sys`; and in xtask where it runs another system's programs.
    #[test]
    fn the_system_is_asked_for_in_few_places_of_each_package() {
        /// What has a line for one system alone in the middle of a table for both.
        const TABLES: [&str; 3] =
            ["handover/src/handle/range.rs", "handover/src/name/create.rs", "handover/src/lib.rs"];
        const XTASK: [&str; 3] = ["xtask/src/check.rs", "xtask/src/native.rs", "xtask/src/win32.rs"];
        let mut found = Vec::new();
        for package in ["crates", "exercises", "soak", "tests", "bench", "chart", "xtask", "fuzz/src"] {
            seam::sources(&root().join(package), &mut found);
        }
        assert!(found.len() > 100, "{found:?}");
        let systems = ["windows", "unix", "target_os", "target_family"];
        for path in found {
            let is_of_a_system = path
                .components()
                .any(|part| ["os", "sys", "linux", "windows"].iter().any(|name| part.as_os_str() == *name));
            let may_ask = is_of_a_system
                || (path.ends_with("mod.rs") && path.components().any(|part| part.as_os_str() == "handover"))
                || TABLES.iter().chain(&XTASK).any(|file| path.ends_with(file));
            let text = std::fs::read_to_string(&path).expect("it can be read");
            for (number, line) in text.lines().enumerate() {
                let asks = line.contains("cfg") && line.contains('(') && !line.contains("docsrs");
                let of = systems.iter().find(|system| asks && line.contains(**system));
                assert!(may_ask || of.is_none(), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}
