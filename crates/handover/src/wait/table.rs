//! `Table`: values under numbers, and under keys that may repeat.
//!
//! A number says at which index its value is, so a wait finds a member without a search. Values with keys of the same hash form
//! a chain, which only changes of the table follow. std's maps would touch more memory for each event, and add ten kilobytes to
//! each program.

use std::hash::{BuildHasher, RandomState};

/// A value that knows its key.
pub(super) trait Keyed {
    fn key(&self) -> u64;
}

/// Stands for no index.
const NONE: u32 = u32::MAX;
/// A slot that was used so often isn't used again, so no number returns. The highest bit of each number stays zero.
const MAX_GENERATION: u32 = i32::MAX.unsigned_abs();
const MIN_CHAINS: usize = 8;

#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    /// The index of the slot that was emptied last. Each empty slot has the index of the one before.
    free: u32,
    /// The number of values.
    count: usize,
    /// The index of the first value of each chain. Their number is a power of two.
    chains: Vec<u32>,
    /// Chosen at random, so that no other program can choose keys that all form one chain.
    multiplier: u64,
}

#[derive(Debug)]
struct Slot<T> {
    /// How many values the slot has had. It is the upper half of the value's number, and the index the lower one.
    generation: u32,
    /// The neighbours in the chain. In an empty slot, `next` is the next empty one.
    next: u32,
    previous: u32,
    value: Option<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, count: 0, chains: Vec::new(), multiplier: 0 }
    }
}

impl<T: Keyed> Table<T> {
    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Returns the number that the next value gets.
    pub(super) fn next_number(&self) -> u64 {
        match self.slots.get(self.free as usize) {
            Some(slot) => number(slot.generation, self.free),
            None => self.slots.len() as u64,
        }
    }

    /// Adds a value, and returns its number.
    pub(super) fn insert(&mut self, value: T) -> u64 {
        if self.count == self.chains.len() {
            self.add_chains();
        }
        let number = self.next_number();
        let index = index_of(number);
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                self.free = slot.next;
                slot.value = Some(value);
            }
            None => self.slots.push(Slot { generation: 0, next: NONE, previous: NONE, value: Some(value) }),
        }
        self.count += 1;
        self.link(index);
        number
    }

    /// Returns the value with this number.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let slot = self.slots.get(index_of(number) as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == generation_of(number))
    }

    /// Returns the value with this number.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let slot = self.slots.get_mut(index_of(number) as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == generation_of(number))
    }

    /// Returns the number of a value that has this key.
    pub(super) fn find(&self, key: u64) -> Option<u64> {
        let mut index = *self.chains.get(self.chain_of(key))?;
        while index != NONE {
            let slot = &self.slots[index as usize];
            if slot.value.as_ref().is_some_and(|value| value.key() == key) {
                return Some(number(slot.generation, index));
            }
            index = slot.next;
        }
        None
    }

    /// Removes the value with this number.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.get(number)?;
        let index = index_of(number);
        let slot = &mut self.slots[index as usize];
        let (next, previous) = (slot.next, slot.previous);
        let value = slot.value.take()?;
        slot.generation += 1;
        if slot.generation <= MAX_GENERATION {
            slot.next = self.free;
            self.free = index;
        }
        self.count -= 1;
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
        if previous == NONE {
            let chain = self.chain_of(value.key());
            self.chains[chain] = next;
        } else {
            self.slots[previous as usize].next = next;
        }
        Some(value)
    }

    /// Returns all values with their numbers.
    pub(super) fn into_values(self) -> impl Iterator<Item = (u64, T)> {
        let slots = (0..).zip(self.slots);
        slots.filter_map(|(index, slot)| Some((number(slot.generation, index), slot.value?)))
    }

    /// Returns the index of the chain to which a key belongs.
    fn chain_of(&self, key: u64) -> usize {
        // The highest bits of the product depend on all bits of the key.
        let bits = self.chains.len().trailing_zeros();
        let hash = key.wrapping_mul(self.multiplier) >> (64 - bits.min(63));
        usize::try_from(hash).unwrap_or_default()
    }

    /// Puts a value at the beginning of its chain.
    fn link(&mut self, index: u32) {
        let Some(value) = &self.slots[index as usize].value else { return };
        let chain = self.chain_of(value.key());
        let next = std::mem::replace(&mut self.chains[chain], index);
        let slot = &mut self.slots[index as usize];
        (slot.next, slot.previous) = (next, NONE);
        if next != NONE {
            self.slots[next as usize].previous = index;
        }
    }

    /// Doubles the number of chains.
    fn add_chains(&mut self) {
        if self.chains.is_empty() {
            self.multiplier = RandomState::new().hash_one(()) | 1;
        }
        self.chains = vec![NONE; (self.chains.len() * 2).max(MIN_CHAINS)];
        (0..).zip(0..self.slots.len()).for_each(|(index, _)| self.link(index));
    }
}

