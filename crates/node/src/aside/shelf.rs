//! A shelf on disk: the transactions of one evicted incarnation, and what became of each.

use crate::dataset::{LogDisk, is_full};
use crate::durable;
use meridian_log::{LogError, Reader};
use meridian_model::{
    Body, Entry, Hlc, Operation, OriginId, Position, Sequence, Transaction, Version,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const ENTRIES: &str = "entries";
const DECISIONS: &str = "decisions";
/// How much of the log is read at once.
const BATCH_BYTES: usize = 1 << 20;

/// A shelf can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file can't be used.
    #[error("{} can't be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log that should be copied can't be read.
    #[error("the old log can't be read")]
    Log(#[from] LogError),
    /// What was written isn't what is read.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: postcard::Error,
    },
}

impl ShelfError {
    /// Whether there was no room for what was to be written.
    pub(crate) fn lacks_room(&self) -> bool {
        matches!(self, Self::File { source, .. } if is_full(source))
    }
}

/// What was decided about a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) sequence: Sequence,
    pub(crate) state: State,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is looked at, or a person has to decide.
    Waiting {
        /// Why it could not be written again by itself, once that is known.
        reason: Option<String>,
    },
    /// It was written again, as this version; `None` where that changed nothing.
    Resubmitted {
        /// Clock and origin.
        version: Option<(Hlc, OriginId)>,
    },
    /// A person gave it up.
    Dropped,
    /// The members held it after all.
    Held,
}

/// A row's table and key.
pub(super) type RowName = (String, String);

/// A transaction set aside.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    pub(crate) state: State,
}

/// What is written down of a transaction set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) sequence: Sequence,
    pub(crate) hlc: Hlc,
    pub(crate) transaction: Transaction,
    /// The rows that it is the first kept one to touch and that were there before, as far as the
    /// log still told.
    pub(crate) before: Vec<RowName>,
}

/// The transactions of one evicted incarnation.
#[derive(Debug)]
pub(crate) struct Shelf {
    dataset: String,
    origin: OriginId,
    entries_at: PathBuf,
    decisions_at: PathBuf,
    file: File,
    /// Where each transaction's record is: offset and length in bytes.
    places: BTreeMap<Sequence, (u64, usize)>,
    states: Mutex<BTreeMap<Sequence, State>>,
}

/// The shelves in a directory, by their files.
pub(super) fn found_in(directory: &Path) -> Result<Vec<(String, OriginId)>, ShelfError> {
    let unreadable = |source| unusable(directory, source);
    let files = match fs::read_dir(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for file in files {
        let path = file.map_err(unreadable)?.path();
        let is_shelf = path.extension().is_some_and(|it| it == ENTRIES);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some((dataset, origin)) = stem.and_then(|stem| stem.rsplit_once('-')) else {
            continue;
        };
        if let (true, Some(origin)) = (is_shelf, super::parse_origin(origin)) {
            found.push((dataset.to_owned(), origin));
        }
    }
    Ok(found)
}

/// What a shelf is filled with, out of an evicted region's log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Range {
    /// What the region itself wrote, beyond what the members hold.
    Own {
        /// Its incarnation.
        origin: OriginId,
        /// The last that they hold.
        held: Sequence,
    },
    /// What another one wrote that counts no more either. That one may be lost, or come back and
    /// write it again itself; so it is left to a person.
    Others {
        /// The other incarnation.
        origin: OriginId,
        /// The last that the members hold.
        held: Hlc,
    },
}

impl Range {
    fn origin(self) -> OriginId {
        match self {
            Self::Own { origin, .. } | Self::Others { origin, .. } => origin,
        }
    }

    fn includes(self, entry: &Entry) -> bool {
        entry.origin == self.origin()
            && match self {
                Self::Own { held, .. } => entry.sequence > held,
                Self::Others { held, .. } => entry.hlc > held,
            }
    }

    /// Why a transaction is left to a person from the first, if so: `letter` is the dead letter in
    /// whose place it was made.
    fn reason(self, letter: Option<Version>) -> Option<String> {
        match (self, letter) {
            (Self::Others { .. }, _) => Some(
                "another region wrote it that counts no more, and may write it again when it is back"
                    .to_owned(),
            ),
            // The members still have the letter, or have decided about it themselves.
            (Self::Own { .. }, Some(letter)) => Some(format!(
                "it was made in place of dead letter {letter}, which other regions may have decided \
                 about"
            )),
            (Self::Own { .. }, None) => None,
        }
    }
}

