//! Writing one file of a backup from the blocks that a region gives.
//!
//! The file grows under another name and gets its own, and its place in the manifest, when it is
//! whole and durable. What an interrupted run left is overwritten by the next.

use crate::block::{Block, BlockError, BlockReader, Content, MAGIC, Source};
use crate::manifest::{FileKind, FileRecord, stream_marks};
use crate::set::{BackupError, BackupSet, file_error};
use bytes_written::Counted;
use meridian_model::{Marks, Micros, Position};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

mod bytes_written;

/// A file that is being written.
#[derive(Debug)]
pub struct Writer<'a> {
    set: &'a mut BackupSet,
    path: PathBuf,
    out: Counted<BufWriter<File>>,
    kind: FileKind,
    source: Option<Source>,
    /// Region and incarnation of the file that this one goes on from.
    goes_on_from: Option<(String, String)>,
    marks: Marks,
    position: Position,
    from: Micros,
    until: Micros,
    count: u64,
    is_whole: bool,
}

impl<'a> Writer<'a> {
    /// Begins a snapshot: a new chain.
    ///
    /// # Errors
    /// [`BackupError`] when the file can't be written.
    pub fn snapshot(set: &'a mut BackupSet) -> Result<Self, BackupError> {
        Self::begin(set, FileKind::Snapshot, None)
    }

    /// Begins a file of entries after the last file; `None` where there is no file yet.
    ///
    /// # Errors
    /// [`BackupError`] when the last file can't be read or the new one can't be written.
    pub fn entries(set: &'a mut BackupSet) -> Result<Option<Self>, BackupError> {
        let Some(last) = set.manifest().files.last().cloned() else {
            return Ok(None);
        };
        let marks = match set.marks.clone() {
            Some(marks) => marks,
            None => follow_chain(set)?,
        };
        let mut writer = Self::begin(set, FileKind::Entries, Some(marks))?;
        writer.goes_on_from = Some((last.region, last.origin));
        writer.position = Position(last.position);
        writer.from = last.until;
        writer.until = last.until;
        Ok(Some(writer))
    }

    fn begin(
        set: &'a mut BackupSet,
        kind: FileKind,
        marks: Option<Marks>,
    ) -> Result<Self, BackupError> {
        let path = set.path("unfinished");
        let file = File::create(&path).map_err(|source| file_error(&path, source))?;
        let mut out = Counted::new(BufWriter::with_capacity(1 << 20, file));
        out.write_all(&MAGIC)
            .map_err(|source| file_error(&path, source))?;
        Ok(Self {
            set,
            path,
            out,
            kind,
            source: None,
            goes_on_from: None,
            marks: marks.unwrap_or_default(),
            position: Position::default(),
            from: Micros(0),
            until: Micros(0),
            count: 0,
            is_whole: false,
        })
    }

    /// Whether the region has given everything there is for now.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The position from which the next entries are wanted.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Records or entries so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The file's size so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.out.bytes()
    }

    /// Takes a region's reply: one block. Gives it back as it was read.
    ///
    /// # Errors
    /// [`BackupError`] when it is damaged, not what was asked for, or can't be written;
    /// [`BackupError::AnotherLog`] where only a new snapshot will do.
    pub fn take(&mut self, reply: &[u8]) -> Result<Block, BackupError> {
        let unreadable = |error: BlockError| BackupError::Reply(error.to_string());
        let mut blocks = BlockReader::bare(reply);
        let block = blocks.next_block().map_err(unreadable)?;
        let Some(block) = block else {
            return Err(BackupError::Reply("it is empty".to_owned()));
        };
        self.check_source(&block)?;
        match &block.content {
            Content::Snapshot(part) if self.kind == FileKind::Snapshot => {
                if self.count == 0 {
                    self.until = block.taken_at;
                }
                self.count += part.records.len() as u64;
                if let Some(head) = &part.head {
                    self.marks = head.marks.clone();
                    self.position = head.position;
                    self.from = newest(&head.marks);
                    self.is_whole = true;
                }
            }
            Content::Entries {
                first,
                entries,
                is_last,
            } if self.kind == FileKind::Entries && *first == self.position => {
                for entry in entries {
                    if !entry.follows(self.marks.get(entry.origin)) {
                        let text = "an entry doesn't follow what the backup holds";
                        return Err(BackupError::Reply(text.to_owned()));
                    }
                    self.marks.set(entry.origin, entry.mark());
                }
                self.position = Position(first.0 + entries.len() as u64);
                self.count += entries.len() as u64;
                let until = if *is_last {
                    // A clock that was set back, or a peer's that is ahead, dates entries later.
                    block.taken_at.max(newest(&self.marks))
                } else {
                    // What the region wrote at its last entry's time may go on behind it.
                    let own = self.marks.get(block.source.origin).hlc.time();
                    Micros(own.0.saturating_sub(1))
                };
                self.until = self.until.max(until);
                self.is_whole = *is_last;
            }
            _ => return Err(BackupError::Reply("it is another part".to_owned())),
        }
        self.out
            .write_all(reply)
            .map_err(|source| file_error(&self.path, source))?;
        Ok(block)
    }

    fn check_source(&mut self, block: &Block) -> Result<(), BackupError> {
        if let Some((region, origin)) = &self.goes_on_from
            && (block.source.region.as_str() != region
                || block.source.origin.to_string() != *origin)
        {
            return Err(BackupError::AnotherLog);
        }
        let wanted = self.source.get_or_insert_with(|| block.source.clone());
        if *wanted != block.source || block.source.dataset != self.set.manifest().dataset {
            let text = "it comes from another dataset, region or incarnation";
            return Err(BackupError::Reply(text.to_owned()));
        }
        Ok(())
    }

    /// Ends the file, which becomes part of the backup.
    ///
    /// # Errors
    /// [`BackupError`] when nothing was taken or it can't be made durable.
    pub fn finish(self) -> Result<FileRecord, BackupError> {
        let Some(source) = self.source else {
            return Err(BackupError::Reply("nothing came".to_owned()));
        };
        if self.kind == FileKind::Snapshot && !self.is_whole {
            return Err(BackupError::Reply(
                "the snapshot's end is missing".to_owned(),
            ));
        }
        let (bytes, checksum) = (self.out.bytes(), self.out.digest());
        let file = self.out.into_inner().into_inner();
        file.map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(|error| file_error(&self.path, error))?;
        let number = self.set.manifest().files.len() + 1;
        let word = match self.kind {
            FileKind::Snapshot => "snapshot",
            FileKind::Entries => "entries",
        };
        let record = FileRecord {
            name: format!("{number:06}-{word}.backup"),
            kind: self.kind,
            region: source.region.to_string(),
            origin: source.origin.to_string(),
            position: self.position.0,
            marks: stream_marks(&self.marks),
            from: self.from,
            until: self.until.max(self.from),
            count: self.count,
            bytes,
            checksum,
        };
        self.set.add(&self.path, record.clone())?;
        self.set.marks = Some(self.marks);
        Ok(record)
    }
}

/// Where the streams stand after the last file. By its chain's own entries: the manifest's marks are
/// for people.
fn follow_chain(set: &BackupSet) -> Result<Marks, BackupError> {
    let mut marks = Marks::default();
    for record in set.manifest().chains().last().unwrap_or_default() {
        set.read(record, |block| set.follow(record, &mut marks, block))?;
    }
    Ok(marks)
}

/// The latest time of any entry.
fn newest(marks: &Marks) -> Micros {
    let times = marks.iter().map(|(_, mark)| mark.hlc.time());
    times.max().unwrap_or_default()
}
