//! What the fuzz targets reach of capture beyond its public face.

use super::assemble::{Assembler, Settings};
use super::pgoutput::{Message, encode::encode};
use super::stream::{Frame, frame};
use super::{CapturedTransaction, Datum, Event, Relation, RelationColumn};
use crate::catalog::TableName;
use crate::tag::{self, Tag, TagKey};
use crate::{Lsn, Xid};
use bytes::Bytes;
use meridian_model::{Micros, Position};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Little, so that a small input is put aside in a file too.
const HELD_BYTES_MAX: usize = 1_000;

/// The stream of a server, of which each frame stands behind its length in two bytes. Until something
/// is wrong with it, positions go forward, and what was captured can be read.
///
/// # Panics
/// When they go back.
pub fn stream(mut bytes: &[u8]) {
    let mut assembler = Assembler::new(Settings {
        after: Lsn(100),
        from: Lsn(100),
        key: TagKey::of([7; 32]),
        spool_directory: std::env::temp_dir(),
        held_bytes_max: HELD_BYTES_MAX,
        forged: Arc::new(AtomicU64::new(0)),
    });
    let mut told = Lsn(100);
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (body, rest) = rest.split_at(length);
        bytes = rest;
        let event = match frame(Bytes::copy_from_slice(body)) {
            Ok(Frame::Data(message)) => assembler.message(message),
            Ok(Frame::Keepalive { at, .. }) => Ok(assembler.passed(at)),
            Err(error) => Err(error),
        };
        let position = match event {
            Ok(None) => continue,
            Ok(Some(Event::Passed(position))) => position,
            Ok(Some(Event::Transaction(transaction))) => {
                read(&transaction);
                transaction.end
            }
            Err(error) => {
                let _ = format!("{error:#}");
                return;
            }
        };
        assert!(position > told, "{position} after {told}");
        told = position;
    }
}

fn read(transaction: &CapturedTransaction) {
    let mut count = 0;
    for chunk in transaction.changes.chunks() {
        match chunk {
            Ok(chunk) => count += chunk.len(),
            // Of a file it shows when it is read.
            Err(_) => return,
        }
    }
    assert_eq!(count, transaction.changes.len());
}

/// Streams as a server sends them.
#[must_use]
pub fn streams() -> Vec<Vec<u8>> {
    let text = |text: &str| Datum::Text(text.to_owned());
    let rows = |xid: u32, rows: u32| {
        let mut messages = vec![begin(xid), described(), Message::Type];
        messages.extend((0..rows).map(|id| Message::Insert {
            relation: 7,
            new: vec![text(&id.to_string()), Datum::Null],
        }));
        messages.push(commit(xid));
        messages
    };
    let mut changes = rows(200, 2);
    changes.extend([
        begin(300),
        Message::Origin,
        Message::Update {
            relation: 7,
            old: Some(vec![text("1"), text("large")]),
            new: vec![text("2"), Datum::Unchanged],
        },
        Message::Delete {
            relation: 7,
            old: vec![text("2"), Datum::Null],
        },
        Message::Truncate { relations: vec![7] },
        commit(300),
    ]);
    let tag = Tag {
        position: Position(9),
        seen: [].into_iter().collect(),
    };
    let content = tag::seal(&TagKey::of([7; 32]), &tag).in_transaction(Xid(200));
    let tagged = vec![begin(200), logical(true, content), commit(200)];
    let heartbeat = vec![logical(false, Vec::new())];
    [changes, rows(200, 40), tagged, heartbeat]
        .iter()
        .map(|messages| messages.iter().flat_map(framed).collect())
        .collect()
}

fn begin(xid: u32) -> Message {
    Message::Begin {
        commit: Lsn(xid.into()),
        committed_at: Micros(1_800_000_000_000_000),
        xid: Xid(xid),
    }
}

fn commit(xid: u32) -> Message {
    Message::Commit {
        commit: Lsn(xid.into()),
        end: Lsn(u64::from(xid) + 50),
        committed_at: Micros(1_800_000_000_000_000),
    }
}

fn described() -> Message {
    let column = |name: &str, is_identity| RelationColumn {
        name: name.to_owned(),
        is_identity,
        type_oid: 25,
        type_modifier: -1,
    };
    Message::Relation(Relation {
        oid: 7,
        name: TableName {
            schema: "public".to_owned(),
            name: "t".to_owned(),
        },
        replica_identity: 'f',
        columns: vec![column("id", true), column("body", false)],
    })
}

fn logical(is_transactional: bool, content: Vec<u8>) -> Message {
    Message::Logical {
        is_transactional,
        at: Lsn(150),
        prefix: tag::PREFIX.to_owned(),
        content,
    }
}

fn framed(message: &Message) -> Vec<u8> {
    let mut body = vec![b'w'];
    body.extend([0; 24]);
    body.extend(encode(message));
    let length = u16::try_from(body.len()).expect("a seed's message is small");
    [length.to_be_bytes().to_vec(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sends_is_read_to_its_end() {
        for seed in streams() {
            stream(&seed);
        }
    }
}
