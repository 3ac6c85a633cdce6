//! Asking with more room until the answer fits.

use std::io;

/// Asks with room for so many first, and with twice as many each time that it answers `None` because that is too little; an
/// error if even the most, which no answer needs, is too little.
pub(super) fn with_room<T: Clone + Default, A>(
    first: usize,
    most: usize,
    mut ask: impl FnMut(&mut [T]) -> io::Result<Option<A>>,
) -> io::Result<A> {
    let mut room = vec![T::default(); first];
    loop {
        if let Some(answer) = ask(&mut room)? {
            return Ok(answer);
        }
        if room.len() >= most {
            return Err(io::Error::other(format!("the answer has more than {} parts", room.len())));
        }
        room.resize(room.len() * 2, T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_twice_the_room_until_it_is_enough() -> io::Result<()> {
        let asked = |needed: usize| {
            let mut rooms = Vec::new();
            let answer = with_room(4, 16, |room: &mut [u16]| {
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
        let failed: io::Result<()> = with_room(4, 16, |_: &mut [u16]| Err(io::Error::other("no")));
        assert!(failed.is_err_and(|error| error.to_string() == "no"));
        Ok(())
    }
}
