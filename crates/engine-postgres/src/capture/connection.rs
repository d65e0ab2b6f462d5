//! A connection to a server that can become a replication stream.
//!
//! tokio-postgres has no replication mode, so this is a thin client over the same
//! `postgres-protocol` crate, which has the framing and SCRAM. (pgwire-replication 0.5 brings the
//! default features of rustls, with them aws-lc and cmake, and takes no settings for the session.)
//! It knows the start-up, the simple query protocol and CopyBoth, and nothing else:
//! <https://www.postgresql.org/docs/current/protocol-flow.html>.

use super::endpoint::{Endpoint, options};
use super::error::CaptureError;
use super::refusal::Refusal;
use crate::server::{ServerError, Trouble};
use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::fallible_iterator::FallibleIterator;

/// What bytes go over.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection, open for commands.
pub(super) struct Connection {
    transport: Box<dyn Transport>,
    incoming: BytesMut,
    place: String,
}

/// What the server sends.
pub(super) enum Received {
    /// The connection is a stream in both directions now.
    CopyBoth,
    /// Anything else.
    Message(Message),
}

/// A row of a simple query's result, as texts.
pub(super) type Row = Vec<Option<String>>;

/// A value of PostgreSQL is at most 1 GiB, and so is what it sends at once.
const MESSAGE_BYTES_MAX: i32 = 0x4000_0000;

/// So much room a buffer has that is read into,
const READ_BYTES: usize = 1 << 16;
/// until there is less than this left. What was read holds its whole buffer for as long as it is kept:
/// one for each read would be two hundred times what a small transaction takes.
const ROOM_MIN: usize = 1 << 12;

impl Connection {
    /// Opens a connection for logical replication.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, CaptureError> {
        let mut connection = Self {
            transport: transport(endpoint).await?,
            incoming: BytesMut::new(),
            place: endpoint.place(),
        };
        connection.start_up(endpoint).await?;
        Ok(connection)
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    async fn start_up(&mut self, endpoint: &Endpoint) -> Result<(), CaptureError> {
        let mut out = BytesMut::new();
        let parameters = [
            ("user", &*endpoint.target.user),
            ("database", &*endpoint.target.database),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", "meridian capture"),
            ("options", &*options()),
        ];
        frontend::startup_message(parameters, &mut out)
            .map_err(|error| ServerError::new(Trouble::Configuration, error.to_string()))?;
        self.send(&out).await?;
        self.authenticate(endpoint).await?;
        loop {
            match self.receive().await? {
                Received::Message(Message::ReadyForQuery(_)) => return Ok(()),
                Received::Message(Message::ErrorResponse(body)) => {
                    return Err(Refusal::of(&body).into_error("open a session", endpoint));
                }
                // Its settings, and the key for cancelling.
                _ => {}
            }
        }
    }

    /// Sends a command of the simple query protocol, whose answer is [received](Self::receive).
    pub(super) async fn command(&mut self, command: &str) -> Result<(), CaptureError> {
        let mut out = BytesMut::new();
        frontend::query(command, &mut out).map_err(|error| protocol(&error.to_string()))?;
        self.send(&out).await
    }

    /// Runs a command and gives the rows of its answer.
    pub(super) async fn query(
        &mut self,
        command: &str,
    ) -> Result<Result<Vec<Row>, Refusal>, CaptureError> {
        self.command(command).await?;
        let mut rows = Vec::new();
        let mut refusal = None;
        loop {
            let Received::Message(message) = self.receive().await? else {
                return Err(protocol("it starts a stream that nobody asked for"));
            };
            match message {
                Message::DataRow(body) => rows.push(row(&body)?),
                Message::ErrorResponse(body) => refusal = Some(Refusal::of(&body)),
                Message::ReadyForQuery(_) => return Ok(refusal.map_or(Ok(rows), Err)),
                _ => {}
            }
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), CaptureError> {
        let sent = async {
            self.transport.write_all(bytes).await?;
            self.transport.flush().await
        };
        sent.await
            .map_err(|source| unreachable_at(&self.place, source))
    }

    /// The next message. Nothing is lost when this is given up before it is done.
    pub(super) async fn receive(&mut self) -> Result<Received, CaptureError> {
        loop {
            if let Some(received) = self.parsed()? {
                return Ok(received);
            }
            if self.incoming.capacity() - self.incoming.len() < ROOM_MIN {
                self.incoming.reserve(READ_BYTES);
            }
            match self.transport.read_buf(&mut self.incoming).await {
                Ok(0) => {
                    let closed = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    );
                    return Err(unreachable_at(&self.place, closed));
                }
                Ok(_) => {}
                Err(error) => return Err(unreachable_at(&self.place, error)),
            }
        }
    }

