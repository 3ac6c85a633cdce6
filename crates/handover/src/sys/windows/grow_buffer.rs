//! Asking with more room until the answer fits.

use super::{SysError, SysResult};

/// Asks with room for so many first, and with twice as many each time that it answers `None` because that is
/// too little; an error of the call if even the most, which no answer needs, is too little.
pub(super) fn with_room<T: Clone + Default, A>(
    call: &'static str,
    first: usize,
    most: usize,
    mut ask: impl FnMut(&mut [T]) -> SysResult<Option<A>>,
) -> SysResult<A> {
    let mut room = vec![T::default(); first];
    loop {
        if let Some(answer) = ask(&mut room)? {
            return Ok(answer);
        }
        if room.len() >= most {
            let reason = format!("the answer has more than {} parts", room.len());
            return Err(SysError::new(call, std::io::Error::other(reason)));
        }
        room.resize(room.len() * 2, T::default());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn there_is_twice_the_room_until_it_is_enough() -> io::Result<()> {
        let asked = |needed: usize| {
            let mut rooms = Vec::new();
            let answer = with_room("a call", 4, 16, |room: &mut [u16]| {
                rooms.push(room.len());
                Ok((room.len() >= needed).then(|| room.to_vec()))
            });
            (answer, rooms)
        };
        assert_eq!((asked(4).0?, asked(4).1), (vec![0; 4], vec![4]));
        assert_eq!((asked(9).0?, asked(9).1), (vec![0; 16], vec![4, 8, 16]));
        let (too_much, rooms) = asked(17);
        assert!(too_much.is_err_and(|error| error.to_string().contains("more than 16")));
        assert_eq!(rooms, [4, 8, 16]);
        let failed: SysResult<()> =
            with_room("a call", 4, 16, |_: &mut [u16]| Err(SysError::unexpected("a call", "no")));
        assert!(failed.is_err_and(|error| error.to_string() == "a call: no"));
        Ok(())
    }
}
