//! What the fuzz targets reach of this crate beyond its public face.

use crate::tables::Idempotent;
use crate::{ConflictCounts, keys, value};
use meridian_merge::{KeptIncrement, Row, render};
use meridian_model::{Conflict, Position};
use serde::de::DeserializeOwned;

/// Reads a key of the store; one that is understood is made again from what was read.
pub fn key(bytes: &[u8]) {
    if let Some((table, key)) = keys::decode_row(bytes) {
        assert_eq!(keys::row(table, key), bytes);
    }
    if let Some(due) = keys::decode_due(bytes) {
        let again = keys::due(due.version, due.kind, due.table, due.key);
        assert_eq!(again, bytes);
    }
    if let Some((position, index)) = keys::decode_conflict(bytes) {
        assert_eq!(keys::conflict(position, index), bytes);
    }
    if let Some((hlc, key)) = keys::decode_expiry(bytes) {
        assert_eq!(keys::expiry(hlc, key), bytes);
    }
}

/// The key under which values stand: their checksums cover it.
const KEY: &[u8] = b"fuzz";

/// Reads a value of the store as each kind of record.
pub fn value(bytes: &[u8]) {
    if let Some(row) = read::<Row>(bytes) {
        assert_eq!(read::<Row>(&value::encode(KEY, &row)).as_ref(), Some(&row));
        let _ = render(&row);
    }
    let _ = read::<KeptIncrement>(bytes);
    let _ = read::<Conflict>(bytes);
    let _ = read::<Idempotent>(bytes);
    let _ = read::<ConflictCounts>(bytes);
    let _ = read::<Position>(bytes);
    let _ = read::<Vec<u8>>(bytes);
}

/// A value's bytes.
#[must_use]
pub fn encoded<T: serde::Serialize>(record: &T) -> Vec<u8> {
    value::encode(KEY, record)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    value::decode(bytes, "record", KEY).ok()
}
