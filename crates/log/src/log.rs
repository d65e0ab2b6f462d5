//! The log's writing end: group commits, rolling over to the next segment, trimming.

use crate::error::LogError;
use crate::format::{
    FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, SegmentHeader, decode_payload, encode_frame,
    frame_bytes, frame_seed,
};
use crate::recover::{Recovered, recover, write_zeros};
use crate::segment::{Segment, file_name};
use crate::spare::{Filling, SPARE_NAME, Spare};
use crate::state::{SharedState, State, TailCache};
use crate::{Disk, Reader};
use bytes::Bytes;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Entry, Marks, Position};
use std::fmt;
use std::io;
use std::sync::Arc;

/// How a log uses disk and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment file's size. A larger commit gets a segment of its own size.
    pub segment_bytes: u64,
    /// How many bytes of the last entries stay in memory, for links that keep up.
    pub tail_cache_bytes: usize,
    /// Whether the next segment is made ahead by a thread. Without, each roll stalls one commit for
    /// as long as the disk takes for a segment of zeros; a simulator, which must not have threads,
    /// does without.
    pub prepare_ahead: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            tail_cache_bytes: 4 << 20,
            prepare_ahead: true,
        }
    }
}

/// One dataset's log.
pub struct Log<D: Disk> {
    disk: D,
    config: LogConfig,
    state: SharedState,
    marks: Marks,
    end: Position,
    active: Active,
    spare: Spare<D>,
    /// What a failed write may have left in the active segment. It must be gone before anything
    /// else is written, or recovery would take it for damage.
    leftover: Option<(u64, u64)>,
    is_poisoned: bool,
}

/// The segment that is written to.
struct Active {
    name: Arc<str>,
    seed: u32,
    used: u64,
    size: u64,
    /// Since it was opened or made: so many bytes in so many commits.
    written: u64,
    commits: u64,
}

impl Active {
    fn of(segment: &Segment) -> Self {
        Self {
            name: segment.name.clone(),
            seed: segment.seed,
            used: segment.used,
            size: segment.size,
            written: 0,
            commits: 0,
        }
    }

    fn filling_of_next(&self) -> Filling {
        Filling::after(self.written, self.commits)
    }
}

impl<D: Disk> fmt::Debug for Log<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("end", &self.end)
            .field("active", &self.active.name)
            .field("is_poisoned", &self.is_poisoned)
            .finish_non_exhaustive()
    }
}

impl<D: Disk> Log<D> {
    /// Opens the log in `disk` and creates it where there is none.
    ///
    /// `acknowledged` is the position up to which somebody relies on the entries (the engine's
    /// tables have applied them, say): a log that ends before it has lost some.
    ///
    /// # Errors
    /// When the disk fails, and when what it holds is damaged: [`LogError::is_damage`].
    pub fn open(disk: D, config: LogConfig, acknowledged: Position) -> Result<Self, LogError> {
        let recovered = recover(&disk, acknowledged)?;
        Self::from_recovered(disk, config, recovered)
    }

    /// The log of what the files hold; makes the first segment where they hold none.
    pub(crate) fn from_recovered(
        disk: D,
        config: LogConfig,
        recovered: Recovered,
    ) -> Result<Self, LogError> {
        let active = recovered.segments.back().map(Active::of);
        let state = SharedState::new(State {
            segments: recovered.segments,
            marks: recovered.marks.clone(),
            end: recovered.end,
            tail: TailCache::new(config.tail_cache_bytes),
        });
        let is_new = active.is_none();
        let mut log = Self {
            spare: Spare::new(disk.clone()),
            disk,
            config,
            state,
            marks: recovered.marks,
            end: recovered.end,
            active: active.unwrap_or(Active {
                name: file_name(Position::default()).into(),
                seed: 0,
                used: 0,
                size: 0,
                written: 0,
                commits: 0,
            }),
            leftover: None,
            is_poisoned: false,
        };
        if is_new {
            log.roll(0)?;
        }
        Ok(log)
    }

