//! The region that begins with a copy.

use bytes::Bytes;
use meridian_model::{
    Answer, Question, Record, RegionName, SnapshotHead, SnapshotId, SnapshotPart,
};

/// A question that got no answer is put again this often before another sponsor is tried.
const TRIES: u32 = 3;

/// After the keys of all records.
const END: Bytes = Bytes::from_static(&[u8::MAX]);

/// Fetches a snapshot: which question is next, and what to make of its answer. How long to wait
/// for an answer is the caller's business.
#[derive(Debug)]
pub struct Joiner {
    candidates: Vec<RegionName>,
    sponsor: usize,
    id: SnapshotId,
    after: Option<Bytes>,
    is_begun: bool,
    unanswered: u32,
    attempts: u64,
    last_error: Option<String>,
    /// Only where the snapshot stands is wanted.
    skips_records: bool,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum JoinProgress {
    /// Nothing; the next question is due, after a pause.
    None,
    /// Records to take, after all that came before. `begins` is set with the first of a snapshot:
    /// what was taken of another is to be thrown away.
    Records {
        /// Whether a snapshot begins with these.
        begins: bool,
        /// The records.
        records: Vec<Record>,
        /// Set with the last ones: the log begins at these marks, and the tables are finished.
        end: Option<SnapshotHead>,
    },
}

impl Joiner {
    /// A machine that asks these peers, the first one first; there is at least one. `fresh` is a
    /// random number, as everywhere here.
    #[must_use]
    pub fn new(candidates: Vec<RegionName>, fresh: u64) -> Self {
        Self {
            candidates,
            sponsor: 0,
            id: SnapshotId(fresh),
            after: None,
            is_begun: false,
            unanswered: 0,
            attempts: 1,
            last_error: None,
            skips_records: false,
        }
    }

    /// The same for a region that holds no tables: it learns where a snapshot stands, and takes
    /// none of its records.
    #[must_use]
    pub fn of_witness(candidates: Vec<RegionName>, fresh: u64) -> Self {
        Self {
            skips_records: true,
            ..Self::new(candidates, fresh)
        }
    }

    /// Whom to ask.
    #[must_use]
    pub fn sponsor(&self) -> &RegionName {
        &self.candidates[self.sponsor]
    }

    /// What to ask.
    #[must_use]
    pub fn question(&self) -> Question {
        Question::Snapshot {
            id: self.id,
            after: self.after.clone(),
        }
    }

    /// How many snapshots were begun or tried, this one included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Why the last question had to be put again, or another sponsor be chosen.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Takes the answer to the question that was last put.
    pub fn answered(&mut self, answer: Answer, fresh: u64) -> JoinProgress {
        match answer {
            Answer::Snapshot(part) => self.take(part, fresh),
            Answer::SnapshotGone => {
                self.another("it doesn't know the snapshot any more", fresh);
                JoinProgress::None
            }
            Answer::Unavailable { reason } => {
                self.another(&reason, fresh);
                JoinProgress::None
            }
            Answer::Applied(_)
            | Answer::Held(_)
            | Answer::Write(_)
            | Answer::Epoch(_)
            | Answer::Digests(_)
            | Answer::Rows { .. }
            | Answer::Looked(_)
            | Answer::Fetched(_)
            | Answer::Steering(_) => {
                self.another("it answered another question", fresh);
                JoinProgress::None
            }
        }
    }

    fn take(&mut self, part: SnapshotPart, fresh: u64) -> JoinProgress {
        let SnapshotPart {
            mut records,
            head: end,
        } = part;
        match records.last() {
            Some(last) => self.after = Some(last.key.clone()),
            None if end.is_none() => {
                self.another("it sent nothing", fresh);
                return JoinProgress::None;
            }
            None => {}
        }
        if self.skips_records {
            records.clear();
            self.after = Some(END);
        }
        self.unanswered = 0;
        let begins = !std::mem::replace(&mut self.is_begun, true);
        JoinProgress::Records {
            begins,
            records,
            end,
        }
    }

    /// No answer came: the question is put again, a few times, since one may get lost.
    pub fn unanswered(&mut self, reason: &str, fresh: u64) {
        self.unanswered += 1;
        self.last_error = Some(format!("region {}: {reason}", self.sponsor()));
        if self.unanswered >= TRIES {
            self.another(reason, fresh);
        }
    }

    /// The sponsor can't be used, or what it sent can't: begins again with another one.
    pub fn another(&mut self, reason: &str, fresh: u64) {
        self.last_error = Some(format!("region {}: {reason}", self.sponsor()));
        self.sponsor = (self.sponsor + 1) % self.candidates.len();
        self.id = SnapshotId(fresh);
        self.again();
    }