impl Shelf {
    /// Copies what is in `range` from a log. Durable and whole when this returns; what an earlier
    /// attempt left is replaced.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub(crate) fn fill(
        directory: &Path,
        dataset: &str,
        range: Range,
        log: &Reader<LogDisk>,
    ) -> Result<Self, ShelfError> {
        let origin = range.origin();
        let path = path(directory, dataset, origin, ENTRIES);
        let failed = |source| unusable(&path, source);
        fs::create_dir_all(directory).map_err(failed)?;
        durable::sync_name(directory).map_err(failed)?;
        let beside = path.with_extension("new");
        let mut writer = BufWriter::new(File::create(&beside).map_err(failed)?);
        let mut touched = touched_by_kept(log, range)?;
        let mut decisions = Vec::new();
        for_each_transaction(log, |entry, letter, transaction| {
            let is_kept = range.includes(entry);
            let before = touched.follow(&transaction, is_kept);
            if !is_kept {
                return Ok(());
            }
            decisions.extend(range.reason(letter).map(|reason| Decision {
                sequence: entry.sequence,
                state: State::Waiting {
                    reason: Some(reason),
                },
            }));
            let record = Record {
                sequence: entry.sequence,
                hlc: entry.hlc,
                transaction,
                before,
            };
            append(&mut writer, &record).map_err(failed)
        })?;
        let file = writer
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        durable::put(&file, &beside, &path).map_err(failed)?;
        let shelf = Self::open(directory, dataset, origin)?;
        shelf.decide_all(decisions)?;
        Ok(shelf)
    }

    /// Opens a shelf.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub(crate) fn open(
        directory: &Path,
        dataset: &str,
        origin: OriginId,
    ) -> Result<Self, ShelfError> {
        let entries_at = path(directory, dataset, origin, ENTRIES);
        let decisions_at = path(directory, dataset, origin, DECISIONS);
        let failed = |source| unusable(&entries_at, source);
        let file = File::open(&entries_at).map_err(failed)?;
        let decisions = read_decisions(&decisions_at)?;
        let mut shelf = Self {
            dataset: dataset.to_owned(),
            origin,
            file,
            places: BTreeMap::new(),
            states: Mutex::new(decisions),
            decisions_at,
            entries_at: entries_at.clone(),
        };
        let mut reader = BufReader::new(File::open(&entries_at).map_err(failed)?);
        let mut offset = 0;
        while !reader.fill_buf().map_err(failed)?.is_empty() {
            let mut length = [0; 4];
            reader.read_exact(&mut length).map_err(failed)?;
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            reader.read_exact(&mut bytes).map_err(failed)?;
            let record = shelf.decode(&bytes)?;
            shelf
                .places
                .insert(record.sequence, (offset + 4, bytes.len()));
            offset += 4 + bytes.len() as u64;
        }
        Ok(shelf)
    }

    pub(crate) fn dataset(&self) -> &str {
        &self.dataset
    }

    pub(crate) fn origin(&self) -> OriginId {
        self.origin
    }

    /// How many transactions are on it.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// A transaction, as it stands now; `None` where it isn't on the shelf.
    ///
    /// # Errors
    /// [`ShelfError`] when it can't be read.
    pub(crate) fn get(&self, sequence: Sequence) -> Result<Option<Kept>, ShelfError> {
        let Some(&(offset, length)) = self.places.get(&sequence) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| unusable(&self.entries_at, source))?;
        let record = self.decode(&bytes)?;
        let state = self.state(sequence);
        Ok(Some(Kept { record, state }))
    }

    /// How a transaction stands.
    pub(crate) fn state(&self, sequence: Sequence) -> State {
        let states = self.states();
        let known = states.get(&sequence).cloned();
        known.unwrap_or(State::Waiting { reason: None })
    }

    /// How many wait for a decision.
    pub(crate) fn waiting(&self) -> u64 {
        let states = self.states();
        let is_waiting = |sequence: &&Sequence| {
            matches!(states.get(sequence), None | Some(State::Waiting { .. }))
        };
        self.places.keys().filter(is_waiting).count() as u64
    }

    /// The transactions on it, in order.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.places.keys().copied()
    }

    /// Decides about a transaction, durably.
    ///
    /// # Errors
    /// [`ShelfError`]; then nothing is decided.
    pub(crate) fn decide(&self, decision: Decision) -> Result<(), ShelfError> {
        self.decide_all(vec![decision])
    }

    fn decide_all(&self, decisions: Vec<Decision>) -> Result<(), ShelfError> {
        if decisions.is_empty() {
            return Ok(());
        }
        let mut states = self.states();
        // Lines of their own, also behind one that a crash or a full disk has torn.
        let mut lines = vec![b'\n'];
        for decision in &decisions {
            serde_json::to_writer(&mut lines, decision).expect("a decision is plain JSON");
            lines.push(b'\n');
        }
        let append = || {
            let is_new = !self.decisions_at.exists();
            let mut options = File::options();
            let mut file = options.create(true).append(true).open(&self.decisions_at)?;
            file.write_all(&lines)?;
            file.sync_all()?;
            if is_new {
                durable::sync_name(&self.decisions_at)?;
            }
            Ok(())
        };
        append().map_err(|source| unusable(&self.decisions_at, source))?;
        states.extend(decisions.into_iter().map(|it| (it.sequence, it.state)));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record, ShelfError> {
        postcard::from_bytes(bytes).map_err(|source| ShelfError::Damaged {
            path: self.entries_at.clone(),
            source,
        })
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Sequence, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that kept transactions touch, and what the log tells of each before that.
struct Touched(HashMap<RowName, Known>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    There,
    Gone,
    /// A kept transaction has touched it.
    Kept,
}

impl Touched {
    /// Follows a transaction in the log's order; returns the rows of a kept one that were there.
    fn follow(&mut self, transaction: &Transaction, is_kept: bool) -> Vec<RowName> {
        let mut before = Vec::new();
        for change in &transaction.changes {
            let row = (change.table.clone(), change.key.clone());
            let Some(known) = self.0.get_mut(&row) else {
                continue;
            };
            if is_kept {
                if *known == Known::There {
                    before.push(row);
                }
                *known = Known::Kept;
            } else if *known != Known::Kept {
                *known = match change.operation {
                    Operation::Delete => Known::Gone,
                    _ => Known::There,
                };
            }
        }
        before
    }
}

fn touched_by_kept(log: &Reader<LogDisk>, range: Range) -> Result<Touched, ShelfError> {
    let mut touched = HashMap::new();
    for_each_transaction(log, |entry, _, transaction| {
        if range.includes(entry) {
            let changes = transaction.changes.into_iter();
            touched.extend(changes.map(|it| ((it.table, it.key), Known::Nothing)));
        }
        Ok(())
    })?;
    Ok(Touched(touched))
}

/// Shows each transaction, and the dead letter in whose place it was made, if it was.
fn for_each_transaction(
    log: &Reader<LogDisk>,
    mut visit: impl FnMut(&Entry, Option<Version>, Transaction) -> Result<(), ShelfError>,
) -> Result<(), ShelfError> {
    let (mut position, end) = (log.start(), log.end());
    while position < end {
        let batch = log.read(position, BATCH_BYTES)?;
        for entry in &batch.entries {
            // What can't be decoded could not be applied either.
            match Body::decode(&entry.body) {
                Ok(Body::Transaction(transaction)) => visit(entry, None, transaction)?,
                Ok(Body::Decision(decided)) if !decided.transaction.changes.is_empty() => {
                    visit(entry, Some(decided.letter), decided.transaction)?;
                }
                // One without changes says only how far an engine was captured.
                Ok(Body::Captured(captured)) if !captured.transaction.changes.is_empty() => {
                    visit(entry, None, captured.transaction)?;
                }
                _ => {}
            }
        }
        position = Position(position.0 + batch.entries.len() as u64);
    }
    Ok(())
}

fn append(file: &mut impl Write, record: &Record) -> io::Result<()> {
    let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&bytes)
}

/// A line torn by a crash was told to nobody.
fn read_decisions(path: &Path) -> Result<BTreeMap<Sequence, State>, ShelfError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unusable(path, error)),
    };
    let lines = text.split(|byte| *byte == b'\n');
    let decisions = lines.filter_map(|line| serde_json::from_slice::<Decision>(line).ok());
    Ok(decisions.map(|it| (it.sequence, it.state)).collect())
}

