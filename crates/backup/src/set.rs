//! A backup's directory.

use crate::block::{Block, BlockError, BlockReader, Content};
use crate::manifest::{FORMAT, FileRecord, Manifest};
use meridian_model::Marks;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "lock";

/// A backup can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file can't be used.
    #[error("{} can't be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no backup.
    #[error("{} holds no backup: there is no {MANIFEST}", path.display())]
    NoBackup {
        /// The directory.
        path: PathBuf,
    },
    /// Another run writes to it.
    #[error("another run writes to the backup in {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest isn't one.
    #[error("{} can't be read", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another release wrote it.
    #[error("the backup is in format {found}, this build knows format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
    /// The directory holds another dataset's backup.
    #[error("{} holds a backup of dataset {found}, not of {wanted}", path.display())]
    OtherDataset {
        /// The directory.
        path: PathBuf,
        /// Whose.
        found: String,
        /// Whose was wanted.
        wanted: String,
    },
    /// A file is not what was written.
    #[error("the backup file {} can't be used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BlockError,
    },
    /// A file is whole and not the one that the manifest speaks of.
    #[error("the backup file {} is not the one that was written: {reason}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A region sent something else than was asked for.
    #[error("the region's reply doesn't fit: {0}")]
    Reply(String),
    /// Positions count in one incarnation's log, and this is another's.
    #[error("the backup so far was taken from another region or incarnation")]
    AnotherLog,
}

/// A backup.
#[derive(Debug)]
pub struct BackupSet {
    directory: PathBuf,
    manifest: Manifest,
    /// Where the streams stand after the last file, once that is known.
    pub(crate) marks: Option<Marks>,
    /// Held by whoever may write: files grow under one name.
    _lock: Option<File>,
}

/// What was found when a file was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Records or entries.
    pub count: u64,
    /// The file's size.
    pub bytes: u64,
}

