//! What the decoder reads, from the other side: the bytes as PostgreSQL would send them.

use super::{Datum, EPOCH, Message, Tuple};

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    fn u16(&mut self, value: usize) -> &mut Self {
        let value = u16::try_from(value).expect("a test's tuple is small");
        self.0.extend(value.to_be_bytes());
        self
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn time(&mut self, micros: u64) -> &mut Self {
        self.u64((micros.cast_signed() - EPOCH).cast_unsigned())
    }
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend(text.as_bytes());
        self.u8(0)
    }
    fn sized(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("a test's value is small"));
        self.0.extend(bytes);
        self
    }
    fn tuple(&mut self, tuple: &Tuple) -> &mut Self {
        self.u16(tuple.len());
        for datum in tuple {
            match datum {
                Datum::Null => self.u8(b'n'),
                Datum::Unchanged => self.u8(b'u'),
                Datum::Text(text) => self.u8(b't').sized(text.as_bytes()),
            };
        }
        self
    }
}

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let mut out = Writer::default();
    match message {
        Message::Begin {
            commit,
            committed_at,
            xid,
        } => out.u8(b'B').u64(commit.0).time(committed_at.0).u32(xid.0),
        Message::Commit {
            commit,
            end,
            committed_at,
        } => out
            .u8(b'C')
            .u8(0)
            .u64(commit.0)
            .u64(end.0)
            .time(committed_at.0),
        Message::Origin => out.u8(b'O').u64(7).text("subscription"),
        Message::Relation(relation) => {
            out.u8(b'R')
                .u32(relation.oid)
                .text(&relation.name.schema)
                .text(&relation.name.name)
                .u8(u8::try_from(relation.replica_identity).expect("it is a letter"))
                .u16(relation.columns.len());
            for column in &relation.columns {
                out.u8(column.is_identity.into())
                    .text(&column.name)
                    .u32(column.type_oid)
                    .u32(column.type_modifier.cast_unsigned());
            }
            &mut out
        }
        Message::Type => out.u8(b'Y').u32(16_400).text("public").text("mood"),
        Message::Insert { relation, new } => out.u8(b'I').u32(*relation).u8(b'N').tuple(new),
        Message::Update { relation, old, new } => {
            out.u8(b'U').u32(*relation);
            if let Some(old) = old {
                out.u8(b'O').tuple(old);
            }
            out.u8(b'N').tuple(new)
        }
        Message::Delete { relation, old } => out.u8(b'D').u32(*relation).u8(b'O').tuple(old),
        Message::Truncate { relations } => {
            let count = u32::try_from(relations.len()).expect("few");
            out.u8(b'T').u32(count).u8(0);
            for relation in relations {
                out.u32(*relation);
            }
            &mut out
        }
        Message::Logical {
            is_transactional,
            at,
            prefix,
            content,
        } => out
            .u8(b'M')
            .u8((*is_transactional).into())
            .u64(at.0)
            .text(prefix)
            .sized(content),
    };
    out.0
}
