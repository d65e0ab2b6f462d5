//! The mark: up to which of its transactions a server was captured, kept in the server itself. Pure.
//!
//! A server that is restored or fails over to a standby goes back, and its mark with it. So the mark
//! says of whatever history the server has now: the transactions below `horizon` had ended and were
//! captured when it was written.
//!
//! Marks are numbered, and the number is noted in the data directory before and after each is written.
//! A server whose mark is before the one noted went back, even where its WAL has passed what was
//! captured already; one whose mark is behind it has a data directory that went back.

use crate::{Lsn, Xid};
use meridian_model::{OriginId, Position};
use serde::{Deserialize, Serialize};

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Grows by one each time.
    pub number: u64,
    /// Which server.
    pub system: u64,
    /// This region's incarnation: whose log it is.
    pub origin: OriginId,
    /// Every transaction before this one had ended, and was captured.
    pub horizon: Xid,
    /// The server's next transaction when that was read.
    pub next: Xid,
    /// Where the WAL was then.
    pub lsn: Lsn,
    /// What a transaction from `horizon` on wrote is in the log from here on, whoever's it was.
    pub from: Position,
    /// Whether it only repeats the one before, under another number. Then the transaction that wrote it
    /// says nothing of those before it: they may not have been captured.
    #[serde(default)]
    pub is_renewed: bool,
    /// Where the WAL was when it was written, which the server says: what ended before that came before the
    /// transaction that wrote it. Not in one that is renewed, or from before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Lsn>,
}

impl Mark {
    /// Transactions of this region that ended behind this are later than the one that wrote the mark, unless
    /// they were under way meanwhile.
    #[must_use]
    pub fn is_before(&self, end: u64) -> bool {
        self.written.unwrap_or(self.lsn).0 < end
    }
}

/// Which mark was written last, as the data directory knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    number: u64,
    /// Whether the server said so.
    is_written: bool,
    /// From where on that mark, or the one before, needs the log of this incarnation.
    #[serde(default)]
    needs: Option<(OriginId, Position)>,
}

/// How a server's mark stands to the one noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It is that.
    Same,
    /// The server went back.
    ServerOlder,
    /// The data directory went back.
    DirectoryOlder,
}

impl Noted {
    #[cfg(test)]
    pub(super) fn of(number: u64) -> Self {
        Self {
            number,
            is_written: true,
            needs: None,
        }
    }

    /// From where on the log of this incarnation is needed, as long as nothing is known of the server.
    #[must_use]
    pub fn needs(self, origin: OriginId) -> Option<Position> {
        let (of, from) = self.needs?;
        (of == origin).then_some(from)
    }

    /// How the server's mark stands to this.
    #[must_use]
    pub fn agrees(self, server: Option<u64>) -> Agreement {
        let server = server.unwrap_or_default();
        // The one noted may not have come to be written.
        let least = self.number - u64::from(!self.is_written && self.number > 0);
        if server < least {
            Agreement::ServerOlder
        } else if server > self.number {
            Agreement::DirectoryOlder
        } else {
            Agreement::Same
        }
    }
}

/// Says when a mark is to be written, and which.
#[derive(Debug)]
pub struct Marks {
    noted: Noted,
    /// The last one written since this began, or found.
    last: Option<Mark>,
    /// Transactions from this one on have left their traces in the log from this position on.
    base: Option<(Xid, Position)>,
    /// Waits until capture has passed it.
    pending: Option<Mark>,
    /// On its way into the server.
    writing: Option<Mark>,
}

/// A mark on its way into the server, with what the directory says of it before and after.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// The mark.
    pub mark: Mark,
    /// What the directory has to say before.
    pub before: Noted,
    /// And after.
    pub after: Noted,
}

/// What is read of a server at once.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The oldest transaction under way.
    pub oldest: Xid,
    /// The next one.
    pub next: Xid,
    /// A WAL position read after these.
    pub lsn: Lsn,
}

impl Marks {
    /// Goes on from what the directory says.
    #[must_use]
    pub fn new(noted: Noted) -> Self {
        Self {
            noted,
            last: None,
            base: None,
            pending: None,
            writing: None,
        }
    }

