//! The authority: makes itself, and issues certificates to regions.
//!
//! Keys are ECDSA P-256: small, quick to verify, spoken by every TLS 1.3 library, so that an
//! operator may replace this authority by the house's own.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::{REGION_NAME_BYTES_MAX, host_name, is_region_name};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// An authority outlives several rounds of certificates.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Validity begins this long ago, because the regions' clocks need not agree.
const SKEW: Duration = DAY;

/// Why an authority could not be made, loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The name cannot stand in a certificate.
    #[error(
        "region name {name:?} cannot stand in a certificate: it must be 1 to {REGION_NAME_BYTES_MAX} \
         lower-case letters, digits and inner hyphens"
    )]
    RegionName {
        /// The name that was asked for.
        name: String,
    },
    /// The time is outside what a certificate can express.
    #[error("the clock says a time that a certificate cannot express")]
    Clock,
    /// A key could not be generated.
    #[error("a key pair could not be generated")]
    GenerateKey(#[source] rcgen::Error),
    /// A certificate could not be signed.
    #[error("the certificate for {subject} could not be signed")]
    Sign {
        /// Whom the certificate was for.
        subject: String,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// The authority's certificate cannot be read.
    #[error("the authority's certificate is not a PEM certificate of an authority")]
    AuthorityCertificate(#[source] rcgen::Error),
    /// The authority's key cannot be read.
    #[error("the authority's key is not a PEM private key")]
    AuthorityKey(#[source] rcgen::Error),
    /// Certificate and key are not a pair.
    #[error("the authority's key does not belong to the authority's certificate")]
    AuthorityMismatch,
}

/// The deployment's certificate authority, with its private key.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A region's new certificate and private key. The key is held nowhere else.
pub struct Issued {
    /// Whom it names.
    pub region: String,
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PKCS #8 PEM. Keep it secret.
    pub key_pem: String,
}

impl Authority {
    /// Makes a new authority, valid for ten years from a day before `now`.
    pub fn create(now: SystemTime) -> Result<Self, CertificateError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = authority_name(&key);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, AUTHORITY_VALIDITY)?;
        let certificate = params
            .self_signed(&key)
            .map_err(|source| CertificateError::Sign {
                subject: "the authority".to_owned(),
                source,
            })?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes up an authority from its two PEM documents.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem).map_err(CertificateError::AuthorityKey)?;
        check_pair(certificate_pem, key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(CertificateError::AuthorityCertificate)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            issuer,
        })
    }

    /// The authority's certificate, PEM. Every region needs it; it is no secret.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key, PEM. Whoever has it can pretend to be any region.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate to a region, valid for one year from a day before `now`.
    pub fn issue(&self, region: &str, now: SystemTime) -> Result<Issued, CertificateError> {
        if !is_region_name(region) {
            return Err(CertificateError::RegionName {
                name: region.to_owned(),
            });
        }
        let sign_error = |source| CertificateError::Sign {
            subject: format!("region {region}"),
            source,
        };
        let key = new_key()?;
        let mut params = CertificateParams::new(vec![host_name(region)]).map_err(sign_error)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Meridian region {region}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, CERTIFICATE_VALIDITY)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(sign_error)?;
        Ok(Issued {
            region: region.to_owned(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn new_key() -> Result<KeyPair, CertificateError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::GenerateKey)
}

/// Each authority has a name of its own: with equal names a certificate from another authority
/// would be reported as badly signed, which sends the reader looking for the wrong fault.
fn authority_name(key: &KeyPair) -> DistinguishedName {
    let public = key.public_key_raw();
    let tail: String = public[public.len().saturating_sub(4)..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Meridian authority {tail}"));
    name
}

fn set_validity(
    params: &mut CertificateParams,
    now: SystemTime,
    validity: Duration,
) -> Result<(), CertificateError> {
    let start = now.checked_sub(SKEW).ok_or(CertificateError::Clock)?;
    let end = start.checked_add(validity).ok_or(CertificateError::Clock)?;
    params.not_before = certificate_time(start)?;
    params.not_after = certificate_time(end)?;
    Ok(())
}

fn certificate_time(at: SystemTime) -> Result<OffsetDateTime, CertificateError> {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| CertificateError::Clock)?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| CertificateError::Clock)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError::Clock)
}

fn check_pair(certificate_pem: &str, key_pem: &str) -> Result<(), CertificateError> {
    let unreadable = || {
        CertificateError::AuthorityCertificate(rcgen::Error::PemError(
            "no CERTIFICATE section".to_owned(),
        ))
    };
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
        .map_err(|_| unreadable())?
        .into_owned();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| {
        CertificateError::AuthorityKey(rcgen::Error::PemError("no PRIVATE KEY section".to_owned()))
    })?;
    match rustls::sign::CertifiedKey::from_der(vec![certificate], key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::AuthorityMismatch),
        Err(other) => Err(CertificateError::AuthorityCertificate(rcgen::Error::X509(
            other.to_string(),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_being_written_and_loaded() {
        let now = SystemTime::now();
        let first = Authority::create(now).unwrap();
        let again = Authority::load(first.certificate_pem(), &first.key_pem()).unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_eq!(first.key_pem(), again.key_pem());
        assert!(again.issue("eu-west-1", now).is_ok());
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let now = SystemTime::now();
        let (one, other) = (
            Authority::create(now).unwrap(),
            Authority::create(now).unwrap(),
        );
        let mixed = Authority::load(one.certificate_pem(), &other.key_pem());
        assert!(matches!(mixed, Err(CertificateError::AuthorityMismatch)));
    }

    #[test]
    fn what_is_no_pem_is_refused() {
        let authority = Authority::create(SystemTime::now()).unwrap();
        assert!(matches!(
            Authority::load("nonsense", &authority.key_pem()),
            Err(CertificateError::AuthorityCertificate(_))
        ));
        assert!(matches!(
            Authority::load(authority.certificate_pem(), "nonsense"),
            Err(CertificateError::AuthorityKey(_))
        ));
    }

    #[test]
    fn a_name_that_is_no_label_is_refused() {
        let now = SystemTime::now();
        let authority = Authority::create(now).unwrap();
        let issued = authority.issue("*.evil", now);
        assert!(matches!(issued, Err(CertificateError::RegionName { .. })));
    }
}
