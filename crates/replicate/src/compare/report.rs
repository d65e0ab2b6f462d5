//! What a comparison came to.

use super::Verdict;
use meridian_model::{Holds, RegionName, RowName};
use std::collections::BTreeMap;

/// Findings that a report lists; the others are counted.
const FINDINGS_MAX: usize = 1000;

/// What a region found when it compared its rows with those of its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows that show here and were compared.
    pub rows: u64,
    /// Records here that could not be read.
    pub damaged: u64,
    /// By peer.
    pub peers: BTreeMap<RegionName, PeerFigures>,
    /// Rows that differed between any two regions.
    pub found: u64,
    /// Of these: mended here.
    pub mended: u64,
    /// Of these: bad here, and not mended, because that was not asked for or failed.
    pub unmended: u64,
    /// Of these: good here; the others mend their own.
    pub theirs: u64,
    /// Of these: for a person, or for when all regions answer.
    pub left: u64,
    /// Rows that were written again and again while they were looked at; no differences.
    pub busy: u64,
    /// The first of the rows that differed.
    pub findings: Vec<Finding>,
    /// Why the comparison ended early, if it did.
    pub failed: Option<String>,
}

/// How this region and one peer compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFigures {
    /// Rows that showed otherwise there.
    pub differences: u64,
    /// Why it was not compared to the end, if so.
    pub lost: Option<String>,
}

/// A row that differed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row.
    pub name: RowName,
    /// What each region's copy held.
    pub copies: BTreeMap<RegionName, Holds>,
    /// What was to be done here.
    pub verdict: Verdict,
    /// Whether it was done.
    pub mended: bool,
}

impl Report {
    pub(super) fn add(&mut self, own: &RegionName, finding: Finding) {
        self.found += 1;
        match (&finding.verdict, finding.mended) {
            (Verdict::Agreed, _) => {}
            (_, true) => self.mended += 1,
            (Verdict::Take(_), false) => self.unmended += 1,
            (Verdict::Theirs, false) => self.theirs += 1,
            (Verdict::Unheard | Verdict::Split, false) => self.left += 1,
        }
        let here = finding.copies.get(own).copied();
        for (region, holds) in &finding.copies {
            if here.is_some_and(|here| region != own && !here.shows_as(*holds))
                && let Some(peer) = self.peers.get_mut(region)
            {
                peer.differences += 1;
            }
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Whether every row was compared with every peer and shows the same, or does so now.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unmended + self.theirs + self.left == 0
            && self.failed.is_none()
            && self.peers.values().all(|peer| peer.lost.is_none())
    }
}
