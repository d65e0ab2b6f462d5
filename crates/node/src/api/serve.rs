//! placeholder while the real one is written
use std::sync::Arc;
/// placeholder
pub async fn serve(listener: tokio::net::TcpListener, router: axum::Router, _tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>, mut stop: tokio::sync::watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            Ok((stream, _)) = listener.accept() => {
                let _ = stream.set_nodelay(true);
                let router = router.clone();
                tokio::spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let service = hyper_util::service::TowerToHyperService::new(router);
                    let _ = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new()).serve_connection(io, service).await;
                });
            }
        }
    }
}