fn path(directory: &Path, dataset: &str, origin: OriginId, extension: &str) -> PathBuf {
    directory.join(format!("{dataset}-{origin}.{extension}"))
}

fn unusable(path: &Path, source: io::Error) -> ShelfError {
    ShelfError::File {
        path: path.to_owned(),
        source,
    }
}

impl Record {
    /// Each row that it changed, once.
    pub(crate) fn rows(&self) -> impl Iterator<Item = RowName> + '_ {
        let changes = self.transaction.changes.iter();
        let rows: BTreeSet<_> = changes
            .map(|it| (it.table.clone(), it.key.clone()))
            .collect();
        rows.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{DiskLevers, FaultyDisk};
    use meridian_log::{Directory, Log, LogConfig};
    use meridian_model::{Captured, Change, Mark, Marks};

    const EVICTED: OriginId = OriginId(1);
    const OTHER: OriginId = OriginId(2);

    /// A log being written, each entry a transaction on one row.
    struct Writing {
        log: Log<LogDisk>,
        marks: Marks,
        hlc: u64,
    }

    impl Writing {
        fn entry(&mut self, origin: OriginId, key: &str, operation: Operation) {
            self.log(origin, &Body::Transaction(one_row(key, operation)));
        }

        fn log(&mut self, origin: OriginId, body: &Body) {
            self.hlc += 1;
            let mark: Mark = self.marks.get(origin);
            let entry = Entry::following(mark, origin, Hlc::from_raw(self.hlc), body);
            self.marks.set(origin, entry.mark());
            self.log.commit(&[entry]).unwrap();
        }

