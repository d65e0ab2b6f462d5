//! TLS to a server, by rustls with ring.

use super::{ServerConfig, ServerError, Trouble};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

/// Encrypts connections to a server and verifies it: its chain against the root certificates, and
/// its name.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl ServerConfig {
    /// TLS with the root certificates configured, or else the system's.
    ///
    /// # Errors
    /// [`ServerError`] with [`Trouble::Tls`] where there are none.
    pub fn tls(&self) -> Result<Tls, ServerError> {
        let roots = root_certificates(self.root_certificates.as_deref())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ServerError::new(Trouble::Tls, error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }
}

/// The root certificates of a file (PEM), or else the system's.
///
/// # Errors
/// [`ServerError`] with [`Trouble::Tls`] where there are none.
pub fn root_certificates(path: Option<&Path>) -> Result<RootCertStore, ServerError> {
    match path {
        Some(path) => roots_of(path),
        None => system_roots(),
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, ServerError> {
    let fault = |reason: String| {
        let what = format!("the root certificates in {} {reason}", path.display());
        ServerError::new(Trouble::Tls, what)
    };
    let text = std::fs::read(path).map_err(|error| fault(format!("can't be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| fault(format!("are no PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| fault(format!("don't hold: {error}")))?;
    }
    if roots.is_empty() {
        return Err(fault("are none: the file has no certificate".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, ServerError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = "this system has no root certificates to verify the server with";
        return Err(ServerError::new(Trouble::Tls, reason));
    }
    Ok(roots)
}

impl Tls {
    /// Encrypts `stream`, on which TLS has been agreed, and verifies that the server is `host`.
    ///
    /// # Errors
    /// What rustls says of the handshake.
    pub async fn over<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(self.0.clone());
        Ok(TlsStream(connector.connect(name, stream).await?))
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        Ok(Connect {
            tls: self.clone(),
            host: host.to_owned(),
        })
    }
}

/// TLS that is about to be, with one server.
pub struct Connect {
    tls: Tls,
    host: String,
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.tls.over(&self.host, stream).await })
    }
}

/// An encrypted connection.
pub struct TlsStream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for TlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        // The certificate is verified, name and chain: nobody sits between who could be bound out.
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
