//! Records of one name and type as octets that are copied into answers.
//!
//! Compiling is done when a zone is built, never when it is asked: an answer of many records is one
//! copy. Each record begins with a pointer to offset 12, where the question's name stands, since that
//! is the owner of nearly everything that is answered; where it isn't, the two octets of the pointer
//! are put right in the copy ([`append_with_owner`]). Names inside the data are not compressed (SRV's
//! may not be, RFC 2782; for others it saves little). Data is in canonical form and order (RFC 4034
//! §6.2, §6.3), so what is signed is what is sent.

use crate::owner::Owner;
use domain::base::iana::{Class, Rtype};
use std::net::IpAddr;
use std::sync::OnceLock;

/// A pointer to the question's name, the first thing behind the header (RFC 1035 §4.1.4).
pub(crate) const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 12];

/// One record as a zone names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// Its type.
    pub rtype: Rtype,
    /// How long a resolver may keep it.
    pub ttl_seconds: u32,
    /// Its data in canonical wire form.
    pub data: Vec<u8>,
}

impl Record {
    /// The A or AAAA record of an address.
    #[must_use]
    pub fn address(owner: Owner, ttl_seconds: u32, address: IpAddr) -> Self {
        let (rtype, data) = address_data(address);
        Self {
            owner,
            rtype,
            ttl_seconds,
            data,
        }
    }
}

/// The type and data of an address.
fn address_data(address: IpAddr) -> (Rtype, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (Rtype::A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (Rtype::AAAA, v6.octets().to_vec()),
    }
}

/// Where the record that signs a set is kept, as octets likewise, once it was wanted.
pub(crate) type Signature = OnceLock<Box<[u8]>>;

/// All records of one name and type, wherever they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The type of all.
    pub rtype: Rtype,
    /// The time to live of all (RFC 2181 §5.2: one for a set).
    pub ttl_seconds: u32,
    /// How many there are.
    pub count: u16,
    /// The octets as they stand in an answer whose question names the owner.
    pub octets: &'a [u8],
    pub(crate) signature: Option<&'a Signature>,
}

impl<'a> Records<'a> {
    /// The records' data, in order.
    pub fn data(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        records(self.octets).map(|record| &record[FIXED_OCTETS..])
    }
}

/// All records of one name and type, by themselves.
#[derive(Debug)]
pub struct RecordSet {
    rtype: Rtype,
    ttl_seconds: u32,
    /// How many records these octets are, and the octets themselves.
    count: u16,
    octets: Box<[u8]>,
    signature: Signature,
}

impl RecordSet {
    /// A set of these data; equal ones are one (RFC 2181 §5).
    #[must_use]
    pub fn new(rtype: Rtype, ttl_seconds: u32, mut data: Vec<Vec<u8>>) -> Self {
        data.sort();
        data.dedup();
        let mut octets = Vec::new();
        for one in &data {
            append_record(&mut octets, rtype, ttl_seconds, one);
        }
        Self {
            rtype,
            ttl_seconds,
            count: data.len() as u16,
            octets: octets.into(),
            signature: OnceLock::new(),
        }
    }

    /// The set of those of these addresses that are of this type.
    #[must_use]
    pub fn of_addresses(rtype: Rtype, ttl_seconds: u32, addresses: &[IpAddr]) -> Self {
        let data = addresses.iter().map(|address| address_data(*address));
        let data = data.filter(|(of, _)| *of == rtype).map(|(_, data)| data);
        Self::new(rtype, ttl_seconds, data.collect())
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records {
            rtype: self.rtype,
            ttl_seconds: self.ttl_seconds,
            count: self.count,
            octets: &self.octets,
            signature: Some(&self.signature),
        }
    }
}

/// The octets of a record before its data: owner's pointer, type, class, TTL, length.
pub(crate) const FIXED_OCTETS: usize = 12;

/// Appends one record that belongs to the question's name.
pub(crate) fn append_record(octets: &mut Vec<u8>, rtype: Rtype, ttl_seconds: u32, data: &[u8]) {
    octets.extend_from_slice(&POINTER_TO_QUESTION);
    octets.extend_from_slice(&rtype.to_int().to_be_bytes());
    octets.extend_from_slice(&Class::IN.to_int().to_be_bytes());
    octets.extend_from_slice(&ttl_seconds.to_be_bytes());
    octets.extend_from_slice(&(data.len() as u16).to_be_bytes());
    octets.extend_from_slice(data);
}

/// The records that these octets are.
pub(crate) fn records(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let length = rest.get(FIXED_OCTETS - 2..FIXED_OCTETS)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (record, after) = rest.split_at(FIXED_OCTETS + length);
        rest = after;
        Some(record)
    })
}

/// A copy of records in which another place of the message is the owner.
pub(crate) fn append_with_owner(to: &mut Vec<u8>, octets: &[u8], owner_at: usize) {
    let pointer = (0xc000 | owner_at as u16).to_be_bytes();
    for record in records(octets) {
        to.extend_from_slice(&pointer);
        to.extend_from_slice(&record[2..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_each_record_once_in_canonical_order() {
        let addresses =
            ["10.0.0.2", "10.0.0.1", "::1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let set = RecordSet::of_addresses(Rtype::A, 5, &addresses);
        let records = set.records();
        assert_eq!(records.count, 2);
        assert_eq!(
            records.data().collect::<Vec<_>>(),
            [[10, 0, 0, 1], [10, 0, 0, 2]]
        );
        assert_eq!(records.octets[..2], POINTER_TO_QUESTION);
    }

    #[test]
    fn another_owner_is_named_in_every_record() {
        let set = RecordSet::new(Rtype::A, 5, vec![vec![1; 4], vec![2; 4]]);
        let mut copy = Vec::new();
        append_with_owner(&mut copy, set.records().octets, 0x123);
        let owners: Vec<&[u8]> = records(&copy).map(|record| &record[..2]).collect();
        assert_eq!(owners, [[0xc1, 0x23], [0xc1, 0x23]]);
    }
}
