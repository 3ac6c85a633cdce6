//! What the fuzzer has found before, and what chance makes of it: each fuzz target without the fuzzer, on every system.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use handover_tests::tests;

#[allow(unreachable_pub, reason = "the fuzzer's own crate is a library")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// As many as take a second without optimization.
const CHANGED: u32 = 10_000;
/// The longest input, as it is for the fuzzer.
const LONGEST: usize = 96;

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            frames_and_answers_from_anybody,
            messages_of_any_program,
            manifests_and_service_managers_variables,
            numbers_of_handles,
            command_lines_are_read_back,
            the_parsers_of_command_lines_read_as_they_are_described,
            environments_are_sorted_blocks,
            names_and_what_they_become,
            templates_and_their_numbers,
        ],
        tests![],
    )
}

fn frames_and_answers_from_anybody() {
    run("wire", targets::wire);
}

fn messages_of_any_program() {
    run("message", targets::message);
}

fn manifests_and_service_managers_variables() {
    run("manifest", targets::manifest);
}

fn numbers_of_handles() {
    run("number", targets::number);
}

fn command_lines_are_read_back() {
    run("command_line", targets::command_line);
}

fn the_parsers_of_command_lines_read_as_they_are_described() {
    targets::argv_reads_as_it_is_described();
}

fn environments_are_sorted_blocks() {
    run("environment", targets::environment);
}

fn names_and_what_they_become() {
    run("name", targets::name);
}

fn templates_and_their_numbers() {
    run("template", targets::template);
}

/// All that is kept, as it is; and then, each time another, some of it changed.
fn run(name: &str, target: fn(&[u8])) {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/corpus/{name}.tar"));
    let mut kept = Vec::new();
    for entry in tar::Archive::new(File::open(&pack).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        println!("{} in {}", entry.path().unwrap().display(), pack.display());
        let mut input = Vec::new();
        entry.read_to_end(&mut input).unwrap();
        target(&input);
        kept.push(input);
    }
    assert!(kept.len() > 5, "{} inputs in {}", kept.len(), pack.display());
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seed = std::env::var("HANDOVER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(since.as_secs()).max(1);
    println!("HANDOVER_SEED={seed}");
    let mut chance = Chance(seed);
    for _ in 0..CHANGED {
        let input = changed(&mut chance, &kept);
        let shown = Shown(&input);
        target(shown.0);
    }
}

/// Says which input it was if the target panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input: {:?}", self.0.escape_ascii().to_string());
        }
    }
}

/// Marsaglia's xorshift: what it says is the same for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        usize::try_from(self.0 % most.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Those that limits and rules are made of come more often than others.
        const TELLING: &[u8] = b"\0\x01\x02\x04\x0f\x14\x7f\x80\xf4\xfc\xfd\xfe\xff \t\"\\%/{}=:@+-.0x1";
        match self.below(3) {
            0 => u8::try_from(self.below(256)).unwrap(),
            _ => TELLING[self.below(TELLING.len())],
        }
    }
}

fn changed(chance: &mut Chance, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut input = kept[chance.below(kept.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len());
        match chance.below(6) {
            0 if !input.is_empty() => input[at] ^= 1 << chance.below(8),
            1 if !input.is_empty() => input[at] = chance.byte(),
            2 if !input.is_empty() => drop(input.remove(at)),
            3 => {
                let other = &kept[chance.below(kept.len())];
                input.truncate(at);
                input.extend(&other[chance.below(other.len())..]);
            }
            4 => {
                let again = input[at..].to_vec();
                input.extend(again);
            }
            _ => input.insert(at, chance.byte()),
        }
    }
    input.truncate(LONGEST);
    input
}
