//! Names: of regions, datasets, tables and the zone. Each has one rule, checked in one place.
//!
//! Region and dataset names become DNS labels, directory names and metric labels, so they keep to
//! the characters that are safe in all three. Table names appear in URL paths and file names and
//! are a little wider.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest region or dataset name, in bytes.
const LABEL_BYTES_MAX: usize = 40;
/// The longest table name, in bytes.
const TABLE_NAME_BYTES_MAX: usize = 128;
/// The longest zone: a DNS name has at most 253 characters, and the names of services and regions
/// go in front of the zone.
const ZONE_BYTES_MAX: usize = 150;

/// Why a name is refused, and what a good one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NameError {
    /// What is wrong with the name.
    pub reason: String,
    /// The rule that a name must keep.
    pub hint: &'static str,
}

const LABEL_HINT: &str =
    "use 1 to 40 characters of a-z, 0-9 and '-', with a letter or digit at both ends";
const TABLE_HINT: &str = "use 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'";
const ZONE_HINT: &str = "use a DNS name in lower case, for example \"meridian.test\"";

/// Checks a region's name: a DNS label of 1 to 40 characters of `[a-z0-9-]`.
///
/// # Errors
/// If the name is empty, too long, has another character, or begins or ends with `-`.
pub fn check_region_name(name: &str) -> Result<(), NameError> {
    if name == crate::route::GLOBAL {
        return Err(NameError {
            reason: "\"global\" is where the names of services are, so no region can have it"
                .to_owned(),
            hint: LABEL_HINT,
        });
    }
    check_label("region", name)
}

/// Checks the zone: a DNS name in lower case without a trailing dot, at most 150 characters.
///
/// # Errors
/// If it is not such a name.
pub fn check_zone(zone: &str) -> Result<(), NameError> {
    let good = zone.len() <= ZONE_BYTES_MAX && zone.split('.').all(is_dns_label);
    good.then_some(()).ok_or_else(|| NameError {
        reason: format!("zone {zone:?} is not a DNS name"),
        hint: ZONE_HINT,
    })
}

/// Whether `label` is a DNS label (RFC 1035 as relaxed by RFC 1123) in lower case.
pub(crate) fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn check_label(kind: &str, name: &str) -> Result<(), NameError> {
    let good = is_dns_label(name) && name.len() <= LABEL_BYTES_MAX;
    good.then_some(()).ok_or_else(|| NameError {
        reason: format!("{name:?} is not a {kind} name"),
        hint: LABEL_HINT,
    })
}

fn check_table_name(name: &str) -> Result<(), NameError> {
    if name == "." || name == ".." {
        return Err(NameError {
            reason: format!("{name:?} is not a table name: URLs give it another meaning"),
            hint: TABLE_HINT,
        });
    }
    let good =
        (1..=TABLE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_table_name_byte);
    good.then_some(()).ok_or_else(|| NameError {
        reason: format!("{} is not a table name", shortened(name)),
        hint: TABLE_HINT,
    })
}

pub(crate) fn is_table_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Quotes a name from outside, cut so that an error stays readable.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(TABLE_NAME_BYTES_MAX) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// If the name breaks the rule; the error says which rule.
            pub fn new(name: &str) -> Result<Self, NameError> {
                $check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A table's name: 1 to 128 characters of `[A-Za-z0-9_.-]`, not `.` or `..`.
    TableName,
    check_table_name
);
name_type!(
    /// A dataset's name: a DNS label of 1 to 40 characters of `[a-z0-9-]`.
    DatasetName,
    |name| check_label("dataset", name)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_names() {
        let longest = "a".repeat(40);
        for good in ["a", "us-east-1", "1", longest.as_str()] {
            assert_eq!(check_region_name(good), Ok(()), "{good}");
        }
        let too_long = "a".repeat(41);
        for bad in ["", "-a", "a-", "US", "a.b", "a_b", "ü", too_long.as_str()] {
            assert!(check_region_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn table_names() {
        let longest = "T".repeat(128);
        for good in ["t", "Orders", "inv_2024.q1-b", "...", longest.as_str()] {
            assert_eq!(TableName::new(good).unwrap().as_str(), good);
        }
        let too_long = "T".repeat(129);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a*",
            "é",
            "a\0",
            too_long.as_str(),
        ] {
            assert!(TableName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_bad_name_is_cut_in_the_error() {
        let error = TableName::new(&"é".repeat(10_000)).unwrap_err();
        assert!(error.reason.len() < 400, "{}", error.reason.len());
    }

    #[test]
    fn zones() {
        for good in ["meridian.test", "test", "a-1.b.c"] {
            assert_eq!(check_zone(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "A.test", "a b.test", "-a.test"] {
            assert!(check_zone(bad).is_err(), "{bad}");
        }
    }
}
