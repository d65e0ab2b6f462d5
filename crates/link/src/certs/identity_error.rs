//! What may be wrong with a region's identity, in words for the person who starts it.

use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

/// Why a region cannot take up its identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{} cannot be read\n\nhint: `meridian certs` makes the certificates and keys", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no PEM {expected}\n\nhint: the file should contain a line `-----BEGIN …-----`", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What was expected in it.
        expected: &'static str,
    },
    /// The key is not the certificate's.
    #[error(
        "{} is not the key of {}\n\nhint: take certificate and key from the same run of `meridian certs`",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate names another region.
    #[error(
        "{} is not the certificate of region {region}\n\nhint: each region has its own certificate; check the path in the topology",
        path.display()
    )]
    OtherRegion {
        /// The certificate's file.
        path: PathBuf,
        /// This region.
        region: String,
    },
    /// The certificate was not issued by the authority in the other file.
    #[error(
        "{} was issued by another authority than {}\n\nhint: all regions need certificates from one authority",
        path.display(), authority.display()
    )]
    OtherAuthority {
        /// The certificate's file.
        path: PathBuf,
        /// The authority's file.
        authority: PathBuf,
    },
    /// The certificate's time is over.
    #[error("{} expired on {}\n\nhint: issue a new one with `meridian certs`", path.display(), day(*not_after))]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When it ended, seconds since 1970.
        not_after: u64,
    },
    /// The certificate's time has not begun.
    #[error("{} is not valid before {}\n\nhint: check this machine's clock", path.display(), day(*not_before))]
    NotYetValid {
        /// The certificate's file.
        path: PathBuf,
        /// When it begins, seconds since 1970.
        not_before: u64,
    },
    /// Something else that TLS would refuse.
    #[error("{} cannot be used for TLS", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        #[source]
        source: rustls::Error,
    },
}

fn day(unix_seconds: u64) -> String {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| "an unknown day".to_owned(), |at| at.date().to_string())
}
