//! Values at rest: a format byte, then postcard. The byte leaves room for records to change one
//! kind at a time while old ones stay readable.

use crate::TablesError;
use serde::{Deserialize, Serialize};

const FORMAT: u8 = 1;

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("records have no unencodable parts")
}

/// Reads a record back; `kind` and `key` are for the error.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    kind: &'static str,
    key: &[u8],
) -> Result<T, TablesError> {
    let damaged = || TablesError::damaged(kind, key);
    let (format, body) = bytes.split_first().ok_or_else(damaged)?;
    if *format != FORMAT {
        return Err(damaged());
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_merge::Row;
    use proptest::prelude::*;

    #[test]
    fn a_value_reads_back_and_damage_is_an_error() {
        let bytes = encode(&(7u64, "x".to_owned()));
        assert_eq!(
            decode::<(u64, String)>(&bytes, "pair", b"k").unwrap(),
            (7, "x".to_owned())
        );
        let longer = [&bytes[..], b"!"].concat();
        let other_format = [&[9], &bytes[1..]].concat();
        for bad in [&[][..], &bytes[..2], &longer, &other_format] {
            let error = decode::<(u64, String)>(bad, "pair", b"k\x00").unwrap_err();
            assert!(error.to_string().contains("pair at key k\\x00"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Row>(&bytes, "row", b"k");
        }
    }
}
