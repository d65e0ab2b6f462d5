//! Values at rest: a format byte, a checksum, then postcard.
//!
//! ```text
//! format 2: [2][xxh3 of key and body: 8, little-endian][body]
//! format 1: [1][body]                                   written by releases before 0.2
//! ```
//!
//! The checksum covers the record's key, so that a record under another's key is noticed too. It is
//! what tells the bad copy from the good one when two regions differ. Records of format 1 stay
//! readable and are rewritten when they change.

use crate::TablesError;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Which release's shape a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Without a checksum.
    One,
    /// With one.
    Two,
}

const CHECKSUM_BYTES: usize = 8;
const BODY_AT: usize = 1 + CHECKSUM_BYTES;

/// A record's bytes under `key`.
pub(crate) fn encode<T: Serialize>(key: &[u8], value: &T) -> Vec<u8> {
    let mut start = Vec::with_capacity(64);
    start.extend([2; BODY_AT]);
    let mut bytes = postcard::to_extend(value, start).expect("records have no unencodable parts");
    let checksum = checksum(key, &bytes[BODY_AT..]).to_le_bytes();
    bytes[1..BODY_AT].copy_from_slice(&checksum);
    bytes
}

/// The bytes of a record that every release reads: which format the others are in.
pub(crate) fn encode_for_all_releases<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![1]).expect("records have no unencodable parts")
}

fn checksum(key: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(key))
}

/// A record's format and body, its checksum checked.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    kind: &'static str,
    key: &[u8],
) -> Result<(Format, &'a [u8]), TablesError> {
    match bytes.split_first() {
        Some((1, body)) => return Ok((Format::One, body)),
        Some((2, rest)) => {
            if let Some((expected, body)) = rest.split_first_chunk::<CHECKSUM_BYTES>()
                && u64::from_le_bytes(*expected) == checksum(key, body)
            {
                return Ok((Format::Two, body));
            }
        }
        _ => {}
    }
    Err(TablesError::damaged(kind, key))
}

/// Reads back a record whose shape is the same in every format; `kind` and `key` are for the error.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    kind: &'static str,
    key: &[u8],
) -> Result<T, TablesError> {
    let (_, body) = open(bytes, kind, key)?;
    decode_body(body, kind, key)
}

/// Reads a record's body back.
pub(crate) fn decode_body<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    kind: &'static str,
    key: &[u8],
) -> Result<T, TablesError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(TablesError::damaged(kind, key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_merge::Row;
    use proptest::prelude::*;

    #[test]
    fn a_value_reads_back_and_damage_is_an_error() {
        let key = b"k\x00";
        let bytes = encode(key, &(7u64, "x".to_owned()));
        let read = |bytes: &[u8]| decode::<(u64, String)>(bytes, "pair", key);
        assert_eq!(read(&bytes).unwrap(), (7, "x".to_owned()));
        let longer = [&bytes[..], b"!"].concat();
        let other_format = [&[9], &bytes[1..]].concat();
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&[][..], &bytes[..2], &longer, &other_format, &flipped] {
            let error = read(bad).unwrap_err();
            assert!(error.to_string().contains("pair at key k\\x00"), "{error}");
        }
    }

    #[test]
    fn a_record_under_another_key_is_damage() {
        let bytes = encode(b"k", &7u64);
        assert!(decode::<u64>(&bytes, "number", b"j").is_err());
    }

    #[test]
    fn a_record_of_format_1_still_reads() {
        assert_eq!(decode::<u64>(&[1, 7], "number", b"k").unwrap(), 7);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Row>(&bytes, "row", b"k");
        }
    }
}