    /// Appends entries, each of which must come next in its origin's stream, as one group. When
    /// this returns they are durable and readers see them. Gives the log's new end.
    ///
    /// # Errors
    /// Nothing of the group counts then. After [`LogError::must_reopen`] the log takes no more, and
    /// only opening it anew tells whether the group is there; after any other error it goes on.
    /// (Should the disk refuse to take a failed write back too, and the process end before it does,
    /// the group may be there after all.)
    pub fn commit(&mut self, entries: &[Entry]) -> Result<Position, LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        if entries.is_empty() {
            return Ok(self.end);
        }
        let marks = self.marks_after(entries)?;
        let bytes = frame_bytes(entries);
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(LogError::TooLarge {
                bytes,
                bytes_max: PAYLOAD_BYTES_MAX,
            });
        }
        self.clear_leftover()?;
        if self.active.used + bytes > self.active.size {
            self.roll(bytes)?;
        }
        let seed = frame_seed(self.active.seed, self.active.used);
        let frame = encode_frame(seed, self.end, entries);
        self.write(&frame)?;
        self.sync()?;
        self.publish(&frame, entries.len(), marks);
        Ok(self.end)
    }

    /// The position after the last entry.
    #[must_use]
    pub fn end(&self) -> Position {
        self.end
    }

    /// The first position that is still held.
    #[must_use]
    pub fn start(&self) -> Position {
        self.state.lock().start()
    }

    /// Where every origin's stream stands at the log's end.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// A reader of this log, for other threads too.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader::new(self.disk.clone(), self.state.clone())
    }

    /// The disk space taken, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let state = self.state.lock();
        let segments: u64 = state.segments.iter().map(|segment| segment.size).sum();
        segments + self.spare.bytes()
    }

    /// Whether [`Log::trim`] would remove anything.
    #[must_use]
    pub fn would_trim(&self, held_by_all: &Marks, applied: Position) -> bool {
        self.state.lock().is_trimmable(held_by_all, applied)
    }

    /// Removes leading segments of which every entry is held by all (`held_by_all`, per origin the
    /// last sequence that every member holds, and the last clock reading that may go) and is before
    /// `applied`. Gives the bytes freed.
    ///
    /// # Errors
    /// When a file can't be removed; it stays part of the log then.
    pub fn trim(&mut self, held_by_all: &Marks, applied: Position) -> Result<u64, LogError> {
        let mut freed = 0;
        while let Some(bytes) = self.trim_oldest(held_by_all, applied)? {
            freed += bytes;
        }
        Ok(freed)
    }

    /// The same for the first segment alone; `None` where it has to stay.
    ///
    /// # Errors
    /// When the file can't be removed; it stays part of the log then.
    pub fn trim_oldest(
        &mut self,
        held_by_all: &Marks,
        applied: Position,
    ) -> Result<Option<u64>, LogError> {
        let taken = self.state.lock().take_trimmable(held_by_all, applied);
        let Some(segment) = taken else {
            return Ok(None);
        };
        match self.disk.remove(&segment.name) {
            // Gone already: an earlier attempt removed it and failed after that.
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let error = LogError::remove(&segment.name, source);
                // Later segments must not go before it: recovery would see a gap.
                self.state.lock().segments.push_front(segment);
                Err(error)
            }
            _ => Ok(Some(segment.size)),
        }
    }

    fn marks_after(&self, entries: &[Entry]) -> Result<Marks, LogError> {
        let mut marks = self.marks.clone();
        for entry in entries {
            let mark = marks.get(entry.origin);
            if !entry.follows(mark) {
                return Err(LogError::OutOfOrder {
                    origin: entry.origin,
                    sequence: entry.sequence,
                    last: mark.sequence,
                });
            }
            marks.set(entry.origin, entry.mark());
        }
        Ok(marks)
    }

    fn clear_leftover(&mut self) -> Result<(), LogError> {
        let Some((start, end)) = self.leftover else {
            return Ok(());
        };
        write_zeros(&self.disk, &self.active.name, start, end)?;
        self.sync()?;
        self.leftover = None;
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), LogError> {
        let (name, offset) = (self.active.name.clone(), self.active.used);
        let written = self.disk.write_at(&name, offset, frame);
        written.map_err(|source| {
            self.leftover = Some((offset, offset + frame.len() as u64));
            // At once, so that a refused group doesn't turn up after a restart. Where it fails, the
            // next commit tries again.
            let _ = self.clear_leftover();
            LogError::write(&name, offset, frame.len(), source)
        })
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if mutation::active(Mutation::AcknowledgedBeforeDurable) {
            return Ok(());
        }
        self.disk.sync(&self.active.name).map_err(|source| {
            self.is_poisoned = true;
            LogError::sync(&self.active.name, source)
        })
    }

    fn publish(&mut self, frame: &Bytes, count: usize, marks: Marks) {
        let (first, offset) = (self.end, self.active.used);
        self.active.used += frame.len() as u64;
        self.active.written += frame.len() as u64;
        self.active.commits += 1;
        self.end = Position(first.0 + count as u64);
        self.marks = marks;
        let cached = self.cacheable(frame, count);
        let mut state = self.state.lock();
        state.marks.clone_from(&self.marks);
        state.end = self.end;
        if let Some(segment) = state.segments.back_mut() {
            segment.record(first, offset, self.active.used);
        }
        state.tail.push(first, cached);
        drop(state);
        if self.config.prepare_ahead && self.active.used > self.active.size / 2 {
            let filling = self.active.filling_of_next();
            self.spare.prepare(self.config.segment_bytes, filling);
        }
    }

    /// The entries once more, with bodies inside the frame's memory: the bodies that the caller gave
    /// may be small pieces of large messages, which the cache would keep whole.
    fn cacheable(&self, frame: &Bytes, count: usize) -> Vec<Entry> {
        let payload = frame.slice(FRAME_HEADER_BYTES..);
        let count = u32::try_from(count).expect("a frame has at most as many entries as bytes");
        decode_payload(payload, count).expect("what was just encoded decodes")
    }

    /// Goes on to a new segment with room for a frame of `bytes`.
    fn roll(&mut self, bytes: u64) -> Result<(), LogError> {
        let (header, seed) = SegmentHeader {
            first: self.end,
            marks: self.marks.clone(),
        }
        .encode();
        let begin = header.len() as u64;
        let filling = self.active.filling_of_next();
        let size = self
            .spare
            .take(begin + bytes, self.config.segment_bytes, filling)?;
        self.disk
            .write_at(SPARE_NAME, 0, &header)
            .map_err(|source| LogError::write(SPARE_NAME, 0, header.len(), source))?;
        // A failure here touches no entry: the file is thrown away and made anew.
        self.disk
            .sync(SPARE_NAME)
            .map_err(|source| LogError::Create {
                file: SPARE_NAME.to_owned(),
                bytes: size,
                source,
            })?;
        let marks = Arc::new(self.marks.clone());
        self.adopt(Segment::new(self.end, marks, seed, begin, size))
    }

    /// Gives the prepared file its name and makes it the active segment.
    fn adopt(&mut self, segment: Segment) -> Result<(), LogError> {
        let renamed = self.disk.rename(SPARE_NAME, &segment.name);
        renamed.map_err(|source| {
            // Which file bears the name now is unknown, and an entry may be committed to neither.
            self.is_poisoned = true;
            LogError::sync(&segment.name, source)
        })?;
        self.active = Active::of(&segment);
        let mut state = self.state.lock();
        let replaces = |last: &Segment| last.first == segment.first;
        if state.segments.back().is_some_and(replaces) {
            state.segments.pop_back();
        }
        state.segments.push_back(segment);
        Ok(())
    }
}
