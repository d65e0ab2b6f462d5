//! A minimal Redis client: one connection, one command outstanding, RESP2.

use crate::load::KeyWriter;
use bytes::{Buf, Bytes, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why a command got no good reply.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The connection failed.
    #[error("the connection to Redis failed")]
    Connection(#[from] std::io::Error),
    /// Redis refused the command.
    #[error("Redis refused the command: {0}")]
    Refused(String),
    /// Something other than what the command gives.
    #[error("Redis replied with something unexpected: {0}")]
    Unexpected(String),
}

/// A reply, as far as the commands used here need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisReply {
    /// `+text`
    Status(String),
    /// `:number`
    Integer(i64),
    /// `$length text`; none is the null string.
    Bulk(Option<Bytes>),
}

/// A connection.
pub struct RedisClient {
    stream: TcpStream,
    command: Vec<u8>,
    received: BytesMut,
}

impl RedisClient {
    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    /// [`RedisError::Connection`].
    pub async fn connect(address: SocketAddr) -> Result<Self, RedisError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            command: Vec::new(),
            received: BytesMut::new(),
        })
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// [`RedisError`]; the client must then be connected anew.
    pub async fn command(&mut self, words: &[&[u8]]) -> Result<RedisReply, RedisError> {
        self.command.clear();
        self.command
            .extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.command
                .extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.command.extend_from_slice(word);
            self.command.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&self.command).await?;
        self.reply().await
    }

    /// `GET key`.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>, RedisError> {
        match self.command(&[b"GET", key.as_bytes()]).await? {
            RedisReply::Bulk(value) => Ok(value),
            other => Err(RedisError::Unexpected(format!("{other:?}"))),
        }
    }

    /// `DBSIZE`: how many keys there are.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn count(&mut self) -> Result<u64, RedisError> {
        match self.command(&[b"DBSIZE"]).await? {
            RedisReply::Integer(count) if count >= 0 => Ok(count.unsigned_abs()),
            other => Err(RedisError::Unexpected(format!("{other:?}"))),
        }
    }

    async fn reply(&mut self) -> Result<RedisReply, RedisError> {
        let line = self.line().await?;
        let (kind, text) = line.split_at_checked(1).unwrap_or(("", ""));
        let unexpected = || RedisError::Unexpected(line.clone());
        match kind {
            "+" => Ok(RedisReply::Status(text.to_owned())),
            "-" => Err(RedisError::Refused(text.to_owned())),
            ":" => Ok(RedisReply::Integer(text.parse().map_err(|_| unexpected())?)),
            "$" if text == "-1" => Ok(RedisReply::Bulk(None)),
            "$" => {
                let length: usize = text.parse().map_err(|_| unexpected())?;
                while self.received.len() < length + 2 {
                    self.receive().await?;
                }
                let value = self.received.split_to(length).freeze();
                self.received.advance(2);
                Ok(RedisReply::Bulk(Some(value)))
            }
            _ => Err(unexpected()),
        }
    }

    async fn line(&mut self) -> Result<String, RedisError> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received.split_to(end);
                self.received.advance(2);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), RedisError> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }
}

impl KeyWriter for RedisClient {
    type Error = RedisError;

    async fn write(&mut self, key: &str, value: Bytes) -> Result<(), RedisError> {
        match self.command(&[b"SET", key.as_bytes(), &value]).await? {
            RedisReply::Status(status) if status == "OK" => Ok(()),
            other => Err(RedisError::Unexpected(format!("{other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers the first command with `reply`, then closes. Gives the command.
    async fn exchange(
        reply: &'static [u8],
        words: &[&[u8]],
    ) -> (Vec<u8>, Result<RedisReply, RedisError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = vec![0; 1024];
            let length = stream.read(&mut command).await.unwrap();
            command.truncate(length);
            stream.write_all(reply).await.unwrap();
            command
        });
        let mut client = RedisClient::connect(address).await.unwrap();
        let reply = client.command(words).await;
        (server.await.unwrap(), reply)
    }

    #[tokio::test]
    async fn commands_and_replies_are_resp() {
        let (command, reply) = exchange(b"+OK\r\n", &[b"SET", b"k", b"a\r\nb"]).await;
        assert_eq!(command, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n");
        assert_eq!(reply.unwrap(), RedisReply::Status("OK".into()));
        let (_, reply) = exchange(b"$4\r\na\r\nb\r\n", &[b"GET", b"k"]).await;
        assert_eq!(
            reply.unwrap(),
            RedisReply::Bulk(Some(Bytes::from_static(b"a\r\nb")))
        );
        let (_, reply) = exchange(b"$-1\r\n", &[b"GET", b"k"]).await;
        assert_eq!(reply.unwrap(), RedisReply::Bulk(None));
        let (_, reply) = exchange(b":12\r\n", &[b"DBSIZE"]).await;
        assert_eq!(reply.unwrap(), RedisReply::Integer(12));
    }

    #[tokio::test]
    async fn refusals_and_broken_connections_are_errors() {
        let (_, reply) = exchange(b"-OOM command not allowed\r\n", &[b"SET", b"k", b"v"]).await;
        assert!(matches!(reply, Err(RedisError::Refused(reason)) if reason.starts_with("OOM")));
        let (_, reply) = exchange(b"$9\r\nshort", &[b"GET", b"k"]).await;
        assert!(matches!(reply, Err(RedisError::Connection(_))));
    }
}
