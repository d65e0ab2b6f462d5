//! A name and what it has, in one piece.
//!
//! | octets | what |
//! |---|---|
//! | 1 | the name's length |
//! | as many | the name |
//! | 4 | its zone's number |
//! | 4 | the number of its [particulars](super::Particulars), from 1 on; 0 without |
//! | 4 | the number of its first set in the zone |
//! | 2 | how many sets it has |
//!
//! and for each set, in the order of their types, its type (2), how many records it has (2), their
//! time to live (4), how many octets they are (4), and the octets. Numbers are in the machine's own
//! order: entries never leave the process.

use crate::owner::Owner;
use crate::records::{RecordSet, Records, Signature};
use domain::base::iana::Rtype;

/// An entry, read where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) zone: u32,
    pub(super) particulars: u32,
    first_set: u32,
    set_count: u16,
    sets: Reader<'a>,
}

impl<'a> Entry<'a> {
    /// The entry at the beginning of these octets.
    pub(super) fn read(octets: &'a [u8]) -> Self {
        let mut octets = Reader(octets);
        let [length] = octets.take();
        Self {
            name: octets.slice(usize::from(length)),
            zone: u32::from_ne_bytes(octets.take()),
            particulars: u32::from_ne_bytes(octets.take()),
            first_set: u32::from_ne_bytes(octets.take()),
            set_count: u16::from_ne_bytes(octets.take()),
            sets: octets,
        }
    }

    /// Its sets, each with the place among its zone's signatures that is its own.
    pub(super) fn sets(
        &self,
        signatures: &'a [Signature],
    ) -> impl Iterator<Item = Records<'a>> + use<'a> {
        let mut octets = self.sets;
        let first = self.first_set as usize;
        (0..usize::from(self.set_count)).map(move |number| {
            let rtype = Rtype::from_int(u16::from_ne_bytes(octets.take()));
            let count = u16::from_ne_bytes(octets.take());
            let ttl_seconds = u32::from_ne_bytes(octets.take());
            let length = u32::from_ne_bytes(octets.take());
            Records {
                rtype,
                ttl_seconds,
                count,
                octets: octets.slice(length as usize),
                signature: signatures.get(first + number),
            }
        })
    }
}

/// Appends the entry of a name.
pub(super) fn append(
    to: &mut Vec<u8>,
    name: &Owner,
    zone: usize,
    particulars: usize,
    first_set: usize,
    sets: &[RecordSet],
) {
    to.push(name.octets().len() as u8);
    to.extend_from_slice(name.octets());
    to.extend((zone as u32).to_ne_bytes());
    to.extend((particulars as u32).to_ne_bytes());
    to.extend((first_set as u32).to_ne_bytes());
    to.extend((sets.len() as u16).to_ne_bytes());
    for set in sets.iter().map(RecordSet::records) {
        to.extend(set.rtype.to_int().to_ne_bytes());
        to.extend(set.count.to_ne_bytes());
        to.extend(set.ttl_seconds.to_ne_bytes());
        to.extend((set.octets.len() as u32).to_ne_bytes());
        to.extend_from_slice(set.octets);
    }
}

/// Octets that are read one after the other.
#[derive(Clone, Copy, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("entries are whole");
        self.0 = rest;
        *taken
    }

    fn slice(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}