        fn put(&mut self, origin: OriginId, key: &str) {
            let document = "1".to_owned();
            self.entry(origin, key, Operation::Put { document });
        }
    }

    fn one_row(key: &str, operation: Operation) -> Transaction {
        Transaction {
            changes: vec![Change {
                table: "t".to_owned(),
                key: key.to_owned(),
                operation,
            }],
            ..Transaction::default()
        }
    }

    fn own(held: u64) -> Range {
        let held = Sequence(held);
        Range::Own {
            origin: EVICTED,
            held,
        }
    }

    fn written(directory: &Path) -> Writing {
        let disk = FaultyDisk::new(Directory::open(directory).unwrap(), DiskLevers::default());
        let log = Log::open(disk, LogConfig::default(), Position(0)).unwrap();
        let (marks, hlc) = (Marks::default(), 0);
        Writing { log, marks, hlc }
    }

    #[test]
    fn what_the_members_do_not_hold_is_kept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let log_at = directory.path().join("log");
        fs::create_dir(&log_at).unwrap();
        let mut writing = written(&log_at);
        writing.put(OTHER, "old");
        writing.put(OTHER, "removed");
        writing.entry(OTHER, "removed", Operation::Delete);
        writing.put(EVICTED, "held");
        for key in ["old", "removed", "new", "old"] {
            writing.put(EVICTED, key);
        }
        let aside = directory.path().join("aside");
        let range = own(1);
        let shelf = Shelf::fill(&aside, "main", range, &writing.log.reader()).unwrap();
        let kept: Vec<_> = shelf
            .sequences()
            .map(|it| shelf.get(it).unwrap().unwrap())
            .collect();
        let sequences: Vec<_> = kept.iter().map(|it| it.record.sequence.0).collect();
        assert_eq!(sequences, [2, 3, 4, 5]);
        let before: Vec<_> = kept.iter().map(|it| it.record.before.len()).collect();
        assert_eq!(
            before,
            [1, 0, 0, 0],
            "only `old` was there, and only at first"
        );
        assert_eq!(found_in(&aside).unwrap(), [("main".to_owned(), EVICTED)]);
    }

    #[test]
    fn decisions_outlive_the_process_and_a_torn_line_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let log_at = directory.path().join("log");
        fs::create_dir(&log_at).unwrap();
        let mut writing = written(&log_at);
        writing.put(EVICTED, "a");
        writing.put(EVICTED, "b");
        let aside = directory.path().join("aside");
        let range = own(0);
        let shelf = Shelf::fill(&aside, "main", range, &writing.log.reader()).unwrap();
        let state = State::Resubmitted {
            version: Some((Hlc::from_raw(9), OTHER)),
        };
        let decision = Decision {
            sequence: Sequence(1),
            state: state.clone(),
        };
        shelf.decide(decision).unwrap();
        let mut file = File::options()
            .append(true)
            .open(&shelf.decisions_at)
            .unwrap();
        file.write_all(b"{\"sequence\":2,\"sta").unwrap();
        let again = Shelf::open(&aside, "main", EVICTED).unwrap();
        assert_eq!(again.state(Sequence(1)), state);
        assert_eq!(again.state(Sequence(2)), State::Waiting { reason: None });
        let (sequence, state) = (Sequence(2), State::Dropped);
        again.decide(Decision { sequence, state }).unwrap();
        let third = Shelf::open(&aside, "main", EVICTED).unwrap();
        assert_eq!(third.state(sequence), State::Dropped, "behind a torn line");
    }

    #[test]
    fn what_was_made_in_a_letters_place_is_kept_for_a_person() {
        let directory = tempfile::tempdir().unwrap();
        let log_at = directory.path().join("log");
        fs::create_dir(&log_at).unwrap();
        let mut writing = written(&log_at);
        let letter = Version {
            hlc: Hlc::from_raw(7),
            origin: OTHER,
        };
        let document = "1".to_owned();
        for transaction in [
            one_row("k", Operation::Put { document }),
            Transaction::default(),
        ] {
            let decided = meridian_model::Decision {
                letter,
                transaction,
            };
            writing.log(EVICTED, &Body::Decision(decided));
        }
        let aside = directory.path().join("aside");
        let range = own(0);
        let shelf = Shelf::fill(&aside, "main", range, &writing.log.reader()).unwrap();
        let sequences: Vec<_> = shelf.sequences().collect();
        assert_eq!(sequences, [Sequence(1)], "a drop has nothing to keep");
        let state = Shelf::open(&aside, "main", EVICTED)
            .unwrap()
            .state(sequences[0]);
        let State::Waiting {
            reason: Some(reason),
        } = state
        else {
            panic!("{state:?}");
        };
        assert!(reason.contains(&letter.to_string()), "{reason}");
    }

    #[test]
    fn how_far_an_engine_was_captured_is_nothing_to_keep() {
        let directory = tempfile::tempdir().unwrap();
        let log_at = directory.path().join("log");
        fs::create_dir(&log_at).unwrap();
        let mut writing = written(&log_at);
        let document = "1".to_owned();
        for transaction in [
            Transaction::default(),
            one_row("k", Operation::Put { document }),
            Transaction::default(),
        ] {
            let captured = Captured {
                transaction,
                ..Captured::default()
            };
            writing.log(EVICTED, &Body::Captured(captured));
        }
        let aside = directory.path().join("aside");
        let shelf = Shelf::fill(&aside, "main", own(0), &writing.log.reader()).unwrap();
        let sequences: Vec<_> = shelf.sequences().collect();
        assert_eq!(sequences, [Sequence(2)]);
    }

    #[test]
    fn what_another_lost_region_wrote_and_no_member_holds_is_kept_for_a_person() {
        let directory = tempfile::tempdir().unwrap();
        let log_at = directory.path().join("log");
        fs::create_dir(&log_at).unwrap();
        let mut writing = written(&log_at);
        writing.put(OTHER, "held");
        let held = Hlc::from_raw(writing.hlc);
        writing.put(EVICTED, "own");
        writing.put(OTHER, "confirmed by this region alone");
        let aside = directory.path().join("aside");
        let range = Range::Others {
            origin: OTHER,
            held,
        };
        Shelf::fill(&aside, "main", range, &writing.log.reader()).unwrap();
        let shelf = Shelf::open(&aside, "main", OTHER).unwrap();
        let sequences: Vec<_> = shelf.sequences().collect();
        assert_eq!(sequences, [Sequence(2)]);
        let state = shelf.state(sequences[0]);
        assert!(
            matches!(&state, State::Waiting { reason: Some(_) }),
            "{state:?}"
        );
    }
}
