//! A log that begins in the middle of the streams: what a region gets that takes over another's
//! tables instead of every entry since the beginning.
//!
//! Its first segment says where every stream stood before its first entry, exactly as a log's
//! does of which everything older has been trimmed; reading, recovery and retention know no
//! difference. The segment gets its name when its header is durable, so a crash in between leaves
//! no log at all, never one that has forgotten where it began.

use crate::recover::Recovered;
use crate::segment::parse_file_name;
use crate::spare::SPARE_NAME;
use crate::{Disk, Log, LogConfig, LogError};
use meridian_model::{Marks, Position};
use std::collections::VecDeque;
use std::io;

impl<D: Disk> Log<D> {
    /// Begins a log whose first entry will be at `position`, where every stream stands at `marks`.
    /// Nobody may rely on anything in `disk`: a log that is there is removed first.
    ///
    /// `position` is not 0 where there are marks, so that tables that stand there notice the log's
    /// absence if it is lost.
    ///
    /// # Errors
    /// When the disk fails. There is no log then, or the one asked for.
    pub fn begin_anew(
        disk: D,
        config: LogConfig,
        position: Position,
        marks: &Marks,
    ) -> Result<Self, LogError> {
        remove_log(&disk)?;
        Self::from_recovered(
            disk,
            config,
            Recovered {
                segments: VecDeque::new(),
                marks: marks.clone(),
                end: position,
            },
        )
    }
}

fn remove_log<D: Disk>(disk: &D) -> Result<(), LogError> {
    let names = disk.list().map_err(|source| LogError::List { source })?;
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| name == SPARE_NAME || parse_file_name(name).is_some())
        .collect();
    // The newest first, so that what a crash leaves is a log's beginning and no gap.
    names.sort_unstable_by(|one, other| other.cmp(one));
    for name in names {
        match disk.remove(&name) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::remove(&name, source));
            }
            _ => {}
        }
    }
    Ok(())
}
