//! Where records live in the one ordered key space.
//!
//! ```text
//! r TABLE 00 KEY                              a row
//! k TABLE 00 LENGTH:2 KEY HLC:8 ORIGIN:8      an increment kept apart
//! q ORIGIN:8 HLC:8 KIND:1 TABLE 00 KEY        to collect once ORIGIN is stable up to HLC
//! c POSITION:8 INDEX:4                        a conflict
//! i KEY                                       an idempotency key
//! x HLC:8 KEY                                 its expiry
//! d HLC:8 ORIGIN:8                            a dead letter, by its transaction's version
//! e HLC:8 ORIGIN:8                            its transaction
//! m NAME                                      meta: format, applied, road, conflicts, letters, seen,
//!                                             unfinished
//! a TABLE 00 KEY                              as of what a row was taken over from a peer
//! ```
//!
//! Numbers are big-endian, so that keys sort as the numbers do. A table's name has no NUL, hence
//! `TABLE 00` is no prefix of another table's. A row's key may hold any character, NUL too; it
//! stands last, or behind its length.

use meridian_model::{Hlc, OriginId, Position, RowName, Span, SpanEnd, Version};

pub(crate) const FORMAT: &[u8] = b"mformat";
pub(crate) const APPLIED: &[u8] = b"mapplied";
pub(crate) const ROAD: &[u8] = b"mroad";
pub(crate) const SEEN: &[u8] = b"mseen";
pub(crate) const CONFLICT_COUNTS: &[u8] = b"mconflicts";
/// Present while the store is being filled from a snapshot.
pub(crate) const UNFINISHED: &[u8] = b"munfinished";

pub(crate) const LETTER_COUNTS: &[u8] = b"mletters";

/// The most bytes of a table's name and key together that have a place in the key space (the
/// store takes keys of 64 KiB).
pub(crate) const NAME_BYTES_MAX: usize = 60_000;

/// Keys from `start` up to but not including `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

/// What a collect record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collectable {
    Tombstone,
    Increment,
    /// Removals of fields.
    Field,
}

/// A decoded collect record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due<'a> {
    pub(crate) version: Version,
    pub(crate) kind: Collectable,
    pub(crate) table: &'a str,
    pub(crate) key: &'a str,
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn row(table: &str, key: &str) -> Vec<u8> {
    join(&[b"r", table.as_bytes(), &[0], key.as_bytes()])
}

/// All rows of a table; those after `after` where it is given.
pub(crate) fn rows_of(table: &str, after: Option<&str>) -> Range {
    let start = match after {
        // The next possible key: keys sort as bytes, and a NUL is the least byte to add.
        Some(key) => join(&[b"r", table.as_bytes(), &[0], key.as_bytes(), &[0]]),
        None => join(&[b"r", table.as_bytes(), &[0]]),
    };
    Range {
        start,
        end: after_table(table),
    }
}

/// All rows of all tables that sort after `table`.
pub(crate) fn rows_after_table(table: Option<&str>) -> Range {
    Range {
        start: table.map_or_else(|| b"r".to_vec(), after_table),
        end: b"s".to_vec(),
    }
}

fn after_table(table: &str) -> Vec<u8> {
    join(&[b"r", table.as_bytes(), &[1]])
}

pub(crate) fn decode_row(bytes: &[u8]) -> Option<(&str, &str)> {
    let (table, key) = split_name(bytes.strip_prefix(b"r")?)?;
    Some((table, key))
}

fn split_name(bytes: &[u8]) -> Option<(&str, &str)> {
    let nul = bytes.iter().position(|byte| *byte == 0)?;
    Some((
        std::str::from_utf8(&bytes[..nul]).ok()?,
        std::str::from_utf8(&bytes[nul + 1..]).ok()?,
    ))
}

fn kept_prefix(table: &str, key: &str) -> Vec<u8> {
    let length = u16::try_from(key.len()).expect("names are checked against NAME_BYTES_MAX");
    join(&[
        b"k",
        table.as_bytes(),
        &[0],
        &length.to_be_bytes(),
        key.as_bytes(),
    ])
}

pub(crate) fn kept(table: &str, key: &str, version: Version) -> Vec<u8> {
    let mut bytes = kept_prefix(table, key);
    bytes.extend(version.hlc.raw().to_be_bytes());
    bytes.extend(version.origin.0.to_be_bytes());
    bytes
}

/// All increments kept apart of a row.
pub(crate) fn kept_of(table: &str, key: &str) -> Range {
    let start = kept_prefix(table, key);
    let mut end = start.clone();
    // Longer than any version, and not below one: the length before the key keeps others out.
    end.extend([0xff; 17]);
    Range { start, end }
}

pub(crate) fn due(version: Version, kind: Collectable, table: &str, key: &str) -> Vec<u8> {
    join(&[
        b"q",
        &version.origin.0.to_be_bytes(),
        &version.hlc.raw().to_be_bytes(),
        &[match kind {
            Collectable::Tombstone => b't',
            Collectable::Increment => b'i',
            Collectable::Field => b'f',
        }],
        table.as_bytes(),
        &[0],
        key.as_bytes(),
    ])
}

