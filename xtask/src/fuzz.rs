//! `cargo xtask fuzz`: runs libFuzzer on the parts of the library that make no system calls.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::debian;
use crate::step::{Failed, Step};
use crate::tools::{Tool, has_cpp};

/// The fuzz targets, each a file in `fuzz/fuzz_targets`.
pub(crate) const TARGETS: [&str; 9] =
    ["wire", "message", "manifest", "number", "command_line", "environment", "name", "template", "typed"];

/// The maximum length of an input. All limits of the targets are below it, and longer inputs take longer.
const MAX_LENGTH: &str = "-max_len=96";
/// How many inputs one run tries. The progress is printed after each run.
const INPUTS_PER_RUN: u64 = 1_000_000;
/// How long `--quick` tries each target.
const QUICK: &str = "-max_total_time=3";

const RECORD: &str = "docs/verified/fuzzing.tsv";
const HEAD: &str = "target\tdate\tinputs\tseconds\tedges\tkept";

/// The inputs of a target, by their names in the target's pack.
type Inputs = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    mode: Mode,
    /// The target [default: all]
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Mode {
    /// Try the known inputs, and new ones for three seconds
    #[arg(long)]
    quick: bool,
    /// Try this many inputs, and save the count in docs/verified/fuzzing.tsv
    #[arg(long, value_name = "INPUTS")]
    runs: Option<u64>,
    /// Save the smallest set of inputs that reaches all known edges in the target's pack
    #[arg(long)]
    keep: bool,
    /// Add an input to the target's pack
    #[arg(long, value_name = "FILE", requires = "target")]
    add: Option<PathBuf>,
}

pub(crate) fn fuzz(options: &Options) -> Result<(), Failed> {
    let targets = match &options.target {
        Some(target) => vec![target.as_str()],
        None => TARGETS.to_vec(),
    };
    if let Some(file) = &options.mode.add {
        return targets.iter().try_for_each(|target| add(file, target));
    }
    if !has_cpp() {
        let need = [("g++", "the compiler for libFuzzer, which is written in C++")];
        debian::install("The fuzzer is built on this machine.", &need, "install another C++ compiler")?;
    }
    for target in targets {
        // `cargo fuzz` decides whether the target must be built again.
        let mut build = cargo_fuzz("build")?;
        Step::new("build the fuzz target", build.arg(target)).run()?;
        if options.mode.keep {
            keep(target)?;
        } else if let Some(inputs) = options.mode.runs {
            long(target, inputs)?;
        } else {
            let edges = run(target, &[QUICK])?;
            println!("{target}: {edges} edges");
        }
    }
    Ok(())
}

/// Returns `cargo fuzz` for a stable compiler. The fuzzed code has no unsafe blocks, so no sanitizer is used.
fn cargo_fuzz(command: &str) -> Result<Command, Failed> {
    const FUZZ: Tool = Tool { name: "fuzz", purpose: "runs libFuzzer", is_optimized: true };
    let mut cargo = FUZZ.ready()?;
    // Tracing comparisons takes two thirds of the time, and the packs already have inputs with the compared values.
    cargo.arg(command).args(["--sanitizer", "none", "--no-trace-compares", "--target-dir"]).arg(folder());
    cargo.env("RUSTC_BOOTSTRAP", "1");
    Ok(cargo)
}

fn folder() -> PathBuf {
    crate::root().join("target").join("fuzz")
}

/// The folder of inputs that were found on this machine and aren't in the pack.
fn found(target: &str) -> PathBuf {
    folder().join("corpus").join(target)
}

/// The tar file with the inputs of a target.
fn pack(target: &str) -> PathBuf {
    crate::root().join("fuzz").join("corpus").join(format!("{target}.tar"))
}

/// Unpacks the inputs of a target's pack into `target/`, where libFuzzer reads them.
fn unpack(target: &str) -> Result<PathBuf, Failed> {
    let to = empty(folder().join("kept").join(target))?;
    for (name, input) in read_pack(&pack(target))? {
        let path = to.join(name);
        fs::write(&path, input).map_err(Failed::at(&path))?;
    }
    Ok(to)
}

fn read_pack(path: &Path) -> Result<Inputs, Failed> {
    let read = || {
        let mut archive = tar::Archive::new(File::open(path)?);
        let mut inputs = Inputs::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let mut input = Vec::new();
            entry.read_to_end(&mut input)?;
            inputs.insert(entry.path()?.to_string_lossy().into_owned(), input);
        }
        Ok(inputs)
    };
    read().map_err(Failed::at(path))
}

