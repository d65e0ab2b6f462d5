//! Saying with a signature that something isn't there (RFC 9824).

use crate::owner::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX, parent};
use crate::records::RecordSet;
use domain::base::iana::Rtype;
use domain::rdata::dnssec::RtypeBitmap;

/// What is denied.
pub(crate) enum Denied<'a> {
    /// The name itself.
    Name,
    /// All but these types of it.
    Types(&'a mut dyn Iterator<Item = Rtype>),
}

/// The NSEC record of a name: from it to the very next one there could be.
pub(crate) fn deny(name: &[u8], ttl_seconds: u32, denied: Denied<'_>) -> RecordSet {
    let mut types = RtypeBitmap::<Vec<u8>>::builder();
    let mut add = |rtype| {
        let Ok(()) = types.add(rtype);
    };
    add(Rtype::RRSIG);
    add(Rtype::NSEC);
    match denied {
        Denied::Name => add(Rtype::NXNAME),
        Denied::Types(there) => there.for_each(add),
    }
    let mut data = next(name);
    data.extend_from_slice(types.finalize().as_slice());
    RecordSet::new(Rtype::NSEC, ttl_seconds, vec![data])
}

/// The name that follows in canonical order, or one near it where names can't get longer: below it
/// (a label of one zero octet), else beside it.
fn next(name: &[u8]) -> Vec<u8> {
    if name.len() + 2 <= NAME_OCTETS_MAX {
        return [b"\x01\x00", name].concat();
    }
    let rest = parent(name).unwrap_or_default();
    let mut label = name[1..name.len() - rest.len()].to_vec();
    if label.len() < LABEL_OCTETS_MAX && name.len() < NAME_OCTETS_MAX {
        label.push(0);
    } else if let Some(last) = label.last_mut() {
        // 'A' to 'Z' count as 'a' to 'z', so the one after '@' is '['.
        *last = if *last == b'@' {
            b'['
        } else {
            last.saturating_add(1)
        };
    }
    let mut next = vec![label.len() as u8];
    next.extend(label);
    next.extend_from_slice(rest);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;

    #[test]
    fn the_next_name_is_a_zero_label_below() {
        let name = Owner::parse("a.test").unwrap();
        assert_eq!(next(name.octets()), b"\x01\x00\x01a\x04test\x00");
    }

    #[test]
    fn the_longest_name_has_a_next_one_too() {
        let long = Owner::parse(
            &[
                "a".repeat(63),
                "b".repeat(63),
                "c".repeat(63),
                "d".repeat(61),
            ]
            .join("."),
        )
        .unwrap();
        assert_eq!(long.octets().len(), NAME_OCTETS_MAX);
        let after = next(long.octets());
        assert_eq!(after.len(), NAME_OCTETS_MAX);
        assert!(after.as_slice() > long.octets());
    }
}
