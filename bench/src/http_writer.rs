//! The load generator's HTTP/1.1 connection: requests written and replies read with as little work
//! as the clients of the other protocols do, so that on a machine whose cores the load generator
//! shares with the server, it is servers that are compared and not HTTP libraries.
//!
//! It understands what a region sends to a PUT (a status line, fields, a body of a given length) and
//! takes anything else for an error. All else uses [`crate::http`].

use bytes::{Buf, Bytes, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::KeyWriter;
use crate::meridian::rows_path;

/// Why a write was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum HttpWriteError {
    /// The connection failed.
    #[error("the connection to the region failed")]
    Connection(#[from] std::io::Error),
    /// The region refused the write.
    #[error("the region replied {status} to the write of {key}: {body}")]
    Refused {
        /// The key.
        key: String,
        /// The status.
        status: u16,
        /// The reply's body.
        body: String,
    },
    /// The reply is none that this client understands.
    #[error("the region's reply has no status or no length: {0}")]
    Malformed(String),
}

/// A connection that puts rows into one table.
pub struct HttpWriter {
    stream: TcpStream,
    head: String,
    host: String,
    request: Vec<u8>,
    received: BytesMut,
}

impl HttpWriter {
    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    /// [`HttpWriteError::Connection`].
    pub async fn connect(api: SocketAddr, table: &str) -> Result<Self, HttpWriteError> {
        let stream = TcpStream::connect(api).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            head: format!("PUT {}/", rows_path(table)),
            host: format!(
                " HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/json\r\ncontent-length: "
            ),
            request: Vec::new(),
            received: BytesMut::new(),
        })
    }

    /// A key is written as it is: those of [`crate::load::key`] need no encoding.
    fn encode(&mut self, key: &str, value: &[u8]) {
        self.request.clear();
        for part in [
            &self.head,
            key,
            &self.host,
            &value.len().to_string(),
            "\r\n\r\n",
        ] {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.request.extend_from_slice(value);
    }

    /// Executes a transaction whose JSON body is given.
    ///
    /// # Errors
    /// [`HttpWriteError`]; after a failed connection the client must be connected anew.
    pub async fn transaction(&mut self, body: &[u8]) -> Result<(), HttpWriteError> {
        self.request.clear();
        let head = format!("POST /v1/transactions{}{}\r\n\r\n", self.host, body.len());
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
        self.exchange("a transaction").await
    }

    /// Sends the request that was encoded and waits for its reply.
    async fn exchange(&mut self, key: &str) -> Result<(), HttpWriteError> {
        self.stream.write_all(&self.request).await?;
        match self.reply().await? {
            (200 | 201, _) => Ok(()),
            (status, body) => Err(HttpWriteError::Refused {
                key: key.to_owned(),
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
            }),
        }
    }

    /// Reads a whole reply: its status and body.
    async fn reply(&mut self) -> Result<(u16, Bytes), HttpWriteError> {
        let head_length = loop {
            let end = self
                .received
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            self.receive().await?;
        };
        let head = &self.received[..head_length];
        let Some((status, length)) = status_and_length(head) else {
            return Err(HttpWriteError::Malformed(
                String::from_utf8_lossy(head).into_owned(),
            ));
        };
        self.received.advance(head_length);
        while self.received.len() < length {
            self.receive().await?;
        }
        Ok((status, self.received.split_to(length).freeze()))
    }

    async fn receive(&mut self) -> Result<(), HttpWriteError> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }
}

impl KeyWriter for HttpWriter {
    type Error = HttpWriteError;

    async fn write(&mut self, key: &str, value: Bytes) -> Result<(), HttpWriteError> {
        self.encode(key, &value);
        self.exchange(key).await
    }
}

/// The status, and the body's length (0 for 204).
fn status_and_length(head: &[u8]) -> Option<(u16, usize)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines
        .next()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    match length {
        None if status == 204 => Some((status, 0)),
        length => Some((status, length?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use crate::meridian::MeridianClient;
    use crate::stand_in::{Behaviour, start};

    #[tokio::test]
    async fn what_is_written_can_be_read() {
        let regions = start(Behaviour::default()).await.unwrap();
        let mut writer = HttpWriter::connect(regions[0].api, "a table")
            .await
            .unwrap();
        let mut reader = MeridianClient::connect(regions[0].api, "a table")
            .await
            .unwrap();
        for number in 0..3 {
            let value = load::value(5, number, 256);
            writer
                .write(&load::key(5, number), value.clone())
                .await
                .unwrap();
            let row = reader.row(&load::key(5, number)).await.unwrap().unwrap();
            assert_eq!(row.document, value);
        }
        let no_row = writer.write("no/row", "{}".into()).await.unwrap_err();
        assert!(
            matches!(no_row, HttpWriteError::Refused { status: 404, .. }),
            "{no_row}"
        );
        writer.write("after-a-refusal", "{}".into()).await.unwrap();
    }

    #[test]
    fn only_replies_of_a_known_length_are_understood() {
        let of = |head: &str| status_and_length(head.as_bytes());
        assert_eq!(
            of("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
            Some((200, 12))
        );
        assert_eq!(
            of("HTTP/1.1 204 No Content\r\netag: \"a\"\r\n\r\n"),
            Some((204, 0))
        );
        assert_eq!(
            of("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            None
        );
        assert_eq!(of("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), None);
        assert_eq!(of("SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
