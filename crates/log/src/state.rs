//! What a log and its readers share: the durable state, and the last entries in memory.

use crate::segment::Segment;
use meridian_model::{Entry, Marks, Position};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// The durable state of a log. Everything in it is on the disk.
#[derive(Debug)]
pub(crate) struct State {
    /// Oldest first, never empty; each begins where the one before it ends.
    pub segments: VecDeque<Segment>,
    pub marks: Marks,
    pub end: Position,
    pub tail: TailCache,
}

/// The state behind the lock that log and readers share. It is held for memory work only.
#[derive(Clone, Debug)]
pub(crate) struct SharedState(Arc<Mutex<State>>);

impl SharedState {
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("nothing panics while it holds the log's state")
    }
}

/// Where to look in a segment file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub name: Arc<str>,
    pub seed: u32,
    /// The offset of the first frame to look at.
    pub offset: u64,
    /// The offset after the last durable frame.
    pub limit: u64,
    /// The position after the segment's last entry.
    pub end: Position,
}

impl State {
    /// The first position held.
    pub fn start(&self) -> Position {
        self.segments
            .front()
            .map_or(self.end, |segment| segment.first)
    }

    /// Where to begin to look for a position that is held.
    pub fn place_of(&self, position: Position) -> Place {
        let after = self
            .segments
            .partition_point(|segment| segment.first <= position);
        let index = after.saturating_sub(1);
        Place {
            offset: self.segments[index].offset_before(position),
            ..self.whole(index)
        }
    }

    /// All of a segment.
    pub fn whole(&self, index: usize) -> Place {
        let segment = &self.segments[index];
        Place {
            name: segment.name.clone(),
            seed: segment.seed,
            offset: segment.begin,
            limit: segment.used,
            end: self
                .segments
                .get(index + 1)
                .map_or(self.end, |next| next.first),
        }
    }

    /// Takes the first segment out if all of it is held by everyone and applied. The last segment
    /// stays whatever is in it: it is where the next frame goes, and it carries the marks.
    pub fn take_trimmable(&mut self, held_by_all: &Marks, applied: Position) -> Option<Segment> {
        if self.is_trimmable(held_by_all, applied) {
            self.segments.pop_front()
        } else {
            None
        }
    }

    /// Whether [`State::take_trimmable`] would take a segment.
    pub fn is_trimmable(&self, held_by_all: &Marks, applied: Position) -> bool {
        let (Some(first), Some(next)) = (self.segments.front(), self.segments.get(1)) else {
            return false;
        };
        // An origin that has nothing in this segment has no say: it may have left long ago.
        let held = next.marks.iter().all(|(origin, mark)| {
            let held = held_by_all.get(origin);
            first.marks.get(origin).sequence == mark.sequence
                || (held.sequence >= mark.sequence && held.hlc >= mark.hlc)
        });
        held && next.first <= applied
    }
}

/// The log's last frames in memory, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct TailCache {
    frames: VecDeque<CachedFrame>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct CachedFrame {
    first: Position,
    entries: Vec<Entry>,
    bytes: usize,
}

impl TailCache {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds the frame after the last one. The oldest frames give way.
    pub fn push(&mut self, first: Position, entries: Vec<Entry>) {
        let bytes = entries.iter().map(cached_bytes).sum();
        self.bytes += bytes;
        self.frames.push_back(CachedFrame {
            first,
            entries,
            bytes,
        });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
    }

    /// Entries from `from` on, at least one; `None` where the cache begins later.
    pub fn read(&self, from: Position, bytes_max: usize) -> Option<Vec<Entry>> {
        let after = self.frames.partition_point(|frame| frame.first <= from);
        let index = after.checked_sub(1)?;
        let skip = usize::try_from(from.0 - self.frames[index].first.0).ok()?;
        let mut batch = BatchLimit::new(bytes_max);
        let entries: Vec<Entry> = self
            .frames
            .range(index..)
            .flat_map(|frame| &frame.entries)
            .skip(skip)
            .take_while(|entry| batch.takes(entry))
            .cloned()
            .collect();
        (!entries.is_empty()).then_some(entries)
    }
}

/// What an entry takes in the cache: its body and the struct that points to it.
fn cached_bytes(entry: &Entry) -> usize {
    entry.body.len() + size_of::<Entry>()
}

/// Counts the bytes of a batch: the first entry always fits.
pub(crate) struct BatchLimit {
    bytes: usize,
    bytes_max: usize,
}

impl BatchLimit {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: 0,
            bytes_max,
        }
    }

    /// Whether one more entry fits; counts it.
    pub fn takes(&mut self, entry: &Entry) -> bool {
        let first = self.bytes == 0;
        self.bytes += entry.size();
        first || self.bytes <= self.bytes_max
    }
}
