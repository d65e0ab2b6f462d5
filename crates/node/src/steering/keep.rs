//! The file that keeps what is wanted of the regions.
//!
//! ```text
//! "MERIDIAN-DESIRED" │ format (1 byte) │ checksum (XXH3 of the rest, 8 bytes) │ rows
//! ```
//!
//! Written beside itself, synced, and put in its own place, so that a crash leaves the one before or
//! the one after. Every change is in it before anything follows from it. One that can't be read is
//! moved to `desired.damaged` and begun anew: the other regions hold the same, and a region without
//! a word to them serves as if nothing were wanted rather than not at all.

use crate::durable;
use arc_swap::ArcSwap;
use meridian_model::DecodeError;
use meridian_steer::Ledger;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// The file's name in the region's data directory.
pub(crate) const FILE: &str = "desired";
const MAGIC: &[u8; 16] = b"MERIDIAN-DESIRED";
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = MAGIC.len() + 1 + 8;

/// What is wanted can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file can't be read.
    #[error("what is wanted of the regions can't be read from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A later release wrote it.
    #[error("{} is in format {format}, this build knows format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u8,
    },
    /// The file can't be written.
    #[error("what is wanted of the regions can't be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl KeepError {
    /// Whether there is no room for it.
    #[must_use]
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// A ledger and the file that has it. Whoever reads it never waits for the disk.
#[derive(Debug)]
pub(super) struct Kept {
    ledger: ArcSwap<Ledger>,
    /// Held by whoever changes it.
    file: Mutex<Option<PathBuf>>,
}

/// Why a file's bytes are no ledger.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("it doesn't begin as such a file does")]
    Head,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its rows can't be read")]
    Rows(#[from] DecodeError),
}

impl Kept {
    pub(super) fn open(file: Option<PathBuf>) -> Result<Self, KeepError> {
        let ledger = match &file {
            Some(path) => read(path)?,
            None => Ledger::default(),
        };
        Ok(Self {
            ledger: ArcSwap::from_pointee(ledger),
            file: Mutex::new(file),
        })
    }

    /// The ledger as it is durable.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        self.ledger.load_full()
    }

    /// Changes the ledger, one change after the other. It is durable before anybody sees it; after an
    /// error it is as it was, though a restart may find it changed where the disk failed at the very end
    /// ([`durable::put`]): that is a change that somebody wanted, and may take back. Blocks for as long as a sync takes, and as those before wait for theirs.
    pub(super) fn change<T, E: From<KeepError>>(
        &self,
        change: impl FnOnce(&mut Ledger) -> Result<T, E>,
    ) -> Result<T, E> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ledger();
        let mut ledger = Ledger::clone(&before);
        let outcome = change(&mut ledger)?;
        if ledger == *before {
            return Ok(outcome);
        }
        if let Some(path) = &*file {
            let written = durable::replace(path, &encode(&ledger.encode()));
            written.map_err(|source| KeepError::Write {
                path: path.clone(),
                source,
            })?;
        }
        self.ledger.store(Arc::new(ledger));
        Ok(outcome)
    }
}

fn read(path: &Path) -> Result<Ledger, KeepError> {
    let unreadable = |source| KeepError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        Err(error) => return Err(unreadable(error)),
    };
    const LATER: u8 = FORMAT + 1;
    if let (true, Some(format @ LATER..)) = (bytes.starts_with(MAGIC), bytes.get(MAGIC.len())) {
        return Err(KeepError::Format {
            path: path.to_owned(),
            format: *format,
        });
    }
    match decode(&bytes) {
        Ok(ledger) => Ok(ledger),
        Err(damage) => {
            let aside = path.with_extension("damaged");
            tracing::error!(
                file = %path.display(), %damage, kept = %aside.display(),
                "what is wanted of the regions can't be read; it is asked of the other regions"
            );
            fs::rename(path, &aside).map_err(unreadable)?;
            Ok(Ledger::default())
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Ledger, Damage> {
    let (head, rows) = bytes.split_at_checked(HEAD_BYTES).ok_or(Damage::Head)?;
    let (begin, checksum) = head.split_at(MAGIC.len() + 1);
    if begin[..MAGIC.len()] != MAGIC[..] || begin[MAGIC.len()] != FORMAT {
        return Err(Damage::Head);
    }
    if checksum != xxh3_64(rows).to_le_bytes() {
        return Err(Damage::Checksum);
    }
    Ok(Ledger::decode(rows)?)
}

fn encode(rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + rows.len());
    bytes.extend_from_slice(MAGIC);
    bytes.push(FORMAT);
    bytes.extend_from_slice(&xxh3_64(rows).to_le_bytes());
    bytes.extend_from_slice(rows);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Micros, OriginId};
    use meridian_steer::{Subject, Want, Wish};

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let version = ledger.next_version(Micros(7), OriginId(1)).unwrap();
        ledger.merge([Wish {
            subject: Subject::region("a"),
            want: Want::Drained,
            before: Want::AsUsual,
            version,
            at: Micros(7),
            who: "ann".to_owned(),
            why: "a disk is changed".to_owned(),
        }]);
        ledger
    }

    fn put(kept: &Kept) -> Result<(), KeepError> {
        kept.change(|kept| {
            *kept = ledger();
            Ok(())
        })
    }

    fn written(directory: &Path) -> PathBuf {
        let path = directory.join(FILE);
        put(&Kept::open(Some(path.clone())).unwrap()).unwrap();
        path
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path());
        assert_eq!(Kept::open(Some(path)).unwrap().ledger().as_ref(), &ledger());
    }

    #[test]
    fn every_damaged_byte_is_noticed_and_the_file_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path());
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).filter(|at| *at != MAGIC.len()) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            fs::write(&path, &bad).unwrap();
            let kept = Kept::open(Some(path.clone())).unwrap();
            assert_eq!(*kept.ledger(), Ledger::default(), "byte {at}");
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bad);
            assert!(!path.exists());
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert_eq!(
            *Kept::open(Some(path.clone())).unwrap().ledger(),
            Ledger::default()
        );
        fs::write(&path, "").unwrap();
        assert_eq!(*Kept::open(Some(path)).unwrap().ledger(), Ledger::default());
    }

    #[test]
    fn a_later_releases_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path());
        let mut later = fs::read(&path).unwrap();
        later[MAGIC.len()] = FORMAT + 1;
        fs::write(&path, &later).unwrap();
        let error = Kept::open(Some(path.clone())).unwrap_err();
        assert!(
            matches!(error, KeepError::Format { format: 2, .. }),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), later);
    }

    #[test]
    fn whoever_reads_does_not_wait_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let beside = path.with_extension("new");
        // Whoever opens this to write waits for somebody who reads.
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &beside, kind, mode, 0).unwrap();
        let kept = Kept::open(Some(path)).unwrap();
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| put(&kept));
            while kept.file.try_lock().is_ok() {
                std::thread::yield_now();
            }
            assert_eq!(*kept.ledger(), Ledger::default());
            assert!(!changing.is_finished());
            drop(fs::File::open(&beside).unwrap());
            assert!(changing.join().unwrap().is_err(), "a pipe can't be synced");
        });
    }

    #[test]
    fn what_cannot_be_written_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gone").join(FILE);
        let kept = Kept::open(Some(path)).unwrap();
        assert!(put(&kept).is_err());
        assert_eq!(*kept.ledger(), Ledger::default());
    }
}
