//! The replication stream: what comes in it, and what is sent back.
//!
//! With protocol version 1 the server sends each transaction as a whole, after its commit and in the
//! order of the commits; while one runs it keeps the changes itself, on disk beyond
//! `logical_decoding_work_mem`
//! (<https://www.postgresql.org/docs/current/protocol-logical-replication.html>). Version 2 would
//! stream a running transaction, rolled back ones too, for which we'd need a place to keep them: the
//! server has that place already.
//!
//! A second each the server is told how far everything has been captured, and asked where it is. Its
//! answer is a keepalive with the position up to which it has sent everything; it sends one too,
//! unasked, whenever it has nothing more to send and we haven't confirmed all of it. That is how an
//! idle database's slot moves on, how a position that was read is known to be passed, and how a
//! server that went silent is noticed.

use super::connection::{Connection, Received};
use super::endpoint::Endpoint;
use super::error::{CaptureError, SILENCE};
use super::preflight::literal;
use super::refusal::Refusal;
use crate::Lsn;
use crate::catalog::quoted;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::CopyData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What comes in the stream.
#[derive(Debug)]
pub(super) enum Frame {
    /// A message of the plugin.
    Data(Bytes),
    /// Everything up to here has been sent.
    Keepalive {
        /// Up to where.
        at: Lsn,
        /// Whether the server waits for a status.
        wants_status: bool,
    },
}

/// A connection on which the stream flows.
pub(super) struct Stream {
    connection: Connection,
    endpoint: Endpoint,
    slot: String,
    publication: String,
    heard_at: Instant,
}

impl Stream {
    /// Asks for the stream of a slot.
    pub(super) async fn start(
        mut connection: Connection,
        endpoint: Endpoint,
        slot: &str,
        publication: &str,
        after: Lsn,
    ) -> Result<Self, CaptureError> {
        connection
            .command(&command(slot, publication, after))
            .await?;
        loop {
            match connection.receive().await? {
                Received::CopyBoth => break,
                Received::Message(Message::ErrorResponse(body)) => {
                    return Err(Refusal::of(&body).into_start_error(slot, &endpoint));
                }
                Received::Message(_) => {}
            }
        }
        Ok(Self {
            connection,
            endpoint,
            slot: slot.to_owned(),
            publication: publication.to_owned(),
            heard_at: Instant::now(),
        })
    }

    /// What comes next. Nothing is lost when this is given up before it is done.
    pub(super) async fn frame(&mut self) -> Result<Frame, CaptureError> {
        loop {
            let received = self.connection.receive().await?;
            self.heard_at = Instant::now();
            match received {
                Received::Message(Message::CopyData(body)) => return frame(body.into_bytes()),
                Received::Message(Message::ErrorResponse(body)) => {
                    return Err(self.ended(Refusal::of(&body)));
                }
                Received::Message(Message::NoticeResponse(body)) => {
                    if let Some(refusal) = Refusal::of_notice(&body) {
                        return Err(self.ended(refusal));
                    }
                }
                // How it ends the stream when it shuts down in peace.
                Received::Message(Message::CopyDone | Message::CommandComplete(_)) => {
                    return Err(CaptureError::ShuttingDown {
                        reason: "it ended the stream".to_owned(),
                    });
                }
                // Settings that were reloaded.
                Received::Message(_) | Received::CopyBoth => {}
            }
        }
    }

    /// Says how far everything has been captured, and asks where the server is.
    pub(super) async fn status(&mut self, confirmed: Lsn) -> Result<(), CaptureError> {
        let bytes = status(confirmed);
        // A few bytes each second fill no buffer unless nobody reads them at the other end.
        match tokio::time::timeout(SILENCE, self.connection.send(&bytes)).await {
            Ok(sent) => sent,
            Err(_) => Err(self.silent()),
        }
    }

    /// Refuses to go on when nothing was heard for too long.
    pub(super) fn is_heard(&self) -> Result<(), CaptureError> {
        if self.heard_at.elapsed() > SILENCE {
            return Err(self.silent());
        }
        Ok(())
    }

