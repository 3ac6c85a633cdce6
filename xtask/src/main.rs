//! `cargo xtask COMMAND`: the project's own commands. Each one installs what it needs.

mod bench;
mod book;
mod check;
mod debian;
mod faults;
mod fuzz;
mod kernel;
#[cfg(test)]
mod layers;
mod linux;
mod msrv;
mod mutants;
mod native;
#[cfg(test)]
mod references;
#[cfg(test)]
mod seam;
mod soak;
mod sources;
mod std_tests;
mod step;
mod tools;
mod win32;
mod wine10;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use step::Failed;
use win32::Win32;

/// The project's own commands
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

const AFTER_HELP: &str = "\
Without a command, `cargo xtask` and `cargo run` do the same as `cargo xtask demo --native`.

Commands with --native run the native programs first and then, on Linux, the Win32 programs under Wine. They list \
and install the Debian packages that Wine needs. On other systems they stop and say what to install.";

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the exercises and show their output
    Demo(Systems),
    /// Run everything that CI runs
    Test(Systems),
    /// Draw the pictures of `handover demo` into docs/pictures
    Pictures(Systems),
    /// Measure against the same calls in C and against other crates, and write docs/performance.md
    Bench {
        #[command(flatten)]
        systems: Systems,
        /// Run each measurement twice, check that it works, and save nothing
        #[arg(long)]
        quick: bool,
        /// The measurement [default: all]
        #[arg(value_parser = bench::MEASUREMENTS)]
        measurement: Option<String>,
    },
    /// Hand over a million objects and start ten thousand children, check that handle counts and memory stay flat, and
    /// save the result in docs/verified
    Soak {
        #[command(flatten)]
        systems: Systems,
        #[command(flatten)]
        options: soak::Options,
    },
    /// Run libFuzzer on the targets in the folder `fuzz`
    Fuzz(fuzz::Options),
    /// Run the native tests under AddressSanitizer, or those without system calls under valgrind
    Sanitize {
        #[arg(value_enum)]
        sanitizer: check::Sanitizer,
        /// Arguments for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the tests without system calls under Miri
    Miri,
    /// Build and test with the oldest Rust that the library supports
    Msrv,
    /// Build and test for another C library or another processor
    Linux {
        /// The machine [default: all]
        #[arg(value_enum)]
        machine: Option<linux::Machine>,
        /// Arguments for `cargo test`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check the licenses, duplicates and sources of the dependencies
    Deny {
        /// Also download the list of security advisories and check against it
        #[arg(long)]
        advisories: bool,
    },
    /// Compare the public interface with that of another revision
    Semver {
        /// The git revision
        #[arg(value_parser = revision)]
        revision: String,
    },
    /// Make each system call of each scenario fail once, and count the calls
    Faults(Systems),
    /// Kill processes at random moments, and check that the survivors neither hang nor leak
    Kills {
        #[command(flatten)]
        systems: Systems,
        /// How many processes to kill
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        runs: u64,
        /// The seed of the random moments [default: from the clock]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Break changed code of the library in each way that cargo-mutants knows, and check that a test fails
    Mutants {
        /// The git revision to compare with
        #[arg(long, value_name = "REVISION", value_parser = revision)]
        in_diff: String,
        /// Arguments for cargo-mutants, such as --list
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run std's own tests and examples of its module `process` on that of handover, and save the results in
    /// docs/verified
    StdTests(Systems),
    /// Run a program with a time limit
    #[command(hide = true)]
    Within(std_tests::Within),
    /// Run tests on older Linux kernels, in a virtual machine
    Kernel {
        /// The kernel [default: all]
        #[arg(value_enum)]
        kernel: Option<kernel::Kernel>,
    },
    /// Make web pages of the exercises and the guides in target/book, and check their links
    Book,
    /// Count words in comments and documentation that make sentences hard to read
    Words {
        /// Also print each sentence that was counted
        #[arg(long)]
        list: bool,
    },
    /// Run cargo for the Win32 target, for example `cargo xtask win32 test -p exercises`
    Win32 {
        /// Arguments for cargo
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run Win32 programs of 64 and 32 bits under Wine 10, in a Debian sid that this makes in target/wine10 (needs
    /// root)
    Wine10(wine10::Options),
}

/// The systems whose programs a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
struct Systems {
    /// Run only the native programs: no Wine, and no packages are installed
    #[arg(long)]
    native: bool,
}

/// The target that most Windows users build for. It is type checked, which needs no linker.
const MAIN_TARGET: &str = "x86_64-pc-windows-msvc";

/// Other targets of Windows, and Linux with another C library or another processor. The library alone is type checked
/// for them, to save time.
const OTHER_TARGETS: [&str; 6] = [
    "aarch64-pc-windows-msvc",
    "i686-pc-windows-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
    "armv7-unknown-linux-gnueabihf",
    "i686-unknown-linux-gnu",
];

const LINT: [&str; 7] = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
const BUILD_EXERCISES: [&str; 5] = ["build", "--quiet", "--package", "exercises", "--bins"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task.unwrap_or(Task::Demo(Systems { native: true }))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failed> {
    match task {
        Task::Demo(systems) => demo(systems),
        Task::Test(systems) => test(systems),
        Task::Pictures(systems) => pictures(systems),
        Task::Bench { systems, quick, measurement } => match measurement.as_deref() {
            None => bench::measure(systems, quick, &bench::MEASUREMENTS),
            Some(one) => bench::measure(systems, quick, &[one]),
        },
        Task::Soak { systems, options } => soak::soak(systems, &options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Sanitize { sanitizer, arguments } => check::sanitize(sanitizer, &as_strs(&arguments)),
        Task::Miri => check::miri(),
        Task::Msrv => msrv::msrv(),
        Task::Linux { machine, arguments } => linux::linux(machine, &as_strs(&arguments)),
        Task::Deny { advisories } => check::deny(advisories),
        Task::Semver { revision } => check::semver(&revision),
        Task::Faults(systems) => faults::faults(systems),
        Task::Kills { systems, runs, seed } => faults::kills(systems, runs, seed),
        Task::Mutants { in_diff, arguments } => mutants::mutants(&in_diff, &as_strs(&arguments)),
        Task::StdTests(systems) => std_tests::std_tests(systems),
        Task::Within(options) => std_tests::within(&options),
        Task::Kernel { kernel } => kernel::kernel(kernel),
        Task::Book => book::book(),
        Task::Words { list } => words::words(list),
        Task::Win32 { arguments } => {
            Win32::ready()?.cargo("cargo for the Win32 target", &as_strs(&arguments))
        }
        Task::Wine10(options) => wine10::wine10(&options),
    }
}

/// Accepts the text of a git revision, which can't be an option.
fn revision(text: &str) -> Result<String, String> {
    if text.starts_with('-') { Err("expected a git revision".into()) } else { Ok(text.into()) }
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Runs the exercises as a newcomer would.
fn demo(systems: Systems) -> Result<(), Failed> {
    const PARENTS: [&str; 3] = ["naming-parent", "inheritance-parent", "duplication-parent"];
    native::check()?;
    native::cargo("build the exercises", &BUILD_EXERCISES)?;
    for parent in PARENTS {
        println!("\n{parent}");
        native::program(parent, &["--package", "exercises"], &[])?;
    }
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    win32.cargo("build the exercises for Windows", &BUILD_EXERCISES)?;
    for parent in PARENTS {
        println!("\n{parent}, under Wine");
        win32.program("debug", parent, &[])?;
    }
    Ok(())
}

/// Draws the pictures of the README and the docs with the program itself.
fn pictures(systems: Systems) -> Result<(), Failed> {
    const STRATEGIES: [&str; 4] = ["inheritance", "duplication", "naming", "channel"];
    const BUILD: [&str; 4] = ["build", "--quiet", "--package", "handover-cli"];
    let file = |system: &str, strategy: &str| format!("docs/pictures/{system}-{strategy}.svg");
    native::check()?;
    native::cargo("build the program", &BUILD)?;
    for strategy in STRATEGIES {
        let file = file(std::env::consts::OS, strategy);
        native::program("handover", &["--package", "handover-cli"], &["demo", strategy, "--svg", &file])?;
    }
    if std::env::consts::OS == "linux" {
        pictures_of_levels()?;
    }
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    win32.cargo("build the program for Windows", &BUILD)?;
    for strategy in STRATEGIES {
        let file = file("windows", strategy);
        win32.program("debug", "handover", &["demo", strategy, "--svg", &file])?;
    }
    Ok(())
}

/// Draws the runs of the levels' reference programs.
fn pictures_of_levels() -> Result<(), Failed> {
    const LEVELS: [(&str, &str); 7] = [
        ("two-children", "two-children-parent"),
        ("grandchild", "grandchild-parent"),
        ("unrelated", "unrelated-launcher"),
        ("pipe", "pipe-parent"),
        ("least-access", "least-access-parent"),
        ("race", "race-parent"),
        ("abandonment", "abandonment-parent"),
    ];
    native::cargo("build the exercises", &BUILD_EXERCISES)?;
    let this =
        std::env::current_exe().map_err(|error| Failed(format!("no path of this program: {error}")))?;
    for (level, name) in LEVELS {
        let file = format!("docs/pictures/linux-{level}.svg");
        // Cargo puts all programs of the workspace into one folder.
        let program = this.with_file_name(name);
        let program = program.to_str().ok_or_else(|| Failed(format!("{program:?} is not text")))?;
        let words = ["check", level, "--svg", &file, "--", program];
        native::program("handover", &["--package", "handover-cli"], &words)?;
    }
    Ok(())
}

/// Runs everything that CI runs.
fn test(systems: Systems) -> Result<(), Failed> {
    native::check()?;
    if !systems.native {
        native::install_peers()?;
    }
    native::cargo("format", &["fmt", "--all", "--check"])?;
    native::cargo("lint", &LINT)?;
    // Without `--workspace`, as a newcomer types it: all packages with tests are default members.
    native::cargo("test", &["test"])?;
    native::documentation()?;
    bench::try_all()?;

    if let Some(win32) = win32_beside_native(systems)? {
        win32.cargo("lint for Windows", &LINT)?;
        win32.cargo("test under Wine", &win32::TEST)?;
        win32.documentation()?;
        type_check(&win32)?;
    } else if !systems.native {
        type_check(&Win32::ready()?)?;
    }
    Ok(())
}

fn type_check(win32: &Win32) -> Result<(), Failed> {
    win32.check(&["handover", "handover-cli", "exercises"], &[MAIN_TARGET])?;
    win32.check(&["handover"], &OTHER_TARGETS)
}

/// Prepares to run Win32 programs under Wine; `None` if this is Windows, or if only native programs are to run.
fn win32_beside_native(systems: Systems) -> Result<Option<Win32>, Failed> {
    if systems.native || win32::IS_NATIVE {
        return Ok(None);
    }
    let with_advice =
        |Failed(reason)| Failed(format!("{reason}\n\nTo run only the native programs, add --native"));
    Win32::ready().map(Some).map_err(with_advice)
}

/// Returns the repository's root, independent of the current folder.
fn root() -> PathBuf {
    // The variable from run time comes first: the one from build time is wrong after the repository was moved.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf(), PathBuf::from);
    xtask.parent().unwrap_or(&xtask).to_path_buf()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("xtask").chain(words.iter().copied()))
    }

    #[test]
    fn the_argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn invalid_arguments_are_reported() {
        for (words, part) in [
            (&["demo", "--wine"][..], "--wine"),
            (&["demo", "--native", "twice"], "twice"),
            (&["test", "-p"], "-p"),
            (&["bench", "speed"], "speed"),
            (&["bench", "spawn", "hand-over"], "hand-over"),
            (&["soak", "--spawns"], "--spawns"),
            (&["soak", "--save", "file"], "--save"),
            (&["fuzz"], "--quick"),
            (&["fuzz", "--quick", "--keep"], "--keep"),
            (&["fuzz", "--runs", "many"], "many"),
            (&["fuzz", "--quick", "frame"], "frame"),
            (&["fuzz", "--add", "crash-1"], "TARGET"),
            (&["fuzz", "--add", "crash-1", "frame"], "frame"),
            (&["sanitize", "all"], "all"),
            (&["deny", "advisories"], "advisories"),
            (&["semver"], "REVISION"),
            (&["faults", "--wine"], "--wine"),
            (&["linux", "sparc"], "sparc"),
            (&["linux", "musl", "--test"], "--test"),
            (&["std-tests", "--wine"], "--wine"),
            (&["within", "60"], "PROGRAM"),
            (&["kernel", "6.12"], "6.12"),
            (&["kills", "--runs"], "--runs"),
            (&["kills", "--runs", "many"], "many"),
            (&["kills", "--runs", "0"], "--runs"),
            (&["mutants", "--in-diff"], "--in-diff"),
            (&["mutants", "--in-diff", "--list"], "--in-diff"),
            (&["mutants", "main"], "--in-diff"),
            (&["win32"], "ARGUMENTS"),
            (&["--native"], "--native"),
            (&["tests"], "tests"),
        ] {
            let error = parsed(words).expect_err(part);
            assert_eq!(error.exit_code(), 2, "{words:?}");
            assert!(error.to_string().contains(part), "{words:?}: {error}");
        }
    }

    #[test]
    fn arguments_of_other_programs_are_passed_on() {
        let win32 = parsed(&["win32", "test", "--test", "os", "--", "--exact"]).expect("they are valid").task;
        let Some(Task::Win32 { arguments }) = win32 else { panic!("{win32:?}") };
        assert_eq!(arguments, ["test", "--test", "os", "--", "--exact"]);
        let linux = parsed(&["linux", "--", "--test", "os"]).expect("they are valid").task;
        let Some(Task::Linux { machine: None, arguments }) = linux else { panic!("{linux:?}") };
        assert_eq!(arguments, ["--test", "os"]);
        let mutants = parsed(&["mutants", "--in-diff", "main", "--list"]).expect("they are valid").task;
        let Some(Task::Mutants { in_diff, arguments }) = mutants else { panic!("{mutants:?}") };
        assert_eq!((in_diff.as_str(), arguments), ("main", vec!["--list".to_owned()]));
    }
}
