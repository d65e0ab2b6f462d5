//! Who is who between regions: one authority for the deployment, one certificate for each region.
//!
//! A certificate names its region as the DNS name `REGION.region.meridian`. The suffix is no domain
//! that anyone resolves; it keeps the names apart from those of any other certificate that an
//! operator's own authority may have issued. A region both dials and is dialled, so its
//! certificate serves for both ends.
//!
//! Time is passed in, so that expiry can be tested and simulated.

mod authority;
mod files;
mod identity;
mod identity_error;

pub use authority::{Authority, CertificateError, Issued};
pub use files::{FileError, PemKind, write_pem};
#[cfg(feature = "fuzzing")]
pub(crate) use identity::Pem;
pub use identity::{Identity, IdentityPaths};
pub use identity_error::IdentityError;

/// What follows the region's name in the DNS name of its certificate.
pub const REGION_SUFFIX: &str = ".region.meridian";

/// The longest region name that fits a DNS label.
pub const REGION_NAME_BYTES_MAX: usize = 63;

/// Whether a region's name can stand in a certificate: a DNS label in lower case.
pub fn is_region_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= REGION_NAME_BYTES_MAX
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

pub(crate) fn host_name(region: &str) -> String {
    format!("{region}{REGION_SUFFIX}")
}

/// The region that a DNS name stands for, if it is one of ours.
pub(crate) fn region_of_host(host: &str) -> Option<&str> {
    let region = host.strip_suffix(REGION_SUFFIX)?;
    is_region_name(region).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_names_are_dns_labels() {
        for good in ["a", "eu-west-1", "region2"] {
            assert!(is_region_name(good), "{good}");
            assert_eq!(region_of_host(&host_name(good)), Some(good));
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", "EU", "a.b", "a_b", "*", "é", &long] {
            assert!(!is_region_name(bad), "{bad}");
            assert_eq!(region_of_host(&host_name(bad)), None);
        }
    }

    #[test]
    fn other_domains_name_no_region() {
        assert_eq!(region_of_host("eu-west-1.example.com"), None);
        assert_eq!(region_of_host("region.meridian"), None);
    }
}
