//! The mark: up to which of its transactions a server was captured, kept in the server itself.
//!
//! A server that is restored or fails over to a standby goes back, and its mark with it. So the mark
//! says of whatever history the server has now: the transactions below `horizon` had ended and were
//! captured when it was written. It is a row of `meridian.position` called after the dataset with
//! [`MARK_SUFFIX`], which no dataset is called.
//!
//! Marks are numbered, and the number is noted in the data directory before and after each is written.
//! A server whose mark is before the one noted went back, even where its WAL has passed what was
//! captured already; one whose mark is behind it has a data directory that went back.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::apply::{LET_IN_SUFFIX, MARK_SUFFIX};
use meridian_engine_postgres::{Lsn, Xid};
use meridian_model::{OriginId, Position};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;

/// Where the last one is noted.
const FILE: &str = "mark.json";

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Grows by one each time.
    pub(super) number: u64,
    /// Which server.
    pub(super) system: u64,
    /// This region's incarnation: whose log it is.
    pub(super) origin: OriginId,
    /// Every transaction before this one had ended, and was captured.
    pub(super) horizon: Xid,
    /// The server's next transaction when that was read.
    pub(super) next: Xid,
    /// Where the WAL was then.
    pub(super) lsn: Lsn,
    /// What a transaction from `horizon` on wrote is in the log from here on, whoever's it was.
    pub(super) from: Position,
}

/// A mark as the server has it. One of a later release says nothing here.
pub(super) fn parsed(text: &str) -> Option<Mark> {
    serde_json::from_str(text).ok()
}

/// Removes it, with what the server says that it was given.
///
/// # Errors
/// [`Trouble`] from the server.
pub(super) async fn forget(client: &Client, dataset: &str) -> Result<(), Trouble> {
    let delete = "DELETE FROM meridian.position WHERE dataset IN ($1, $2, $3)";
    let names = [dataset.to_owned(), named(dataset), let_in(dataset)];
    client
        .execute(delete, &[&names[0], &names[1], &names[2]])
        .await?;
    Ok(())
}

async fn write(client: &Client, dataset: &str, mark: &Mark) -> Result<(), Trouble> {
    let text = serde_json::to_string(mark).expect("numbers are JSON");
    let write = "INSERT INTO meridian.position (dataset, seen) VALUES ($1, ($2::text)::jsonb) \
                 ON CONFLICT (dataset) DO UPDATE SET seen = excluded.seen";
    client.execute(write, &[&named(dataset), &text]).await?;
    Ok(())
}

/// What a dataset's mark is called.
pub(super) fn named(dataset: &str) -> String {
    format!("{dataset}{MARK_SUFFIX}")
}

/// What the row is called that names transactions which let rows in.
pub(super) fn let_in(dataset: &str) -> String {
    format!("{dataset}{LET_IN_SUFFIX}")
}

/// Which mark was written last, as the data directory knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    number: u64,
    /// Whether the server said so.
    is_written: bool,
    /// From where on that mark, or the one before, needs the log of this incarnation.
    #[serde(default)]
    needs: Option<(OriginId, Position)>,
}

/// From where on the log is needed by the mark that is noted in the directory, as long as nothing is
/// known of the server.
pub(crate) fn kept_from(directory: &Path, origin: OriginId) -> Option<Position> {
    let bytes = fs::read(directory.join(FILE)).ok()?;
    let noted: Noted = serde_json::from_slice(&bytes).ok()?;
    let (of, from) = noted.needs?;
    (of == origin).then_some(from)
}

/// How a server's mark stands to the one noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
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

    /// How the server's mark stands to this.
    pub(super) fn agrees(self, server: Option<u64>) -> Agreement {
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

/// Writes marks.
#[derive(Debug)]
pub(super) struct Marks {
    path: PathBuf,
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
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    mark: Mark,
    before: Noted,
    after: Noted,
}

impl Writing {
    /// Writes it. That takes some syncs of the disk, and nothing waits for it.
    ///
    /// # Errors
    /// [`Trouble`] when it can't be written.
    pub(super) async fn carry_out(self, client: &Client, dataset: &str) -> Result<Self, Trouble> {
        self.note(self.before).await?;
        write(client, dataset, &self.mark).await?;
        self.note(self.after).await?;
        Ok(self)
    }

    async fn note(&self, noted: Noted) -> Result<(), Trouble> {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || note(&path, noted)).await;
        written.map_err(|_| Trouble::passing("the node is shutting down"))?
    }
}

