//! Serving the API on a socket: connections, their limits, and their end.
//!
//! ```text
//! accept ─▶ (TLS handshake) ─▶ HTTP/1.1 or HTTP/2 ─▶ door
//!    └─ waits while too many connections are open; the system's backlog holds the rest
//! ```
//!
//! A connection that says nothing useful is closed: a handshake, the first request and every
//! HTTP/1.1 header each have a deadline, and so has a reply that nobody takes off. The deadline of
//! the first request is kept here and not by the HTTP library, which waits without end for a
//! client to show which HTTP it speaks.

use super::door::Door;
use super::stalled::WriteDeadline;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// How long to wait after the system would give no connection: for want of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// An HTTP/2 client that is silent for this long is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// How many may be open at once.
    pub connections_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a request's header may take; also how long an HTTP/1.1 connection may be idle.
    pub header_timeout: Duration,
    /// How long a client may take nothing off of what is sent to it.
    pub write_timeout: Duration,
    /// How long requests under way may go on after the stop.
    pub drain_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(2),
        }
    }
}

/// Serves what is behind `door` until `stop` becomes true, under the default limits.
pub async fn serve(
    listener: TcpListener,
    door: impl Into<Door>,
    tls: Option<Arc<ServerConfig>>,
    stop: watch::Receiver<bool>,
) {
    serve_within(ServeLimits::default(), listener, door, tls, stop).await;
}

/// Serves what is behind `door` until `stop` becomes true or its sender is gone; then requests under way are
/// finished, as far as there is time.
pub async fn serve_within(
    limits: ServeLimits,
    listener: TcpListener,
    door: impl Into<Door>,
    tls: Option<Arc<ServerConfig>>,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server {
        limits,
        door: door.into(),
        tls: tls.map(TlsAcceptor::from),
        stop: stop.clone(),
    };
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let permit = room
                .clone()
                .acquire_owned()
                .await
                .expect("nobody closes the semaphore");
            // Ended connections are forgotten here, so that they don't pile up.
            while connections.try_join_next().is_some() {}
            let stream = accept(&listener).await;
            let serving = server.clone().connection(stream);
            connections.spawn(async move {
                serving.await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stopped(&mut stop) => {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_timeout, finished).await.is_err() {
        tracing::debug!(connections = connections.len(), "connections are cut off");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The client went away while it waited: its matter alone.
            Err(error) if is_the_clients(error.kind()) => {}
            Err(error) => {
                tracing::error!(%error, "the API can't accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_clients(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        kind,
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender nobody could say stop any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[derive(Clone)]
struct Server {
    limits: ServeLimits,
    door: Door,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
}

impl Server {
    async fn connection(self, stream: TcpStream) {
        // Without it replies are a little later, not wrong.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.http(stream).await;
        };
        match timeout(self.limits.handshake_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            limits,
            door,
            mut stop,
            ..
        } = self;
        let spoke = Arc::new(AtomicBool::new(false));
        let service = {
            let spoke = spoke.clone();
            service_fn(move |request: hyper::Request<Incoming>| {
                spoke.store(true, Ordering::Relaxed);
                let door = door.clone();
                async move { Ok::<_, Infallible>(door.answer(request).await) }
            })
        };
        let builder = builder(limits.header_timeout);
        let stream = WriteDeadline::new(stream, limits.write_timeout);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended_with(ended),
            () = silence(&spoke, limits.header_timeout) => {
                return tracing::debug!("a connection brought no request");
            }
            () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        ended_with(connection.await);
    }
}

/// Ends when the deadline of the first request has passed without one; else never.
async fn silence(spoke: &AtomicBool, deadline: Duration) {
    tokio::time::sleep(deadline).await;
    if spoke.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn ended_with<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}