    /// What the directory says.
    #[must_use]
    pub fn noted(&self) -> Noted {
        self.noted
    }

    /// Goes on from the mark that the server has. What the directory has to say comes back, if that is
    /// news.
    #[must_use]
    pub fn adopt(&mut self, found: Option<Mark>) -> Option<Noted> {
        self.last = found;
        let noted = Noted {
            number: found.map_or(0, |mark| mark.number),
            is_written: true,
            needs: found.map(|mark| (mark.origin, mark.from)),
        };
        let is_news = noted != self.noted;
        self.noted = noted;
        is_news.then_some(noted)
    }

    /// From where on the log is needed.
    #[must_use]
    pub fn needs(&self) -> Option<Position> {
        let base = self.base.map(|(_, from)| from);
        let marks = [self.last, self.pending, self.writing]
            .into_iter()
            .flatten();
        marks.map(|mark| mark.from).chain(base).min()
    }

    /// What was read of the server just now, where `settled` is the position in the log from which on
    /// entries may still be written into the server.
    pub fn observe(
        &mut self,
        reading: Reading,
        settled: Position,
        (system, origin): (u64, OriginId),
    ) {
        let Some((from_xid, from)) = self.base else {
            self.base = Some((reading.next, settled));
            return;
        };
        // One that was under way at the base may have ended before.
        let is_under_way = self.pending.is_some() || self.writing.is_some();
        if is_under_way || reading.oldest.precedes(from_xid) {
            return;
        }
        self.base = Some((reading.next, settled));
        // The last mark's own transaction is no reason for another one.
        let is_idle =
            |last: Mark| last.origin == origin && reading.next.0.wrapping_sub(last.next.0) <= 1;
        if self.last.is_some_and(is_idle) {
            return;
        }
        self.pending = Some(Mark {
            number: self.noted.number + 1,
            system,
            origin,
            horizon: reading.oldest,
            next: reading.next,
            lsn: reading.lsn,
            from,
            is_renewed: false,
            written: None,
        });
    }

    /// The mark that waits, if capture has passed it, to be written. It is on its way until
    /// [`Marks::written`].
    pub fn due(&mut self, reached: Lsn) -> Option<Writing> {
        let mark = self.pending.take_if(|mark| mark.lsn <= reached)?;
        self.writing = Some(mark);
        let (number, needs) = (mark.number, Some((mark.origin, mark.from)));
        Some(Writing {
            mark,
            before: Noted {
                number,
                is_written: false,
                // It may be the one before that the server has in the end.
                needs: self.noted.needs.or(needs),
            },
            after: Noted {
                number,
                is_written: true,
                needs,
            },
        })
    }

    /// The last one once more under the next number, to be written where capture goes on after a start,
    /// before anything is captured. So a data directory from before that start is older than the server,
    /// however soon this one ends.
    pub fn renewed(&mut self) -> Option<Writing> {
        let last = self.last?;
        self.pending = Some(Mark {
            number: last.number + 1,
            is_renewed: true,
            written: None,
            ..last
        });
        self.due(last.lsn)
    }

