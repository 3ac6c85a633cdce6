//! `cargo xtask fuzz`: libFuzzer looks for what breaks a pure part of the library.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::debian;
use crate::step::{Failed, Step};
use crate::tools::{Tool, has_cpp};

/// What is fuzzed: the files in `fuzz/fuzz_targets`.
pub(crate) const TARGETS: [&str; 8] =
    ["wire", "message", "manifest", "number", "command_line", "environment", "name", "template"];

/// All limits are reached with less, and a longer input costs the time of several.
const LONGEST: &str = "-max_len=96";
/// How many runs one program makes; between two of them, it is said how far the work is.
const AT_ONCE: u64 = 1_000_000;
/// How long each target is tried for a look.
const QUICK: &str = "-max_total_time=3";

const RECORD: &str = "docs/verified/fuzzing.tsv";
const HEAD: &str = "target\tdate\tinputs\tseconds\tedges\tkept";

/// The inputs of a target, each under the name that it has in the target's pack.
type Inputs = BTreeMap<String, Vec<u8>>;

/// What is done with each target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// What was found before, and a few seconds more.
    Quick,
    /// So many inputs, which the record tells of.
    Long(u64),
    /// Nothing new: what was found is made as small as it can be, and kept.
    Keep,
}

/// Fuzzes these targets.
pub(crate) fn fuzz(how: How, targets: &[&str]) -> Result<(), Failed> {
    if !has_cpp() {
        let need = [("g++", "the compiler for libFuzzer, which is written in C++")];
        debian::install("The fuzzer is built on this machine.", &need, "any other compiler for C++")?;
    }
    for target in targets {
        // Each build says whether there is something to build.
        let mut build = cargo_fuzz("build")?;
        Step::new("build the fuzz target", build.arg(target)).run()?;
        match how {
            How::Quick => {
                let edges = run(target, &[QUICK])?;
                println!("{target}: {edges} edges");
            }
            How::Long(inputs) => long(target, inputs)?,
            How::Keep => keep(target)?,
        }
    }
    Ok(())
}

/// `cargo fuzz` as it works with a compiler that is stable. What is fuzzed has no unsafe code, so no sanitizer is needed.
fn cargo_fuzz(command: &str) -> Result<Command, Failed> {
    const FUZZ: Tool = Tool { name: "fuzz", what: "the fuzzer", is_slow: true };
    let mut cargo = FUZZ.ready()?;
    // Nor is each comparison watched, which takes two thirds of the time: what is compared with stands in the inputs
    // that are kept.
    cargo.arg(command).args(["--sanitizer", "none", "--no-trace-compares", "--target-dir"]).arg(folder());
    cargo.env("RUSTC_BOOTSTRAP", "1");
    Ok(cargo)
}

fn folder() -> PathBuf {
    crate::root().join("target").join("fuzz")
}

/// What was found here and isn't kept yet.
fn found(target: &str) -> PathBuf {
    folder().join("corpus").join(target)
}

/// The tar file that holds the kept inputs of a target.
fn pack(target: &str) -> PathBuf {
    crate::root().join("fuzz").join("corpus").join(format!("{target}.tar"))
}

/// Unpacks the kept inputs of a target into `target/`, where libFuzzer reads them.
fn unpack(target: &str) -> Result<PathBuf, Failed> {
    let to = empty(folder().join("kept").join(target))?;
    for (name, input) in read_pack(&pack(target))? {
        let path = to.join(name);
        fs::write(&path, input).map_err(failed(&path))?;
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
    read().map_err(failed(path))
}

/// Makes a pack. The same inputs make the same bytes: sorted, and without times, owners and modes of this machine.
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
    fs::write(&path, packed(inputs).map_err(failed(&path))?).map_err(failed(&path))?;
    println!("{target}: {} inputs are kept", inputs.len());
    Ok(())
}

/// Adds a file to the kept inputs of a target, under the file's own name.
pub(crate) fn add(file: &str, target: &str) -> Result<(), Failed> {
    let file = Path::new(file);
    let input = fs::read(file).map_err(failed(file))?;
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
            "the pack has another input with the name of {file}; rename the file and add it again"
        )));
    }
    Ok(())
}

/// Makes this folder, without what an earlier run has left in it.
fn empty(folder: PathBuf) -> Result<PathBuf, Failed> {
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&folder)(error)),
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    Ok(folder)
}

/// Runs a target over what is known of it, and says how many edges of the program have been gone.
fn run(target: &str, options: &[&str]) -> Result<u64, Failed> {
    fs::create_dir_all(found(target)).map_err(failed(&found(target)))?;
    let mut command = cargo_fuzz("run")?;
    command.arg(target).arg(found(target)).arg(unpack(target)?).args(["--", LONGEST]).args(options);
    let log = logged(target, &mut command)?;
    // Such as: #200000 DONE   cov: 326 ft: 1233 corp: …
    let done = log.lines().rev().find(|line| line.contains("DONE"));
    let words: Vec<&str> = done.unwrap_or_default().split_whitespace().collect();
    let edges = words.windows(2).find(|pair| pair[0] == "cov:").and_then(|pair| pair[1].parse().ok());
    edges.ok_or_else(|| Failed(format!("{target} didn't say how far it has come:\n{}", end_of(&log))))
}