/// What is read of a server at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The oldest transaction under way.
    pub(super) oldest: Xid,
    /// The next one.
    pub(super) next: Xid,
    /// A WAL position read after these.
    pub(super) lsn: Lsn,
}

impl Marks {
    /// What was noted in the directory.
    ///
    /// # Errors
    /// [`Trouble`] when it can't be read.
    pub(super) fn read(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join(FILE);
        let noted = match fs::read(&path) {
            // One that a crash of the machine left half is as good as none: rows are compared.
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => Noted::default(),
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(Self {
            path,
            noted,
            last: None,
            base: None,
            pending: None,
            writing: None,
        })
    }

    pub(super) fn noted(&self) -> Noted {
        self.noted
    }

    /// Goes on from the mark that the server has.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be noted.
    pub(super) fn adopt(&mut self, found: Option<Mark>) -> Result<(), Trouble> {
        self.last = found;
        let noted = Noted {
            number: found.map_or(0, |mark| mark.number),
            is_written: true,
            needs: found.map(|mark| (mark.origin, mark.from)),
        };
        if noted == self.noted {
            return Ok(());
        }
        self.note(noted)
    }

    /// From where on the log is needed.
    pub(super) fn needs(&self) -> Option<Position> {
        let base = self.base.map(|(_, from)| from);
        let marks = [self.last, self.pending, self.writing]
            .into_iter()
            .flatten();
        marks.map(|mark| mark.from).chain(base).min()
    }

    /// What was read of the server just now, where `settled` is the position in the log from which on
    /// entries may still be written into the server.
    pub(super) fn observe(
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
        });
    }

    /// The mark that waits, if capture has passed it, to be written. It is on its way until
    /// [`Marks::written`].
    pub(super) fn due(&mut self, reached: Lsn) -> Option<Writing> {
        let mark = self.pending.take_if(|mark| mark.lsn <= reached)?;
        self.writing = Some(mark);
        let (number, needs) = (mark.number, Some((mark.origin, mark.from)));
        Some(Writing {
            path: self.path.clone(),
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

    /// The server has it.
    pub(super) fn written(&mut self, writing: &Writing) {
        self.writing = None;
        self.last = Some(writing.mark);
        self.noted = writing.after;
    }

    fn note(&mut self, noted: Noted) -> Result<(), Trouble> {
        note(&self.path, noted)?;
        self.noted = noted;
        Ok(())
    }
}

fn note(path: &Path, noted: Noted) -> Result<(), Trouble> {
    let bytes = serde_json::to_vec(&noted).expect("numbers are JSON");
    // The server must never have a mark that a power cut here makes unknown again.
    durable::replace(path, &bytes).map_err(|error| unwritable(&error))
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

    fn marks() -> (Marks, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        (Marks::read(directory.path()).unwrap(), directory)
    }

    #[test]
    fn a_mark_has_the_log_from_before_its_first_transaction_on() {
        let (mut marks, _directory) = marks();
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
        let (mut marks, _directory) = marks();
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
        let (mut marks, _directory) = marks();
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
    fn what_is_noted_is_there_again() {
        let (mut marks, directory) = marks();
        let noted = Noted {
            number: 3,
            is_written: true,
            needs: Some((OriginId(1), Position(9))),
        };
        marks.note(noted).unwrap();
        assert_eq!(Marks::read(directory.path()).unwrap().noted(), noted);
        let kept = |origin| kept_from(directory.path(), OriginId(origin));
        assert_eq!(kept(1), Some(Position(9)));
        assert_eq!(kept(2), None, "it is another log");
    }
}