fn number(generation: u32, index: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

fn index_of(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

fn generation_of(number: u64) -> u32 {
    (number >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Value(u64, u32);

    impl Keyed for Value {
        fn key(&self) -> u64 {
            self.0
        }
    }

    /// Compares with a map of std's, while values come and go.
    #[test]
    fn values_are_found_by_number_and_by_key() {
        let (mut table, mut expected) = (Table::default(), BTreeMap::new());
        let mut state = 1_u32;
        let mut used = std::collections::BTreeSet::new();
        let rounds = if cfg!(miri) { 400 } else { 20_000 };
        for round in 0..rounds {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = state >> 8;
            // It grows at first, then shrinks.
            if random % 16 < if round < rounds / 2 { 10 } else { 6 } {
                let value = Value(u64::from(random / 16 % 300) << 55, round);
                let number = table.next_number();
                assert_eq!(table.insert(value), number);
                assert!(used.insert(number) && number < 1 << 63, "{number:x} was used before");
                expected.insert(number, value);
            } else if let Some((number, value)) = expected.pop_first() {
                assert_eq!(table.get(number), Some(&value));
                assert_eq!(table.get_mut(number).copied(), Some(value));
                let found = table.find(value.0).expect("the key has a value");
                assert_eq!(expected.get(&found).unwrap_or(&value).0, value.0);
                assert_eq!(table.remove(number), Some(value));
                assert_eq!(table.get(number), None);
                assert_eq!(table.remove(number), None);
            }
            assert_eq!(table.len(), expected.len());
            assert!(table.chains.len() >= table.len());
        }
        assert_eq!(table.find(1), None);
        for key in expected.values().map(|value| value.0).collect::<Vec<_>>() {
            while let Some(number) = table.find(key) {
                let value = table.remove(number);
                assert_eq!(value, expected.remove(&number));
                assert_eq!(value.map(|value| value.0), Some(key));
            }
        }
        assert_eq!((table.len(), expected.len()), (0, 0));
    }

    #[test]
    fn no_number_returns_after_the_last_generation() {
        let mut table = Table::default();
        let first = table.insert(Value(1, 0));
        table.slots[0].generation = MAX_GENERATION;
        let last = number(MAX_GENERATION, 0);
        assert_eq!((table.get(first), table.get(last)), (None, Some(&Value(1, 0))));
        assert_eq!(table.remove(last), Some(Value(1, 0)));
        assert_eq!(table.insert(Value(2, 0)), 1);
        assert_eq!(table.insert(Value(3, 0)), 2);
        assert_eq!(table.into_values().collect::<Vec<_>>(), [(1, Value(2, 0)), (2, Value(3, 0))]);
    }

    #[test]
    fn chains_are_short_for_all_sorts_of_keys() {
        for shift in [0, 8, 32, 54] {
            let mut table = Table::default();
            for key in 0..1000 {
                table.insert(Value(u64::from(key) << shift, key));
            }
            let lengths = table.chains.iter().map(|first| {
                let next = |index: &u32| Some(table.slots[*index as usize].next).filter(|next| *next != NONE);
                std::iter::successors(Some(*first).filter(|first| *first != NONE), next).count()
            });
            let lengths: Vec<usize> = lengths.collect();
            assert_eq!(lengths.iter().sum::<usize>(), 1000);
            assert!(lengths.iter().all(|length| *length < 50), "{shift}: {lengths:?}");
        }
    }

    #[test]
    fn empty_table_has_nothing() {
        let mut table = Table::<Value>::default();
        assert_eq!((table.find(0), table.get(0)), (None, None));
        assert_eq!(table.remove(0), None);
        assert_eq!((table.len(), table.next_number(), table.into_values().count()), (0, 0, 0));
    }
}
