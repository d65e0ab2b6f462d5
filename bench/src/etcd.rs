//! A minimal etcd v3 client: gRPC over HTTP/2 without TLS, unary calls, and the two messages needed
//! encoded by hand. (etcd's JSON gateway would measure the gateway.)
//!
//! A gRPC message is preceded by a byte 0 (not compressed) and its length in four bytes; the call's
//! outcome is the trailer `grpc-status`. Field numbers are those of etcd's `rpc.proto` and `kv.proto`.

use crate::load::KeyWriter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, TE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No connection.
    #[error("no connection to etcd")]
    Connect(#[source] std::io::Error),
    /// HTTP/2 failed.
    #[error("the HTTP/2 exchange with etcd failed")]
    Exchange(#[source] hyper::Error),
    /// etcd refused the call.
    #[error("etcd refused the call: HTTP {http}, grpc-status {status}: {message}")]
    Refused {
        /// The HTTP status.
        http: u16,
        /// The gRPC status; empty when there was none.
        status: String,
        /// The gRPC message.
        message: String,
    },
    /// The reply is no message of the kind.
    #[error("etcd replied with something that is not the message called for")]
    Malformed,
}

/// A client; clones share its connection, a stream for each call.
#[derive(Clone)]
pub struct EtcdClient {
    authority: String,
    sender: SendRequest<Full<Bytes>>,
}

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// How many keys.
    pub count: u64,
    /// The value of the first.
    pub first_value: Option<Bytes>,
}

impl EtcdClient {
    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    /// [`EtcdError::Connect`], [`EtcdError::Exchange`].
    pub async fn connect(address: SocketAddr) -> Result<Self, EtcdError> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(EtcdError::Connect)?;
        stream.set_nodelay(true).map_err(EtcdError::Connect)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(EtcdError::Exchange)?;
        // Its error reaches each call on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            authority: address.to_string(),
            sender,
        })
    }

    /// `KV.Put`.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), EtcdError> {
        let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
        put_bytes(&mut message, 1, key);
        put_bytes(&mut message, 2, value);
        self.call("Put", &message).await.map(drop)
    }

    /// `KV.Range` over one key.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, EtcdError> {
        let mut message = BytesMut::new();
        put_bytes(&mut message, 1, key);
        Ok(decode_range(self.call("Range", &message).await?)?.first_value)
    }

    /// `KV.Range` over all keys, counted only.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn count(&mut self) -> Result<u64, EtcdError> {
        let mut message = BytesMut::new();
        put_bytes(&mut message, 1, b"\0");
        put_bytes(&mut message, 2, b"\0");
        put_varint(&mut message, 9 << 3);
        put_varint(&mut message, 1);
        Ok(decode_range(self.call("Range", &message).await?)?.count)
    }

    async fn call(&mut self, method: &str, message: &[u8]) -> Result<Bytes, EtcdError> {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).map_err(|_| EtcdError::Malformed)?);
        framed.extend_from_slice(message);
        let request = Request::post(format!(
            "http://{}/etcdserverpb.KV/{method}",
            self.authority
        ))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(framed.freeze()))
        .expect("the parts of the request are valid");
        self.sender.ready().await.map_err(EtcdError::Exchange)?;
        let reply = self
            .sender
            .send_request(request)
            .await
            .map_err(EtcdError::Exchange)?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await.map_err(EtcdError::Exchange)?;
        let outcome = |name| {
            let trailer = body.trailers().and_then(|trailers| trailers.get(name));
            let text = trailer.or_else(|| head.headers.get(name))?.to_str().ok()?;
            Some(text.to_owned())
        };
        let status = outcome("grpc-status").unwrap_or_default();
        if status != "0" {
            return Err(EtcdError::Refused {
                http: head.status.as_u16(),
                status,
                message: outcome("grpc-message").unwrap_or_default(),
            });
        }
        let mut framed = body.to_bytes();
        if framed.len() < 5 || framed.get_u8() != 0 || framed.get_u32() as usize != framed.len() {
            return Err(EtcdError::Malformed);
        }
        Ok(framed)
    }
}

impl KeyWriter for EtcdClient {
    type Error = EtcdError;

    async fn write(&mut self, key: &str, value: Bytes) -> Result<(), EtcdError> {
        self.put(key.as_bytes(), &value).await
    }
}

fn put_varint(into: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        into.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.put_u8((number & 0x7f) as u8);
}

fn put_bytes(into: &mut BytesMut, field: u64, bytes: &[u8]) {
    put_varint(into, field << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn varint(from: &mut Bytes) -> Result<u64, EtcdError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().map_err(|_| EtcdError::Malformed)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(EtcdError::Malformed)
}

/// A field's value: a number, or bytes.
enum Field {
    Number(u64),
    Bytes(Bytes),
}

fn field(from: &mut Bytes) -> Result<(u64, Field), EtcdError> {
    let tag = varint(from)?;
    let value = match tag & 7 {
        0 => Field::Number(varint(from)?),
        2 => {
            let length = usize::try_from(varint(from)?).map_err(|_| EtcdError::Malformed)?;
            if length > from.len() {
                return Err(EtcdError::Malformed);
            }
            Field::Bytes(from.split_to(length))
        }
        _ => return Err(EtcdError::Malformed),
    };
    Ok((tag >> 3, value))
}

/// `RangeResponse`: pairs are field 2 (in each, the value is field 5), the count is field 4.
fn decode_range(mut message: Bytes) -> Result<Range, EtcdError> {
    let mut range = Range::default();
    while message.has_remaining() {
        match field(&mut message)? {
            (2, Field::Bytes(mut pair)) if range.first_value.is_none() => {
                while pair.has_remaining() {
                    if let (5, Field::Bytes(value)) = field(&mut pair)? {
                        range.first_value = Some(value);
                    }
                }
            }
            (4, Field::Number(count)) => range.count = count,
            _ => {}
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, number);
            let mut bytes = bytes.freeze();
            assert_eq!(varint(&mut bytes).unwrap(), number);
            assert!(bytes.is_empty());
        }
        assert!(varint(&mut Bytes::from_static(&[0x80])).is_err());
        assert!(varint(&mut Bytes::from_static(&[0xff; 11])).is_err());
    }

    #[test]
    fn a_range_is_its_count_and_first_value() {
        let mut pair = BytesMut::new();
        put_bytes(&mut pair, 1, b"key");
        put_varint(&mut pair, 4 << 3);
        put_varint(&mut pair, 7);
        put_bytes(&mut pair, 5, b"value");
        let mut message = BytesMut::new();
        put_bytes(&mut message, 1, b"a header");
        put_bytes(&mut message, 2, &pair);
        put_varint(&mut message, 4 << 3);
        put_varint(&mut message, 300);
        let message = message.freeze();
        assert_eq!(
            decode_range(message.clone()).unwrap(),
            Range {
                count: 300,
                first_value: Some(Bytes::from_static(b"value"))
            }
        );
        assert!(decode_range(message.slice(..message.len() - 20)).is_err());
    }
}
