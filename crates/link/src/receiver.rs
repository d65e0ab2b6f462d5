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
/// There is new room once less than this is left of the last. A message that is kept, because what it
/// depends on is still to come, keeps all that was made room for with it: that must not be much more
/// than what arrived.
const ROOM_MIN: usize = 4 * 1024;
/// What a caller that comes back late still waits for bytes that the system may already have.
const GRACE: Duration = Duration::from_millis(100);

/// The receiving half of a connection.
pub struct Receiver {
    stream: ReadHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
    control: LinkControl,
    failure: Failure,
    idle: Idle,
    end: Option<Result<(), ConnectionError>>,
}

enum Step {
    Message(Bytes),
    Read { bytes: usize },
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
            end: None,
        }
    }

    /// The next message; `None` once the peer has said that nothing more will come.
    ///
    /// What arrived before a failure is still handed out; after an error the connection is lost.
    /// Dropping the future before it is ready loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        while self.end.is_none() {
            match self.step_or_timeout().await {
                Ok(Step::Message(message)) => {
                    self.idle.reset();
                    return Ok(Some(message));
                }
                Ok(Step::Read { bytes: 0 }) if self.buffer.is_empty() => self.end = Some(Ok(())),
                Ok(Step::Read { bytes: 0 }) => self.fail(ConnectionError::Truncated),
                // Bytes that come through a cut are held back and are no sign of life.
                Ok(Step::Read { .. }) if self.control.incoming_is_cut() => {}
                Ok(Step::Read { .. }) => self.idle.reset(),
                Err(error) => self.fail(error),
            }
        }
        match &self.end {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(None),
        }
    }

    fn fail(&mut self, error: ConnectionError) {
        self.end = Some(Err(self.failure.fail(error)));
    }

    async fn step_or_timeout(&mut self) -> Result<Step, ConnectionError> {
        let deadline = self.idle.deadline(Instant::now());
        let idle = self.idle.timeout;
        let failure = self.failure.clone();
        tokio::select! {
            biased;
            step = self.step() => step,
            error = failure.failed() => Err(error),
            () = sleep_until(deadline) => Err(ConnectionError::ReadIdle { idle }),
        }
    }

    /// One message from the buffer, or else one read into it. Safe to cancel.
    async fn step(&mut self) -> Result<Step, ConnectionError> {
        self.control.incoming_open().await;
        if let Some(message) = frame::decode(&mut self.buffer)? {
            return Ok(Step::Message(message));
        }
        if self.buffer.capacity() - self.buffer.len() < ROOM_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        let read = self.stream.read_buf(&mut self.buffer).await;
        let bytes = read.map_err(ConnectionError::reading)?;
        Ok(Step::Read { bytes })
    }
}

/// How long has been waited in vain, over several calls if need be.
struct Idle {
    timeout: Duration,
    wait: Option<Wait>,
}

struct Wait {
    deadline: Instant,
    grace_given: bool,
}

impl Idle {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            wait: None,
        }
    }

    fn reset(&mut self) {
        self.wait = None;
    }

    /// When to give up. A wait that a caller left and comes back to late gets a short grace, once,
    /// because bytes may have come meanwhile that nobody has looked at.
    fn deadline(&mut self, now: Instant) -> Instant {
        let fresh = now + self.timeout;
        let wait = self.wait.get_or_insert(Wait {
            deadline: fresh,
            grace_given: false,
        });
        if wait.deadline <= now && !wait.grace_given {
            wait.deadline = now + GRACE;
            wait.grace_given = true;
        }
        wait.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn asking_again_does_not_start_the_timeout_anew() {
        let start = Instant::now();
        let mut idle = Idle::new(TIMEOUT);
        assert_eq!(idle.deadline(start), start + TIMEOUT);
        assert_eq!(idle.deadline(start + TIMEOUT / 2), start + TIMEOUT);
        idle.reset();
        let later = start + TIMEOUT / 2;
        assert_eq!(idle.deadline(later), later + TIMEOUT);
    }

    #[test]
    fn a_caller_that_comes_back_late_gets_one_grace() {
        let start = Instant::now();
        let mut idle = Idle::new(TIMEOUT);
        idle.deadline(start);
        let late = start + 3 * TIMEOUT;
        assert_eq!(idle.deadline(late), late + GRACE);
        assert_eq!(idle.deadline(late + TIMEOUT), late + GRACE);
    }
}