/// The collect records of an origin from reading `from` up to and including reading `to`.
pub(crate) fn due_of(origin: OriginId, from: Hlc, to: Hlc) -> Range {
    let at = |hlc: Hlc| join(&[b"q", &origin.0.to_be_bytes(), &hlc.raw().to_be_bytes()]);
    let mut end = at(to);
    // Above every kind of record.
    end.push(0xff);
    Range {
        start: at(from),
        end,
    }
}

pub(crate) fn decode_due(bytes: &[u8]) -> Option<Due<'_>> {
    let (origin, rest) = take_u64(bytes.strip_prefix(b"q")?)?;
    let (hlc, rest) = take_u64(rest)?;
    let (kind, rest) = rest.split_first()?;
    let kind = match kind {
        b't' => Collectable::Tombstone,
        b'i' => Collectable::Increment,
        b'f' => Collectable::Field,
        _ => return None,
    };
    let (table, key) = split_name(rest)?;
    let version = Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(origin),
    };
    Some(Due {
        version,
        kind,
        table,
        key,
    })
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

pub(crate) fn conflict(position: Position, index: u32) -> Vec<u8> {
    join(&[b"c", &position.0.to_be_bytes(), &index.to_be_bytes()])
}

pub(crate) fn conflicts() -> Range {
    Range {
        start: b"c".to_vec(),
        end: b"d".to_vec(),
    }
}

pub(crate) fn decode_conflict(bytes: &[u8]) -> Option<(Position, u32)> {
    let (position, rest) = take_u64(bytes.strip_prefix(b"c")?)?;
    Some((
        Position(position),
        u32::from_be_bytes(rest.try_into().ok()?),
    ))
}

fn versioned(prefix: &[u8], version: Version) -> Vec<u8> {
    join(&[
        prefix,
        &version.hlc.raw().to_be_bytes(),
        &version.origin.0.to_be_bytes(),
    ])
}

pub(crate) fn letter(version: Version) -> Vec<u8> {
    versioned(b"d", version)
}

pub(crate) fn letter_body(version: Version) -> Vec<u8> {
    versioned(b"e", version)
}

pub(crate) fn letters() -> Range {
    Range {
        start: b"d".to_vec(),
        end: b"e".to_vec(),
    }
}

pub(crate) fn decode_letter(bytes: &[u8]) -> Option<Version> {
    let (hlc, rest) = take_u64(bytes.strip_prefix(b"d")?)?;
    let (origin, rest) = take_u64(rest)?;
    rest.is_empty().then(|| Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(origin),
    })
}

pub(crate) fn idempotency(key: &str) -> Vec<u8> {
    join(&[b"i", key.as_bytes()])
}

pub(crate) fn expiry(hlc: Hlc, key: &str) -> Vec<u8> {
    join(&[b"x", &hlc.raw().to_be_bytes(), key.as_bytes()])
}

/// The expiries from reading `from` up to but not including reading `to`.
pub(crate) fn expiries(from: Hlc, to: Hlc) -> Range {
    Range {
        start: expiry(from, ""),
        end: expiry(to, ""),
    }
}

pub(crate) fn decode_expiry(bytes: &[u8]) -> Option<(Hlc, &str)> {
    let (hlc, key) = take_u64(bytes.strip_prefix(b"x")?)?;
    Some((Hlc::from_raw(hlc), std::str::from_utf8(key).ok()?))
}

/// The rows of a span.
pub(crate) fn rows_in(span: &Span) -> Range {
    let behind = |name: &RowName| [&row(&name.table, &name.key)[..], &[0]].concat();
    Range {
        start: span.after.as_ref().map_or_else(|| b"r".to_vec(), behind),
        end: match &span.to {
            SpanEnd::Last => b"s".to_vec(),
            SpanEnd::Row(name) => behind(name),
            SpanEnd::Table(table) => after_table(table),
        },
    }
}

/// The version in the key of an increment kept apart.
pub(crate) fn decode_kept(bytes: &[u8]) -> Option<(&str, &str, Version)> {
    let rest = bytes.strip_prefix(b"k")?;
    let nul = rest.iter().position(|byte| *byte == 0)?;
    let (length, rest_of) = rest[nul + 1..].split_first_chunk()?;
    let (key, version) = rest_of.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (hlc, origin) = take_u64(version)?;
    let (origin, []) = take_u64(origin)? else {
        return None;
    };
    let version = Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(origin),
    };
    Some((
        std::str::from_utf8(&rest[..nul]).ok()?,
        std::str::from_utf8(key).ok()?,
        version,
    ))
}

/// The row that a record is about, where it is a row's or an increment's.
pub(crate) fn row_of(bytes: &[u8]) -> Option<RowName> {
    let (table, key) =
        decode_row(bytes).or_else(|| decode_kept(bytes).map(|(table, key, _)| (table, key)))?;
    Some(RowName {
        table: table.to_owned(),
        key: key.to_owned(),
    })
}

