//! Calls whose answer has an unknown length: they are repeated with a larger buffer until the answer fits.

use super::{SysError, SysResult};

/// Calls `ask` with a buffer of `first` elements, and doubles the buffer each time that `ask` returns `None` because
/// the answer didn't fit. If even `most` elements are too few, which no real answer needs, it fails with an error of
/// the call.
pub(super) fn with_room<T: Clone + Default, A>(
    call: &'static str,
    first: usize,
    most: usize,
    mut ask: impl FnMut(&mut [T]) -> SysResult<Option<A>>,
) -> SysResult<A> {
    let mut buffer = vec![T::default(); first];
    loop {
        if let Some(answer) = ask(&mut buffer)? {
            return Ok(answer);
        }
        if buffer.len() >= most {
            let reason = format!("the answer has more than {} elements", buffer.len());
            return Err(SysError::new(call, std::io::Error::other(reason)));
        }
        buffer.resize(buffer.len() * 2, T::default());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn buffer_is_doubled_until_the_answer_fits() -> io::Result<()> {
        let asked = |needed: usize| {
            let mut lengths = Vec::new();
            let answer = with_room("a call", 4, 16, |buffer: &mut [u16]| {
                lengths.push(buffer.len());
                Ok((buffer.len() >= needed).then(|| buffer.to_vec()))
            });
            (answer, lengths)
        };
        assert_eq!((asked(4).0?, asked(4).1), (vec![0; 4], vec![4]));
        assert_eq!((asked(9).0?, asked(9).1), (vec![0; 16], vec![4, 8, 16]));
        let (too_much, lengths) = asked(17);
        assert!(too_much.is_err_and(|error| error.to_string().contains("more than 16")));
        assert_eq!(lengths, [4, 8, 16]);
        let failed: SysResult<()> =
            with_room("a call", 4, 16, |_: &mut [u16]| Err(SysError::unexpected("a call", "no")));
        assert!(failed.is_err_and(|error| error.to_string() == "a call: no"));
        Ok(())
    }
}
