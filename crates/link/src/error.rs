//! What ends a connection that stood.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::frame::FrameError;

/// Why a connection failed. Both halves report the same, the first failure; dialling again is always
/// allowed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionError {
    /// The peer was silent for too long.
    #[error("nothing arrived from the peer for {} ms", idle.as_millis())]
    ReadIdle {
        /// How long was waited.
        idle: Duration,
    },
    /// The peer took nothing for too long.
    #[error("the peer took nothing for {} ms", stalled.as_millis())]
    WriteStalled {
        /// How long was waited.
        stalled: Duration,
    },
    /// Reading failed.
    #[error("reading from the peer failed")]
    Read(#[source] Arc<io::Error>),
    /// Writing failed.
    #[error("writing to the peer failed")]
    Write(#[source] Arc<io::Error>),
    /// The peer went away without saying good-bye, or in the middle of a message.
    #[error("the peer went away in the middle")]
    Truncated,
    /// A message that the wire does not allow: too large to send, or received malformed.
    #[error("the message is not allowed on the wire")]
    Frame(#[from] FrameError),
    /// This side's writer has ended.
    #[error("the connection was closed on this side")]
    Closed,
}

impl ConnectionError {
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(Arc::new(error)),
        }
    }

    pub(crate) fn writing(error: io::Error) -> Self {
        Self::Write(Arc::new(error))
    }
}

/// The first failure of a connection, shared by its halves: when one fails, the other need not wait
/// for a timeout of its own.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Arc<watch::Sender<Option<ConnectionError>>>);

impl Failure {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Records a failure, unless there is one already, and returns the one that counts.
    pub(crate) fn fail(&self, error: ConnectionError) -> ConnectionError {
        self.0.send_if_modified(|first| {
            let new = first.is_none();
            if new {
                *first = Some(error.clone());
            }
            new
        });
        self.get().unwrap_or(error)
    }

    pub(crate) fn get(&self) -> Option<ConnectionError> {
        self.0.borrow().clone()
    }

    /// Waits until the connection has failed.
    pub(crate) async fn failed(&self) -> ConnectionError {
        let mut failure = self.0.subscribe();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            // `self` keeps the channel open, so this is not reached while anyone waits.
            _ => ConnectionError::Closed,
        }
    }
}
