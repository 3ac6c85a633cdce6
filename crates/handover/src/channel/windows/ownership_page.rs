//! The ownership page: memory that both endpoints of a channel share, and that records the owner of each object in
//! transit (pure).
//!
//! A pushed handle is in the receiver's handle table before the receiver reads its value. A handle to be pulled stays
//! open in the sender until the receiver has fetched it. If an endpoint is closed in between, exactly one of the two
//! must close the object: after a second close, the handle value could already belong to an unrelated object. So each
//! message with objects is *given* and *taken* by an atomic operation on a word that both share. The end of giving and
//! the end of taking are flags in the same word.
//!
//! The weaker process can write anything to the page. The stronger endpoint only uses it to decide which handles in the
//! weaker process's own table the weaker process closes.
//!
//! Endpoints that can travel also use it so that no object is in transit when one of them does: a sender announces a message
//! with objects before it begins, and the receiver records it once it owns them. An endpoint that is about to move records
//! that first, and then looks for announced messages. A sender does it in the opposite order. So at least one of the two sees
//! the other.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::handle::ProcessIdentity;

/// The number of 64-bit words in the page.
pub(crate) const WORDS: usize = 32;

const MAGIC: u64 = u64::from_le_bytes(*b"handover");
const VERSION: u64 = crate::channel::wire::VERSION as u64;

/// A view of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnershipPage<'a>(pub(crate) &'a [AtomicU64; WORDS]);

impl<'a> OwnershipPage<'a> {
    /// Initializes the page with the stronger process's identity and with the number that identifies the channel. The
    /// stronger endpoint calls this once.
    pub(crate) fn initialize(self, stronger: ProcessIdentity, nonce: u64) {
        self.0[2].store(stronger.id.into(), SeqCst);
        self.0[3].store(stronger.created, SeqCst);
        self.0[4].store(nonce, SeqCst);
        self.0[1].store(VERSION, SeqCst);
        self.0[0].store(MAGIC, SeqCst);
    }

    /// Returns the stronger process's identity as it wrote it itself, or `None` if this is not an ownership page of
    /// this version.
    pub(crate) fn stronger(self) -> Option<ProcessIdentity> {
        if self.0[0].load(SeqCst) != MAGIC || self.0[1].load(SeqCst) != VERSION {
            return None;
        }
        let id = u32::try_from(self.0[2].load(SeqCst)).ok()?;
        Some(ProcessIdentity::new(id, self.0[3].load(SeqCst)))
    }

    /// Returns the version of an ownership page, or `None` if this isn't one.
    pub(crate) fn version(self) -> Option<u64> {
        (self.0[0].load(SeqCst) == MAGIC).then(|| self.0[1].load(SeqCst))
    }

    pub(crate) fn nonce(self) -> u64 {
        self.0[4].load(SeqCst)
    }

    /// Takes the weaker endpoint. Returns false if it has already been taken, or if the stronger process has withdrawn
    /// it.
    pub(crate) fn take_endpoint(self) -> bool {
        self.0[5].compare_exchange(0, ENDPOINT_TAKEN, SeqCst, SeqCst).is_ok()
    }

    /// Withdraws the weaker endpoint, after waiting for it to be taken. Returns false if it has been taken.
    pub(crate) fn withdraw_endpoint(self) -> bool {
        self.0[5].compare_exchange(0, ENDPOINT_WITHDRAWN, SeqCst, SeqCst).is_ok()
    }

