//! What is wrong with a topology, and how a person is told.
//!
//! A fault renders as two lines: where and why, then what to do. All faults of a file are kept,
//! in the order of the file.

use std::fmt;
use std::path::PathBuf;

/// A place in the file, both counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset` in `text`; one past the end for anything beyond it.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` for a topology that did not come from a file.
    pub position: Option<Position>,
    /// What is wrong and why.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// A topology that cannot be used: everything that is wrong with it.
///
/// Displays as `error: FILE:LINE:COLUMN: REASON` and an indented `hint:` line for each fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Rendered(self))]
pub struct TopologyError {
    /// The file's name as it was given.
    pub file: String,
    /// Every fault, in the order of the file; never empty.
    pub faults: Vec<Fault>,
}

struct Rendered<'a>(&'a TopologyError);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "error: {}", self.0.file)?;
            if let Some(Position { line, column }) = fault.position {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}\n  hint: {}", fault.reason, fault.hint)?;
        }
        Ok(())
    }
}

/// Why [`crate::load`] gave no topology.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error(
        "error: {file}: cannot read the topology: {source}\n  hint: `meridian init` writes a commented file to start from",
        file = .file.display()
    )]
    Read {
        /// The file's path as it was given.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The file was read and is wrong.
    #[error(transparent)]
    Invalid(#[from] TopologyError),
}

/// Collects faults while a document is read.
pub(crate) struct Faults<'t> {
    text: &'t str,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        Position::of(self.text, offset)
    }

    /// Records a fault at the byte `offset`.
    pub(crate) fn report(
        &mut self,
        offset: usize,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Fault {
            position: Some(self.position(offset)),
            reason: reason.into(),
            hint: hint.into(),
        });
    }

    /// `Ok` if nothing was found; otherwise everything, in the order of the file.
    pub(crate) fn finish(mut self, file: &str) -> Result<(), TopologyError> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|fault| fault.position);
        Err(TopologyError {
            file: file.to_owned(),
            faults: self.found,
        })
    }
}