/// Returns the bytes of a pack. They depend only on the inputs: the entries are sorted and have no times or owners.
fn packed(inputs: &Inputs) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, input) in inputs {
        let mut header = tar::Header::new_ustar();
        header.set_size(input.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &**input)?;
    }
    archive.into_inner()
}

fn write_pack(target: &str, inputs: &Inputs) -> Result<(), Failed> {
    let path = pack(target);
    fs::write(&path, packed(inputs).map_err(Failed::at(&path))?).map_err(Failed::at(&path))?;
    println!("{target}: the pack has {} inputs", inputs.len());
    Ok(())
}

/// Adds a file to the pack of a target, under the file's name.
fn add(file: &Path, target: &str) -> Result<(), Failed> {
    let input = fs::read(file).map_err(Failed::at(file))?;
    let mut inputs = read_pack(&pack(target))?;
    with_input(&mut inputs, file, &input)?;
    write_pack(target, &inputs)
}

fn with_input(inputs: &mut Inputs, file: &Path, input: &[u8]) -> Result<(), Failed> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let before = inputs.insert(name, input.to_owned());
    if before.is_some_and(|before| before != input) {
        let file = file.display();
        return Err(Failed(format!(
            "the pack already has another input with the name of {file}; rename the file and add it again"
        )));
    }
    Ok(())
}

/// Creates an empty folder, deleting an existing one.
fn empty(folder: PathBuf) -> Result<PathBuf, Failed> {
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failed::at(&folder)(error)),
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
    Ok(folder)
}

/// Runs a target on all known inputs and on new ones, and returns how many edges of the program they reached.
fn run(target: &str, options: &[&str]) -> Result<u64, Failed> {
    fs::create_dir_all(found(target)).map_err(Failed::at(&found(target)))?;
    let mut command = cargo_fuzz("run")?;
    command.arg(target).arg(found(target)).arg(unpack(target)?).args(["--", MAX_LENGTH]).args(options);
    let log = logged(target, &mut command)?;
    // Such as: #200000 DONE   cov: 326 ft: 1233 corp: …
    let done = log.lines().rev().find(|line| line.contains("DONE"));
    let words: Vec<&str> = done.unwrap_or_default().split_whitespace().collect();
    let edges = words.windows(2).find(|pair| pair[0] == "cov:").and_then(|pair| pair[1].parse().ok());
    edges.ok_or_else(|| Failed(format!("{target} did not print its coverage:\n{}", end_of(&log))))
}

/// Runs a command and returns its output, which is printed only if the command fails.
fn logged(target: &str, command: &mut Command) -> Result<String, Failed> {
    let path = folder().join(format!("{target}.log"));
    let file = File::create(&path).map_err(Failed::at(&path))?;
    let same = file.try_clone().map_err(Failed::at(&path))?;
    command.stdin(Stdio::null()).stdout(file).stderr(same);
    let status = Step::new(target, command).run_quietly()?;
    let log = String::from_utf8_lossy(&fs::read(&path).map_err(Failed::at(&path))?).into_owned();
    if status.success() {
        return Ok(log);
    }
    Err(Failed(format!(
        "an input made {target} fail ({status}). Add it to the pack, so that each test run tries it: cargo xtask fuzz \
         --add FILE {target}\nThe end of this log names the FILE. Then fix the fault.\n{}",
        end_of(&log)
    )))
}

fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn long(target: &str, inputs: u64) -> Result<(), Failed> {
    let mut left = inputs;
    let mut took = Duration::ZERO;
    while left > 0 {
        let now = left.min(INPUTS_PER_RUN);
        let started = Instant::now();
        let edges = run(target, &[&format!("-runs={now}")])?;
        let time = started.elapsed();
        (left, took) = (left - now, took + time);
        // Saved after each run, so that a later failure doesn't lose it.
        record(target, now, time, edges)?;
        println!("{target}: {} of {inputs} inputs in {} s, {edges} edges", inputs - left, took.as_secs());
    }
    Ok(())
}

