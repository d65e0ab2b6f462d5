//! What comparisons came to, for people.

use meridian_model::{Micros, RegionName, RowName};
use meridian_replicate::compare::{Finding, Report, Scope, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rows that wait for a person and are listed; the others are found again once these are decided.
const WAITING_MAX: usize = 10_000;

/// How a dataset's rows compare with those of the peers.
#[derive(Clone, Debug, Default)]
pub struct Integrity {
    /// The comparison under way.
    pub running: Option<Progress>,
    /// By peer, as of the last comparison of all rows.
    pub peers: BTreeMap<RegionName, PeerIntegrity>,
    /// Rows that are bad here or there and not mended, by name.
    pub waiting: Vec<Finding>,
    /// Counted since the process started.
    pub totals: Totals,
}

/// A comparison under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows compared so far.
    pub rows: u64,
    /// Rows found to differ so far.
    pub found: u64,
    /// Rows mended so far.
    pub mended: u64,
}

/// How one peer's rows compare.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerIntegrity {
    /// When the comparison ended.
    pub compared_at: Micros,
    /// How long it took.
    pub took: Duration,
    /// Rows of this region that were compared.
    pub rows: u64,
    /// Rows that differed.
    pub differences: u64,
    /// Why it did not come to its end, if so.
    pub incomplete: Option<String>,
}

impl PeerIntegrity {
    /// The share of rows that were equal: the integrity figure.
    #[must_use]
    pub fn equal_share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
        let (rows, differences) = (self.rows.max(1) as f64, self.differences as f64);
        (1.0 - differences / rows).max(0.0)
    }
}

/// Counts since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Comparisons that came to their end.
    pub comparisons: u64,
    /// Rows compared.
    pub rows: u64,
    /// Rows found to differ.
    pub found: u64,
    /// Rows mended here.
    pub mended: u64,
}

/// A comparison that has ended.
#[derive(Clone, Debug)]
pub struct Completed {
    /// When.
    pub at: Micros,
    /// How long it took.
    pub took: Duration,
    /// What was found.
    pub report: Report,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) running: Option<Progress>,
    peers: BTreeMap<RegionName, PeerIntegrity>,
    waiting: BTreeMap<RowName, Finding>,
    totals: Totals,
}

impl State {
    pub(super) fn integrity(&self) -> Integrity {
        Integrity {
            running: self.running,
            peers: self.peers.clone(),
            waiting: self.waiting.values().cloned().collect(),
            totals: self.totals,
        }
    }

    /// Takes what a comparison came to; says how many rows wait that did not wait before.
    pub(super) fn ended(&mut self, scope: &Scope, completed: &Completed) -> usize {
        let Completed { at, took, report } = completed;
        self.totals.comparisons += u64::from(report.failed.is_none());
        self.totals.rows += report.rows;
        self.totals.found += report.found;
        self.totals.mended += report.mended;
        if is_whole(scope) {
            let figures = report.peers.iter().map(|(region, peer)| {
                let figure = PeerIntegrity {
                    compared_at: *at,
                    took: *took,
                    rows: report.rows,
                    differences: peer.differences,
                    incomplete: peer.lost.clone().or_else(|| report.failed.clone()),
                };
                (region.clone(), figure)
            });
            self.peers = figures.collect();
        }
        let before = std::mem::take(&mut self.waiting);
        if report.failed.is_some() {
            self.waiting.clone_from(&before);
        } else {
            let outside = before.iter().filter(|(name, _)| !covers(scope, name));
            let outside = outside.map(|(name, finding)| (name.clone(), finding.clone()));
            self.waiting = outside.collect();
        }
        for finding in &report.findings {
            if !finding.mended
                && finding.verdict != Verdict::Agreed
                && self.waiting.len() < WAITING_MAX
            {
                self.waiting.insert(finding.name.clone(), finding.clone());
            }
        }
        let new = self
            .waiting
            .keys()
            .filter(|name| !before.contains_key(name));
        new.count()
    }
}

fn is_whole(scope: &Scope) -> bool {
    matches!(scope, Scope::Spans(spans) if spans.iter().any(|span| *span == meridian_model::Span::default()))
}

fn covers(scope: &Scope, name: &RowName) -> bool {
    match scope {
        Scope::Spans(spans) => spans.iter().any(|span| span.contains(name)),
        Scope::Rows(names) => names.contains(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::Span;

    fn name(table: &str) -> RowName {
        RowName {
            table: table.to_owned(),
            key: "k".to_owned(),
        }
    }

    fn completed(findings: &[(&str, Verdict, bool)]) -> Completed {
        let findings = findings.iter().map(|(table, verdict, mended)| Finding {
            name: name(table),
            copies: BTreeMap::new(),
            verdict: verdict.clone(),
            mended: *mended,
        });
        Completed {
            at: Micros(1),
            took: Duration::ZERO,
            report: Report {
                findings: findings.collect(),
                ..Report::default()
            },
        }
    }

    fn waiting(state: &State) -> Vec<&str> {
        state.waiting.keys().map(|name| &*name.table).collect()
    }

    #[test]
    fn a_row_waits_until_a_comparison_that_covers_it_finds_it_right() {
        let mut state = State::default();
        let whole = Scope::Spans(vec![Span::default()]);
        let found = completed(&[
            ("a", Verdict::Split, false),
            ("b", Verdict::Unheard, false),
            ("c", Verdict::Take(RegionName::new("x")), true),
        ]);
        assert_eq!(state.ended(&whole, &found), 2);
        assert_eq!(state.ended(&whole, &found), 0, "it is said once");
        let one_table = Scope::Spans(vec![Span::of_table("a")]);
        state.ended(&one_table, &completed(&[]));
        assert_eq!(waiting(&state), ["b"]);
        state.ended(&Scope::Rows(vec![name("b")]), &completed(&[]));
        assert!(waiting(&state).is_empty());
    }

    #[test]
    fn the_figure_is_the_share_of_equal_rows() {
        let figure = |rows, differences| {
            let figure = PeerIntegrity {
                compared_at: Micros(0),
                took: Duration::ZERO,
                rows,
                differences,
                incomplete: None,
            };
            figure.equal_share()
        };
        assert!((figure(200, 1) - 0.995).abs() < 1e-9);
        assert!((figure(0, 0) - 1.0).abs() < 1e-9);
        assert!(figure(0, 5) >= 0.0);
    }
}