impl BackupSet {
    /// Opens the backup in a directory.
    ///
    /// # Errors
    /// [`BackupError`] when there is none or it can't be read.
    pub fn open(directory: &Path) -> Result<Self, BackupError> {
        let path = directory.join(MANIFEST);
        let text = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BackupError::NoBackup {
                path: directory.to_owned(),
            },
            _ => file_error(&path, source),
        })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|source| BackupError::Manifest { path, source })?;
        if manifest.format != FORMAT {
            let found = manifest.format;
            return Err(BackupError::Format { found });
        }
        Ok(Self {
            directory: directory.to_owned(),
            manifest,
            marks: None,
            _lock: None,
        })
    }

    /// Opens the backup of a dataset to write to it, or begins one in a directory, which is made
    /// where missing. Nobody else writes there while the set lives.
    ///
    /// # Errors
    /// [`BackupError`], also where the directory holds another dataset's or somebody else writes.
    pub fn open_or_begin(directory: &Path, dataset: &str) -> Result<Self, BackupError> {
        fs::create_dir_all(directory).map_err(|source| file_error(directory, source))?;
        let lock = Some(take_lock(directory)?);
        match Self::open(directory) {
            Ok(set) if set.manifest.dataset != dataset => Err(BackupError::OtherDataset {
                path: directory.to_owned(),
                found: set.manifest.dataset,
                wanted: dataset.to_owned(),
            }),
            Err(BackupError::NoBackup { .. }) => Ok(Self {
                directory: directory.to_owned(),
                manifest: Manifest {
                    format: FORMAT,
                    dataset: dataset.to_owned(),
                    files: Vec::new(),
                },
                marks: None,
                _lock: lock,
            }),
            opened => opened.map(|set| Self { _lock: lock, ..set }),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Gives a finished file its name and adds it to the manifest; either is durable or absent.
    pub(crate) fn add(&mut self, finished: &Path, record: FileRecord) -> Result<(), BackupError> {
        let path = self.path(&record.name);
        fs::rename(finished, &path).map_err(|source| file_error(&path, source))?;
        self.manifest.files.push(record);
        let written = self.write_manifest();
        if written.is_err() {
            self.manifest.files.pop();
        }
        written
    }

    fn write_manifest(&self) -> Result<(), BackupError> {
        let (path, fresh) = (self.path(MANIFEST), self.path("manifest.json.new"));
        let mut text = serde_json::to_vec_pretty(&self.manifest).expect("a manifest is plain data");
        text.push(b'\n');
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| file_error(&path, source))
    }

    /// Reads a file to its end, showing each block; everything about it is checked: each block, the
    /// whole file's checksum, and that it holds what the manifest says.
    ///
    /// # Errors
    /// [`BackupError`] when it can't be read or is not what was written, or `visit` gives one.
    pub fn read(
        &self,
        record: &FileRecord,
        mut visit: impl FnMut(Block) -> Result<(), BackupError>,
    ) -> Result<Verified, BackupError> {
        let path = self.path(&record.name);
        let damaged = |source| BackupError::Damaged {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(|source| file_error(&path, source))?;
        let mut hashing = Hashing::new(BufReader::with_capacity(1 << 20, file));
        let mut blocks = BlockReader::file(&mut hashing).map_err(damaged)?;
        let mut count = 0;
        while let Some(block) = blocks.next_block().map_err(damaged)? {
            count += match &block.content {
                Content::Snapshot(part) => part.records.len() as u64,
                Content::Entries { entries, .. } => entries.len() as u64,
            };
            visit(block)?;
        }
        let found = [
            (
                "its size",
                record.bytes.to_string(),
                hashing.bytes.to_string(),
            ),
            ("its checksum", record.checksum.clone(), hashing.digest()),
            ("its content", record.count.to_string(), count.to_string()),
        ];
        for (what, expected, found) in found {
            if expected != found {
                let reason = format!("{what} is {found}, the manifest says {expected}");
                return Err(BackupError::Other { path, reason });
            }
        }
        Ok(Verified {
            count,
            bytes: hashing.bytes,
        })
    }

    /// Reads every file to its end, and follows every stream's history through them; `each` is told what
    /// came of a file. Behind one that is damaged the history is followed again from the next snapshot on.
    pub fn verify(&self, mut each: impl FnMut(&FileRecord, Result<(), BackupError>)) {
        let (mut marks, mut are_known) = (Marks::default(), true);
        for record in &self.manifest.files {
            let read = self.read(record, |block| {
                are_known |=
                    matches!(&block.content, Content::Snapshot(part) if part.head.is_some());
                if are_known {
                    self.follow(record, &mut marks, block)?;
                }
                Ok(())
            });
            are_known &= read.is_ok();
            each(record, read.map(drop));
        }
    }

    /// Moves the marks past a block whose entries must follow them.
    pub(crate) fn follow(
        &self,
        record: &FileRecord,
        marks: &mut Marks,
        block: Block,
    ) -> Result<(), BackupError> {
        match block.content {
            Content::Snapshot(part) => {
                if let Some(head) = part.head {
                    *marks = head.marks;
                }
            }
            Content::Entries { entries, .. } => {
                for entry in entries {
                    if !entry.follows(marks.get(entry.origin)) {
                        return Err(BackupError::Other {
                            path: self.path(&record.name),
                            reason: format!(
                                "entry {} of origin {} doesn't follow what is before it",
                                entry.sequence, entry.origin
                            ),
                        });
                    }
                    marks.set(entry.origin, entry.mark());
                }
            }
        }
        Ok(())
    }
}

fn take_lock(directory: &Path) -> Result<File, BackupError> {
    let path = directory.join(LOCK);
    let unusable = |source| file_error(&path, source);
    let file = File::create(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

pub(crate) fn file_error(path: &Path, source: io::Error) -> BackupError {
    BackupError::File {
        path: path.to_owned(),
        source,
    }
}

/// Counts and hashes what passes through.
struct Hashing<R> {
    from: R,
    hasher: Xxh3,
    bytes: u64,
}

impl<R> Hashing<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            hasher: Xxh3::new(),
            bytes: 0,
        }
    }

    fn digest(&self) -> String {
        format!("{:032x}", self.hasher.digest128())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
