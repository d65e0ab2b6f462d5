//! The messages of PostgreSQL's `pgoutput` plugin, protocol version 1.
//!
//! By <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>. The decoder
//! is total: whatever the bytes, it gives a message or says what is wrong with them, and it
//! allocates no more than a small multiple of what it was given. Messages of later protocol versions
//! (streamed and two-phase transactions) are errors, since version 1 was asked for.

use super::{Datum, Relation, RelationColumn, Tuple};
use crate::catalog::TableName;
use crate::{Lsn, Xid};
use meridian_model::Micros;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The changes of a transaction follow.
    Begin {
        /// Where its commit record starts.
        commit: Lsn,
        /// The server's clock at its commit.
        committed_at: Micros,
        /// Its id.
        xid: Xid,
    },
    /// The transaction's changes are complete.
    Commit {
        /// Where its commit record starts.
        commit: Lsn,
        /// Where the WAL goes on after that.
        end: Lsn,
        /// The server's clock at its commit.
        committed_at: Micros,
    },
    /// The transaction came to the server by a subscription; which one is of no interest here.
    Origin,
    /// How a relation looks from here on.
    Relation(Relation),
    /// The name of a type that isn't built in; columns say types by id.
    Type,
    /// A row came.
    Insert {
        /// The relation's id.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A row changed.
    Update {
        /// The relation's id.
        relation: u32,
        /// The row before, or the columns of its replica identity.
        old: Option<Tuple>,
        /// The row now.
        new: Tuple,
    },
    /// A row went.
    Delete {
        /// The relation's id.
        relation: u32,
        /// The row before, or the columns of its replica identity.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// The relations' ids.
        relations: Vec<u32>,
    },
    /// What somebody emitted with `pg_logical_emit_message`.
    Logical {
        /// Whether it belongs to the transaction; else it stands on its own.
        is_transactional: bool,
        /// Where its record starts.
        at: Lsn,
        /// Whom it is for.
        prefix: String,
        /// What it says.
        content: Vec<u8>,
    },
}

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are none.
    #[error("a message of pgoutput is empty")]
    Empty,
    /// The kind isn't known, or was not asked for.
    #[error("pgoutput sent a message of kind {0:?}, which protocol version 1 doesn't have")]
    Kind(char),
    /// It ends too early.
    #[error("a pgoutput message of kind {kind:?} ends within its {field}")]
    Short {
        /// The message's kind.
        kind: char,
        /// What was to be read.
        field: &'static str,
    },
    /// It goes on after its end.
    #[error("a pgoutput message of kind {kind:?} has {bytes} bytes too many")]
    Long {
        /// The message's kind.
        kind: char,
        /// How many.
        bytes: usize,
    },
    /// A text isn't UTF-8.
    #[error("the {field} in a pgoutput message of kind {kind:?} is not UTF-8")]
    Text {
        /// The message's kind.
        kind: char,
        /// What was to be read.
        field: &'static str,
    },
    /// A marker has no meaning there.
    #[error("a pgoutput message of kind {kind:?} has {value:#04x} as its {field}")]
    Marker {
        /// The message's kind.
        kind: char,
        /// What was to be read.
        field: &'static str,
        /// What stands there.
        value: u8,
    },
}

/// Reads one message.
///
/// # Errors
/// [`DecodeError`] when it is none.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let (kind, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    let kind = char::from(*kind);
    let mut reader = Reader { kind, rest };
    let message = match kind {
        'B' => reader.begin()?,
        'C' => reader.commit()?,
        'O' => {
            reader.u64("origin's position")?;
            reader.text("origin")?;
            Message::Origin
        }
        'R' => Message::Relation(reader.relation()?),
        'Y' => {
            reader.u32("type")?;
            reader.text("type's schema")?;
            reader.text("type's name")?;
            Message::Type
        }
        'I' => reader.insert()?,
        'U' => reader.update()?,
        'D' => reader.delete()?,
        'T' => reader.truncate()?,
        'M' => reader.logical()?,
        other => return Err(DecodeError::Kind(other)),
    };
    match reader.rest.len() {
        0 => Ok(message),
        bytes => Err(DecodeError::Long { kind, bytes }),
    }
}

struct Reader<'bytes> {
    kind: char,
    rest: &'bytes [u8],
}

impl<'bytes> Reader<'bytes> {
    fn begin(&mut self) -> Result<Message, DecodeError> {
        Ok(Message::Begin {
            commit: self.lsn("commit position")?,
            committed_at: self.time()?,
            xid: Xid(self.u32("transaction id")?),
        })
    }

    fn commit(&mut self) -> Result<Message, DecodeError> {
        // Flags; none is defined.
        self.u8("flags")?;
        Ok(Message::Commit {
            commit: self.lsn("commit position")?,
            end: self.lsn("end position")?,
            committed_at: self.time()?,
        })
    }