/// Replaces the pack by the smallest set of inputs that reaches all known edges.
fn keep(target: &str) -> Result<(), Failed> {
    let (found, kept) = (found(target), unpack(target)?);
    let fresh = empty(folder().join("fresh").join(target))?;
    fs::create_dir_all(&found).map_err(Failed::at(&found))?;
    // With counters, inputs that reach the same edges a different number of times would all be kept.
    let mut command = cargo_fuzz("run")?;
    command.arg(target).args([&fresh, &found, &kept]).args(["--", MAX_LENGTH, "-merge=1", "-use_counters=0"]);
    logged(target, &mut command)?;
    let mut inputs = Inputs::new();
    for file in files(&fresh)? {
        let input = fs::read(&file).map_err(Failed::at(&file))?;
        with_input(&mut inputs, &file, &input)?;
    }
    write_pack(target, &inputs)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(folder).map_err(Failed::at(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(Failed::at(folder))).collect()
}

/// Adds the inputs to the target's row of this day.
fn record(target: &str, inputs: u64, time: Duration, edges: u64) -> Result<(), Failed> {
    let path = crate::root().join(RECORD);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let date = jiff::Timestamp::now().strftime("%F").to_string();
    let kept = read_pack(&pack(target))?.len();
    let text = with_row(&text, target, &date, inputs, time.as_secs_f64(), edges, kept);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Failed::at(folder))?;
    }
    fs::write(&path, text).map_err(Failed::at(&path))
}

fn with_row(
    text: &str,
    target: &str,
    date: &str,
    inputs: u64,
    seconds: f64,
    edges: u64,
    kept: usize,
) -> String {
    let mut rows: Vec<Vec<String>> =
        text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    let before = rows.iter().position(|row| row.first().is_some_and(|name| name == target));
    let mut sum = (inputs, seconds);
    if let Some(at) = before {
        match rows.remove(at).as_slice() {
            [_, day, inputs, seconds, ..] if day == date => {
                sum.0 += inputs.parse::<u64>().unwrap_or(0);
                sum.1 += seconds.parse::<f64>().unwrap_or(0.0);
            }
            _ => {}
        }
    }
    let row = [
        target.into(),
        date.into(),
        sum.0.to_string(),
        format!("{:.1}", sum.1),
        edges.to_string(),
        kept.to_string(),
    ];
    rows.push(row.into());
    rows.sort_by_key(|row| TARGETS.iter().position(|target| row.first().is_some_and(|name| name == target)));
    let lines = rows.iter().map(|row| row.join("\t"));
    std::iter::once(HEAD.to_owned()).chain(lines).fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_also_run_by_the_tests() {
        let root = crate::root();
        let mut names: Vec<String> = files(&root.join("fuzz/fuzz_targets"))
            .expect("the folder exists")
            .iter()
            .map(|file| file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        let mut targets = TARGETS.to_vec();
        targets.sort_unstable();
        assert_eq!(names, targets);
        let test = fs::read_to_string(root.join("tests/tests/fuzz_corpus.rs")).expect("the file exists");
        for target in TARGETS {
            assert!(test.contains(&format!("run(\"{target}\", targets::{target})")), "{target}");
        }
    }

    #[test]
    fn each_pack_has_the_bytes_that_xtask_writes() {
        for target in TARGETS {
            let inputs = read_pack(&pack(target)).expect("the file exists");
            assert!(inputs.len() > 5, "{target}: {} inputs", inputs.len());
            let again = packed(&inputs).expect("memory can be written");
            assert!(
                again == fs::read(pack(target)).expect("the file exists"),
                "{target}: xtask packs it differently"
            );
        }
    }

    #[test]
    fn an_added_input_replaces_no_other_input() {
        let mut inputs = Inputs::new();
        let mut add = |name: &str, input: &[u8]| with_input(&mut inputs, Path::new(name), input);
        assert!(add("folder/crash-1", b"a").is_ok());
        assert!(add("crash-1", b"a").is_ok());
        assert!(add("crash-2", b"b").is_ok());
        assert!(add("crash-1", b"b").is_err());
        assert_eq!(inputs.keys().collect::<Vec<_>>(), ["crash-1", "crash-2"]);
    }

    #[test]
    fn runs_of_one_day_add_up() {
        let one = with_row("", "wire", "2026-01-01", 10, 1.5, 7, 3);
        assert_eq!(one, format!("{HEAD}\nwire\t2026-01-01\t10\t1.5\t7\t3\n"));
        let two = with_row(&one, "wire", "2026-01-01", 10, 1.0, 8, 4);
        assert_eq!(two, format!("{HEAD}\nwire\t2026-01-01\t20\t2.5\t8\t4\n"));
        let other = with_row(&two, "name", "2026-01-02", 5, 1.0, 2, 1);
        let again = with_row(&other, "wire", "2026-01-02", 1, 0.1, 8, 4);
        assert_eq!(
            again,
            format!("{HEAD}\nwire\t2026-01-02\t1\t0.1\t8\t4\nname\t2026-01-02\t5\t1.0\t2\t1\n")
        );
    }
}
