//! Fuzzes typed messages that a hostile peer may send.

use handover::{Carried, Event, Message, OwnedHandle, fuzzing};
use serde::{Deserialize, Serialize};

use super::input::Input;

/// A value with every kind of number, text and list that postcard encodes in its own way, and with objects.
#[derive(Debug, Serialize, Deserialize)]
enum Node {
    Empty,
    Numbers(u8, u16, i32, u64),
    Flag(bool),
    Text(String),
    Letter(char),
    Object(Carried<Event>),
    Any { first: Option<Carried<OwnedHandle>>, second: Box<Carried<Event>> },
    List(Vec<Node>),
}

/// The same value, read by postcard's description. Objects are their indexes.
#[derive(Debug, PartialEq)]
enum Plan {
    Empty,
    Numbers(u8, u16, i32, u64),
    Flag(bool),
    Text(String),
    Letter(char),
    Object(u64),
    Any(Option<u64>, u64),
    List(Vec<Plan>),
}

/// Receives a message of bytes and up to three events, as a value.
pub fn typed(data: &[u8]) {
    let mut input = Input::new(data);
    let (count, renamed, name) = (usize::from(input.byte() % 4), input.byte(), input.byte());
    let bytes = input.rest();
    let mut names: Vec<String> = (0..count).map(|index| index.to_string()).collect();
    // Rarely, an object has another name.
    let is_renamed = usize::from(renamed) < count;
    if is_renamed {
        names[usize::from(renamed)] = char::from(name).to_string();
    }
    let event = Event::manual_reset().expect("the system has room for an event");
    let copy = || event.try_clone().expect("the system has room for an event").into();
    let objects = names.iter().map(|name| (name.clone(), copy())).collect();
    let Ok(message) = fuzzing::received(objects, bytes) else {
        assert!(is_renamed, "{names:?}");
        return;
    };
    let expected = expected(bytes, &names);
    let value = message.take_value::<Node>();
    match (value, expected) {
        (Ok(value), Some(plan)) => {
            assert_eq!(shape_of(&value), shape(&plan), "of {bytes:x?}");
            let (bytes, names) = fuzzing::sent(&Message::from_value(&value).expect("it was received"));
            let again = read_all(&bytes).expect("it was written");
            // The indexes are counted from 0 now, in the order of the bytes.
            let mut indexes = Vec::new();
            note_indexes(&again, &mut indexes);
            assert!(indexes.iter().zip(0..).all(|(index, number)| *index == number));
            assert_eq!((indexes.len(), names.len()), (count, count));
            assert_eq!(shape(&again), shape(&plan), "of {bytes:x?}");
        }
        (Err(_), None) => {}
        (value, expected) => panic!("{value:?}, and not {expected:?}, of {bytes:x?} and {names:?}"),
    }
    // Nothing can be taken a second time.
    for name in &names {
        assert!(message.take::<Event>(name).is_err());
    }
}

/// Returns the value that a message must give, or `None` if it must be refused.
fn expected(bytes: &[u8], names: &[String]) -> Option<Plan> {
    let plan = read_all(bytes)?;
    let mut indexes = Vec::new();
    note_indexes(&plan, &mut indexes);
    indexes.sort_unstable();
    let all: Vec<u64> = (0..names.len() as u64).collect();
    let mut sorted = names.to_vec();
    sorted.sort();
    (indexes == all && sorted.iter().zip(&all).all(|(name, index)| *name == index.to_string()))
        .then_some(plan)
}

fn read_all(bytes: &[u8]) -> Option<Plan> {
    let mut rest = bytes;
    let plan = read(&mut rest)?;
    rest.is_empty().then_some(plan)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

/// Reads a number of at most `bits` bits in groups of seven, the lowest first.
fn varint(rest: &mut &[u8], bits: u32) -> Option<u64> {
    let mut number: u128 = 0;
    for group in 0..bits.div_ceil(7) {
        let byte = byte(rest)?;
        number |= u128::from(byte & 0x7f) << (7 * group);
        if byte < 0x80 {
            return (number < 1 << bits).then(|| u64::try_from(number).expect("at most 64 bits"));
        }
    }
    None
}

fn index(rest: &mut &[u8]) -> Option<u64> {
    varint(rest, 32)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varint(rest, usize::BITS)?).ok()?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match byte(rest)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn read(rest: &mut &[u8]) -> Option<Plan> {
    Some(match varint(rest, 32)? {
        0 => Plan::Empty,
        1 => {
            let (small, medium) = (byte(rest)?, u16::try_from(varint(rest, 16)?).ok()?);
            let zigzag = u32::try_from(varint(rest, 32)?).ok()?;
            let signed = i32::from_le_bytes(((zigzag >> 1) ^ 0_u32.wrapping_sub(zigzag & 1)).to_le_bytes());
            Plan::Numbers(small, medium, signed, varint(rest, 64)?)
        }
        2 => Plan::Flag(flag(rest)?),
        3 => Plan::Text(text(rest)?),
        4 => {
            let text = text(rest)?;
            let mut letters = text.chars();
            let letter = letters.next()?;
            // postcard reads the first letter of up to four bytes.
            if text.len() > 4 {
                return None;
            }
            Plan::Letter(letter)
        }
        5 => Plan::Object(index(rest)?),
        6 => Plan::Any(if flag(rest)? { Some(index(rest)?) } else { None }, index(rest)?),
        7 => {
            let count = varint(rest, usize::BITS)?;
            // Each element has a byte at least.
            if count > rest.len() as u64 {
                return None;
            }
            Plan::List((0..count).map(|_| read(rest)).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Returns the value without the indexes of its objects.
fn shape(plan: &Plan) -> Plan {
    match plan {
        Plan::Empty => Plan::Empty,
        Plan::Numbers(a, b, c, d) => Plan::Numbers(*a, *b, *c, *d),
        Plan::Flag(flag) => Plan::Flag(*flag),
        Plan::Text(text) => Plan::Text(text.clone()),
        Plan::Letter(letter) => Plan::Letter(*letter),
        Plan::Object(_) => Plan::Object(0),
        Plan::Any(first, _) => Plan::Any(first.map(|_| 0), 0),
        Plan::List(plans) => Plan::List(plans.iter().map(shape).collect()),
    }
}

fn shape_of(node: &Node) -> Plan {
    match node {
        Node::Empty => Plan::Empty,
        Node::Numbers(a, b, c, d) => Plan::Numbers(*a, *b, *c, *d),
        Node::Flag(flag) => Plan::Flag(*flag),
        Node::Text(text) => Plan::Text(text.clone()),
        Node::Letter(letter) => Plan::Letter(*letter),
        Node::Object(_) => Plan::Object(0),
        Node::Any { first, second: _ } => Plan::Any(first.as_ref().map(|_| 0), 0),
        Node::List(nodes) => Plan::List(nodes.iter().map(shape_of).collect()),
    }
}

fn note_indexes(plan: &Plan, indexes: &mut Vec<u64>) {
    match plan {
        Plan::Object(index) => indexes.push(*index),
        Plan::Any(first, second) => indexes.extend(first.iter().chain([second])),
        Plan::List(plans) => plans.iter().for_each(|plan| note_indexes(plan, indexes)),
        _ => {}
    }
}