    /// A message that has arrived as a whole.
    fn parsed(&mut self) -> Result<Option<Received>, CaptureError> {
        // Of which postgres-protocol knows nothing.
        const COPY_BOTH_RESPONSE: u8 = b'W';
        let header = Header::parse(&self.incoming).map_err(|error| protocol(&error.to_string()))?;
        let Some(header) = header else {
            return Ok(None);
        };
        if header.len() > MESSAGE_BYTES_MAX {
            return Err(protocol(
                "a message is longer than any that PostgreSQL sends",
            ));
        }
        if header.tag() == COPY_BOTH_RESPONSE {
            let length = usize::try_from(header.len()).expect("it is at least 4") + 1;
            return Ok((self.incoming.len() >= length).then(|| {
                let _ = self.incoming.split_to(length);
                Received::CopyBoth
            }));
        }
        Message::parse(&mut self.incoming)
            .map(|message| message.map(Received::Message))
            .map_err(|error| protocol(&error.to_string()))
    }
}

async fn transport(endpoint: &Endpoint) -> Result<Box<dyn Transport>, CaptureError> {
    let place = endpoint.place();
    let unreachable = |source| unreachable_at(&place, source);
    let host = endpoint.target.host.as_str();
    let mut stream = TcpStream::connect((host, endpoint.target.port))
        .await
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    keep_alive(&stream).map_err(unreachable)?;
    let Some(tls) = &endpoint.tls else {
        return Ok(Box::new(stream));
    };
    let failed = |reason: String| CaptureError::Tls {
        place: place.clone(),
        reason,
    };
    match asks_for_tls(&mut stream).await.map_err(unreachable)? {
        b'S' => match tls.over(host, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(error.to_string())),
        },
        b'N' => Err(failed("the server doesn't offer it".to_owned())),
        other => Err(protocol(&format!(
            "asked for TLS it answers with {other:#04x}"
        ))),
    }
}

/// A connection on which nothing moves is probed after this long,
const IDLE: Duration = Duration::from_secs(10);
/// then so often,
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// and given up after so many probes without an answer,
const PROBES: u32 = 3;
/// or when what we sent isn't acknowledged for so long.
const UNACKNOWLEDGED_MS_MAX: u32 = 45_000;

/// Lets the kernel find out that the machine at the other end is gone. That the server says nothing
/// doesn't mean that: it may be busy with a transaction of which nothing is published.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS_MAX)?;
    Ok(())
}

/// Asks and reads the one byte of the answer, not what may come behind it: that would be somebody's
/// between us and the server.
async fn asks_for_tls(stream: &mut TcpStream) -> io::Result<u8> {
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    stream.write_all(&out).await?;
    stream.read_u8().await
}

fn row(body: &DataRowBody) -> Result<Row, CaptureError> {
    let buffer: &Bytes = body.buffer_bytes();
    let texts = body
        .ranges()
        .map(|range| Ok(range.map(|range| String::from_utf8_lossy(&buffer[range]).into_owned())));
    texts
        .collect()
        .map_err(|error: io::Error| protocol(&error.to_string()))
}

fn unreachable_at(place: &str, source: io::Error) -> CaptureError {
    CaptureError::Unreachable {
        place: place.to_string(),
        source,
    }
}

pub(super) fn protocol(reason: &str) -> CaptureError {
    CaptureError::Protocol {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
