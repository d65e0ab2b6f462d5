//! What clients asked for and what they were told.

use meridian_check::{Committed, Law, Violation};
use meridian_model::{Body, CapturedAt, Entry, OriginId, Sequence};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Staged; nobody knows yet.
    Open,
    /// Acknowledged to the client.
    Acknowledged,
    /// In the log, though nobody was told.
    Survived,
    /// It never happened.
    Dropped,
}

#[derive(Clone, Debug)]
struct Record {
    node: usize,
    origin: OriginId,
    sequence: Sequence,
    fate: Fate,
    transaction: Committed,
    /// Where it was captured.
    at: Option<CapturedAt>,
    /// Whether as many regions as were promised were known to hold it.
    is_confirmed: bool,
}

/// Which of the transactions of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordId(usize);

/// Every client transaction of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    records: Vec<Record>,
}

impl Ledger {
    /// Notes a transaction that was staged.
    pub(crate) fn staged(&mut self, node: usize, entry: &Entry) {
        let (transaction, captured) = match Body::decode(&entry.body) {
            Ok(Body::Transaction(transaction)) => (transaction, None),
            Ok(Body::Decision(decision)) => (decision.transaction, None),
            Ok(Body::Captured(captured)) => {
                let from = (captured.at, captured.absorbed);
                (captured.transaction, Some(from))
            }
            _ => return,
        };
        let (at, absorbed) = captured.unzip();
        self.records.push(Record {
            node,
            origin: entry.origin,
            sequence: entry.sequence,
            fate: Fate::Open,
            is_confirmed: false,
            at,
            transaction: Committed {
                version: entry.version(),
                dependencies: transaction.dependencies,
                absorbed: absorbed.unwrap_or_default(),
                changes: transaction.changes,
            },
        });
    }

    /// The node's round was committed.
    pub(crate) fn acknowledged(&mut self, node: usize) {
        self.settle(node, Fate::Acknowledged);
    }

    /// The node's round was undone.
    pub(crate) fn dropped(&mut self, node: usize) {
        self.settle(node, Fate::Dropped);
    }

    fn settle(&mut self, node: usize, fate: Fate) {
        for record in self.open(node) {
            record.fate = fate;
        }
    }

    fn open(&mut self, node: usize) -> impl Iterator<Item = &mut Record> {
        self.records
            .iter_mut()
            .filter(move |record| record.node == node && record.fate == Fate::Open)
    }

    /// The node came back with its own stream ending at `sequence`: what was open is decided by it.
    ///
    /// # Errors
    /// An acknowledged transaction that is not there.
    pub(crate) fn recovered(
        &mut self,
        node: usize,
        region: &str,
        origin: OriginId,
        sequence: Sequence,
    ) -> Result<(), Violation> {
        for record in self.open(node) {
            let survived = record.origin == origin && record.sequence <= sequence;
            record.fate = if survived {
                Fate::Survived
            } else {
                Fate::Dropped
            };
        }
        let lost = self.records.iter().find(|record| {
            record.node == node
                && record.fate == Fate::Acknowledged
                && (record.origin != origin || record.sequence > sequence)
        });
        match lost {
            Some(record) => Err(Violation::Lost {
                region: region.to_owned(),
                version: record.transaction.version.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// A client was told that as many regions hold this entry as were promised.
    pub(crate) fn confirmed(&mut self, origin: OriginId, sequence: Sequence) {
        let mut records = self.records.iter_mut().rev();
        let is_it = |record: &&mut Record| record.origin == origin && record.sequence == sequence;
        if let Some(record) = records.find(is_it) {
            record.is_confirmed = true;
        }
    }

    /// How many transactions were confirmed.
    pub(crate) fn confirmed_count(&self) -> usize {
        self.records.iter().filter(|it| it.is_confirmed).count()
    }

    /// What was confirmed survives a node that is gone for good, of whose stream the others hold
    /// `sequence`.
    ///
    /// # Errors
    /// A confirmed transaction that nobody has.
    pub(crate) fn check_confirmed(
        &self,
        node: usize,
        region: &str,
        sequence: Sequence,
    ) -> Result<(), Violation> {
        let mut own = self.records.iter().filter(|record| record.node == node);
        match own.find(|record| record.is_confirmed && record.sequence > sequence) {
            None => Ok(()),
            Some(record) => Err(Violation::Lost {
                region: region.to_owned(),
                version: record.transaction.version.to_string(),
            }),
        }
    }

    /// A node is gone for good, and the others hold its stream up to `sequence`: an asynchronous
    /// region may take what nobody else had with it.
    ///
    /// A region that came back counts as another node here.
    pub(crate) fn gone(&mut self, node: usize, sequence: Sequence) {
        for record in self.records.iter_mut().filter(|record| record.node == node) {
            let survived = record.fate != Fate::Dropped && record.sequence <= sequence;
            record.fate = if survived {
                Fate::Survived
            } else {
                Fate::Dropped
            };
        }
    }

    /// The record of the transaction that was staged last.
    pub(crate) fn last(&self) -> Option<RecordId> {
        self.records.len().checked_sub(1).map(RecordId)
    }

    /// Whether this transaction is in the log.
    pub(crate) fn stands(&self, RecordId(at): RecordId) -> bool {
        let fate = self.records.get(at).map(|record| record.fate);
        matches!(fate, Some(Fate::Acknowledged | Fate::Survived))
    }

    /// The incarnation under which this node wrote.
    pub(crate) fn origin_of(&self, node: usize) -> Option<OriginId> {
        let mut records = self.records.iter();
        records
            .find(|record| record.node == node)
            .map(|record| record.origin)
    }

    /// The rows that all this must have led to.
    pub(crate) fn law(&self) -> Law {
        let mut survivors: Vec<Committed> = Vec::new();
        // Parts count once the last has come, and not where something else follows.
        let mut held: BTreeMap<OriginId, (CapturedAt, Vec<Committed>)> = BTreeMap::new();
        let standing = self.records.iter();
        for record in standing.filter(|it| matches!(it.fate, Fate::Acknowledged | Fate::Survived)) {
            let transaction = record.transaction.clone();
            if let Some(at) = record.at {
                let parts = held.remove(&record.origin);
                let mut parts = parts.filter(|(known, _)| known.is_of(at));
                if at.is_held() {
                    let (_, parts) = held
                        .entry(record.origin)
                        .or_insert_with(|| parts.take().unwrap_or((at, Vec::new())));
                    parts.push(transaction);
                    continue;
                }
                let parts = parts.filter(|_| at.is_last).into_iter();
                survivors.extend(parts.flat_map(|(_, parts)| parts));
            }
            survivors.push(transaction);
        }
        Law::of(&survivors)
    }

    /// How many transactions that stand say that they absorb something.
    pub(crate) fn absorbing_count(&self) -> usize {
        let says_so = |record: &&Record| {
            let stands = matches!(record.fate, Fate::Acknowledged | Fate::Survived);
            stands
                && !record.transaction.absorbed.is_empty()
                && !record.transaction.changes.is_empty()
        };
        self.records.iter().filter(says_so).count()
    }

    pub(crate) fn acknowledged_count(&self) -> usize {
        self.records
            .iter()
            .filter(|record| record.fate == Fate::Acknowledged)
            .count()
    }
}
