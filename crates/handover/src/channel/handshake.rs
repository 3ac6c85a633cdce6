//! The bytes by which two processes begin a channel, and tell each other their versions (pure).
//!
//! All begin with the same three bytes in every version of the format: "HO" and the version. A process that receives
//! another version than its own answers with a notice of its own version, unless it has sent something before. So both
//! learn it.

use super::wire::{Broken, MAGIC, VERSION};
use crate::handle::HandleValue;

/// The bytes that a Linux listener sends to a client that it accepts.
#[allow(dead_code, reason = "used on Linux only")]
pub(crate) const WELCOME: [u8; 4] = [MAGIC[0], MAGIC[1], VERSION, b'W'];
/// The bytes that tell a peer of another version the own one.
pub(crate) const VERSION_NOTICE: [u8; 4] = [MAGIC[0], MAGIC[1], VERSION, b'V'];

/// Checks the first bytes of a listener's answer, or all of a welcome.
#[allow(dead_code, reason = "used on Linux only")]
pub(crate) fn parse_welcome(answer: &[u8]) -> Result<(), Broken> {
    match foreign_version(answer) {
        Some(broken) => Err(broken),
        None if answer == WELCOME => Ok(()),
        None => Err(MALFORMED),
    }
}

/// Returns the version in a process's first bytes, if it is another one than this process's.
pub(crate) fn foreign_version(bytes: &[u8]) -> Option<Broken> {
    let version = bytes.strip_prefix(&MAGIC)?.first()?;
    (*version != VERSION).then_some(Broken::Version(*version))
}

const MALFORMED: Broken = Broken::Rule("the listener's answer is malformed");
const VALUE: usize = 4;

/// The length of the answer in bytes.
pub(crate) const ANSWER: usize = 24;

/// Builds the answer to a client.
///
/// It holds the handle values of the client's endpoint, which are valid in the client's own handle table, and a nonce
/// that the channel's ownership page also holds.
pub(crate) fn answer(values: [HandleValue; 3], nonce: u64) -> [u8; ANSWER] {
    let mut answer = [0; ANSWER];
    answer[..2].copy_from_slice(&MAGIC);
    answer[2] = VERSION;
    for (field, value) in answer[4..].chunks_exact_mut(VALUE).zip(values) {
        field.copy_from_slice(&value.get().to_le_bytes());
    }
    answer[NONCE..].copy_from_slice(&nonce.to_le_bytes());
    answer
}

/// The offset of the nonce in the answer.
const NONCE: usize = 16;

/// Returns the handle values and the nonce of an answer.
pub(crate) fn parse_answer(answer: &[u8]) -> Result<([HandleValue; 3], u64), Broken> {
    let wrong = MALFORMED;
    if let Some(broken) = foreign_version(answer) {
        return Err(broken);
    }
    let Some([VERSION, 0, values @ ..]) = answer.strip_prefix(&MAGIC) else { return Err(wrong) };
    if answer.len() != ANSWER {
        return Err(wrong);
    }
    let value = |index: usize| {
        let bytes = values[index * VALUE..][..VALUE].try_into().map_err(|_| wrong)?;
        HandleValue::try_from(u64::from(u32::from_le_bytes(bytes))).map_err(|_| wrong)
    };
    let values = [value(0)?, value(1)?, value(2)?];
    if values[0] == values[1] || values[0] == values[2] || values[1] == values[2] {
        return Err(wrong);
    }
    let nonce = answer[NONCE..].try_into().map_err(|_| wrong)?;
    Ok((values, u64::from_le_bytes(nonce)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: u32) -> HandleValue {
        HandleValue::try_from(4 + 4 * u64::from(index)).expect("a value")
    }

    #[test]
    fn parse_accepts_a_built_answer_and_rejects_any_change() {
        let values = [value(1), value(2), value(70_000)];
        let right = answer(values, 0x1234_5678_9abc_def0);
        assert_eq!(parse_answer(&right), Ok((values, 0x1234_5678_9abc_def0)));
        for length in 0..ANSWER {
            assert!(parse_answer(&right[..length]).is_err());
        }
        assert!(parse_answer(&[&right[..], &[0]].concat()).is_err());
        // The bytes of the magic number and of the version, and the highest byte of each handle value.
        for index in [0, 1, 2, 3, 7, 11, 15] {
            let mut wrong = right;
            wrong[index] = 0xff;
            assert!(parse_answer(&wrong).is_err(), "{index}");
        }
        assert!(parse_answer(&answer([value(1), value(2), value(1)], 0)).is_err());
    }
}
