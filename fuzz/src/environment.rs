//! Fuzzes the environment block for Windows.

use std::cmp::Ordering;

use handover::fuzzing::Environment;

use super::input::Input;

const EQUALS: u16 = b'=' as u16;

/// Checks changes of an environment, or an arbitrary block, depending on the first byte.
pub fn environment(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() % 2 == 0 { check_changes(&mut input) } else { check_arbitrary(&mut input) }
}

/// Compares names as Windows does, for names whose only letters are in ASCII.
fn compare(one: &[u16], other: &[u16]) -> Ordering {
    let upper = |unit: &u16| u8::try_from(*unit).map_or(*unit, |byte| byte.to_ascii_uppercase().into());
    one.iter().map(upper).cmp(other.iter().map(upper))
}

type Variables = Vec<(Vec<u16>, Vec<u16>)>;

/// Reads a block by its description: each variable ends with NUL, and the block with one more NUL. Panics unless the
/// variables are sorted and distinct.
fn read(block: &[u16]) -> Variables {
    let Some(variables) = block.strip_suffix(&[0, 0]) else {
        panic!("{block:x?} does not end with two NULs")
    };
    if variables.is_empty() {
        return Vec::new();
    }
    let variables = variables.split(|unit| *unit == 0).map(|variable| {
        // A name may start with `=`.
        let at =
            variable.iter().skip(1).position(|unit| *unit == EQUALS).expect("each variable contains `=`") + 1;
        (variable[..at].to_vec(), variable[at + 1..].to_vec())
    });
    let variables: Variables = variables.collect();
    for pair in variables.windows(2) {
        assert!(compare(&pair[0].0, &pair[1].0).is_lt(), "{pair:x?} are not sorted and distinct");
    }
    variables
}

fn check_changes(input: &mut Input<'_>) {
    let mut environment = Environment::new(compare);
    let mut expected: Variables = Vec::new();
    while !input.is_empty() {
        let is_set = input.byte() % 4 != 0;
        let name = input.units();
        let has_name = |variable: &(Vec<u16>, Vec<u16>)| compare(&variable.0, &name).is_eq();
        if !is_set {
            environment.remove(&name);
            expected.retain(|variable| !has_name(variable));
            continue;
        }
        let value = input.units();
        let fits =
            !name.is_empty() && !name[1..].contains(&EQUALS) && !name.contains(&0) && !value.contains(&0);
        assert_eq!(environment.set(&name, &value).is_ok(), fits, "{name:x?}={value:x?}");
        if fits {
            // A variable keeps the spelling of its name.
            match expected.iter_mut().find(|variable| has_name(variable)) {
                Some(variable) => variable.1 = value,
                None => expected.push((name, value)),
            }
        }
    }
    expected.sort_by(|one, other| compare(&one.0, &other.0));
    let block = environment.block();
    assert_eq!(read(&block), expected);
    assert_eq!(Environment::of_block(&block, compare).block(), block);
}

fn check_arbitrary(input: &mut Input<'_>) {
    let mut block = Vec::new();
    while !input.is_empty() {
        block.extend(input.units());
        block.push(0);
    }
    let environment = Environment::of_block(&block, compare);
    let written = environment.block();
    for (name, value) in read(&written) {
        let variable = [&name[..], &[EQUALS], &value].concat();
        assert!(
            block.split(|unit| *unit == 0).any(|other| other == variable),
            "{variable:x?} is not in the original block"
        );
    }
    assert_eq!(Environment::of_block(&written, compare).block(), written);
}