pub(crate) fn ahead(name: &RowName) -> Vec<u8> {
    join(&[b"a", name.table.as_bytes(), &[0], name.key.as_bytes()])
}

pub(crate) fn all_ahead() -> Range {
    Range {
        start: b"a".to_vec(),
        end: b"b".to_vec(),
    }
}

pub(crate) fn decode_ahead(bytes: &[u8]) -> Option<RowName> {
    let (table, key) = split_name(bytes.strip_prefix(b"a")?)?;
    Some(RowName {
        table: table.to_owned(),
        key: key.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(hlc: u64, origin: u64) -> Version {
        Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(origin),
        }
    }

    proptest! {
        #[test]
        fn names_read_back(table in "[^\0]{0,8}", key in any::<String>(), hlc: u64, origin: u64) {
            let bytes = row(&table, &key);
            prop_assert_eq!(decode_row(&bytes), Some((&*table, &*key)));
            for kind in [Collectable::Tombstone, Collectable::Increment, Collectable::Field] {
                let version = version(hlc, origin);
                let bytes = due(version, kind, &table, &key);
                let expected = Due { version, kind, table: &table, key: &key };
                prop_assert_eq!(decode_due(&bytes), Some(expected));
                let range = due_of(OriginId(origin), Hlc::ZERO, Hlc::from_raw(hlc));
                prop_assert!(range.start <= bytes && bytes < range.end);
            }
            let bytes = expiry(Hlc::from_raw(hlc), &key);
            prop_assert_eq!(decode_expiry(&bytes), Some((Hlc::from_raw(hlc), &*key)));
        }

        #[test]
        fn a_range_holds_its_own_table_and_row_only(
            one in ("[ab\x01]{0,2}", "[a\0\x01\u{10ffff}]{0,3}"),
            other in ("[ab\x01]{0,2}", "[a\0\x01\u{10ffff}]{0,3}"),
            hlc: u64,
            origin: u64,
        ) {
            let rows = rows_of(&one.0, None);
            let bytes = row(&other.0, &other.1);
            prop_assert_eq!(rows.start <= bytes && bytes < rows.end, one.0 == other.0);
            let later = rows_of(&one.0, Some(&one.1));
            let inside = later.start <= bytes && bytes < later.end;
            prop_assert_eq!(inside, one.0 == other.0 && other.1 > one.1);
            let increments = kept_of(&one.0, &one.1);
            let bytes = kept(&other.0, &other.1, version(hlc, origin));
            let decoded = decode_kept(&bytes);
            prop_assert_eq!(decoded, Some((&*other.0, &*other.1, version(hlc, origin))));
            prop_assert_eq!(increments.start <= bytes && bytes < increments.end, one == other);
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            prefix in prop::sample::select(b"rqcxdka".to_vec()),
        ) {
            let bytes = [&[prefix][..], &bytes].concat();
            let _ = (decode_kept(&bytes), decode_ahead(&bytes));
            let _ = (decode_row(&bytes), decode_due(&bytes));
            let _ = (decode_conflict(&bytes), decode_expiry(&bytes), decode_letter(&bytes));
        }
    }

    #[test]
    fn the_records_of_an_origin_end_with_the_stable_reading() {
        let range = due_of(OriginId(5), Hlc::from_raw(3), Hlc::from_raw(7));
        let inside = |hlc, origin| {
            let bytes = due(version(hlc, origin), Collectable::Tombstone, "t", "k");
            range.start <= bytes && bytes < range.end
        };
        assert!(inside(3, 5) && inside(7, 5));
        assert!(!inside(2, 5) && !inside(8, 5) && !inside(5, 4) && !inside(5, 6));
    }

    #[test]
    fn a_span_holds_what_is_after_its_start_up_to_its_end() {
        let name = |table: &str, key: &str| RowName {
            table: table.to_owned(),
            key: key.to_owned(),
        };
        let inside = |span: &Span, table: &str, key: &str| {
            let (range, at) = (rows_in(span), row(table, key));
            range.start <= at && at < range.end
        };
        let span = Span {
            after: Some(name("t", "b")),
            to: SpanEnd::Row(name("u", "b")),
        };
        assert!(!inside(&span, "t", "b") && inside(&span, "t", "b\0") && inside(&span, "tt", "a"));
        assert!(inside(&span, "u", "b") && !inside(&span, "u", "b\0"));
        let table = Span::of_table("t");
        assert!(
            inside(&table, "t", "\0") && !inside(&table, "s", "z") && !inside(&table, "tt", "a")
        );
        assert!(
            inside(&Span::default(), "a", "a") && inside(&span.behind(name("t", "c")), "t", "d")
        );
    }

    #[test]
    fn a_conflict_reads_back() {
        let bytes = conflict(Position(9), 4);
        assert_eq!(decode_conflict(&bytes), Some((Position(9), 4)));
    }
}