/// Runs a command whose output is long and of interest only if it fails.
fn logged(target: &str, command: &mut Command) -> Result<String, Failed> {
    let path = folder().join(format!("{target}.log"));
    let file = File::create(&path).map_err(failed(&path))?;
    let same = file.try_clone().map_err(failed(&path))?;
    command.stdin(Stdio::null()).stdout(file).stderr(same);
    let status = Step::new(target, command).run_quietly()?;
    let log = String::from_utf8_lossy(&fs::read(&path).map_err(failed(&path))?).into_owned();
    if status.success() {
        return Ok(log);
    }
    Err(Failed(format!(
        "{target} has found something ({status}). Keep the input, so that each test run tries it again: \
         cargo xtask fuzz --add FILE {target}\nThe FILE is named at the end of this log. Then fix what it has found.\n{}",
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
        let now = left.min(AT_ONCE);
        let started = Instant::now();
        let edges = run(target, &[&format!("-runs={now}")])?;
        let time = started.elapsed();
        (left, took) = (left - now, took + time);
        // At once: what was done is known, whatever comes next.
        record(target, now, time, edges)?;
        println!("{target}: {} of {inputs} inputs in {} s, {edges} edges", inputs - left, took.as_secs());
    }
    Ok(())
}

/// Replaces what is kept by the fewest inputs that go along all edges which are known.
fn keep(target: &str) -> Result<(), Failed> {
    let (found, kept) = (found(target), unpack(target)?);
    let fresh = empty(folder().join("fresh").join(target))?;
    fs::create_dir_all(&found).map_err(failed(&found))?;
    // Without the counters of how often an edge is gone, which tell a hundred inputs of one way apart.
    let mut command = cargo_fuzz("run")?;
    command.arg(target).args([&fresh, &found, &kept]).args(["--", LONGEST, "-merge=1", "-use_counters=0"]);
    logged(target, &mut command)?;
    let mut inputs = Inputs::new();
    for file in files(&fresh)? {
        let input = fs::read(&file).map_err(failed(&file))?;
        with_input(&mut inputs, &file, &input)?;
    }
    write_pack(target, &inputs)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed(folder))).collect()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failed {
    let path = path.display().to_string();
    move |error| Failed(format!("{path}: {error}"))
}

/// Adds to what was done with the target on this day.
fn record(target: &str, inputs: u64, time: Duration, edges: u64) -> Result<(), Failed> {
    let path = crate::root().join(RECORD);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let date = jiff::Timestamp::now().strftime("%F").to_string();
    let kept = read_pack(&pack(target))?.len();
    let text = with_row(&text, target, &date, inputs, time.as_secs_f64(), edges, kept);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    fs::write(&path, text).map_err(failed(&path))
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
    fn each_target_is_run_somewhere_else_too() {
        let root = crate::root();
        let mut names: Vec<String> = files(&root.join("fuzz/fuzz_targets"))
            .expect("they are there")
            .iter()
            .map(|file| file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        let mut targets = TARGETS.to_vec();
        targets.sort_unstable();
        assert_eq!(names, targets);
        let test = fs::read_to_string(root.join("tests/tests/fuzz_corpus.rs")).expect("it is there");
        for target in TARGETS {
            assert!(test.contains(&format!("run(\"{target}\", targets::{target})")), "{target}");
        }
    }

    #[test]
    fn each_pack_has_the_bytes_that_xtask_writes() {
        for target in TARGETS {
            let inputs = read_pack(&pack(target)).expect("it is there");
            assert!(inputs.len() > 5, "{target}: {} inputs", inputs.len());
            let again = packed(&inputs).expect("it is written to memory");
            assert!(
                again == fs::read(pack(target)).expect("it is there"),
                "{target}: xtask packs it differently"
            );
        }
    }

    #[test]
    fn an_added_input_replaces_no_other() {
        let mut inputs = Inputs::new();
        let mut add = |name: &str, input: &[u8]| with_input(&mut inputs, Path::new(name), input);
        assert!(add("folder/crash-1", b"a").is_ok());
        assert!(add("crash-1", b"a").is_ok());
        assert!(add("crash-2", b"b").is_ok());
        assert!(add("crash-1", b"b").is_err());
        assert_eq!(inputs.keys().collect::<Vec<_>>(), ["crash-1", "crash-2"]);
    }

    #[test]
    fn a_days_runs_add_up_and_another_day_begins_anew() {
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