    /// Returns the ownership of objects that the stronger endpoint puts into the weaker process.
    pub(crate) fn pushed(self) -> Ownership<'a> {
        Ownership { word: &self.0[6], cut_at: &self.0[7] }
    }

    /// Returns the ownership of objects that the stronger endpoint duplicates out of the weaker process.
    pub(crate) fn pulled(self) -> Ownership<'a> {
        Ownership { word: &self.0[8], cut_at: &self.0[9] }
    }

    /// Returns the ownership of objects that the endpoint of this side sends while both endpoints are in one process. If
    /// neither process may duplicate, it has only the flags.
    pub(crate) fn of_side(self, side: usize) -> Ownership<'a> {
        Ownership { word: &self.0[22 + 2 * side], cut_at: &self.0[23 + 2 * side] }
    }

    /// Begins to move the endpoint of this side. Returns the number of the move, for [`end_move`](Self::end_move). Fails if
    /// the other endpoint is moving too, or if an object is in transit.
    pub(crate) fn begin_move(self, side: usize) -> Result<u64, Unmovable> {
        let moves = &self.0[12 + side];
        let begin = |moves: u64| Some(if moves % 2 == 0 { moves + 1 } else { moves.wrapping_add(2) });
        let number = moves.fetch_update(SeqCst, SeqCst, begin).map_or(1, |before| begin(before).unwrap_or(1));
        let is_free = if self.is_moving(1 - side) {
            Err(Unmovable::OtherMoves)
        } else if (0..2).any(|side| self.0[14 + side].load(SeqCst) > self.0[16 + side].load(SeqCst)) {
            Err(Unmovable::ObjectsInTransit)
        } else {
            return Ok(number);
        };
        self.cancel_move(side, number);
        is_free
    }

    /// Ends a move that didn't take place.
    pub(crate) fn cancel_move(self, side: usize, number: u64) {
        let _ = self.0[12 + side].compare_exchange(number, number.wrapping_sub(1), SeqCst, SeqCst);
    }

    /// Ends a move, unless the endpoint has already begun the next one.
    pub(crate) fn end_move(self, side: usize, number: u64) {
        let _ = self.0[12 + side].compare_exchange(number, number.wrapping_add(1), SeqCst, SeqCst);
    }

    /// Ends the move of the endpoint that has just arrived, if the process that sent it hasn't done so yet.
    pub(crate) fn arrived(self, side: usize) {
        let number = self.0[12 + side].load(SeqCst);
        if number % 2 == 1 {
            self.end_move(side, number);
        }
    }

    /// Returns twice the number of moves of this side's endpoint, and one more while it is moving.
    pub(crate) fn moves(self, side: usize) -> u64 {
        self.0[12 + side].load(SeqCst)
    }

    pub(crate) fn is_moving(self, side: usize) -> bool {
        self.moves(side) % 2 == 1
    }

    /// Announces a message with objects from this side, by the number of the message after it. Returns the earlier number.
    pub(crate) fn announce(self, side: usize, next: u64) -> u64 {
        self.0[14 + side].swap(next, SeqCst)
    }

    /// Records that the objects of a message from this side have arrived, by the number of the message after it.
    pub(crate) fn note_received(self, side: usize, next: u64) {
        self.0[16 + side].store(next, SeqCst);
    }

    /// Returns the numbers of the messages that the endpoint of this side sends and receives next, which the process that
    /// it was in has recorded.
    pub(crate) fn next_numbers(self, side: usize) -> [u64; 2] {
        [18, 20].map(|word| self.0[word + side].load(SeqCst))
    }

    pub(crate) fn set_next_numbers(self, side: usize, numbers: [u64; 2]) {
        for (word, number) in [18, 20].into_iter().zip(numbers) {
            self.0[word + side].store(number, SeqCst);
        }
    }

    /// Returns the number of messages whose objects the stronger endpoint has fetched.
    pub(crate) fn fetched(self) -> u64 {
        self.0[10].load(SeqCst)
    }

    pub(crate) fn set_fetched(self, count: u64) {
        self.0[10].store(count, SeqCst);
    }

    /// Records whether the process with this id, which has the endpoint of this side, accepts sockets from a weaker one.
    pub(crate) fn set_accepts_sockets(self, side: usize, process: u32, accepts: bool) {
        self.0[26 + side].store(if accepts { process.into() } else { 0 }, SeqCst);
    }

    /// Returns whether the process with this id, which has the endpoint of this side, accepts sockets from a weaker one.
    pub(crate) fn accepts_sockets(self, side: usize, process: u32) -> bool {
        process != 0 && self.0[26 + side].load(SeqCst) == process.into()
    }
}

/// The reason why an endpoint can't move now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmovable {
    OtherMoves,
    ObjectsInTransit,
}

const ENDPOINT_TAKEN: u64 = 1;
const ENDPOINT_WITHDRAWN: u64 = 2;

/// The ownership in one direction: the number of messages whose objects belong to the receiver, and whether each side
/// has stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ownership<'a> {
    /// The number of messages, and the flags below.
    word: &'a AtomicU64,
    /// The number of the message at which giving was cut. Valid only together with the flag `GIVING_CUT`.
    cut_at: &'a AtomicU64,
}

const GIVING_ENDED: u64 = 1;
const GIVING_CUT: u64 = 2;
const TAKING_ENDED: u64 = 4;
const FLAGS: u64 = 7;
const COUNT_SHIFT: u32 = 3;

