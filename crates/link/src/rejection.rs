//! Who was turned away, and why: counted by reason, the last one kept for the status page.
//!
//! Anyone who can reach the port can cause a rejection, so what is kept is bounded and the log is
//! thinned: each reason's first rejections, then only every doubling of its count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Why a dialler was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// The bytes were not TLS 1.3 of a Meridian link.
    NotMeridian,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate is from another authority.
    OtherAuthority,
    /// Its certificate has expired, or is not valid yet.
    OutsideValidity,
    /// Its certificate is wrong in another way, or names no region.
    BadCertificate,
    /// Its certificate is right, but the region is not one of this topology.
    RegionNotAllowed,
    /// It calls itself other than its certificate does.
    NameMismatch,
    /// No wire version is spoken by both.
    Version,
    /// It broke the protocol of the first words.
    Protocol,
    /// It refused this region's certificate.
    RefusedUs,
    /// It went away, or was silent for too long, before it was known.
    Unfinished,
    /// Too many unknown diallers at once; the oldest gave way.
    TooMany,
}

impl Rejection {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 12] = [
        Self::NotMeridian,
        Self::NoCertificate,
        Self::OtherAuthority,
        Self::OutsideValidity,
        Self::BadCertificate,
        Self::RegionNotAllowed,
        Self::NameMismatch,
        Self::Version,
        Self::Protocol,
        Self::RefusedUs,
        Self::Unfinished,
        Self::TooMany,
    ];

    /// A short stable name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotMeridian => "not_meridian",
            Self::NoCertificate => "no_certificate",
            Self::OtherAuthority => "other_authority",
            Self::OutsideValidity => "outside_validity",
            Self::BadCertificate => "bad_certificate",
            Self::RegionNotAllowed => "region_not_allowed",
            Self::NameMismatch => "name_mismatch",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::RefusedUs => "refused_us",
            Self::Unfinished => "unfinished",
            Self::TooMany => "too_many",
        }
    }

    pub(crate) fn code(self) -> u8 {
        let index = Self::ALL.iter().position(|reason| *reason == self);
        index
            .and_then(|index| u8::try_from(index + 1).ok())
            .expect("ALL lists every reason")
    }

    /// A code from a later release is some breach that this one has no name for.
    pub(crate) fn from_code(code: u8) -> Self {
        let index = usize::from(code).checked_sub(1);
        index
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or(Self::Protocol)
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::NotMeridian => "not a Meridian link",
            Self::NoCertificate => "no certificate was shown",
            Self::OtherAuthority => "certificate is from another authority",
            Self::OutsideValidity => "certificate has expired or is not valid yet",
            Self::BadCertificate => "certificate is not a region's",
            Self::RegionNotAllowed => "region is not in this topology",
            Self::NameMismatch => "name differs from the certificate's",
            Self::Version => "no wire version in common",
            Self::Protocol => "protocol was broken",
            Self::RefusedUs => "this region's certificate was refused",
            Self::Unfinished => "handshake was not finished",
            Self::TooMany => "too many handshakes at once",
        })
    }
}

/// One dialler that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Rejection,
    /// More than the reason says, for people.
    pub detail: String,
    /// Where it dialled from.
    pub address: SocketAddr,
    /// The region that its certificate proved, if it came that far.
    pub region: Option<String>,
    /// When.
    pub at: SystemTime,
}

/// A handle on a listener's rejections; clones see the same counts.
#[derive(Debug, Clone, Default)]
pub struct Rejections(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    counts: BTreeMap<Rejection, u64>,
    last: Option<Rejected>,
}

impl Rejections {
    /// How many were turned away for each reason; reasons that never came up are absent.
    pub fn counts(&self) -> BTreeMap<Rejection, u64> {
        self.record().counts.clone()
    }

    /// The latest one.
    pub fn last(&self) -> Option<Rejected> {
        self.record().last.clone()
    }

    pub(crate) fn add(&self, rejected: Rejected) {
        let mut record = self.record();
        let count = record.counts.entry(rejected.reason).or_default();
        *count += 1;
        let (address, count) = (rejected.address, *count);
        let region = rejected.region.as_deref().unwrap_or("unknown");
        if count <= 8 || count.is_power_of_two() {
            tracing::warn!(%address, region, reason = %rejected.reason, detail = %rejected.detail, count, "rejected a dialler");
        } else {
            tracing::debug!(%address, region, reason = %rejected.reason, count, "rejected a dialler");
        }
        record.last = Some(rejected);
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        // The record is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_names_are_distinct_and_codes_come_back() {
        let names: BTreeSet<_> = Rejection::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Rejection::ALL.len());
        for reason in Rejection::ALL {
            assert_ne!(reason.code(), 0);
            assert_eq!(Rejection::from_code(reason.code()), reason);
        }
        assert_eq!(Rejection::from_code(200), Rejection::Protocol);
    }

    #[test]
    fn rejections_are_counted_and_the_last_is_kept() {
        let rejections = Rejections::default();
        for (reason, detail) in [(Rejection::Version, "a"), (Rejection::Version, "b")] {
            rejections.add(Rejected {
                reason,
                detail: detail.to_owned(),
                address: ([127, 0, 0, 1], 1).into(),
                region: None,
                at: SystemTime::UNIX_EPOCH,
            });
        }
        assert_eq!(
            rejections.counts(),
            BTreeMap::from([(Rejection::Version, 2)])
        );
        assert_eq!(rejections.last().unwrap().detail, "b");
    }
}
