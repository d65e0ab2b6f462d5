//! What a region needs to speak with the others, checked when it starts.
//!
//! Everything that a peer would refuse later is refused here first, with the file's name: a
//! certificate for another region, an expired one, one from another authority. The check is the
//! very one that peers do, so the two cannot disagree.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{IdentityError, host_name};
use rustls::CertificateError as TlsCertificateError;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// The three files of a region's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityPaths {
    /// The region's certificate, followed by intermediates if there are any.
    pub certificate: PathBuf,
    /// The region's private key.
    pub key: PathBuf,
    /// The certificate of the authority that all regions trust.
    pub authority: PathBuf,
}

impl IdentityPaths {
    /// The names that [`super::Issued::write`] and [`super::Authority::write`] use.
    pub fn in_directory(directory: &Path, region: &str) -> Self {
        Self {
            certificate: directory.join(format!("{region}.pem")),
            key: directory.join(format!("{region}.key.pem")),
            authority: Self::authority_in(directory),
        }
    }

    pub(super) fn authority_in(directory: &Path) -> PathBuf {
        directory.join("authority.pem")
    }
}

/// What the three files hold.
pub(crate) struct Pem {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) authority: Vec<u8>,
}

/// A region's name with the certificates and the key that prove it.
#[derive(Debug)]
pub struct Identity {
    region: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    /// Reads and checks the identity of `region`; any fault that peers would find is an error.
    pub fn load(
        region: &str,
        paths: &IdentityPaths,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let pem = Pem {
            certificate: read(&paths.certificate)?,
            key: read(&paths.key)?,
            authority: read(&paths.authority)?,
        };
        Self::from_pem(region, paths, &pem, now)
    }

    /// As [`Identity::load`], of files that have been read; `paths` are for the errors.
    pub(crate) fn from_pem(
        region: &str,
        paths: &IdentityPaths,
        pem: &Pem,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let identity = Self {
            region: region.to_owned(),
            chain: certificates(&paths.certificate, &pem.certificate)?,
            key: key(&paths.key, &pem.key)?,
            roots: Arc::new(roots(&paths.authority, &pem.authority)?),
        };
        identity.check_key(paths)?;
        identity.check_certificate(paths, now)?;
        Ok(identity)
    }

    /// The region that this identity proves.
    pub fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    fn check_key(&self, paths: &IdentityPaths) -> Result<(), IdentityError> {
        let provider = ring::default_provider();
        match rustls::sign::CertifiedKey::from_der(self.chain(), self.key(), &provider) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => Err(IdentityError::KeyMismatch {
                key: paths.key.clone(),
                certificate: paths.certificate.clone(),
            }),
            Err(source) => Err(IdentityError::Unusable {
                path: paths.key.clone(),
                source,
            }),
        }
    }

    fn check_certificate(
        &self,
        paths: &IdentityPaths,
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let path = paths.certificate.clone();
        let other_region = |path| IdentityError::OtherRegion {
            path,
            region: self.region.clone(),
        };
        let Ok(name) = ServerName::try_from(host_name(&self.region)) else {
            return Err(other_region(path));
        };
        match self.verify_as_peers_do(&name, now) {
            Ok(()) => Ok(()),
            Err(rustls::Error::InvalidCertificate(reason)) => Err(match reason {
                TlsCertificateError::ExpiredContext { not_after, .. } => IdentityError::Expired {
                    path,
                    not_after: not_after.as_secs(),
                },
                TlsCertificateError::NotValidYetContext { not_before, .. } => {
                    IdentityError::NotYetValid {
                        path,
                        not_before: not_before.as_secs(),
                    }
                }
                TlsCertificateError::NotValidForName
                | TlsCertificateError::NotValidForNameContext { .. } => other_region(path),
                TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature => {
                    IdentityError::OtherAuthority {
                        path,
                        authority: paths.authority.clone(),
                    }
                }
                other => IdentityError::Unusable {
                    path,
                    source: rustls::Error::InvalidCertificate(other),
                },
            }),
            Err(source) => Err(IdentityError::Unusable { path, source }),
        }
    }

    fn verify_as_peers_do(
        &self,
        name: &ServerName<'_>,
        now: SystemTime,
    ) -> Result<(), rustls::Error> {
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| rustls::Error::FailedToGetCurrentTime)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots(), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let [end_entity, intermediates @ ..] = self.chain.as_slice() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let now = UnixTime::since_unix_epoch(since);
        verifier
            .verify_server_cert(end_entity, intermediates, name, &[], now)
            .map(|_| ())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| IdentityError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let not_pem = || IdentityError::NotPem {
        path: path.to_owned(),
        expected: "certificate",
    };
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| not_pem())?;
    if certificates.is_empty() {
        return Err(not_pem());
    }
    Ok(certificates)
}

fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| IdentityError::NotPem {
        path: path.to_owned(),
        expected: "private key",
    })
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots
            .add(certificate)
            .map_err(|source| IdentityError::Unusable {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certs::{Authority, Issued, PemKind, write_pem};

    const DAY: Duration = Duration::from_secs(86_400);

    struct Desk {
        directory: tempfile::TempDir,
        authority: Authority,
        now: SystemTime,
    }

    impl Desk {
        fn new() -> Self {
            let now = SystemTime::now();
            let desk = Self {
                directory: tempfile::tempdir().unwrap(),
                authority: Authority::create(now).unwrap(),
                now,
            };
            desk.authority.write(desk.directory.path()).unwrap();
            desk
        }

        fn issue(&self, region: &str) -> Issued {
            self.authority.issue(region, self.now).unwrap()
        }

        fn write(&self, region: &str) -> IdentityPaths {
            self.issue(region).write(self.directory.path()).unwrap()
        }
    }

    #[test]
    fn a_sound_identity_loads() {
        let desk = Desk::new();
        let paths = desk.write("eu-west-1");
        let identity = Identity::load("eu-west-1", &paths, desk.now).unwrap();
        assert_eq!(identity.region(), "eu-west-1");
    }

    #[test]
    fn a_missing_file_is_named() {
        let desk = Desk::new();
        let mut paths = desk.write("eu-west-1");
        paths.key = desk.directory.path().join("gone.pem");
        let error = Identity::load("eu-west-1", &paths, desk.now).unwrap_err();
        assert!(matches!(error, IdentityError::Read { .. }), "{error:?}");
        assert!(error.to_string().contains("gone.pem"));
    }

    #[test]
    fn what_is_no_pem_is_named() {
        let desk = Desk::new();
        let mut paths = desk.write("eu-west-1");
        paths.certificate = desk.directory.path().join("text.pem");
        write_pem(&paths.certificate, "hello", PemKind::Certificate).unwrap();
        let error = Identity::load("eu-west-1", &paths, desk.now).unwrap_err();
        assert!(matches!(error, IdentityError::NotPem { .. }), "{error:?}");
        assert!(error.to_string().contains("text.pem"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let desk = Desk::new();
        let mut paths = desk.write("eu-west-1");
        paths.key = desk.write("us-east-1").key;
        let error = Identity::load("eu-west-1", &paths, desk.now).unwrap_err();
        assert!(
            matches!(error, IdentityError::KeyMismatch { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_certificate_of_another_region_is_refused() {
        let desk = Desk::new();
        let paths = desk.write("us-east-1");
        let error = Identity::load("eu-west-1", &paths, desk.now).unwrap_err();
        assert!(
            matches!(error, IdentityError::OtherRegion { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_certificate_of_another_authority_is_refused() {
        let desk = Desk::new();
        let mut paths = desk.write("eu-west-1");
        paths.authority = IdentityPaths::authority_in(Desk::new().directory.keep().as_path());
        let error = Identity::load("eu-west-1", &paths, desk.now).unwrap_err();
        assert!(
            matches!(error, IdentityError::OtherAuthority { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_certificate_is_valid_for_its_year_only() {
        let desk = Desk::new();
        let paths = desk.write("eu-west-1");
        let load = |at| Identity::load("eu-west-1", &paths, at);
        assert!(load(desk.now - DAY / 2).is_ok());
        assert!(load(desk.now + 363 * DAY).is_ok());
        let late = load(desk.now + 365 * DAY).unwrap_err();
        assert!(matches!(late, IdentityError::Expired { .. }), "{late:?}");
        let early = load(desk.now - 2 * DAY).unwrap_err();
        assert!(
            matches!(early, IdentityError::NotYetValid { .. }),
            "{early:?}"
        );
    }
}
