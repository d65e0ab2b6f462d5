//! Whose state a row is that differs between a server and the tables. Pure.
//!
//! Where capture lost its thread (the slot is gone, the server was restored or replaced), nothing says
//! any more what applications wrote meanwhile. It is found out row by row, and what nothing tells is
//! left to a person. What is known:
//!
//! - what the server had been *given*, by its own `meridian.position`: it went back together with the
//!   rows;
//! - its *mark* ([`super::mark`]), likewise: all transactions below the mark's xid had been captured.
//!   Whatever such a transaction wrote last in a row is an older state of that row, since the tables
//!   have had it;
//! - the log from the mark on: what it says a row became may be in the server too.
//!
//! So a row whose writer is below the mark, or which is as the log since the mark says, is older and is
//! written again. Any other was written by somebody whom capture never saw: it is taken for what it is, a
//! write of this region. A row that the server lacks though it had been given its last write
//! was deleted by somebody whom capture never saw. One that lacks though the server had not been given
//! its last write is mostly just that; but somebody may have deleted what was there before.

use crate::Xid;
use meridian_model::{RowName, Vector, Version};
use std::collections::{HashMap, HashSet};

/// What a differing row of the server comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The tables have had this state: it is written over.
    Older,
    /// A write of this region that was not captured.
    Local,
    /// Nothing tells.
    Unknown,
    /// The server lacks a row that it had not been given as it is now. Somebody may have deleted what
    /// was there before, if anybody wrote at all.
    Lacking,
}

/// What is known of a server whose rows are compared.
#[derive(Debug, Default)]
pub struct Basis {
    /// What it had been given; `None` where it never was given anything.
    pub given: Option<Vector>,
    /// What is known of its writers.
    pub writers: Option<Writers>,
}

/// What is known of the transactions that wrote a server's rows.
#[derive(Debug)]
pub struct Writers {
    /// All before this one were captured.
    pub horizon: Xid,
    /// Those that are known to be Meridian's: the last one, and those that let in rows which had been
    /// kept out, whose states are older than the log since.
    pub own: Vec<Xid>,
    /// What the log since says that rows became; `None` where it doesn't reach back so far.
    pub since: Option<States>,
}

/// Documents that rows had, as digests of their values.
#[derive(Debug, Default)]
pub struct States(HashMap<RowName, HashSet<u64>>);

impl States {
    /// The row had a document whose values have this digest.
    pub fn had(&mut self, row: RowName, digest: u64) {
        self.0.entry(row).or_default().insert(digest);
    }

    fn has(&self, row: &RowName, digest: u64) -> bool {
        self.0.get(row).is_some_and(|all| all.contains(&digest))
    }
}

/// The table that a row is of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// Several writes make a row together: no single one says what it became.
    pub merges: bool,
    /// Its rows were all written anew since the mark, whoever had written them.
    pub is_rewritten: bool,
    /// It was never given anything, and nothing of it was captured.
    pub is_new: bool,
    /// The row itself is kept out, or in an older state, though it counts as given.
    pub is_parked: bool,
}

impl Basis {
    /// A row that the server has, by its writer and a digest of its values. `last` is the last write to it that the tables remember.
    pub fn of_row(
        &self,
        kind: Kind,
        row: &RowName,
        (writer, digest): (Xid, u64),
        last: Option<Version>,
    ) -> Verdict {
        let given = self.given.as_ref().filter(|_| !kind.is_new);
        let Some(given) = given else {
            return match last {
                None => Verdict::Local,
                Some(_) => Verdict::Unknown,
            };
        };
        let writers = self.writers.as_ref().filter(|_| !kind.is_rewritten);
        if let Some(writers) = writers {
            let is_known = writer.precedes(writers.horizon) || writers.own.contains(&writer);
            let since = writers.since.as_ref();
            if is_known || since.is_some_and(|since| since.has(row, digest)) {
                return Verdict::Older;
            }
            if since.is_some() && !(kind.merges && last.is_some()) {
                return Verdict::Local;
            }
        }
        match last {
            Some(last) if given.has_seen(last) && !kind.merges && !kind.is_parked => Verdict::Local,
            _ => Verdict::Unknown,
        }
    }

