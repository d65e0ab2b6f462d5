//! What the store's journal is before the store opens it: whole, torn at its end, or damaged.
//!
//! fjall takes whatever it can't read for a torn tail, and cuts the file there. With a whole batch
//! behind it that is damage: a length that changed hides all that was written since. And it goes on
//! with the next file, so that a cut in one that is not the last leaves commits out of the middle.
//! So the files are looked through first, by the same rules as the log's (`crates/log/src/recover.rs`):
//!
//! - what can't be read at the very end, with no whole batch behind it, is a torn tail, and goes;
//! - what can't be read before a whole batch is damage. (A power failure leaves that too, since
//!   commits aren't synced and the kernel writes pages in any order.) The journal is cut there, in all
//!   of its files, so that the store is what it was after some commit. What is cut off is kept
//!   beside it, under `.damaged`. The log knows what followed. So that somebody hears of it whatever
//!   happens meanwhile, a note of it is durable before anything is taken away, and stays until it is told.
//!
//! The format is fjall's 3.1 (`journal::entry`), little-endian:
//!
//! ```text
//! batch  [1][items: 4][sequence number: 8] item… [3][xxh3 of the items: 8]["FJL" 3]
//! item   [2][type: 1][compression: 1][keyspace: 8][key length: 2][value length: 4][stored length: 4]
//!        [key][stored value]
//! clear  [4][keyspace: 8]
//! ```
//!
//! Only the items are under the checksum. That batches' numbers rise is checked instead.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const NOTE: &str = "journal.damaged";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
const START_BYTES: usize = 13;
const ITEM_HEAD_BYTES: usize = 21;
const CLEAR_BYTES: usize = 9;

/// Damage in the store's journal, which has been cut there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalDamage {
    /// The file that was cut.
    pub file: PathBuf,
    /// Where: everything before this byte stands.
    pub offset: u64,
    /// Where what was cut off is kept: the file as it was, and those after it.
    pub kept: Vec<PathBuf>,
}

/// Looks through the journal of the store in `path`, cuts off what a crash left unfinished, and cuts
/// it where it is damaged. Nobody has the store open then. What has been found damaged, now or before, is
/// returned until it is [`told`].
pub(crate) fn settle(path: &Path) -> io::Result<Option<JournalDamage>> {
    let files = files(path)?;
    if let Some(broken) = first_broken(&files)? {
        if broken.is_damage {
            set_aside(path, &files[broken.index..], broken.offset)?;
        }
        truncate(&files[broken.index], broken.offset)?;
    }
    noted(path)
}

