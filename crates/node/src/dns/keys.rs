//! Secrets that the name server reads, or that a person makes for it.

use super::error::DnsError;
use super::zone::apex;
use meridian_dns::CookieSecret;
use meridian_dns::dnssec::{KeyFault, Validity, ZoneKey};
use meridian_topology::{Dns, Topology};
use std::io;
use std::path::Path;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// A new private key for a zone: PKCS #8 as PEM.
///
/// # Errors
/// [`KeyFault`] where the system has no randomness.
pub fn generate_key() -> Result<String, KeyFault> {
    ZoneKey::generate_pem()
}

/// The DS record's data for the zone above, by the zone's name and the file of its key.
///
/// # Errors
/// [`DnsError`].
pub fn delegation_signer(zone: &str, file: &Path) -> Result<String, DnsError> {
    Ok(read(zone, file, 0)?.delegation_signer())
}

/// What the zone is signed with, if it is.
pub(super) fn zone_key(topology: &Topology, now_seconds: u32) -> Result<Option<ZoneKey>, DnsError> {
    let file = topology.dns.dnssec_key_file.as_ref();
    file.map(|file| read(&topology.zone, file, now_seconds))
        .transpose()
}

fn read(zone: &str, file: &Path, now_seconds: u32) -> Result<ZoneKey, DnsError> {
    let path = || file.to_owned();
    let key = PrivatePkcs8KeyDer::from_pem_file(file).map_err(|source| DnsError::KeyFile {
        path: path(),
        source,
    })?;
    let apex = apex(zone).map_err(DnsError::ZoneName)?;
    ZoneKey::read(
        apex,
        key.secret_pkcs8_der(),
        Validity::from_now(now_seconds),
    )
    .map_err(|source| DnsError::Key {
        path: path(),
        source,
    })
}

/// The secret of the file, or one of this process's own.
pub(super) fn cookie_secret(dns: &Dns) -> Result<CookieSecret, DnsError> {
    let Some(path) = &dns.cookie_secret_file else {
        return CookieSecret::random().map_err(DnsError::Randomness);
    };
    let unusable = |source| DnsError::CookieSecret {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    let octets = hexadecimal(text.trim());
    let octets =
        octets.ok_or_else(|| unusable(io::Error::other("it isn't 32 hexadecimal digits")))?;
    Ok(CookieSecret::new(octets))
}

fn hexadecimal(text: &str) -> Option<[u8; 16]> {
    let is_whole = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_whole
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_digits() {
        let octets = hexadecimal("000102030405060708090A0b0c0d0e0f");
        assert_eq!(octets.map(|octets| octets[15]), Some(15));
        assert_eq!(hexadecimal("+00102030405060708090a0b0c0d0e0f"), None);
        assert_eq!(hexadecimal("00"), None);
    }

    #[test]
    fn a_key_that_was_made_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("zone.key");
        std::fs::write(&file, generate_key().unwrap()).unwrap();
        let signer = delegation_signer("meridian.test", &file).unwrap();
        let words: Vec<_> = signer.split(' ').collect();
        assert_eq!((words[1], words[2], words[3].len()), ("13", "2", 64));
        std::fs::write(&file, "nonsense").unwrap();
        let error = delegation_signer("meridian.test", &file).unwrap_err();
        assert!(error.hint().unwrap().contains("meridian dns key"));
    }
}
