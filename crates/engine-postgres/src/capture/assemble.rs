//! Transactions out of messages. No socket, no clock: messages in, events out.
//!
//! Invariants:
//! - a transaction is an event when its commit has come, never before;
//! - events are in WAL order, and what [`Event::Passed`] says covers every event before it;
//! - what ended at or before the position given at the start is no event (the server begins there
//!   too; that it does so isn't relied upon);
//! - a transaction takes a bounded amount of memory: see [`changes`](super::changes).

use super::changes::{Changes, SpoolWriter, weight};
use super::error::CaptureError;
use super::pgoutput::{self, Message};
use super::relations::Relations;
use super::{CapturedTransaction, Event};
use crate::tag::{self, Tag, TagKey};
use crate::{Lsn, Xid};
use bytes::Bytes;
use meridian_model::Micros;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an assembler goes by.
#[derive(Debug)]
pub(super) struct Settings {
    /// What ended there or before has been captured.
    pub(super) after: Lsn,
    /// A position between records, at or before that: what committed before has been captured.
    pub(super) from: Lsn,
    /// The key of the tags.
    pub(super) key: TagKey,
    /// Where large transactions are put aside.
    pub(super) spool_directory: PathBuf,
    /// How much memory a transaction's changes may take, about.
    pub(super) held_bytes_max: usize,
    /// Counts the messages that look like tags and are none.
    pub(super) forged: Arc<AtomicU64>,
}

/// Makes events of messages.
#[derive(Debug)]
pub(super) struct Assembler {
    settings: Settings,
    relations: Relations,
    open: Option<Open>,
    /// What has been told, or was captured before.
    told: Lsn,
}

/// A transaction whose commit is to come.
#[derive(Debug)]
struct Open {
    xid: Xid,
    committed_at: Micros,
    is_known: bool,
    tag: Option<Tag>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Held {
        messages: Vec<Bytes>,
        weight: usize,
    },
    Spooled {
        writer: Box<SpoolWriter>,
        /// The relations described meanwhile. They are in the file too.
        relations: Vec<Bytes>,
    },
}

