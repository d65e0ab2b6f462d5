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
//! - the log from the mark on: what it says that a row became by the last write which the server has is
//!   in the server too. What it became by writes that the server never had, or before others that it
//!   has, is not: if the server shows that, somebody wrote it again.
//!
//! So a row whose writer is below the mark, or which is as the log since the mark says, is older and is
//! written again. Any other was written by somebody whom capture never saw: it is taken for what it is, a
//! write of this region. A row that the server lacks though it had been given its last write
//! was deleted by somebody whom capture never saw. One that lacks though the server had not been given
//! its last write is mostly just that; but somebody may have deleted what was there before.

use crate::Xid;
use meridian_model::mutation::{Mutation, active};
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
    /// Transactions that are known to be Meridian's: the last one, and those that let in rows which had
    /// been kept out or wrote rows again that were there, whose states are older than the log since.
    pub own: Vec<Xid>,
    /// What is known of its other writers.
    pub writers: Option<Writers>,
}

/// What is known of the transactions that wrote a server's rows.
#[derive(Debug)]
pub struct Writers {
    /// All before this one were captured.
    pub horizon: Xid,
    /// What the log since says that rows became; `None` where it doesn't reach back so far.
    pub since: Option<States>,
}

/// What rows have been since, as digests of their values.
#[derive(Debug, Default)]
pub struct States(HashMap<RowName, Been>);

/// What a row has been.
#[derive(Debug, Default)]
struct Been {
    /// What the greatest write left that the server has: nothing, or nothing that could be told.
    last: Option<(Version, Option<u64>)>,
    /// What it was before the server deleted it. What was being projected just then may be there again.
    deleted: HashSet<u64>,
    /// What it became by writes that the server may have.
    perhaps: HashSet<u64>,
    /// All that it became.
    all: HashSet<u64>,
}

/// Whether the server has a write of which the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// It does.
    Yes,
    /// It never had it, or not any more.
    No,
    /// Nobody knows.
    Perhaps,
}

/// What a write left of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Values of this digest.
    Row(u64),
    /// What it adds to what was there.
    Sum,
    /// Nothing.
    Nothing,
}

/// What the log says of a row's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It is what the server had.
    Older,
    /// It may be that.
    Perhaps,
    /// It isn't that.
    Other,
    /// Nothing: the row wasn't touched.
    Nothing,
}

impl States {
    /// The next write to a row in the order of the log.
    pub fn had(&mut self, row: RowName, version: Version, left: Left, has: Has) {
        let been = match has {
            Has::No => return,
            _ => self.0.entry(row).or_default(),
        };
        if let Left::Row(digest) = left {
            been.all.insert(digest);
            been.perhaps.extend((has == Has::Perhaps).then_some(digest));
        }
        let is_greatest = been.last.is_none_or(|(last, _)| last < version);
        if has == Has::Perhaps || !is_greatest && left != Left::Sum {
            return;
        }
        let before = been.last.and_then(|(_, digest)| digest);
        match left {
            Left::Nothing => been.deleted.extend(before),
            Left::Row(_) | Left::Sum => been.deleted.clear(),
        }
        let digest = match left {
            Left::Row(digest) => Some(digest),
            Left::Sum | Left::Nothing => None,
        };
        been.last = Some((version, digest));
    }

    /// The server went back here, on its own timeline: which of the writes so far it has, nobody knows.
    pub fn went_back(&mut self) {
        for been in self.0.values_mut() {
            been.perhaps.extend(&been.all);
            been.last = None;
        }
    }

    fn tell(&self, row: &RowName, digest: u64) -> Told {
        let Some(been) = self.0.get(row) else {
            return Told::Nothing;
        };
        let is_last = been.last.is_some_and(|(_, last)| last == Some(digest));
        if is_last || been.perhaps.contains(&digest) || active(Mutation::AnyStateIsOlder) {
            Told::Older
        } else if been.deleted.contains(&digest) {
            Told::Perhaps
        } else {
            Told::Other
        }
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
    /// It had yet to be given rows that count as given.
    pub is_ungiven: bool,
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
        if self.own.contains(&writer) {
            return Verdict::Older;
        }
        let writers = self.writers.as_ref().filter(|_| !kind.is_rewritten);
        if let Some(writers) = writers {
            if writer.precedes(writers.horizon) {
                return Verdict::Older;
            }
            let told = writers.since.as_ref().map(|since| since.tell(row, digest));
            match (told, last) {
                (Some(Told::Nothing), None) => return Verdict::Local,
                // The log has what was added, and not what that came to.
                _ if kind.merges => {}
                (Some(Told::Older), _) => return Verdict::Older,
                (Some(Told::Perhaps), _) => return Verdict::Unknown,
                // It may have been there before the table was compared.
                (_, Some(last)) if kind.is_ungiven && given.has_seen(last) => {}
                (Some(Told::Other | Told::Nothing), _) => return Verdict::Local,
                (None, _) => {}
            }
        }
        let is_clear = !kind.merges && !kind.is_parked && !kind.is_ungiven;
        match last {
            Some(last) if given.has_seen(last) && is_clear => Verdict::Local,
            _ => Verdict::Unknown,
        }
    }

