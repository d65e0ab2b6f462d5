//! An HTTP/1.1 client with one keep-alive connection and one request outstanding.
//!
//! hyper's connection is a future of its own. It is polled here in the caller's task instead of a
//! spawned one: a request then costs no hop between tasks, which on a small machine would be
//! measured as if it were the server's.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, ETAG, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// After this long without a whole reply a request has failed.
pub const REPLY_DEADLINE: Duration = Duration::from_secs(30);

/// Why a request got no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("no connection to {address}")]
    Connect {
        /// Who was called.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came back wasn't HTTP.
    #[error("the request {method} {path} to {address} failed")]
    Exchange {
        /// Who was called.
        address: SocketAddr,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The server closed the connection in the middle of an exchange.
    #[error("{address} closed the connection before it replied to {method} {path}")]
    Closed {
        /// Who was called.
        address: SocketAddr,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
    },
    /// No whole reply in time.
    #[error("{address} did not reply to {method} {path} within {} s", REPLY_DEADLINE.as_secs())]
    Late {
        /// Who was called.
        address: SocketAddr,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
    },
    /// The path isn't one.
    #[error("{path:?} is not a path for a request")]
    Path {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        #[source]
        source: hyper::http::Error,
    },
}

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The head's fields.
    pub headers: HeaderMap,
    /// The body, all of it.
    pub body: Bytes,
}

impl Reply {
    /// The entity tag without its quotation marks.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        let text = self.headers.get(ETAG)?.to_str().ok()?;
        Some(text.trim_start_matches("W/").trim_matches('"'))
    }

    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with one connection.
pub struct HttpClient {
    address: SocketAddr,
    host: String,
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

impl HttpClient {
    /// Connects, with Nagle's algorithm off.
    ///
    /// # Errors
    /// [`HttpError::Connect`], or [`HttpError::Exchange`] when the handshake fails.
    pub async fn connect(address: SocketAddr) -> Result<Self, HttpError> {
        let connect = |source| HttpError::Connect { address, source };
        let stream = TcpStream::connect(address).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream))
                .await
                .map_err(|source| HttpError::Exchange {
                    address,
                    method: Method::CONNECT,
                    path: String::new(),
                    source,
                })?;
        Ok(Self {
            address,
            host: address.to_string(),
            sender,
            connection,
        })
    }

    /// Sends a request and waits for its whole reply, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`] when no whole reply arrived; the client must then be connected anew.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Reply, HttpError> {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|source| HttpError::Path {
                path: path.to_owned(),
                source,
            })?;
        match tokio::time::timeout(REPLY_DEADLINE, self.exchange(request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Some(source))) => Err(HttpError::Exchange {
                address: self.address,
                method,
                path: path.to_owned(),
                source,
            }),
            Ok(Err(None)) => Err(HttpError::Closed {
                address: self.address,
                method,
                path: path.to_owned(),
            }),
            Err(_) => Err(HttpError::Late {
                address: self.address,
                method,
                path: path.to_owned(),
            }),
        }
    }

    /// The error is `None` when the connection ended without one.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Option<hyper::Error>> {
        let reply = receive(self.sender.send_request(request));
        tokio::pin!(reply);
        tokio::select! {
            biased;
            reply = &mut reply => return reply.map_err(Some),
            ended = &mut self.connection => ended.map_err(Some)?,
        }
        // The connection has ended cleanly; a reply that it had read by then is still whole.
        tokio::select! {
            biased;
            reply = &mut reply => reply.map_err(Some),
            () = std::future::ready(()) => Err(None),
        }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn get(&mut self, path: &str) -> Result<Reply, HttpError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// `PUT path` with a body.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn put(&mut self, path: &str, body: Bytes) -> Result<Reply, HttpError> {
        self.send(Method::PUT, path, body).await
    }
}

async fn receive(
    response: impl Future<Output = hyper::Result<hyper::Response<Incoming>>>,
) -> hyper::Result<Reply> {
    let (head, body) = response.await?.into_parts();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers each request's head on one connection with the next of `replies`,
    /// then closes.
    async fn server(replies: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for reply in replies {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn one_connection_carries_several_exchanges() {
        let address = server(&[
            "HTTP/1.1 200 OK\r\netag: \"77-00000000000000fe\"\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ])
        .await;
        let mut client = HttpClient::connect(address).await.unwrap();
        let first = client.get("/v1/tables/t/rows/k").await.unwrap();
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(first.etag(), Some("77-00000000000000fe"));
        assert_eq!(client.get("/").await.unwrap().text(), "abcde");
        let third = client
            .put("/v1/tables/t/rows/k", Bytes::new())
            .await
            .unwrap();
        assert_eq!(third.status, StatusCode::NO_CONTENT);
        assert_eq!(third.etag(), None);
    }

    #[tokio::test]
    async fn a_server_that_goes_away_is_an_error() {
        let address = server(&["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"]).await;
        let mut client = HttpClient::connect(address).await.unwrap();
        assert!(client.get("/").await.is_err());
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(
            HttpClient::connect(address).await,
            Err(HttpError::Connect { .. })
        ));
    }
}