    /// A row that the server lacks.
    pub fn of_lack(&self, kind: Kind, last: Option<Version>) -> Verdict {
        match (self.given.as_ref().filter(|_| !kind.is_new), last) {
            (None, _) => Verdict::Older,
            (Some(given), Some(last)) if given.has_seen(last) => Verdict::Local,
            (Some(_), _) => Verdict::Lacking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    const HERE: OriginId = OriginId(1);
    const THERE: OriginId = OriginId(2);

    fn row() -> RowName {
        RowName {
            table: "public.t".to_owned(),
            key: "1".to_owned(),
        }
    }

    fn version(hlc: u64, origin: OriginId) -> Option<Version> {
        Some(Version {
            hlc: Hlc::from_raw(hlc),
            origin,
        })
    }

    /// Given up to 10 of each; writers before 100 are captured; since then the row was 7.
    fn basis() -> Basis {
        let mut since = States::default();
        since.had(row(), 7);
        let given = [HERE, THERE].map(|origin| (origin, Hlc::from_raw(10)));
        Basis {
            given: Some(given.into_iter().collect()),
            writers: Some(Writers {
                horizon: Xid(100),
                own: vec![Xid(120), Xid(110)],
                since: Some(since),
            }),
        }
    }

    const MERGING: Kind = Kind {
        merges: true,
        is_rewritten: false,
        is_new: false,
        is_parked: false,
    };

    #[test]
    fn a_row_whose_writer_was_captured_is_older() {
        let basis = basis();
        let of = |writer, digest| {
            basis.of_row(
                Kind::default(),
                &row(),
                (Xid(writer), digest),
                version(20, THERE),
            )
        };
        assert_eq!(of(99, 1), Verdict::Older);
        assert_eq!(of(120, 1), Verdict::Older, "ours");
        assert_eq!(
            of(110, 1),
            Verdict::Older,
            "it had been kept out, and we let it in"
        );
        assert_eq!(of(100, 7), Verdict::Older, "as the log says");
        assert_eq!(of(100, 1), Verdict::Local);
    }

    #[test]
    fn a_row_that_the_tables_never_had_or_that_is_gone_there_is_judged_likewise() {
        let basis = basis();
        let of = |writer| basis.of_row(Kind::default(), &row(), (Xid(writer), 1), None);
        assert_eq!(of(99), Verdict::Older, "deleted elsewhere, long ago");
        assert_eq!(of(100), Verdict::Local);
    }

    #[test]
    fn what_several_writes_make_is_asked_about_unless_its_writer_was_captured() {
        let basis = basis();
        let of = |writer, last| basis.of_row(MERGING, &row(), (Xid(writer), 1), last);
        assert_eq!(of(99, version(20, THERE)), Verdict::Older);
        assert_eq!(of(100, version(20, THERE)), Verdict::Unknown);
        assert_eq!(of(100, version(5, THERE)), Verdict::Unknown);
        assert_eq!(of(100, None), Verdict::Local, "it is new");
    }

    #[test]
    fn without_a_mark_only_what_the_server_had_been_given_tells() {
        let basis = Basis {
            writers: None,
            ..basis()
        };
        let of = |last| basis.of_row(Kind::default(), &row(), (Xid(1), 1), last);
        assert_eq!(of(version(10, THERE)), Verdict::Local);
        assert_eq!(of(version(11, THERE)), Verdict::Unknown);
        assert_eq!(of(None), Verdict::Unknown);
    }

    #[test]
    fn a_rewritten_table_says_nothing_of_its_writers() {
        let rewritten = Kind {
            is_rewritten: true,
            ..Kind::default()
        };
        let of = |last| basis().of_row(rewritten, &row(), (Xid(150), 1), last);
        assert_eq!(of(version(20, THERE)), Verdict::Unknown);
        assert_eq!(of(version(5, HERE)), Verdict::Local);
    }

    #[test]
    fn a_row_that_is_kept_out_does_not_show_what_was_given() {
        let parked = Kind {
            is_rewritten: true,
            is_parked: true,
            ..Kind::default()
        };
        let of = |kind| basis().of_row(kind, &row(), (Xid(150), 1), version(5, HERE));
        assert_eq!(of(parked), Verdict::Unknown);
        let young = Kind {
            is_rewritten: false,
            ..parked
        };
        assert_eq!(of(young), Verdict::Local, "its writer tells");
    }

    #[test]
    fn a_log_that_begins_later_leaves_young_rows_open() {
        let mut basis = basis();
        basis.writers.as_mut().unwrap().since = None;
        let of = |writer| {
            let last = version(20, THERE);
            basis.of_row(Kind::default(), &row(), (Xid(writer), 1), last)
        };
        assert_eq!(of(99), Verdict::Older);
        assert_eq!(of(100), Verdict::Unknown);
    }

    #[test]
    fn a_row_that_is_lacking_was_deleted_if_the_server_had_it() {
        let of = |last| basis().of_lack(Kind::default(), last);
        assert_eq!(of(version(10, HERE)), Verdict::Local);
        assert_eq!(of(version(11, HERE)), Verdict::Lacking);
    }

    #[test]
    fn at_a_first_meeting_each_side_takes_what_only_the_other_has() {
        let basis = Basis::default();
        let kind = Kind::default();
        assert_eq!(
            basis.of_row(kind, &row(), (Xid(1), 1), None),
            Verdict::Local
        );
        let last = version(1, THERE);
        assert_eq!(
            basis.of_row(kind, &row(), (Xid(1), 1), last),
            Verdict::Unknown
        );
        assert_eq!(basis.of_lack(kind, last), Verdict::Older);
        let new = Kind {
            is_new: true,
            ..kind
        };
        assert_eq!(
            self::basis().of_row(new, &row(), (Xid(1), 1), None),
            Verdict::Local
        );
    }
}
