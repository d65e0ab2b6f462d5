//! What HTTP alone costs: a server on the product's HTTP library that reads each request whole,
//! writes nothing and answers a constant as long as a region's reply.
//!
//! It bounds what any durable store behind this protocol can reach with this load generator on this
//! machine. It runs as a process of its own, so that its processor time is counted like the others'.

use super::Options;
use super::report::Round;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use meridian_bench::http_writer::HttpWriter;
use meridian_bench::load;
use meridian_bench::ports::free_port;
use meridian_bench::process::Server;
use meridian_bench::procfs::{self, ProcessId};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const READY_DEADLINE: Duration = Duration::from_secs(10);

/// Options of the hidden command `constant-server`.
#[derive(clap::Args)]
pub struct ServerOptions {
    /// The port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// Length of the body of each reply
    #[arg(long)]
    value_bytes: usize,
}

/// Serves until it is ended.
pub async fn serve(options: &ServerOptions) -> Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
        .await
        .context("bind the constant server's port")?;
    let value = load::value(0, 0, options.value_bytes);
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        tokio::spawn(connection(stream, value.clone()));
    }
}

async fn connection(stream: TcpStream, value: Bytes) {
    // Without it replies are a little later, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, value.clone()));
    let builder = Builder::new(TokioExecutor::new());
    // A client that goes away ends its connection, which is no matter.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    value: Bytes,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut response = Response::new(Full::new(value));
    *response.status_mut() = StatusCode::CREATED;
    for (name, value) in [
        ("content-type", "application/json"),
        ("etag", "\"1234567890123456789-0123456789abcdef\""),
        (
            "meridian-session",
            "01046d61696e0188f0b1d5c3a9e0d2430188f0b1d5c3a9e0d2",
        ),
    ] {
        let value = hyper::header::HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// One round of load on a constant server.
pub async fn measure(directory: &Path, options: &Options) -> Result<Round> {
    let port = free_port()?;
    let program = std::env::current_exe().context("find this program")?;
    let arguments = [
        "constant-server".into(),
        "--port".into(),
        port.to_string().into(),
        "--value-bytes".into(),
        options.value_bytes.to_string().into(),
    ];
    let mut server = Server::start(&program, &arguments, &directory.join("constant-server.log"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let probe = || async move { TcpStream::connect(address).await.is_ok() };
    server.ready(READY_DEADLINE, probe).await?;
    let mut writers = Vec::new();
    for _ in 0..options.clients {
        writers.push(HttpWriter::connect(address, "bench").await?);
    }
    let client = ProcessId(std::process::id());
    let before = (server.processor_time(), procfs::processor_time(client));
    let outcome = load::run(writers, options.plan()).await.context("write")?;
    let after = (server.processor_time(), procfs::processor_time(client));
    server.kill().context("end the constant server")?;
    let client = after.1.zip(before.1);
    Ok(Round::new(
        &outcome,
        after.0.saturating_sub(before.0),
        client.map_or(Duration::ZERO, |(after, before)| {
            after.saturating_sub(before)
        }),
    )
    .unverified())
}