    fn relation(&mut self) -> Result<Relation, DecodeError> {
        let oid = self.u32("relation")?;
        let schema = self.text("schema")?;
        let name = self.text("relation's name")?;
        let replica_identity = char::from(self.u8("replica identity")?);
        let count = self.u16("number of columns")?;
        let mut columns = Vec::with_capacity(usize::from(count).min(self.rest.len()));
        for _ in 0..count {
            columns.push(RelationColumn {
                is_identity: self.u8("column's flags")? & 1 == 1,
                name: self.text("column's name")?,
                type_oid: self.u32("column's type")?,
                type_modifier: self.u32("column's type modifier")?.cast_signed(),
            });
        }
        Ok(Relation {
            oid,
            // What is in pg_catalog comes with an empty schema.
            name: TableName {
                schema: if schema.is_empty() {
                    "pg_catalog".to_owned()
                } else {
                    schema
                },
                name,
            },
            replica_identity,
            columns,
        })
    }

    fn insert(&mut self) -> Result<Message, DecodeError> {
        let relation = self.u32("relation")?;
        self.marker(b"N")?;
        Ok(Message::Insert {
            relation,
            new: self.tuple()?,
        })
    }

    fn update(&mut self) -> Result<Message, DecodeError> {
        let relation = self.u32("relation")?;
        let old = match self.marker(b"KON")? {
            b'N' => None,
            _ => {
                let old = self.tuple()?;
                self.marker(b"N")?;
                Some(old)
            }
        };
        Ok(Message::Update {
            relation,
            old,
            new: self.tuple()?,
        })
    }

    fn delete(&mut self) -> Result<Message, DecodeError> {
        let relation = self.u32("relation")?;
        self.marker(b"KO")?;
        Ok(Message::Delete {
            relation,
            old: self.tuple()?,
        })
    }

    fn truncate(&mut self) -> Result<Message, DecodeError> {
        let count = self.u32("number of relations")?;
        // CASCADE and RESTART IDENTITY: the relations that it reached are in the list.
        self.u8("options")?;
        let mut relations =
            Vec::with_capacity((self.rest.len() / 4).min(usize::try_from(count).unwrap_or(0)));
        for _ in 0..count {
            relations.push(self.u32("relation")?);
        }
        Ok(Message::Truncate { relations })
    }

    fn logical(&mut self) -> Result<Message, DecodeError> {
        let is_transactional = self.u8("flags")? & 1 == 1;
        let at = self.lsn("position")?;
        let prefix = self.text("prefix")?;
        let length = self.u32("length")?;
        Ok(Message::Logical {
            is_transactional,
            at,
            prefix,
            content: self.bytes(length, "content")?.to_vec(),
        })
    }

    fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        let count = self.u16("number of columns")?;
        let mut tuple = Vec::with_capacity(usize::from(count).min(self.rest.len()));
        for _ in 0..count {
            tuple.push(self.datum()?);
        }
        Ok(tuple)
    }

    fn datum(&mut self) -> Result<Datum, DecodeError> {
        match self.u8("value's kind")? {
            b'n' => Ok(Datum::Null),
            b'u' => Ok(Datum::Unchanged),
            b't' => {
                let length = self.u32("value's length")?;
                let bytes = self.bytes(length, "value")?;
                self.utf8(bytes, "value").map(Datum::Text)
            }
            value => Err(DecodeError::Marker {
                kind: self.kind,
                field: "value's kind",
                value,
            }),
        }
    }

    fn marker(&mut self, known: &[u8]) -> Result<u8, DecodeError> {
        let field = "tuple's kind";
        let value = self.u8(field)?;
        if known.contains(&value) {
            return Ok(value);
        }
        Err(DecodeError::Marker {
            kind: self.kind,
            field,
            value,
        })
    }

    fn lsn(&mut self, field: &'static str) -> Result<Lsn, DecodeError> {
        self.u64(field).map(Lsn)
    }

    fn time(&mut self) -> Result<Micros, DecodeError> {
        self.u64("commit time")
            .map(|time| since_1970(time.cast_signed()))
    }

    /// A text that ends with a zero byte.
    fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(self.short(field))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        self.utf8(text, field)
    }

    fn utf8(&self, bytes: &[u8], field: &'static str) -> Result<String, DecodeError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::Text {
                kind: self.kind,
                field,
            }),
        }
    }

    fn bytes(&mut self, length: u32, field: &'static str) -> Result<&'bytes [u8], DecodeError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let (bytes, rest) = taken.ok_or(self.short(field))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(self.short(field))?;
        self.rest = rest;
        Ok(*array)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(|[byte]| byte)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    fn short(&self, field: &'static str) -> DecodeError {
        DecodeError::Short {
            kind: self.kind,
            field,
        }
    }
}

/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000_000;

/// A time of the server, in microseconds since 2000. What lies before 1970 becomes that.
fn since_1970(micros: i64) -> Micros {
    Micros(u64::try_from(micros.saturating_add(EPOCH)).unwrap_or(0))
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod encode;

#[cfg(test)]
mod tests;
