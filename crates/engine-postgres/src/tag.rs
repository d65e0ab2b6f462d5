//! The mark by which capture knows what the projection wrote.
//!
//! Any SQL user can emit logical messages, so what says "this is the projection's" has to be
//! something that nobody else can make. A tag goes into the WAL as the transactional message
//! `meridian` with the content
//!
//! ```text
//! version (1 byte, 1) | tag (postcard) | HMAC-SHA256 (32 bytes)
//! ```
//!
//! where the MAC is over `"meridian.tag"`, the version, the transaction's id (32 bits, big endian)
//! and the tag, under the key of the data directory. The id is in it so that a tag that somebody
//! read from the WAL is worth nothing in a transaction of theirs. Ids wrap around after four thousand
//! million transactions; that a copied tag could be used again by whoever gets exactly that id is
//! accepted, since what it achieves (hiding a write of theirs from the other regions) they can
//! have in easier ways.

use crate::Xid;
use hmac::{Hmac, KeyInit, Mac};
use meridian_model::{Position, Vector};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use key::{TagKey, TagKeyError};

mod key;

/// The prefix of the messages that carry a tag.
pub const PREFIX: &str = "meridian";

/// The prefix of the messages that only move the WAL on, so that capture passes it.
///
/// A transactional one is on disk, and thus passed, when its transaction is committed. One that isn't
/// gets there when something else does; in a server where nothing else happens that may take until
/// the next checkpoint or standby snapshot.
pub const HEARTBEAT_PREFIX: &str = "meridian.heartbeat";

const VERSION: u8 = 1;
const MAC_BYTES: usize = 32;

/// What a projecting transaction says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The log's position up to which the server shows everything with this transaction.
    pub position: Position,
    /// Per origin its last transaction that shows.
    pub seen: Vector,
}

/// Why a message is no tag of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Its MAC isn't the one that our key gives in this transaction.
    #[error("its authentication code is not of this data directory's key and this transaction")]
    Forged,
    /// It is ours, but of another version of Meridian.
    #[error("it is of a version that is not known here")]
    Unknown,
}

/// What to emit in the transaction `xid`: `pg_logical_emit_message(true, 'meridian', $bytes)`.
#[must_use]
pub fn sign(key: &TagKey, xid: Xid, tag: &Tag) -> Vec<u8> {
    let mut content = vec![VERSION];
    content.extend(postcard::to_stdvec(tag).expect("memory takes all that postcard writes"));
    let code = mac(key, xid, &content).finalize().into_bytes();
    content.extend_from_slice(&code);
    content
}

/// The tag in a message that the transaction `xid` carries.
///
/// # Errors
/// [`TagError`] when we didn't write it there.
pub fn verify(key: &TagKey, xid: Xid, content: &[u8]) -> Result<Tag, TagError> {
    let length = content
        .len()
        .checked_sub(MAC_BYTES)
        .ok_or(TagError::Forged)?;
    let (content, code) = content.split_at(length);
    // In constant time: how much of a guess was right must not show.
    mac(key, xid, content)
        .verify_slice(code)
        .map_err(|_| TagError::Forged)?;
    let tag = content.strip_prefix(&[VERSION]).ok_or(TagError::Unknown)?;
    match postcard::take_from_bytes(tag) {
        Ok((tag, [])) => Ok(tag),
        Ok(_) | Err(_) => Err(TagError::Unknown),
    }
}

fn mac(key: &TagKey, xid: Xid, content: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of every length");
    mac.update(b"meridian.tag");
    mac.update(&xid.0.to_be_bytes());
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    fn tag() -> Tag {
        Tag {
            position: Position(77),
            seen: [(OriginId(5), Hlc::from_raw(1_000))].into_iter().collect(),
        }
    }

    #[test]
    fn a_tag_is_known_again() {
        let key = TagKey::random();
        let content = sign(&key, Xid(9), &tag());
        assert_eq!(verify(&key, Xid(9), &content), Ok(tag()));
    }

    #[test]
    fn a_tag_of_another_transaction_or_key_is_forged() {
        let key = TagKey::random();
        let content = sign(&key, Xid(9), &tag());
        assert_eq!(verify(&key, Xid(10), &content), Err(TagError::Forged));
        let other = TagKey::random();
        assert_eq!(verify(&other, Xid(9), &content), Err(TagError::Forged));
    }

    #[test]
    fn no_byte_of_a_tag_can_be_changed() {
        let key = TagKey::random();
        let content = sign(&key, Xid(9), &tag());
        for at in 0..content.len() {
            let mut content = content.clone();
            content[at] ^= 0x10;
            assert_eq!(
                verify(&key, Xid(9), &content),
                Err(TagError::Forged),
                "{at}"
            );
            assert!(verify(&key, Xid(9), &content[..at]).is_err());
        }
    }

    #[test]
    fn a_tag_of_another_version_is_told_from_a_forged_one() {
        let key = TagKey::random();
        let mut content = vec![VERSION + 1, 1, 2, 3];
        let code = mac(&key, Xid(9), &content).finalize().into_bytes();
        content.extend_from_slice(&code);
        assert_eq!(verify(&key, Xid(9), &content), Err(TagError::Unknown));
    }
}
