//! Runs each fuzz target without the fuzzer, on each system: with the inputs that the fuzzer has found, and with random
//! variations of them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use handover_tests::tests;

#[allow(unreachable_pub, reason = "the fuzzer's own crate is a library")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// The number of random inputs: as many as take a second in a debug build.
const CHANGED: u32 = 10_000;
/// The maximum length of an input, the same as the fuzzer's.
const LONGEST: usize = 96;

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            frame_and_answer_parsers_keep_their_rules,
            message_parser_keeps_its_rules,
            manifest_and_listen_fds_parsers_keep_their_rules,
            handle_value_parser_keeps_its_rules,
            command_lines_parse_to_their_arguments,
            command_line_parsers_follow_published_rules,
            environment_blocks_are_sorted,
            name_encoding_keeps_its_rules,
            template_parser_keeps_its_rules,
            typed_messages_keep_their_rules,
        ],
        tests![],
    )
}

fn frame_and_answer_parsers_keep_their_rules() {
    run("wire", targets::wire);
}

fn message_parser_keeps_its_rules() {
    run("message", targets::message);
}

fn manifest_and_listen_fds_parsers_keep_their_rules() {
    run("manifest", targets::manifest);
}

fn handle_value_parser_keeps_its_rules() {
    run("number", targets::number);
}

fn command_lines_parse_to_their_arguments() {
    run("command_line", targets::command_line);
}

fn command_line_parsers_follow_published_rules() {
    targets::argv_reads_as_it_is_described();
}

fn environment_blocks_are_sorted() {
    run("environment", targets::environment);
}

fn name_encoding_keeps_its_rules() {
    run("name", targets::name);
}

fn template_parser_keeps_its_rules() {
    run("template", targets::template);
}

fn typed_messages_keep_their_rules() {
    run("typed", targets::typed);
}

/// Runs the target on each stored input, and then on random variations.
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

/// Prints the input if the target panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input: {:?}", self.0.escape_ascii().to_string());
        }
    }
}

/// Marsaglia's xorshift generator: the same seed gives the same sequence on each system.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        usize::try_from(self.0 % most.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Bytes at the limits of the formats' rules come more often than others.
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