    /// What was taken so far is gone here: asks for all of it again, under the same number. A sponsor
    /// that has the snapshot still needn't open another one.
    pub fn again(&mut self) {
        self.after = None;
        self.is_begun = false;
        self.unanswered = 0;
        self.attempts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joiner() -> Joiner {
        Joiner::new(vec![RegionName::new("a"), RegionName::new("b")], 7)
    }

    fn part(keys: &[&'static str], is_last: bool) -> Answer {
        let record = |key: &&'static str| Record {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::new(),
        };
        Answer::Snapshot(SnapshotPart {
            records: keys.iter().map(record).collect(),
            head: is_last.then(SnapshotHead::default),
        })
    }

    fn asks(joiner: &Joiner) -> (&str, u64, Option<&[u8]>) {
        // The sponsor's name, the snapshot's number, the last key.
        let id = joiner.id.0;
        (joiner.sponsor().as_str(), id, joiner.after.as_deref())
    }

    fn begins(progress: &JoinProgress) -> bool {
        matches!(progress, JoinProgress::Records { begins: true, .. })
    }

    #[test]
    fn it_goes_on_from_the_last_key_to_the_end() {
        let mut joiner = joiner();
        assert_eq!(asks(&joiner), ("a", 7, None));
        assert!(begins(&joiner.answered(part(&["k", "l"], false), 8)));
        assert_eq!(asks(&joiner), ("a", 7, Some(&b"l"[..])));
        let last = joiner.answered(part(&["m"], true), 8);
        assert!(!begins(&last));
        assert!(matches!(last, JoinProgress::Records { end: Some(_), .. }));
    }

    #[test]
    fn what_was_lost_here_is_asked_for_again_of_the_same_sponsor() {
        let mut joiner = joiner();
        joiner.answered(part(&["k"], false), 8);
        joiner.again();
        assert_eq!(asks(&joiner), ("a", 7, None));
        assert_eq!((joiner.attempts(), joiner.last_error()), (2, None));
        assert!(begins(&joiner.answered(part(&["k"], false), 9)));
    }

    #[test]
    fn empty_tables_are_a_snapshot_too() {
        let last = joiner().answered(part(&[], true), 8);
        assert!(begins(&last));
        assert!(matches!(last, JoinProgress::Records { end: Some(_), .. }));
    }

    #[test]
    fn a_question_that_got_lost_is_put_again() {
        let mut joiner = joiner();
        joiner.answered(part(&["k"], false), 8);
        joiner.unanswered("silence", 8);
        joiner.unanswered("silence", 9);
        assert_eq!(asks(&joiner), ("a", 7, Some(&b"k"[..])));
        joiner.answered(part(&["l"], false), 9);
        joiner.unanswered("silence", 10);
        joiner.unanswered("silence", 11);
        assert_eq!(
            asks(&joiner),
            ("a", 7, Some(&b"l"[..])),
            "an answer in between"
        );
    }

    #[test]
    fn a_silent_sponsor_gives_way_to_the_next_and_all_begins_again() {
        let mut joiner = joiner();
        joiner.answered(part(&["k"], false), 8);
        for fresh in 20..23 {
            joiner.unanswered("silence", fresh);
        }
        assert_eq!(asks(&joiner), ("b", 22, None));
        assert_eq!(joiner.last_error(), Some("region a: silence"));
        assert!(begins(&joiner.answered(part(&["a"], false), 30)));
    }

    #[test]
    fn a_snapshot_that_is_gone_or_empty_begins_again() {
        for answer in [Answer::SnapshotGone, part(&[], false)] {
            let mut joiner = joiner();
            joiner.answered(part(&["k"], false), 8);
            assert_eq!(joiner.answered(answer, 9), JoinProgress::None);
            assert_eq!(asks(&joiner), ("b", 9, None));
            assert_eq!(joiner.attempts(), 2);
        }
    }

    #[test]
    fn a_witness_learns_where_the_snapshot_stands_and_takes_no_records() {
        let mut joiner = Joiner::of_witness(vec![RegionName::new("a")], 7);
        let beginning = joiner.question();
        let progress = joiner.answered(part(&["k1", "k2"], false), 8);
        assert_eq!(
            progress,
            JoinProgress::Records {
                begins: true,
                records: Vec::new(),
                end: None,
            }
        );
        let Question::Snapshot { id, after } = joiner.question() else {
            panic!("not a question for a snapshot");
        };
        assert!(matches!(beginning, Question::Snapshot { id: first, .. } if first == id));
        assert!(
            after.is_some_and(|after| after[..] > b"z"[..]),
            "the end is next"
        );
        let progress = joiner.answered(part(&[], true), 9);
        let JoinProgress::Records { records, end, .. } = progress else {
            panic!("nothing came of it");
        };
        assert!(records.is_empty() && end.is_some());
    }
}
