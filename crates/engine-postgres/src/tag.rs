//! The mark by which capture knows what the projection wrote.
//!
//! Any SQL user can emit logical messages, so what says "this is the projection's" has to be
//! something that nobody else can make. A tag goes into the WAL as the transactional message
//! `meridian` with the content
//!
//! ```text
//! version (1 byte, 2) | tag (postcard) | SHA-256 (secret | transaction's id) (32 bytes)
//! ```
//!
//! where the secret is the HMAC-SHA256 of `"meridian.seal"`, the version and the tag, under the key of
//! the data directory, and the id has 32 bits, big endian. The id is in it so that a tag that somebody
//! read from the WAL is worth nothing in a transaction of theirs. The server itself puts the id in:
//! it is given the secret, which is good for this one tag, and hashes both, so that nobody has to wait
//! for the id first. All hashed so is of one length, and nothing can be appended to it unseen.
//!
//! Ids wrap around after four thousand million transactions. And whoever reads the parameters of the
//! region's statements has secrets: a superuser who traces the server, or who reads a log of it to which
//! parameters are written (`log_statement`, `log_min_duration_statement`). With one, a tag can be used in
//! any transaction: it hides that transaction's writes from the other regions, and says that the server
//! had been given what the tag says, so that what is captured after it overtakes, without a word, what
//! it hadn't seen. That is accepted of who may read these, and so may do worse.
//!
//! Version 1, which earlier builds wrote and which may stand in the WAL when one is replaced, had an
//! HMAC-SHA256 over `"meridian.tag"`, the id, the version and the tag. An earlier build takes a tag of
//! this version for a forged one: it must not be put back before all WAL is captured.

use crate::Xid;
use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use meridian_model::{Position, Vector};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

const VERSION: u8 = 2;
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

/// A tag, and what makes it good in one transaction:
/// `pg_logical_emit_message(true, 'meridian', content || sha256(secret || xidsend(xid)))`.
#[derive(Debug)]
pub struct Seal {
    /// The version and the tag.
    pub content: Vec<u8>,
    /// Known to nobody but who has the key, and those who are given it with this tag.
    pub secret: [u8; 32],
}

impl Seal {
    /// What the transaction `xid` emits.
    #[must_use]
    pub fn in_transaction(&self, xid: Xid) -> Vec<u8> {
        let mut message = self.content.clone();
        message.extend_from_slice(&self.code(xid));
        message
    }

    fn code(&self, Xid(xid): Xid) -> [u8; MAC_BYTES] {
        let hash = Sha256::new().chain_update(self.secret);
        hash.chain_update(xid.to_be_bytes()).finalize().into()
    }
}

/// Seals a tag for a transaction whose id isn't known yet.
#[must_use]
pub fn seal(key: &TagKey, tag: &Tag) -> Seal {
    let mut content = vec![VERSION];
    content.extend(postcard::to_stdvec(tag).expect("memory takes all that postcard writes"));
    sealed(key, content)
}

fn sealed(key: &TagKey, content: Vec<u8>) -> Seal {
    let secret = mac(key, &[b"meridian.seal", &content]);
    Seal { content, secret }
}

/// The tag in a message that the transaction `xid` carries.
///
/// # Errors
/// [`TagError`] when we didn't write it there.
pub fn verify(key: &TagKey, xid: Xid, message: &[u8]) -> Result<Tag, TagError> {
    let length = message
        .len()
        .checked_sub(MAC_BYTES)
        .ok_or(TagError::Forged)?;
    let (content, code) = message.split_at(length);
    let (version, tag) = content.split_first().ok_or(TagError::Forged)?;
    let expected = if *version == 1 {
        mac(key, &[b"meridian.tag", &xid.0.to_be_bytes(), content])
    } else {
        sealed(key, content.to_vec()).code(xid)
    };
    // In constant time: how much of a guess was right must not show.
    let code: [u8; MAC_BYTES] = code.try_into().expect("so many were split off");
    if CtOutput::<Sha256>::new(code.into()) != CtOutput::new(expected.into()) {
        return Err(TagError::Forged);
    }
    if *version > VERSION {
        return Err(TagError::Unknown);
    }
    match postcard::take_from_bytes(tag) {
        Ok((tag, [])) => Ok(tag),
        Ok(_) | Err(_) => Err(TagError::Unknown),
    }
}

fn mac(key: &TagKey, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
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
        let content = seal(&key, &tag()).in_transaction(Xid(9));
        assert_eq!(verify(&key, Xid(9), &content), Ok(tag()));
    }

    #[test]
    fn a_tag_of_another_transaction_or_key_is_forged() {
        let key = TagKey::random();
        let content = seal(&key, &tag()).in_transaction(Xid(9));
        assert_eq!(verify(&key, Xid(10), &content), Err(TagError::Forged));
        let other = TagKey::random();
        assert_eq!(verify(&other, Xid(9), &content), Err(TagError::Forged));
    }

    #[test]
    fn no_byte_of_a_tag_can_be_changed() {
        let key = TagKey::random();
        let content = seal(&key, &tag()).in_transaction(Xid(9));
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
        let content = sealed(&key, vec![VERSION + 1, 1, 2, 3]).in_transaction(Xid(9));
        assert_eq!(verify(&key, Xid(9), &content), Err(TagError::Unknown));
    }

    #[test]
    fn a_tag_of_the_first_version_is_known_in_its_transaction() {
        let key = TagKey::random();
        let mut content = vec![1];
        content.extend(postcard::to_stdvec(&tag()).unwrap());
        let code = mac(&key, &[b"meridian.tag", &9_u32.to_be_bytes(), &content]);
        content.extend_from_slice(&code);
        assert_eq!(verify(&key, Xid(9), &content), Ok(tag()));
        assert_eq!(verify(&key, Xid(10), &content), Err(TagError::Forged));
        // Nor does the code of one version serve as the other's.
        let other = seal(&key, &tag());
        let mixed = [&content[..content.len() - MAC_BYTES], &other.code(Xid(9))].concat();
        assert_eq!(verify(&key, Xid(9), &mixed), Err(TagError::Forged));
    }
}
