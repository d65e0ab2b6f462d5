//! What a backup's directory holds, in `manifest.json`.

use crate::instant::{format_time, parse_time};
use meridian_model::{Marks, Micros};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) const FORMAT: u32 = 1;

/// The files of a backup, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of manifest and files.
    pub format: u32,
    /// The dataset.
    pub dataset: String,
    /// The files.
    pub files: Vec<FileRecord>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// The tables as of one commit; a chain begins with one.
    Snapshot,
    /// The log's entries after the file before it.
    Entries,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    /// The region that it was taken from.
    pub region: String,
    /// The region's incarnation, in whose log the positions are.
    pub origin: String,
    /// The log position after its content.
    pub position: u64,
    /// Where every origin's stream stands at that position.
    pub marks: Vec<StreamMark>,
    /// From when on the tables are known: for a snapshot the time of its latest write, for entries
    /// that of the file before them.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub from: Micros,
    /// Up to when: the region's clock when the file was taken, or the time of the latest entry where
    /// that is ahead of it; where more entries followed, just before the region's own last one.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub until: Micros,
    /// How many records or entries it has.
    pub count: u64,
    /// Its size.
    pub bytes: u64,
    /// xxh3 (128 bits, hexadecimal) of the whole file.
    pub checksum: String,
}

/// Where one origin's stream stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// The origin.
    pub origin: String,
    /// Its last entry's sequence.
    pub sequence: u64,
    /// Its last entry's clock reading, as a string: JSON's numbers don't hold it.
    pub hlc: String,
    /// The running hash of the stream.
    pub history: String,
}

/// A span of time that can be restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The first moment.
    pub from: Micros,
    /// The last.
    pub until: Micros,
}

impl Manifest {
    /// The chains: each a snapshot and the entries after it.
    pub fn chains(&self) -> impl Iterator<Item = &[FileRecord]> {
        self.files
            .chunk_by(|_, next| next.kind == FileKind::Entries)
    }

    /// What each chain covers.
    #[must_use]
    pub fn coverage(&self) -> Vec<Coverage> {
        self.chains().filter_map(coverage).collect()
    }

    /// The latest chain that covers a moment.
    #[must_use]
    pub fn chain_at(&self, at: Micros) -> Option<&[FileRecord]> {
        let covers = |chain: &&[FileRecord]| {
            coverage(chain).is_some_and(|span| span.from <= at && at <= span.until)
        };
        self.chains().filter(covers).last()
    }
}

fn coverage(chain: &[FileRecord]) -> Option<Coverage> {
    let (first, last) = (chain.first()?, chain.last()?);
    (first.kind == FileKind::Snapshot).then_some(Coverage {
        from: first.from,
        until: last.until,
    })
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} to {}",
            format_time(self.from),
            format_time(self.until)
        )
    }
}

pub(crate) fn stream_marks(marks: &Marks) -> Vec<StreamMark> {
    let mark = |(origin, mark): (meridian_model::OriginId, meridian_model::Mark)| StreamMark {
        origin: origin.to_string(),
        sequence: mark.sequence.0,
        hlc: mark.hlc.to_string(),
        history: format!("{:016x}", mark.history.0),
    };
    marks.iter().map(mark).collect()
}

fn write_time<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_time(*at))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_time(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no time")))
}
