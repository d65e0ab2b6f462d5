//! The receiving half: reads the socket only when asked for a message, so a slow reader slows its
//! peer and nothing piles up here.
//!
//! The idle timeout counts while someone waits for a message and none comes. It survives
//! cancellation: a caller that asks again and again within a `select!` does not start it anew.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsStream;

use crate::endpoint::Limits;
use crate::error::{ConnectionError, Failure};
use crate::frame;
use crate::shape::LinkControl;

const READ_BYTES: usize = 64 * 1024;
/// What a caller that comes back late still waits for bytes that the system may already have.
const GRACE: Duration = Duration::from_millis(100);

/// The receiving half of a connection.
pub struct Receiver {
    stream: ReadHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
    control: LinkControl,
    failure: Failure,
    idle: Idle,
    ended: bool,
}

impl Receiver {
    pub(crate) fn new(
        stream: ReadHalf<TlsStream<TcpStream>>,
        limits: &Limits,
        control: LinkControl,
        failure: Failure,
    ) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            control,
            failure,
            idle: Idle::new(limits.read_idle_timeout),
            ended: false,
        }
    }

    /// The next message; `None` once the peer has said that nothing more will come.
    ///
    /// After an error the connection is lost. Dropping the future before it is ready loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        if let Some(error) = self.failure.get() {
            return Err(error);
        }
        let deadline = self.idle.deadline(Instant::now());
        let failure = self.failure.clone();
        let idle = ConnectionError::ReadIdle {
            idle: self.idle.timeout,
        };
        let received = tokio::select! {
            biased;
            received = self.next(deadline) => received,
            () = sleep_until(deadline) => Err(idle),
            error = failure.failed() => Err(error),
        };
        received.map_err(|error| failure.fail(error))
    }

    async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, ConnectionError> {
        loop {
            self.control.incoming_open().await;
            if let Some(message) = frame::decode(&mut self.buffer)? {
                self.idle.reset();
                return Ok(Some(message));
            }
            if self.ended {
                return self.end();
            }
            self.buffer.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.buffer).await;
            self.ended = read.map_err(ConnectionError::reading)? == 0;
            // Bytes that come through a cut are held back and are no sign of life.
            if !self.control.incoming_is_cut() {
                self.idle.extend(deadline);
            }
        }
    }

    fn end(&self) -> Result<Option<Bytes>, ConnectionError> {
        if self.buffer.is_empty() {
            Ok(None)
        } else {
            Err(ConnectionError::Truncated)
        }
    }
}
