//! Who owns what is under way: a page of memory that both ends of a channel share.
//!
//! Handles are put into the receiver's table before it reads of them, or stay open in the sender's until the
//! receiver has fetched them. If an end closes in between, one of the two has to close what is under way, and
//! not both: the number may be another object's a moment later. Each message with objects is therefore
//! *given* and *taken* by an atomic step on a word that both see, and so is the end of giving and of taking.
//!
//! The weaker end can write what it likes here. All that the stronger end concludes from it is which handles
//! in the weaker process's own table are that process's to close.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::handle::ProcessIdentity;

/// How many words the page has.
pub(crate) const WORDS: usize = 16;

const MAGIC: u64 = u64::from_le_bytes(*b"handover");
const VERSION: u64 = 1;

/// A view of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnershipPage<'a>(pub(crate) &'a [AtomicU64; WORDS]);

impl<'a> OwnershipPage<'a> {
    /// The first entry: whose channel it is, and a number that no other channel has. Made by the stronger
    /// end.
    pub(crate) fn open(self, stronger: ProcessIdentity, nonce: u64) {
        self.0[2].store(stronger.id.into(), SeqCst);
        self.0[3].store(stronger.created, SeqCst);
        self.0[4].store(nonce, SeqCst);
        self.0[1].store(VERSION, SeqCst);
        self.0[0].store(MAGIC, SeqCst);
    }

    /// The stronger end's process, as it says itself; `None` if this is no ledger of this version.
    pub(crate) fn stronger(self) -> Option<ProcessIdentity> {
        if self.0[0].load(SeqCst) != MAGIC || self.0[1].load(SeqCst) != VERSION {
            return None;
        }
        let id = u32::try_from(self.0[2].load(SeqCst)).ok()?;
        Some(ProcessIdentity::new(id, self.0[3].load(SeqCst)))
    }

    pub(crate) fn nonce(self) -> u64 {
        self.0[4].load(SeqCst)
    }

    /// The weaker end takes its handles to the channel. False: they were taken, or the stronger end has given
    /// up.
    pub(crate) fn take_end(self) -> bool {
        self.0[5].compare_exchange(0, END_TAKEN, SeqCst, SeqCst).is_ok()
    }

    /// The stronger end gives up waiting for that; false if it has happened.
    pub(crate) fn withdraw_end(self) -> bool {
        self.0[5].compare_exchange(0, END_WITHDRAWN, SeqCst, SeqCst).is_ok()
    }

    /// What the stronger end puts into the weaker process.
    pub(crate) fn pushed(self) -> Turnover<'a> {
        Turnover { word: &self.0[6], cut_at: &self.0[7] }
    }

    /// What the stronger end takes out of the weaker process.
    pub(crate) fn pulled(self) -> Turnover<'a> {
        Turnover { word: &self.0[8], cut_at: &self.0[9] }
    }

    /// The number of messages up to which the stronger end has its own copies of what it pulls.
    pub(crate) fn fetched(self) -> u64 {
        self.0[10].load(SeqCst)
    }

    pub(crate) fn set_fetched(self, count: u64) {
        self.0[10].store(count, SeqCst);
    }
}

const END_TAKEN: u64 = 1;
const END_WITHDRAWN: u64 = 2;

/// One direction: up to which message its objects are the receiver's, and how either side has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turnover<'a> {
    /// The count, and the flags below.
    word: &'a AtomicU64,
    /// The message at which giving was cut off; means something with that flag.
    cut_at: &'a AtomicU64,
}

const GIVING_ENDED: u64 = 1;
const GIVING_CUT: u64 = 2;
const TAKING_ENDED: u64 = 4;
const FLAGS: u64 = 7;
const COUNT_SHIFT: u32 = 3;

