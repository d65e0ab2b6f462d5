//! The region's API, as an application beside it calls it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// After this long the region doesn't answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The API of the region that the application is in.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    address: SocketAddr,
}

/// What it said.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// It said nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No connection.
    #[error("the region's API doesn't accept a connection")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the region's API broke off")]
    Exchange(#[from] hyper::Error),
    /// The request makes no sense.
    #[error("that can't be asked of the region's API")]
    Request(#[from] hyper::http::Error),
    /// It took too long.
    #[error("the region's API doesn't answer within {} s", PATIENCE.as_secs())]
    Late,
}

impl Api {
    /// The API at this address, on this machine and without a token.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Asks it. Each request has a connection of its own: it is the simplest that is right.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ApiError> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(method, path, body));
        asked.await.map_err(|_| ApiError::Late)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ApiError> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(ApiError::Connect)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its error reaches the request.
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let reply = sender.send_request(request).await?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Reply {
            status: head.status,
            body,
        })
    }
}
