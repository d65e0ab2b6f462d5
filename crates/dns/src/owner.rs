//! Names as keys: wire form, lower case.
//!
//! A name that is compared or hashed has one form here, the canonical one of RFC 4034 §6.2: labels
//! with their lengths, in lower case, the root's empty label at the end, nothing compressed. A name's
//! ancestors are then its own suffixes, which is what makes looking up a tree of names a matter of
//! slicing.

use domain::base::name::{Name, ToName};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The octets that a name has at most in wire form (RFC 1035 §2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;

/// The octets that a label has at most (RFC 1035 §2.3.4).
pub(crate) const LABEL_OCTETS_MAX: usize = 63;

/// A domain name in wire form, lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Box<[u8]>);

/// Text that is no domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no domain name: {reason}")]
pub struct OwnerError {
    text: String,
    reason: String,
}

impl Owner {
    /// The name that the text means, with or without the dot at its end.
    ///
    /// # Errors
    ///
    /// [`OwnerError`] for an empty label, a label of more than 63 octets, a name of more than 255.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        let name = Name::<Vec<u8>>::from_str(text).map_err(|error| OwnerError {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self::of(&name))
    }

    /// The canonical form of a name.
    pub fn of(name: &impl ToName) -> Self {
        Self(name.to_canonical_name::<Vec<u8>>().as_slice().into())
    }

    /// The name's octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// This name under a label put before it.
    ///
    /// # Errors
    ///
    /// [`OwnerError`] where label or name become too long.
    pub fn child(&self, label: &str) -> Result<Self, OwnerError> {
        Self::parse(&format!("{label}.{self}"))
    }

    /// Whether this name is `ancestor` or below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        suffixes(&self.0).any(|suffix| suffix == ancestor.octets())
    }
}

impl Borrow<[u8]> for Owner {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Name::from_slice(&self.0) {
            Ok(name) => write!(f, "{name}"),
            Err(_) => f.write_str("?"),
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name above the one of these octets; `None` above the root.
#[must_use]
pub fn parent(octets: &[u8]) -> Option<&[u8]> {
    match octets.first() {
        None | Some(0) => None,
        Some(length) => octets.get(1 + usize::from(*length)..),
    }
}

/// The name itself and all names above it, the root last.
pub fn suffixes(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(octets), |name| parent(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_wire_form_in_lower_case() {
        let name = Owner::parse("WWW.Meridian.test").unwrap();
        assert_eq!(name.octets(), b"\x03www\x08meridian\x04test\x00");
        assert_eq!(name, Owner::parse("www.meridian.test.").unwrap());
        assert_eq!(name.to_string(), "www.meridian.test");
    }

    #[test]
    fn ancestors_are_suffixes_at_labels_only() {
        let zone = Owner::parse("dian.test").unwrap();
        assert!(!Owner::parse("meridian.test").unwrap().is_within(&zone));
        assert!(Owner::parse("a.b.dian.test").unwrap().is_within(&zone));
        assert!(zone.is_within(&zone));
        assert_eq!(suffixes(zone.octets()).count(), 3);
    }

    #[test]
    fn too_long_is_refused() {
        assert!(Owner::parse(&"a".repeat(64)).is_err());
        assert!(Owner::parse(&"abcdefg.".repeat(32)).is_err());
        assert!(Owner::parse("a..b").is_err());
    }
}
