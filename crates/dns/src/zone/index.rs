//! From a name to where it stands.
//!
//! A question for a name that is there touches memory that is far in two places: here, and where the
//! name stands with everything that belongs to it ([`super::entry`]). A slot therefore has the name's
//! hash beside the place, so that another name is hardly ever looked at. Slots are taken in turn from
//! the one that the hash says (linear probing): the next ones are in the same line of the cache.

use xxhash_rust::xxh3::xxh3_64;

/// Where names stand, by their hashes.
#[derive(Debug)]
pub(super) struct Index {
    /// As many as a power of two, a quarter of them empty at least.
    slots: Vec<Slot>,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    place: u32,
}

const EMPTY: Slot = Slot {
    hash: 0,
    place: u32::MAX,
};

impl Default for Index {
    fn default() -> Self {
        Self {
            slots: vec![EMPTY; 4],
            length: 0,
        }
    }
}

impl Index {
    /// Adds a name that isn't there yet.
    pub(super) fn insert(&mut self, name: &[u8], place: usize) {
        self.length += 1;
        if self.length * 4 > self.slots.len() * 3 {
            let larger = vec![EMPTY; self.slots.len() * 2];
            let slots = std::mem::replace(&mut self.slots, larger);
            let taken = slots.into_iter().filter(|slot| slot.place != EMPTY.place);
            taken.for_each(|slot| self.put(slot));
        }
        self.put(Slot {
            hash: hash(name),
            place: u32::try_from(place).expect("zones are of less than 4 GiB"),
        });
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.first(slot.hash);
        while self.slots[at].place != EMPTY.place {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// The places at which the name may stand, if it is there: nearly always one.
    pub(super) fn places(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let hash = hash(name);
        let first = self.first(hash);
        let slots = std::iter::successors(Some(first), |at| Some(self.after(*at)));
        slots
            .map(|at| self.slots[at])
            .take_while(|slot| slot.place != EMPTY.place)
            .filter(move |slot| slot.hash == hash)
            .map(|slot| slot.place as usize)
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn first(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

fn hash(name: &[u8]) -> u32 {
    xxh3_64(name) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_where_it_was_put_and_no_other() {
        let name = |number: u32| number.to_be_bytes();
        let mut index = Index::default();
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
        assert_eq!(Index::default().places(b"\x00").count(), 0);
    }
}
