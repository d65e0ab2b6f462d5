//! From a name to where it stands.
//!
//! A question for a name that is there touches memory that is far in two places: here, and where the
//! name stands with everything that belongs to it ([`super::entry`]). A slot therefore has the place
//! and so much of the name's hash that another name is hardly ever looked at. Slots are taken in turn
//! from the one that the hash says (linear probing): the next ones are in the same line of the cache.

use xxhash_rust::xxh3::xxh3_64;

/// Where names stand, by their hashes.
#[derive(Debug)]
pub(super) struct Index {
    /// As many as a power of two, a quarter of them empty at least.
    slots: Box<[Slot]>,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The upper half of the hash; the lower one says where the slot is.
    hash: u32,
    place: u32,
}

const EMPTY: Slot = Slot {
    hash: 0,
    place: u32::MAX,
};

impl Index {
    /// With room for so many names.
    pub(super) fn with_capacity(names: usize) -> Self {
        let slots = (names + names / 3 + 1).next_power_of_two();
        Self {
            slots: vec![EMPTY; slots].into(),
            length: 0,
        }
    }

    /// Adds a name that isn't there yet.
    pub(super) fn insert(&mut self, name: &[u8], place: usize) {
        assert!(
            self.length + 1 < self.slots.len(),
            "there was room for fewer"
        );
        let hash = xxh3_64(name);
        let mut at = self.first(hash);
        while self.slots[at].place != EMPTY.place {
            at = self.after(at);
        }
        let place = u32::try_from(place).expect("zones are of less than 4 GiB");
        self.slots[at] = Slot {
            hash: upper(hash),
            place,
        };
        self.length += 1;
    }

    /// The places at which the name may stand, if it is there: nearly always one.
    pub(super) fn places(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let hash = xxh3_64(name);
        let mut at = self.first(hash);
        std::iter::from_fn(move || {
            loop {
                let slot = self.slots[at];
                if slot.place == EMPTY.place {
                    return None;
                }
                at = self.after(at);
                if slot.hash == upper(hash) {
                    return Some(slot.place as usize);
                }
            }
        })
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_where_it_was_put_and_no_other() {
        let name = |number: u32| number.to_be_bytes();
        let mut index = Index::with_capacity(1000);
        (0..1000).for_each(|number| index.insert(&name(number), number as usize));
        assert_eq!(index.len(), 1000);
        for number in 0..1000 {
            assert!(index.places(&name(number)).any(|at| at == number as usize));
        }
        let strangers = (1000..100_000).filter(|number| index.places(&name(*number)).count() > 0);
        assert!(strangers.count() < 10);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(Index::with_capacity(0).places(b"\x00").count(), 0);
    }
}