impl Assembler {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            told: settings.after,
            settings,
            relations: Relations::default(),
            open: None,
        }
    }

    /// What the server says to have sent everything up to.
    pub(super) fn passed(&mut self, at: Lsn) -> Option<Event> {
        // Within a transaction the position is before its commit: nothing that can't wait for it.
        if self.open.is_some() || at <= self.told {
            return None;
        }
        self.told = at;
        Some(Event::Passed(at))
    }

    /// A message of the plugin.
    pub(super) fn message(&mut self, message: Bytes) -> Result<Option<Event>, CaptureError> {
        match message.first() {
            // Rows are decoded when their transaction is complete.
            Some(b'R' | b'Y' | b'I' | b'U' | b'D' | b'T') => {
                self.change(message)?;
                Ok(None)
            }
            _ => match pgoutput::decode(&message)? {
                Message::Begin {
                    commit,
                    committed_at,
                    xid,
                } => {
                    self.begin(commit, committed_at, xid)?;
                    Ok(None)
                }
                Message::Commit { end, .. } => self.commit(end),
                Message::Logical {
                    is_transactional,
                    at,
                    prefix,
                    content,
                } => Ok(self.logical(is_transactional, at, &prefix, &content)),
                _ => Ok(None),
            },
        }
    }

    fn begin(&mut self, commit: Lsn, committed_at: Micros, xid: Xid) -> Result<(), CaptureError> {
        if self.open.is_some() {
            return Err(protocol("a transaction begins within another"));
        }
        self.open = Some(Open {
            xid,
            committed_at,
            // A commit that starts before a position between records ends there at the latest.
            is_known: commit < self.settings.from,
            tag: None,
            body: Body::Held {
                messages: Vec::new(),
                weight: 0,
            },
        });
        Ok(())
    }

    fn change(&mut self, message: Bytes) -> Result<(), CaptureError> {
        let Some(open) = &mut self.open else {
            // Relations hold beyond the transaction in which they were described.
            return match self.relations.replay(&message)? {
                None => Ok(()),
                Some(_) => Err(protocol("a change outside of a transaction")),
            };
        };
        if open.is_known {
            if message[0] == b'R' {
                self.relations.replay(&message)?;
            }
            return Ok(());
        }
        open.body.push(message, &self.settings, &self.relations)
    }

    fn commit(&mut self, end: Lsn) -> Result<Option<Event>, CaptureError> {
        let open = self
            .open
            .take()
            .ok_or_else(|| protocol("a commit without a transaction"))?;
        let changes = open.body.finish(&mut self.relations)?;
        if open.is_known || end <= self.settings.after {
            return Ok(None);
        }
        if end <= self.told {
            let told = self.told;
            return Err(CaptureError::Repeated { end, told });
        }
        self.told = end;
        // Up to version 14 transactions come that touched nothing of the publication.
        if changes.is_empty() && open.tag.is_none() {
            return Ok(Some(Event::Passed(end)));
        }
        Ok(Some(Event::Transaction(CapturedTransaction {
            end,
            xid: open.xid,
            committed_at: open.committed_at,
            tag: open.tag,
            changes,
        })))
    }

    fn logical(
        &mut self,
        is_transactional: bool,
        at: Lsn,
        prefix: &str,
        content: &[u8],
    ) -> Option<Event> {
        if !is_transactional {
            // A heartbeat, or anybody's: what it stands behind has been told.
            return self.passed(at);
        }
        let open = self.open.as_mut()?;
        if prefix != tag::PREFIX || open.is_known {
            return None;
        }
        match tag::verify(&self.settings.key, open.xid, content) {
            // The first counts: the projection writes one.
            Ok(tag) => {
                open.tag.get_or_insert(tag);
            }
            Err(error) => {
                let forged = self.settings.forged.fetch_add(1, Ordering::Relaxed) + 1;
                // Said rarely: whoever emits one may emit a million.
                if forged.is_power_of_two() {
                    tracing::warn!(
                        xid = open.xid.0,
                        forged,
                        "a message in a transaction looks like a tag of the projection: {error}; the \
                         transaction is taken for a local one"
                    );
                }
            }
        }
        None
    }
}

impl Body {
    fn push(
        &mut self,
        message: Bytes,
        settings: &Settings,
        known: &Relations,
    ) -> Result<(), CaptureError> {
        match self {
            Self::Held {
                messages,
                weight: taken,
            } => {
                *taken += weight(&message);
                messages.push(message);
                if *taken > settings.held_bytes_max {
                    let mut writer =
                        Box::new(SpoolWriter::new(&settings.spool_directory, known.clone())?);
                    let mut relations = Vec::new();
                    for message in messages.drain(..) {
                        spool(&mut writer, &mut relations, &message)?;
                    }
                    *self = Self::Spooled { writer, relations };
                }
            }
            Self::Spooled { writer, relations } => spool(writer, relations, &message)?,
        }
        Ok(())
    }

    /// The changes; `known` learns the relations that were described among them.
    fn finish(self, known: &mut Relations) -> Result<Changes, CaptureError> {
        match self {
            Self::Held { messages, .. } => {
                let mut changes = Vec::with_capacity(messages.len());
                for message in messages {
                    changes.extend(known.replay(&message)?);
                }
                Ok(Changes::Held(changes))
            }
            Self::Spooled { writer, relations } => {
                for message in relations {
                    known.replay(&message)?;
                }
                Ok(Changes::Spooled(Arc::new(writer.finish()?)))
            }
        }
    }
}

fn spool(
    writer: &mut SpoolWriter,
    relations: &mut Vec<Bytes>,
    message: &Bytes,
) -> Result<(), CaptureError> {
    if message[0] == b'R' {
        // A copy: a slice would keep all that was read together with it.
        relations.push(Bytes::copy_from_slice(message));
    }
    Ok(writer.write(message)?)
}

fn protocol(reason: &str) -> CaptureError {
    CaptureError::Protocol {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