    /// The server has it.
    pub fn written(&mut self, writing: &Writing) {
        self.writing = None;
        self.last = Some(writing.mark);
        self.noted = writing.after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: (u64, OriginId) = (9, OriginId(1));

    fn reading(oldest: u32, next: u32, lsn: u64) -> Reading {
        Reading {
            oldest: Xid(oldest),
            next: Xid(next),
            lsn: Lsn(lsn),
        }
    }

    #[test]
    fn a_mark_has_the_log_from_before_its_first_transaction_on() {
        let mut marks = Marks::new(Noted::default());
        marks.observe(reading(10, 12, 100), Position(5), WHO);
        marks.observe(reading(11, 14, 120), Position(6), WHO);
        assert!(
            marks.pending.is_none(),
            "11 was under way at the first reading"
        );
        marks.observe(reading(12, 15, 140), Position(7), WHO);
        let mark = marks.pending.unwrap();
        assert_eq!((mark.horizon, mark.from), (Xid(12), Position(5)));
        assert_eq!(marks.needs(), Some(Position(5)));
        marks.observe(reading(15, 15, 150), Position(8), WHO);
        assert_eq!(marks.pending, Some(mark), "one at a time");
    }

    #[test]
    fn an_idle_server_is_marked_once() {
        let mut marks = Marks::new(Noted::default());
        marks.observe(reading(10, 10, 100), Position(5), WHO);
        marks.observe(reading(10, 10, 100), Position(5), WHO);
        marks.last = marks.pending.take();
        assert!(marks.last.is_some());
        marks.observe(reading(11, 11, 120), Position(5), WHO);
        assert_eq!(marks.pending, None, "that was the mark");
        marks.observe(reading(12, 12, 140), Position(5), WHO);
        assert!(marks.pending.is_some());
    }

    #[test]
    fn a_mark_on_its_way_counts_and_no_other_is_made() {
        let mut marks = Marks::new(Noted::default());
        marks.observe(reading(10, 10, 100), Position(5), WHO);
        marks.observe(reading(12, 12, 120), Position(6), WHO);
        assert!(marks.due(Lsn(119)).is_none(), "capture has yet to pass it");
        let writing = marks.due(Lsn(120)).unwrap();
        assert_eq!((writing.before.number, writing.after.number), (1, 1));
        marks.observe(reading(20, 20, 200), Position(9), WHO);
        assert!(marks.pending.is_none() && marks.due(Lsn(300)).is_none());
        assert_eq!(marks.needs(), Some(Position(5)));
        marks.written(&writing);
        assert_eq!(marks.noted(), writing.after);
        marks.observe(reading(21, 21, 210), Position(9), WHO);
        assert_eq!(marks.due(Lsn(300)).unwrap().mark.number, 2);
        // The server has the one before until it has this one.
        assert_eq!(marks.needs(), Some(Position(5)));
    }

    #[test]
    fn a_start_shows_in_the_mark() {
        let mut marks = Marks::new(Noted::default());
        assert!(marks.renewed().is_none(), "nothing was marked");
        marks.observe(reading(10, 10, 100), Position(5), WHO);
        marks.observe(reading(12, 12, 120), Position(6), WHO);
        let writing = marks.due(Lsn(120)).unwrap();
        marks.written(&writing);
        let before = marks.noted();
        let renewed = marks.renewed().unwrap();
        let again = Mark {
            number: 2,
            is_renewed: true,
            ..writing.mark
        };
        assert_eq!(renewed.mark, again);
        marks.written(&renewed);
        assert_eq!(before.agrees(Some(2)), Agreement::DirectoryOlder);
        assert_eq!(marks.noted().agrees(Some(2)), Agreement::Same);
    }

    #[test]
    fn which_side_went_back_shows() {
        let noted = |number, is_written| Noted {
            number,
            is_written,
            needs: None,
        };
        assert_eq!(noted(0, false).agrees(None), Agreement::Same);
        assert_eq!(noted(4, true).agrees(Some(4)), Agreement::Same);
        assert_eq!(noted(4, true).agrees(Some(3)), Agreement::ServerOlder);
        assert_eq!(noted(4, true).agrees(None), Agreement::ServerOlder);
        assert_eq!(noted(4, false).agrees(Some(3)), Agreement::Same);
        assert_eq!(noted(4, false).agrees(Some(4)), Agreement::Same);
        assert_eq!(noted(4, false).agrees(Some(2)), Agreement::ServerOlder);
        assert_eq!(noted(4, true).agrees(Some(5)), Agreement::DirectoryOlder);
        assert_eq!(noted(0, false).agrees(Some(1)), Agreement::DirectoryOlder);
    }

    #[test]
    fn the_log_is_needed_by_its_own_mark_alone() {
        let noted = Noted {
            number: 3,
            is_written: true,
            needs: Some((OriginId(1), Position(9))),
        };
        assert_eq!(noted.needs(OriginId(1)), Some(Position(9)));
        assert_eq!(noted.needs(OriginId(2)), None, "it is another log");
    }

    #[test]
    fn a_mark_that_was_found_is_gone_on_from() {
        let mut marks = Marks::new(Noted::of(4));
        assert_eq!(marks.adopt(None), Some(Noted::of(0)));
        assert_eq!(marks.adopt(None), None, "no news");
        assert_eq!(marks.noted(), Noted::of(0));
    }
}