    /// A row that the server lacks.
    pub fn of_lack(&self, kind: Kind, last: Option<Version>) -> Verdict {
        match (self.given.as_ref().filter(|_| !kind.is_new), last) {
            (None, _) => Verdict::Older,
            (Some(given), Some(last)) if given.has_seen(last) && !kind.is_ungiven => Verdict::Local,
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

    fn write(hlc: u64) -> Version {
        version(hlc, HERE).unwrap()
    }

    fn told(writes: &[(u64, Left, Has)], digest: u64) -> Told {
        let mut since = States::default();
        for (hlc, left, has) in writes {
            since.had(row(), write(*hlc), *left, *has);
        }
        since.tell(&row(), digest)
    }

    #[test]
    fn a_state_that_another_followed_was_written_again() {
        let (one, other) = (Left::Row(1), Left::Row(2));
        let both = [(5, one, Has::Yes), (6, other, Has::Yes)];
        assert_eq!(told(&both, 2), Told::Older);
        assert_eq!(told(&both, 1), Told::Other, "it had become 2 by then");
        let counted = [(5, one, Has::Yes), (4, Left::Sum, Has::Yes)];
        assert_eq!(told(&counted, 1), Told::Other);
        let smaller = [(6, other, Has::Yes), (5, one, Has::Yes)];
        assert_eq!(told(&smaller, 2), Told::Older, "the later one gave way");
        assert_eq!(told(&[], 1), Told::Nothing);
    }

    #[test]
    fn a_state_that_the_server_never_had_was_written_there() {
        let (one, other) = (Left::Row(1), Left::Row(2));
        let lost = [(5, one, Has::Yes), (6, other, Has::No)];
        assert_eq!(told(&lost, 1), Told::Older);
        assert_eq!(told(&lost, 2), Told::Other);
        let unclear = [(5, one, Has::Yes), (6, other, Has::Perhaps)];
        assert_eq!(told(&unclear, 1), Told::Older);
        assert_eq!(told(&unclear, 2), Told::Older);
    }

    #[test]
    fn a_server_that_went_back_on_its_own_timeline_may_have_any_state() {
        let mut since = States::default();
        since.had(row(), write(5), Left::Row(1), Has::Yes);
        since.had(row(), write(6), Left::Row(2), Has::Yes);
        since.went_back();
        since.had(row(), write(7), Left::Row(3), Has::Yes);
        let tell = |digest| since.tell(&row(), digest);
        assert_eq!([1, 2, 3].map(tell), [Told::Older; 3]);
        assert_eq!(tell(4), Told::Other);
    }

    #[test]
    fn what_was_deleted_may_have_been_projected_just_then() {
        let deleted = [(5, Left::Row(1), Has::Yes), (6, Left::Nothing, Has::Yes)];
        assert_eq!(told(&deleted, 1), Told::Perhaps);
        assert_eq!(told(&deleted, 2), Told::Other);
    }

    /// Given up to 10 of each; writers before 100 are captured; since then the row was 7.
    fn basis() -> Basis {
        let mut since = States::default();
        since.had(row(), write(5), Left::Row(7), Has::Yes);
        let given = [HERE, THERE].map(|origin| (origin, Hlc::from_raw(10)));
        Basis {
            given: Some(given.into_iter().collect()),
            own: vec![Xid(120), Xid(110)],
            writers: Some(Writers {
                horizon: Xid(100),
                since: Some(since),
            }),
        }
    }

    const MERGING: Kind = Kind {
        merges: true,
        is_rewritten: false,
        is_new: false,
        is_parked: false,
        is_ungiven: false,
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
        assert_eq!(of(100, None), Verdict::Unknown, "it was there, and is gone");
        let mut basis = basis;
        basis.writers.as_mut().unwrap().since = Some(States::default());
        let new = basis.of_row(MERGING, &row(), (Xid(100), 1), None);
        assert_eq!(new, Verdict::Local, "it is new");
    }

    #[test]
    fn without_a_mark_what_the_server_had_been_given_tells() {
        let basis = Basis {
            writers: None,
            ..basis()
        };
        let own = basis.of_row(Kind::default(), &row(), (Xid(120), 1), version(10, THERE));
        assert_eq!(own, Verdict::Older, "ours");
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
    fn a_table_that_had_yet_to_be_filled_says_nothing_of_what_was_written_there() {
        let ungiven = Kind {
            is_ungiven: true,
            ..Kind::default()
        };
        let of_lack = |last| basis().of_lack(ungiven, last);
        assert_eq!(of_lack(version(10, HERE)), Verdict::Lacking);
        assert_eq!(of_lack(version(11, HERE)), Verdict::Lacking);
        let of = |writer, last| basis().of_row(ungiven, &row(), (Xid(writer), 1), last);
        assert_eq!(of(99, version(5, HERE)), Verdict::Older, "it was captured");
        assert_eq!(of(100, version(5, HERE)), Verdict::Unknown);
        assert_eq!(of(100, version(20, THERE)), Verdict::Local);
        assert_eq!(of(100, None), Verdict::Local, "nobody else has it");
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