impl Turnover<'_> {
    /// The sender lets go of a message's objects, which the receiver can read of by now. False: they are the
    /// sender's still, because the receiver has ended without them.
    pub(crate) fn give(self, number: u64) -> bool {
        self.advance(number, |word| word & TAKING_ENDED == 0)
    }

    /// The receiver takes a message's objects. False: they are the sender's, which has given up.
    pub(crate) fn take(self, number: u64) -> bool {
        self.advance(number, |word| {
            word & GIVING_ENDED == 0 && (word & GIVING_CUT == 0 || number < self.cut_at.load(SeqCst))
        })
    }

    fn advance(self, number: u64, may: impl Fn(u64) -> bool) -> bool {
        let mut word = self.word.load(SeqCst);
        loop {
            if word >> COUNT_SHIFT > number {
                return true;
            }
            if !may(word) {
                return false;
            }
            // Any flag that is set meanwhile changes the word, and then it is looked at again.
            let next = (number + 1) << COUNT_SHIFT | word & FLAGS;
            match self.word.compare_exchange_weak(word, next, SeqCst, SeqCst) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The sender could not write this message whole, and sends no more. True: the receiver has taken it all
    /// the same. What was sent before goes on as if nothing had been.
    pub(crate) fn cut_giving(self, number: u64) -> bool {
        self.cut_at.store(number, SeqCst);
        self.word.fetch_or(GIVING_CUT, SeqCst) >> COUNT_SHIFT > number
    }

    /// The sender takes back what wasn't taken: from now on, messages from the answer up are not.
    pub(crate) fn end_giving(self) -> u64 {
        self.word.fetch_or(GIVING_ENDED, SeqCst) >> COUNT_SHIFT
    }

    /// The receiver takes no more: messages up to the answer are its own, read or not, and no later ones.
    pub(crate) fn end_taking(self) -> u64 {
        self.word.fetch_or(TAKING_ENDED, SeqCst) >> COUNT_SHIFT
    }

    /// Whether the sender says itself that the last message may be half a one.
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
    fn it_names_its_maker() {
        let page = page();
        assert_eq!(OwnershipPage(&page).stronger(), None);
        let identity = ProcessIdentity::new(264, 0x1dc_5b4a_6f9d_3e80);
        OwnershipPage(&page).open(identity, 7);
        assert_eq!((OwnershipPage(&page).stronger(), OwnershipPage(&page).nonce()), (Some(identity), 7));
        assert_eq!(OwnershipPage(&page).fetched(), 0);
        OwnershipPage(&page).set_fetched(3);
        assert_eq!(OwnershipPage(&page).fetched(), 3);
        page[1].store(2, SeqCst);
        assert_eq!(OwnershipPage(&page).stronger(), None, "another version");
    }

    #[test]
    fn the_weaker_end_is_taken_once_or_withdrawn() {
        let page = page();
        assert!(OwnershipPage(&page).take_end());
        assert!(!OwnershipPage(&page).take_end() && !OwnershipPage(&page).withdraw_end());
        let page = self::page();
        assert!(OwnershipPage(&page).withdraw_end());
        assert!(!OwnershipPage(&page).take_end());
    }

    #[test]
    fn what_was_sent_before_a_cut_goes_on() {
        let page = page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(!turnover.cut_giving(3));
        assert!(turnover.giving_has_ended());
        assert!(turnover.take(1) && turnover.take(2) && !turnover.take(3) && turnover.take(2));
        // The end takes back what the cut had left.
        let page = self::page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(turnover.take(0) && !turnover.cut_giving(3));
        assert_eq!(turnover.end_giving(), 1);
        assert!(turnover.take(0) && !turnover.take(1));
        // The receiver had all of it.
        let page = self::page();
        assert!(OwnershipPage(&page).pushed().take(3) && OwnershipPage(&page).pushed().cut_giving(3));
    }

    #[test]
    fn what_is_given_is_taken() {
        let page = page();
        let turnover = OwnershipPage(&page).pushed();
        assert!(turnover.give(0) && turnover.take(0));
        // The receiver can be first.
        assert!(turnover.take(1) && turnover.give(1));
        // Messages without objects take no part.
        assert!(turnover.give(9) && turnover.take(9));
        assert_eq!(turnover.end_giving(), 10);
        assert!(turnover.take(9), "what was given stays given");
        assert!(!turnover.take(10));
        assert!(!turnover.taking_has_ended());
    }

    #[test]
    fn what_the_receiver_has_not_taken_goes_back() {
        let page = page();
        let turnover = OwnershipPage(&page).pulled();
        assert!(turnover.give(0));
        assert_eq!(turnover.end_taking(), 1);
        assert!(turnover.give(0), "it was given before the end");
        assert!(!turnover.give(1));
        assert!(turnover.taking_has_ended());
        assert_eq!(turnover.end_giving(), 1);
    }

    /// Whatever the moment at which each side ends, each message has exactly one owner afterwards.
    #[test]
    fn two_threads_never_own_one_message() {
        for round in 0..2000_u64 {
            let page = page();
            let turnover = OwnershipPage(&page).pushed();
            let (reclaimed, taken) = std::thread::scope(|scope| {
                let sender = scope.spawn(move || {
                    for _ in 0..round % 50 {
                        std::hint::spin_loop();
                    }
                    // A send whose write fails, half the time: the sender takes it back.
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
                    // A receiver that reads the message, or that closes and drains what it owns.
                    if round % 3 == 0 { turnover.take(0) } else { turnover.end_taking() == 1 }
                });
                (sender.join().expect("no panic"), receiver.join().expect("no panic"))
            });
            assert!(reclaimed != taken, "round {round}: the sender's {reclaimed}, the receiver's {taken}");
        }
    }

    /// A cut at a later message never costs an earlier one.
    #[test]
    fn a_cut_leaves_what_was_sent_before() {
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