/// Somebody has been told of the damage in the store in `path`.
pub(crate) fn told(path: &Path) -> io::Result<()> {
    match fs::remove_file(path.join(NOTE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(path)?.sync_all(),
    }
}

/// The note of damage that nobody was told of yet: where it was cut, then the names of the file and of
/// what is kept, a line each. One that was damaged itself still says that there was some.
fn noted(path: &Path) -> io::Result<Option<JournalDamage>> {
    let note = path.join(NOTE);
    let bytes = match fs::read(&note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let offset = lines.next().and_then(|line| line.parse().ok());
    let mut names = lines.map(|name| path.join(name));
    Ok(Some(JournalDamage {
        offset: offset.unwrap_or_default(),
        file: names.next().unwrap_or(note),
        kept: names.collect(),
    }))
}

/// The note is there as a whole or not at all.
fn note(path: &Path, file: &Path, offset: u64, kept: &[PathBuf]) -> io::Result<()> {
    let mut text = format!("{offset}\n");
    for named in std::iter::once(file).chain(kept.iter().map(PathBuf::as_path)) {
        let name = named.file_name().unwrap_or_default();
        text += &format!("{}\n", name.to_string_lossy());
    }
    let (written, note) = (path.join(format!("{NOTE}.new")), path.join(NOTE));
    fs::write(&written, text)?;
    File::open(&written)?.sync_all()?;
    fs::rename(written, note)?;
    File::open(path)?.sync_all()
}

/// Where the journal can't be read on.
struct Broken {
    index: usize,
    offset: u64,
    is_damage: bool,
}

fn first_broken(files: &[PathBuf]) -> io::Result<Option<Broken>> {
    let mut after = None;
    for (index, file) in files.iter().enumerate() {
        let read = read(&fs::read(file)?, &mut after);
        let is_damage = match read.end {
            End::Blank => continue,
            // A file is begun only once the one before it is durable.
            End::Torn => index + 1 < files.len(),
            End::Damaged => true,
        };
        return Ok(Some(Broken {
            index,
            offset: read.whole as u64,
            is_damage,
        }));
    }
    Ok(None)
}

/// The journal's files in order.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        let is_journal = file.extension().is_some_and(|it| it == "jnl");
        if let Some(number) = number.filter(|_| is_journal) {
            files.push((number, file));
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// Keeps a copy of the first of these files, notes that it is to be cut at `offset`, and then takes the
/// others away, the last one first. A crash in between leaves damage, or with all of them away what passes
/// for a torn tail: the same is cut then.
fn set_aside(path: &Path, files: &[PathBuf], offset: u64) -> io::Result<()> {
    let kept: Vec<PathBuf> = files.iter().map(|file| free_name(file)).collect();
    if let (Some(first), Some(copy)) = (files.first(), kept.first()) {
        fs::copy(first, copy)?;
        File::open(copy)?.sync_all()?;
        note(path, first, offset, &kept)?;
    }
    for (file, aside) in files.iter().zip(&kept).skip(1).rev() {
        fs::rename(file, aside)?;
    }
    File::open(path)?.sync_all()
}

/// A name beside the file that nothing has that was kept before.
fn free_name(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".damaged");
    let mut free = PathBuf::from(&name);
    let mut number = 1;
    while free.exists() {
        number += 1;
        let mut next = name.clone();
        next.push(format!(".{number}"));
        free = PathBuf::from(next);
    }
    free
}

fn truncate(file: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(file)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// How far a file can be read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    /// The bytes of all whole batches from its beginning on.
    whole: usize,
    end: End,
}

/// What follows the last batch that can be read.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nothing, or what was never written.
    Blank,
    /// Something, and no whole batch behind it.
    Torn,
    /// Something, and a whole batch behind it.
    Damaged,
}

/// Reads a file's batches, whose numbers rise above `after`, which moves along.
fn read(bytes: &[u8], after: &mut Option<u64>) -> Read {
    let (mut whole, mut before) = (0, 0);
    while let Some(batch) = batch(&bytes[whole..]) {
        if after.is_some_and(|after| batch.number <= after) {
            // Either number may be the wrong one, so neither batch is believed.
            return Read {
                whole: before,
                end: End::Damaged,
            };
        }
        *after = Some(batch.number);
        (before, whole) = (whole, whole + batch.bytes);
    }
    let end = match written(&bytes[whole..]) {
        [] => End::Blank,
        rest if has_batch(rest) => End::Damaged,
        _ => End::Torn,
    };
    Read { whole, end }
}

/// Without the zeros at the end, with which a file is made.
fn written(mut bytes: &[u8]) -> &[u8] {
    while let Some(before) = bytes.strip_suffix(&[0; 4096]) {
        bytes = before;
    }
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    &bytes[..bytes.len() - zeros]
}

/// Whether a whole batch begins anywhere in this.
fn has_batch(bytes: &[u8]) -> bool {
    let trailers = bytes.windows(TRAILER.len()).rposition(|it| it == TRAILER);
    let Some(last) = trailers else { return false };
    let mut at = 0;
    while let Some(next) = bytes[at..last].iter().position(|byte| *byte == START) {
        if batch(&bytes[at + next..]).is_some() {
            return true;
        }
        at += next + 1;
    }
    false
}

struct Batch {
    number: u64,
    bytes: usize,
}

/// The batch at the beginning of this, if it is whole.
fn batch(bytes: &[u8]) -> Option<Batch> {
    if *bytes.first()? != START {
        return None;
    }
    let items = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
    let number = u64::from_le_bytes(*bytes.get(5..)?.first_chunk()?);
    let mut at = START_BYTES;
    for _ in 0..items {
        at = at.checked_add(item(bytes.get(at..)?)?)?;
    }
    let end = bytes.get(at..)?;
    let checksum = u64::from_le_bytes(*end.get(1..)?.first_chunk()?);
    let is_end = *end.first()? == END && end.get(9..13)? == TRAILER;
    let is_whole = is_end && xxh3_64(bytes.get(START_BYTES..at)?) == checksum;
    is_whole.then_some(Batch {
        number,
        bytes: at + 9 + TRAILER.len(),
    })
}

/// How long the item at the beginning of this is.
fn item(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        CLEAR => Some(CLEAR_BYTES),
        ITEM => {
            let key = u16::from_le_bytes(*bytes.get(11..)?.first_chunk()?);
            let stored = u32::from_le_bytes(*bytes.get(17..)?.first_chunk()?);
            let value = usize::try_from(stored).ok()?;
            ITEM_HEAD_BYTES
                .checked_add(usize::from(key))?
                .checked_add(value)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_before_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let files = ["0.jnl", "1.jnl"].map(|name| path.join(name));
        for content in ["first", "second"] {
            for file in &files {
                fs::write(file, content).unwrap();
            }
            set_aside(path, &files, 0).unwrap();
            for file in noted(path).unwrap().unwrap().kept {
                assert_eq!(fs::read_to_string(file).unwrap(), content);
            }
            assert!(files[0].exists() && !files[1].exists());
        }
        let first = path.join("1.jnl.damaged");
        assert_eq!(fs::read_to_string(first).unwrap(), "first");
    }

    #[test]
    fn damage_is_told_whenever_the_power_failed_while_it_was_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let files = ["0.jnl", "1.jnl"].map(|name| path.join(name));
        for file in &files {
            fs::write(file, "not a batch").unwrap();
        }
        // The power fails before the first file is cut, which looks torn without the second.
        set_aside(path, &files, 0).unwrap();
        let damage = settle(path).unwrap();
        let kept = ["0.jnl.damaged", "1.jnl.damaged"].map(|name| path.join(name));
        let expected = JournalDamage {
            file: files[0].clone(),
            offset: 0,
            kept: kept.to_vec(),
        };
        assert_eq!(damage.as_ref(), Some(&expected));
        assert_eq!(fs::metadata(&files[0]).unwrap().len(), 0);
        assert_eq!(settle(path).unwrap(), Some(expected), "until it is told");
        told(path).unwrap();
        told(path).unwrap();
        assert_eq!(settle(path).unwrap(), None);
    }
}