impl Ownership<'_> {
    /// Gives a message's objects to the receiver, which can already read their values. Returns false if the receiver
    /// has stopped taking before; then the objects still belong to the sender.
    pub(crate) fn give(self, number: u64) -> bool {
        self.advance(number, |word| word & TAKING_ENDED == 0)
    }

    /// Takes a message's objects. Returns false if the sender has withdrawn them; then they belong to the sender.
    pub(crate) fn take(self, number: u64) -> bool {
        self.advance(number, |word| {
            word & GIVING_ENDED == 0 && (word & GIVING_CUT == 0 || number < self.cut_at.load(SeqCst))
        })
    }

    fn advance(self, number: u64, is_allowed: impl Fn(u64) -> bool) -> bool {
        /// An honest peer changes the word once for each message in transit. Only a peer that changes it all the time,
        /// which harms itself alone, can make all attempts fail.
        const ATTEMPTS: u32 = 100_000;
        let mut word = self.word.load(SeqCst);
        for _ in 0..ATTEMPTS {
            if word >> COUNT_SHIFT > number {
                return true;
            }
            if !is_allowed(word) {
                return false;
            }
            // A flag that is set meanwhile changes the word, so the exchange fails and the flags are checked again.
            let next = (number + 1) << COUNT_SHIFT | word & FLAGS;
            match self.word.compare_exchange_weak(word, next, SeqCst, SeqCst) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Records that the sender could not write this message completely and sends no more. Returns true if the receiver
    /// has taken it nevertheless. Earlier messages are not affected.
    pub(crate) fn cut_giving(self, number: u64) -> bool {
        self.cut_at.store(number, SeqCst);
        self.word.fetch_or(GIVING_CUT, SeqCst) >> COUNT_SHIFT > number
    }

    /// Stops giving: the sender withdraws everything that was not taken. Returns the number of the first message that
    /// is withdrawn.
    pub(crate) fn end_giving(self) -> u64 {
        self.word.fetch_or(GIVING_ENDED, SeqCst) >> COUNT_SHIFT
    }

    /// Stops taking. Messages below the returned number belong to the receiver, read or not, and later ones don't.
    pub(crate) fn end_taking(self) -> u64 {
        self.word.fetch_or(TAKING_ENDED, SeqCst) >> COUNT_SHIFT
    }

    /// Returns whether the sender has recorded that its last message may be incomplete.
    pub(crate) fn giving_has_ended(self) -> bool {
        self.word.load(SeqCst) & (GIVING_ENDED | GIVING_CUT) != 0
    }

    pub(crate) fn taking_has_ended(self) -> bool {
        self.word.load(SeqCst) & TAKING_ENDED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> [AtomicU64; WORDS] {
        Default::default()
    }

    #[test]
    fn page_returns_its_creator_and_rejects_another_version() {
        let page = page();
        assert_eq!(OwnershipPage(&page).stronger(), None);
        let identity = ProcessIdentity::new(264, 0x1dc_5b4a_6f9d_3e80);
        OwnershipPage(&page).initialize(identity, 7);
        assert_eq!((OwnershipPage(&page).stronger(), OwnershipPage(&page).nonce()), (Some(identity), 7));
        assert_eq!(OwnershipPage(&page).fetched(), 0);
        OwnershipPage(&page).set_fetched(3);
        assert_eq!(OwnershipPage(&page).fetched(), 3);
        page[1].store(2, SeqCst);
        assert_eq!(OwnershipPage(&page).stronger(), None, "another version");
        assert_eq!(OwnershipPage(&page).version(), Some(2));
    }

    #[test]
    fn weaker_endpoint_is_taken_once_or_withdrawn() {
        let page = page();
        assert!(OwnershipPage(&page).take_endpoint());
        assert!(!OwnershipPage(&page).take_endpoint() && !OwnershipPage(&page).withdraw_endpoint());
        let page = self::page();
        assert!(OwnershipPage(&page).withdraw_endpoint());
        assert!(!OwnershipPage(&page).take_endpoint());
    }

    #[test]
    fn messages_before_a_cut_can_be_taken() {
        let page = page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(!turnover.cut_giving(3));
        assert!(turnover.giving_has_ended());
        assert!(turnover.take(1) && turnover.take(2) && !turnover.take(3) && turnover.take(2));
        // `end_giving` also withdraws the messages before the cut that were not taken.
        let page = self::page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(turnover.take(0) && !turnover.cut_giving(3));
        assert_eq!(turnover.end_giving(), 1);
        assert!(turnover.take(0) && !turnover.take(1));
        // The receiver had already taken the message.
        let page = self::page();
        assert!(OwnershipPage(&page).pushed().take(3) && OwnershipPage(&page).pushed().cut_giving(3));
    }

    #[test]
    fn given_messages_can_be_taken() {
        let page = page();
        let turnover = OwnershipPage(&page).pushed();
        assert!(turnover.give(0) && turnover.take(0));
        // The receiver can be the first.
        assert!(turnover.take(1) && turnover.give(1));
        // Messages without objects are skipped.
        assert!(turnover.give(9) && turnover.take(9));
        assert_eq!(turnover.end_giving(), 10);
        assert!(turnover.take(9), "a given message stays given");
        assert!(!turnover.take(10));
        assert!(!turnover.taking_has_ended());
    }

    #[test]
    fn messages_that_were_not_taken_return_to_the_sender() {
        let page = page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(turnover.give(0));
        assert_eq!(turnover.end_taking(), 1);
        assert!(turnover.give(0), "it was given before taking stopped");
        assert!(!turnover.give(1));
        assert!(turnover.taking_has_ended());
        assert_eq!(turnover.end_giving(), 1);
    }

    #[test]
    fn endpoint_moves_only_without_objects_in_transit() {
        let page = page();
        let page = OwnershipPage(&page);
        assert_eq!(page.announce(1, 5), 0);
        assert_eq!(page.begin_move(0), Err(Unmovable::ObjectsInTransit));
        assert!(!page.is_moving(0));
        page.note_received(1, 5);
        let number = page.begin_move(0).expect("the objects have arrived");
        assert!(page.is_moving(0));
        assert_eq!(page.begin_move(1), Err(Unmovable::OtherMoves));
        // The endpoint has arrived and moves on, before the process that sent it first knows.
        page.arrived(0);
        assert!(!page.is_moving(0));
        let next = page.begin_move(0).expect("it has arrived");
        page.end_move(0, number);
        assert!(page.is_moving(0), "the first move has ended before");
        let again = page.begin_move(0).expect("the process of the last move was killed");
        page.end_move(0, next);
        assert!(page.is_moving(0));
        page.end_move(0, again);
        assert!(!page.is_moving(0));
        let moves = page.moves(0);
        let cancelled = page.begin_move(0).expect("it is free");
        page.cancel_move(0, cancelled);
        assert_eq!(page.moves(0), moves);
        page.set_next_numbers(1, [7, 8]);
        assert_eq!((page.next_numbers(1), page.next_numbers(0)), ([7, 8], [0, 0]));
    }

    /// At most one of a sender and a move goes on.
    #[test]
    fn send_of_objects_and_move_exclude_each_other() {
        for round in 0..2000_u64 {
            let page = page();
            let page = OwnershipPage(&page);
            let (sends, moves) = std::thread::scope(|scope| {
                let sender = scope.spawn(move || {
                    for _ in 0..round % 50 {
                        std::hint::spin_loop();
                    }
                    page.announce(1, 1);
                    !page.is_moving(0)
                });
                let mover = scope.spawn(move || {
                    for _ in 0..round % 47 {
                        std::hint::spin_loop();
                    }
                    page.begin_move(0).is_ok()
                });
                (sender.join().expect("no panic"), mover.join().expect("no panic"))
            });
            assert!(!(sends && moves), "round {round}");
        }
    }

    /// Each message has exactly one owner afterwards, at whichever moment each side stops.
    #[test]
    fn concurrent_threads_never_own_the_same_message() {
        for round in 0..2000_u64 {
            let page = page();
            let turnover = OwnershipPage(&page).pushed();
            let (reclaimed, taken) = std::thread::scope(|scope| {
                let sender = scope.spawn(move || {
                    for _ in 0..round % 50 {
                        std::hint::spin_loop();
                    }
                    // A send whose write fails, in half of the rounds: the sender withdraws the message.
                    match round % 4 {
                        0 | 2 => !turnover.give(0),
                        1 => turnover.end_giving() == 0,
                        _ => !turnover.cut_giving(0),
                    }
                });
                let receiver = scope.spawn(move || {
                    for _ in 0..round % 47 {
                        std::hint::spin_loop();
                    }
                    // A receiver that reads the message, or one that is closed and receives what it owns.
                    if round % 3 == 0 { turnover.take(0) } else { turnover.end_taking() == 1 }
                });
                (sender.join().expect("no panic"), receiver.join().expect("no panic"))
            });
            assert!(reclaimed != taken, "round {round}: the sender's {reclaimed}, the receiver's {taken}");
        }
    }

    /// A cut at a later message never affects an earlier one.
    #[test]
    fn cut_does_not_affect_earlier_messages() {
        for round in 0..2000_u64 {
            let page = page();
            let turnover = OwnershipPage(&page).pulled();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for _ in 0..round % 50 {
                        std::hint::spin_loop();
                    }
                    assert!(!turnover.cut_giving(3));
                });
                scope.spawn(move || {
                    for _ in 0..round % 47 {
                        std::hint::spin_loop();
                    }
                    assert!(turnover.take(1) && turnover.take(2), "round {round}");
                });
            });
        }
    }
}
