//! The answer by which a Windows listener gives a client its endpoint of the channel (pure).

use super::wire::Broken;
use crate::handle::HandleValue;

const MAGIC: [u8; 2] = *b"HO";
const VERSION: u8 = 1;
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
    let wrong = "the listener's answer is malformed";
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
