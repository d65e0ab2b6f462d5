//! TLS between regions: version 1.3 only, both sides show a certificate of the one authority.
//!
//! Sessions are not resumed: links live long, and each new one must check certificates afresh, expiry
//! included. What goes wrong in a handshake is sorted into [`Rejection`]s, from whichever side
//! saw it: a fault that the peer found arrives here as an alert.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, CommonState, Error, ServerConfig};

use crate::certs::{Identity, region_of_host};
use crate::rejection::Rejection;

const ALPN: &[u8] = b"meridian-link/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(crate) fn client_config(identity: &Identity) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(identity.roots())
        .with_client_auth_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Why a handshake failed, and what is known beyond the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Rejection,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(reason: Rejection, detail: impl ToString) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }
}

/// Reads the peer's region from its certificate, which the handshake has verified.
///
/// A certificate with several region names, or a wildcard, would let one region speak for another.
pub(crate) fn peer_region(session: &CommonState) -> Result<String, Fault> {
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Fault::new(
            Rejection::NotMeridian,
            "TLS without the meridian-link protocol",
        ));
    }
    let bad = |detail: &str| Fault::new(Rejection::BadCertificate, detail);
    let certificate = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or_else(|| Fault::new(Rejection::NoCertificate, "no certificate was shown"))?;
    let certificate = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| Fault::new(Rejection::BadCertificate, error))?;
    let mut regions = certificate.valid_dns_names().filter_map(region_of_host);
    match (regions.next(), regions.next()) {
        (Some(region), None) => Ok(region.to_owned()),
        (None, _) => Err(bad("the certificate names no region")),
        (Some(_), Some(_)) => Err(bad("the certificate names several regions")),
    }
}

/// The TLS error inside an I/O error, if that is what it is.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Sorts the failure of a handshake as the side sees it that found the fault, or was told of it.
pub(crate) fn fault(error: &io::Error) -> Fault {
    let reason = match tls_error(error) {
        Some(Error::AlertReceived(alert)) => return alert_fault(*alert),
        Some(Error::InvalidCertificate(reason)) => certificate_fault(reason),
        Some(Error::NoCertificatesPresented) => Rejection::NoCertificate,
        Some(_) => Rejection::NotMeridian,
        None => Rejection::Unfinished,
    };
    Fault::new(reason, error)
}

/// Whether the peer found the fault, so that it lies with this side.
pub(crate) fn is_alert(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(Error::AlertReceived(_)))
}

fn certificate_fault(error: &CertificateError) -> Rejection {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Rejection::OtherAuthority
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Rejection::OutsideValidity,
        _ => Rejection::BadCertificate,
    }
}

/// What the peer's alert says about this side.
fn alert_fault(alert: AlertDescription) -> Fault {
    let (reason, detail) = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => (
            Rejection::OtherAuthority,
            "this region's certificate is from another authority".to_owned(),
        ),
        AlertDescription::CertificateExpired => (
            Rejection::OutsideValidity,
            "this region's certificate has expired or is not valid yet".to_owned(),
        ),
        AlertDescription::CertificateRequired => (
            Rejection::NoCertificate,
            "this region showed no certificate".to_owned(),
        ),
        AlertDescription::BadCertificate => (
            Rejection::BadCertificate,
            "this region's certificate is not the one expected there".to_owned(),
        ),
        other => (Rejection::NotMeridian, format!("TLS alert {other:?}")),
    };
    Fault { reason, detail }
}

/// The region that a certificate names when it was not the one that was dialled.
pub(crate) fn reached_region(error: &io::Error) -> Option<String> {
    let Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        presented, ..
    })) = tls_error(error)
    else {
        return None;
    };
    let host = |text: &String| {
        let name = text.strip_prefix("DnsName(\"")?.strip_suffix("\")")?;
        region_of_host(name).map(str::to_owned)
    };
    presented.iter().find_map(host)
}