    /// While we don't read, it isn't the server that is silent.
    pub(super) fn reads_again(&mut self) {
        self.heard_at = Instant::now();
    }

    fn ended(&self, refusal: Refusal) -> CaptureError {
        refusal.into_stream_error(&self.slot, &self.publication, &self.endpoint)
    }

    fn silent(&self) -> CaptureError {
        CaptureError::Silent {
            place: self.connection.place().to_owned(),
            seconds: SILENCE.as_secs(),
        }
    }
}

fn command(slot: &str, publication: &str, after: Lsn) -> String {
    format!(
        "START_REPLICATION SLOT {} LOGICAL {after} \
         (proto_version '1', publication_names {}, messages 'true')",
        quoted(slot),
        literal(&quoted(publication)),
    )
}

pub(super) fn frame(mut body: Bytes) -> Result<Frame, CaptureError> {
    // Where the record starts, where the WAL ends, when it was sent.
    const DATA_HEADER: usize = 8 + 8 + 8;
    const KEEPALIVE: usize = 8 + 8 + 1;
    let kind = body.first().copied();
    match kind {
        Some(b'w') if body.len() > 1 + DATA_HEADER => {
            body.advance(1 + DATA_HEADER);
            Ok(Frame::Data(body))
        }
        Some(b'k') if body.len() == 1 + KEEPALIVE => {
            body.advance(1);
            let at = Lsn(body.get_u64());
            body.advance(8);
            Ok(Frame::Keepalive {
                at,
                wants_status: body.get_u8() == 1,
            })
        }
        _ => Err(CaptureError::Protocol {
            reason: format!(
                "the stream has {} bytes that begin with {kind:?}",
                body.len()
            ),
        }),
    }
}

/// Written, flushed and applied are one: what is captured is in the log, on disk. A reply is asked
/// for.
fn status(confirmed: Lsn) -> BytesMut {
    let mut body = BytesMut::with_capacity(34);
    body.put_u8(b'r');
    for _ in 0..3 {
        body.put_u64(confirmed.0);
    }
    body.put_i64(micros_since_2000());
    body.put_u8(1);
    let mut out = BytesMut::with_capacity(39);
    CopyData::new(body.freeze())
        .expect("34 bytes are not too many")
        .write(&mut out);
    out
}

fn micros_since_2000() -> i64 {
    const EPOCH: Duration = Duration::from_secs(946_684_800);
    let now = SystemTime::now().duration_since(UNIX_EPOCH + EPOCH);
    now.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_both_grammars() {
        assert_eq!(
            command("s", "it's \"so\"", Lsn(0x16_B374_D848)),
            "START_REPLICATION SLOT \"s\" LOGICAL 16/B374D848 (proto_version '1', \
             publication_names '\"it''s \"\"so\"\"\"', messages 'true')"
        );
    }

    #[test]
    fn a_status_says_the_position_three_times_and_asks_for_a_reply() {
        let bytes = status(Lsn(0x0102));
        assert_eq!(&bytes[..6], b"d\0\0\0\x26r");
        for at in [6, 14, 22] {
            assert_eq!(&bytes[at..at + 8], &[0, 0, 0, 0, 0, 0, 1, 2]);
        }
        assert_eq!((bytes.len(), bytes[38]), (39, 1));
    }

    #[test]
    fn frames_are_read_and_nothing_else_is() {
        let mut data = vec![b'w'];
        data.extend([0; 24]);
        assert!(frame(data.clone().into()).is_err(), "without a message");
        data.extend(b"Bxyz");
        assert!(
            matches!(frame(data.into()), Ok(Frame::Data(message)) if message[..] == b"Bxyz"[..])
        );
        let mut keepalive = vec![b'k'];
        keepalive.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        keepalive.extend([0; 8]);
        for cut in 0..keepalive.len() {
            assert!(frame(Bytes::copy_from_slice(&keepalive[..cut])).is_err());
        }
        keepalive.push(1);
        assert!(matches!(
            frame(keepalive.into()),
            Ok(Frame::Keepalive {
                at: Lsn(0x0102),
                wants_status: true
            })
        ));
        assert!(frame(Bytes::from_static(b"x")).is_err());
    }
}
