//! The log's reading end: for links, for apply, and for answering what a peer's history is.
//!
//! A reader sees durable entries only. A link that keeps up is served from memory; one that is
//! behind reads the segment files, beside the writer and without waiting for it.

use crate::Disk;
use crate::error::LogError;
use crate::scan::{FrameScanner, Step};
use crate::state::{BatchLimit, Place, SharedState};
use meridian_model::{Entry, HistoryHash, Marks, OriginId, Position, Sequence};
use std::ops::ControlFlow;

/// Reads a log. Clones read the same log.
#[derive(Clone, Debug)]
pub struct Reader<D> {
    disk: D,
    state: SharedState,
}

/// Entries in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The entries; empty only at the log's end.
    pub entries: Vec<Entry>,
    /// The position after the last of them.
    pub next: Position,
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(disk: D, state: SharedState) -> Self {
        Self { disk, state }
    }

    /// The position after the last durable entry.
    #[must_use]
    pub fn end(&self) -> Position {
        self.state.lock().end
    }

    /// The first position that is still held.
    #[must_use]
    pub fn start(&self) -> Position {
        self.state.lock().start()
    }

    /// Where every origin's stream stands at the end.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.state.lock().marks.clone()
    }

    /// Entries from `from` on: at least one if there is any, then as many as fit in `bytes_max`.
    /// Fewer come where a segment ends.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] or [`LogError::BeyondEnd`] for a position that isn't held, and when
    /// the files can't be read or are damaged.
    pub fn read(&self, from: Position, bytes_max: usize) -> Result<Batch, LogError> {
        let place = {
            let state = self.state.lock();
            if from > state.end {
                let end = state.end;
                return Err(LogError::BeyondEnd {
                    position: from,
                    end,
                });
            }
            if from < state.start() {
                let start = state.start();
                return Err(LogError::Trimmed {
                    position: from,
                    start,
                });
            }
            if from == state.end {
                return Ok(Batch::starting(from, Vec::new()));
            }
            if let Some(entries) = state.tail.read(from, bytes_max) {
                return Ok(Batch::starting(from, entries));
            }
            state.place_of(from)
        };
        match self.read_file(&place, from, bytes_max) {
            Ok(entries) => Ok(Batch::starting(from, entries)),
            Err(error) => Err(self.unless_trimmed(from, error)),
        }
    }

    /// The first position that may hold an entry that `held` doesn't cover; the end if none does.
    ///
    /// # Errors
    /// [`LogError::NoLongerHeld`] when some of what is not covered has left the log, and when the
    /// files can't be read or are damaged.
    pub fn position_for(&self, held: &Marks) -> Result<Position, LogError> {
        let place = {
            let state = self.state.lock();
            if held.covers(&state.marks) {
                return Ok(state.end);
            }
            let covered = state
                .segments
                .partition_point(|segment| held.covers(&segment.marks));
            let Some(index) = covered.checked_sub(1) else {
                let before = state.segments.front().map(|segment| segment.marks.clone());
                return Err(no_longer_held(held, &before.unwrap_or_default()));
            };
            state.whole(index)
        };
        let found = self.find(&place, |position, entry| {
            (entry.sequence > held.get(entry.origin).sequence).then_some(position)
        });
        match found {
            Ok(position) => Ok(position.unwrap_or(place.end)),
            // The segment left the log meanwhile, and with it perhaps what is asked for.
            Err(_) if self.is_trimmed(&place) => self.position_for(held),
            Err(error) => Err(error),
        }
    }

    /// The hash of an origin's stream up to and including `sequence`; `None` where that is not held
    /// or not held any more.
    ///
    /// # Errors
    /// When the files can't be read or are damaged.
    pub fn history_at(
        &self,
        origin: OriginId,
        sequence: Sequence,
    ) -> Result<Option<HistoryHash>, LogError> {
        if sequence == Sequence::default() {
            return Ok(Some(HistoryHash::default()));
        }
        let place = {
            let state = self.state.lock();
            let mark = state.marks.get(origin);
            if mark.sequence <= sequence {
                return Ok((mark.sequence == sequence).then_some(mark.history));
            }
            let begun = state
                .segments
                .partition_point(|segment| segment.marks.get(origin).sequence <= sequence);
            let Some(index) = begun.checked_sub(1) else {
                return Ok(None);
            };
            let before = state.segments[index].marks.get(origin);
            if before.sequence == sequence {
                return Ok(Some(before.history));
            }
            state.whole(index)
        };
        let found = self.find(&place, |_, entry| {
            (entry.origin == origin && entry.sequence == sequence).then_some(entry.history)
        });
        match found {
            Err(_) if self.is_trimmed(&place) => Ok(None),
            found => found,
        }
    }

    fn read_file(
        &self,
        place: &Place,
        from: Position,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let mut batch = BatchLimit::new(bytes_max);
        let mut entries = Vec::new();
        self.scan(place, |position, entry| {
            if position < from {
                return ControlFlow::Continue(());
            }
            if !batch.takes(&entry) {
                return ControlFlow::Break(());
            }
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        if entries.is_empty() {
            let expected = format!("entry {from}");
            return Err(LogError::corrupt(
                &place.name,
                place.limit,
                expected,
                "the end of the frames",
            ));
        }
        Ok(entries)
    }

    fn find<T>(
        &self,
        place: &Place,
        wanted: impl Fn(Position, &Entry) -> Option<T>,
    ) -> Result<Option<T>, LogError> {
        let mut found = None;
        self.scan(place, |position, entry| {
            found = wanted(position, &entry);
            if found.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// Shows each entry with its position, in order, until `visit` has had enough.
    fn scan(
        &self,
        place: &Place,
        mut visit: impl FnMut(Position, Entry) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let name = &place.name;
        let mut scanner =
            FrameScanner::new(&self.disk, name, place.seed, place.offset, place.limit);
        while scanner.offset() < place.limit {
            let offset = scanner.offset();
            let frame = match scanner.step()? {
                Step::Frame(frame) => frame,
                Step::Blank => return Err(no_frame(name, offset, "an unwritten place")),
                Step::Invalid(reason) => return Err(no_frame(name, offset, reason)),
            };
            let mut position = frame.first;
            for entry in frame.entries(name)? {
                if visit(position, entry).is_break() {
                    return Ok(());
                }
                position = position.next();
            }
        }
        Ok(())
    }

    fn is_trimmed(&self, place: &Place) -> bool {
        self.start() >= place.end
    }

    /// A file that can't be read because it was just trimmed is no fault of the disk.
    fn unless_trimmed(&self, position: Position, error: LogError) -> LogError {
        let start = self.start();
        if position < start {
            LogError::Trimmed { position, start }
        } else {
            error
        }
    }
}

impl Batch {
    fn starting(from: Position, entries: Vec<Entry>) -> Self {
        Self {
            next: Position(from.0 + entries.len() as u64),
            entries,
        }
    }
}

fn no_frame(file: &str, offset: u64, found: &str) -> LogError {
    LogError::corrupt(file, offset, "a frame that was durable", found)
}

fn no_longer_held(held: &Marks, start: &Marks) -> LogError {
    let lacking = start
        .iter()
        .find(|(origin, mark)| held.get(*origin).sequence < mark.sequence);
    let origin = lacking.map_or(OriginId(0), |(origin, _)| origin);
    LogError::NoLongerHeld {
        origin,
        sequence: held.get(origin).sequence,
    }
}
