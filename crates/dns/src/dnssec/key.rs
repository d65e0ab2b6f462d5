//! A zone's key: the public half as records, the private half as signatures.

use crate::owner::{Owner, parent, suffixes};
use crate::records::{RecordSet, Records, append_record};
use domain::base::iana::{Class, Rtype};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// ECDSA P-256 with SHA-256 (RFC 6605 §2).
const ALGORITHM: u8 = 13;
/// A zone key that is also a secure entry point (RFC 4034 §2.1.1).
const FLAGS: u16 = 257;
/// RFC 4034 §2.1.2.
const PROTOCOL: u8 = 3;
const KEY_TTL_SECONDS: u32 = 3600;

/// Why a key isn't taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// Not a private key of this kind.
    #[error("no ECDSA P-256 private key in PKCS #8 form: {0}")]
    Unreadable(ring::error::KeyRejected),
    /// Nothing to make a key of.
    #[error("no randomness for a key")]
    Randomness,
}

/// Between when signatures are valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub inception: u32,
    /// Until.
    pub expiration: u32,
}

impl Validity {
    /// From an hour ago, for clocks that lag, for seven days.
    #[must_use]
    pub fn from_now(now_seconds: u32) -> Self {
        Self {
            inception: now_seconds.wrapping_sub(3600),
            expiration: now_seconds.wrapping_add(7 * 24 * 3600),
        }
    }
}

/// What a zone is signed with.
pub struct ZoneKey {
    apex: Owner,
    pair: EcdsaKeyPair,
    random: SystemRandom,
    validity: Validity,
    tag: u16,
    /// How many signatures were made: by far the dearest part of answering.
    made: AtomicU64,
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneKey({}, {})", self.apex, self.tag)
    }
}

impl ZoneKey {
    /// A new private key in PKCS #8 form.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Randomness`].
    pub fn generate() -> Result<Vec<u8>, KeyFault> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(document
            .map_err(|_| KeyFault::Randomness)?
            .as_ref()
            .to_vec())
    }

    /// The same as PEM (RFC 7468 §10), to be kept in a file.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Randomness`].
    pub fn generate_pem() -> Result<String, KeyFault> {
        let text = domain::utils::base64::encode_string(&Self::generate()?);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|octet| char::from(*octet)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// The zone's key, for signatures of this validity.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Unreadable`].
    pub fn read(apex: Owner, pkcs8: &[u8], validity: Validity) -> Result<Self, KeyFault> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(KeyFault::Unreadable)?;
        let mut key = Self {
            apex,
            pair,
            random,
            validity,
            tag: 0,
            made: AtomicU64::new(0),
        };
        key.tag = tag_of(&key.data());
        Ok(key)
    }

    /// The DNSKEY record's data.
    fn data(&self) -> Vec<u8> {
        let mut data = FLAGS.to_be_bytes().to_vec();
        data.extend([PROTOCOL, ALGORITHM]);
        // Without the octet that says that the point isn't compressed (RFC 6605 §4).
        data.extend_from_slice(&self.pair.public_key().as_ref()[1..]);
        data
    }

    /// How many signatures it has made.
    #[must_use]
    pub fn signatures_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// The DNSKEY record.
    #[must_use]
    pub fn record_set(&self) -> RecordSet {
        RecordSet::new(Rtype::DNSKEY, KEY_TTL_SECONDS, vec![self.data()])
    }

    /// The DS record for the zone above, as text: tag, algorithm, SHA-256's number, digest.
    #[must_use]
    pub fn delegation_signer(&self) -> String {
        let digest = digest(&SHA256, &[self.apex.octets(), &self.data()].concat());
        let hex: String = digest
            .as_ref()
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        format!("{} {ALGORITHM} 2 {hex}", self.tag)
    }

    /// The record that signs a set, as it stands behind it in an answer whose question names its
    /// owner.
    pub(crate) fn sign(&self, owner: &[u8], set: Records<'_>) -> Vec<u8> {
        let mut data = Vec::with_capacity(18 + self.apex.octets().len() + 64);
        data.extend_from_slice(&set.rtype.to_int().to_be_bytes());
        data.extend([ALGORITHM, labels(owner)]);
        data.extend_from_slice(&set.ttl_seconds.to_be_bytes());
        data.extend_from_slice(&self.validity.expiration.to_be_bytes());
        data.extend_from_slice(&self.validity.inception.to_be_bytes());
        data.extend_from_slice(&self.tag.to_be_bytes());
        data.extend_from_slice(self.apex.octets());
        // RFC 4034 §3.1.8.1: the signature's own data, then every record in canonical form.
        let mut signed = data.clone();
        for one in set.data() {
            signed.extend_from_slice(owner);
            signed.extend_from_slice(&set.rtype.to_int().to_be_bytes());
            signed.extend_from_slice(&Class::IN.to_int().to_be_bytes());
            signed.extend_from_slice(&set.ttl_seconds.to_be_bytes());
            signed.extend_from_slice(&(one.len() as u16).to_be_bytes());
            signed.extend_from_slice(one);
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        let signature = self
            .pair
            .sign(&self.random, &signed)
            .expect("the system has randomness, as it had when the key was read");
        data.extend_from_slice(signature.as_ref());
        let mut record = Vec::new();
        append_record(&mut record, Rtype::RRSIG, set.ttl_seconds, &data);
        record
    }
}

/// The labels of a name without the root's and a wildcard's (RFC 4034 §3.1.3).
fn labels(owner: &[u8]) -> u8 {
    let owner = if owner.starts_with(b"\x01*") {
        parent(owner).unwrap_or(owner)
    } else {
        owner
    };
    (suffixes(owner).count() - 1) as u8
}

/// RFC 4034 appendix B.
fn tag_of(data: &[u8]) -> u16 {
    let sum = data.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => u32::from(pair[0]) << 8,
    });
    let sum: u32 = sum.sum();
    (sum + (sum >> 16)) as u16
}
