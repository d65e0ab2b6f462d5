//! The sending half: a queue bounded in bytes, and a task that writes it out.
//!
//! ```text
//! send ──▶ queue: (due, message), …  ──▶ writer task ──▶ coalesced frames ──▶ TLS
//!          bounded by a byte budget       waits for due, for the gate
//! ```
//!
//! The task serves three ends. Messages that wait together leave in one write, so callers need
//! not batch. A simulated delay is a delay *line*: each message has its own due time, so delays
//! overlap and throughput stays. And a peer that takes nothing is noticed here, by a timeout on
//! progress, not by the caller.
//!
//! Invariants: messages leave in the order of `send`; the budget of a message returns only once the
//! message has left; whatever was queued before `flush` has been handed to the system when `flush`
//! returns.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoint::Limits;
use crate::error::{ConnectionError, Failure};
use crate::frame;
use crate::shape::LinkControl;

/// What a queued message costs beyond its bytes, so that empty ones are bounded too.
const MESSAGE_OVERHEAD_BYTES: u32 = 64;
/// A write gathers messages until it has this much.
const COALESCE_BYTES: usize = 128 * 1024;
/// A larger buffer is given back after use, lest one large message be held for the link's life.
const BUFFER_KEEP_BYTES: usize = 2 * COALESCE_BYTES;

/// The sending half of a connection.
///
/// Dropping it sends what is queued, then tells the peer that nothing more will come.
pub struct Sender {
    queue: mpsc::UnboundedSender<Queued>,
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    control: LinkControl,
    failure: Failure,
    writer: JoinHandle<()>,
}

enum Queued {
    Message {
        due: Instant,
        message: Bytes,
        permit: OwnedSemaphorePermit,
    },
    Flush(oneshot::Sender<()>),
}

impl Sender {
    pub(crate) fn spawn(
        stream: impl AsyncWrite + Unpin + Send + 'static,
        limits: &Limits,
        control: LinkControl,
        failure: Failure,
    ) -> Self {
        let (queue, queued) = mpsc::unbounded_channel();
        let writer = Writer {
            stream,
            queued,
            pending: None,
            buffer: BytesMut::new(),
            control: control.clone(),
            write_timeout: limits.write_timeout,
        };
        Self {
            queue,
            budget: Arc::new(Semaphore::new(limits.queue_bytes_max as usize)),
            budget_bytes: limits.queue_bytes_max,
            control,
            failure: failure.clone(),
            writer: tokio::spawn(writer.run(failure)),
        }
    }

    /// Queues one message, waiting while the queue is full.
    ///
    /// It leaves soon without [`Sender::flush`]. An error says that the connection is lost, except
    /// for [`ConnectionError::Frame`]: then this message alone was refused as too large. Dropping the
    /// future before it is ready sends nothing.
    pub async fn send(&mut self, message: Bytes) -> Result<(), ConnectionError> {
        frame::check_length(message.len())?;
        let Some(delay) = self.control.draw() else {
            // Lost on its way, as far as anybody can tell.
            return self.failure.get().map_or(Ok(()), Err);
        };
        let cost = u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .saturating_add(MESSAGE_OVERHEAD_BYTES)
            .min(self.budget_bytes);
        let budget = Arc::clone(&self.budget);
        let permit = tokio::select! {
            biased;
            permit = budget.acquire_many_owned(cost) => permit.map_err(|_| ConnectionError::Closed)?,
            error = self.failure.failed() => return Err(error),
        };
        // The queue is first in, first out: a delay that shrinks lets nothing overtake.
        let due = Instant::now() + delay;
        self.enqueue(Queued::Message {
            due,
            message,
            permit,
        })
    }

    /// Waits until everything sent so far has been handed to the system.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        let (done, flushed) = oneshot::channel();
        self.enqueue(Queued::Flush(done))?;
        flushed.await.map_err(|_| self.reason())
    }

    /// Sends what is queued, tells the peer that nothing more will come, and waits for both.
    pub async fn close(mut self) -> Result<(), ConnectionError> {
        self.flush().await?;
        let Self {
            queue,
            writer,
            failure,
            ..
        } = self;
        drop(queue);
        let ended = writer.await;
        match (failure.get(), ended) {
            (Some(error), _) => Err(error),
            (None, Err(_)) => Err(ConnectionError::Closed),
            (None, Ok(())) => Ok(()),
        }
    }

    fn enqueue(&self, queued: Queued) -> Result<(), ConnectionError> {
        if let Some(error) = self.failure.get() {
            return Err(error);
        }
        self.queue.send(queued).map_err(|_| self.reason())
    }

    fn reason(&self) -> ConnectionError {
        self.failure.get().unwrap_or(ConnectionError::Closed)
    }
}

struct Writer<S> {
    stream: S,
    queued: mpsc::UnboundedReceiver<Queued>,
    /// Taken from the queue, but not due yet.
    pending: Option<Queued>,
    buffer: BytesMut,
    control: LinkControl,
    write_timeout: Duration,
}

/// What must be released once a batch has left.
#[derive(Default)]
struct Batch {
    permits: Vec<OwnedSemaphorePermit>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    async fn run(mut self, failure: Failure) {
        let written = tokio::select! {
            biased;
            _ = failure.failed() => return,
            written = self.write_all_queued() => written,
        };
        if let Err(error) = written {
            failure.fail(error);
        }
    }

    async fn write_all_queued(&mut self) -> Result<(), ConnectionError> {
        while let Some(first) = self.next().await {
            // A timer counts in whole milliseconds: what is due would wait for the next of them.
            if let Queued::Message { due, .. } = &first
                && *due > Instant::now()
            {
                sleep_until(*due).await;
            }
            let batch = self.gather(first)?;
            self.write_batch().await?;
            drop(batch.permits);
            for flushed in batch.flushed {
                // Whoever asked may have gone away.
                let _ = flushed.send(());
            }
        }
        within(self.write_timeout, self.stream.shutdown()).await
    }

    async fn next(&mut self) -> Option<Queued> {
        match self.pending.take() {
            Some(queued) => Some(queued),
            None => self.queued.recv().await,
        }
    }

    /// Encodes the first item and all that are due behind it, up to the size of one write.
    fn gather(&mut self, first: Queued) -> Result<Batch, ConnectionError> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let now = Instant::now();
        while let Some(queued) = next {
            match queued {
                Queued::Message { due, .. } if due > now => {
                    self.pending = Some(queued);
                    break;
                }
                Queued::Message {
                    message, permit, ..
                } => {
                    frame::encode(&message, &mut self.buffer)?;
                    batch.permits.push(permit);
                }
                Queued::Flush(done) => batch.flushed.push(done),
            }
            next = match self.buffer.len() {
                length if length < COALESCE_BYTES => self.queued.try_recv().ok(),
                _ => None,
            };
        }
        Ok(batch)
    }

    async fn write_batch(&mut self) -> Result<(), ConnectionError> {
        within(self.write_timeout, async {
            self.control.outgoing_open().await;
            Ok(())
        })
        .await?;
        while self.buffer.has_remaining() {
            // The timeout is on progress: a large message over a slow line may take its time.
            let write = self.stream.write(&self.buffer);
            let written = within(self.write_timeout, write).await?;
            if written == 0 {
                return Err(ConnectionError::writing(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(written);
        }
        within(self.write_timeout, self.stream.flush()).await?;
        if self.buffer.capacity() > BUFFER_KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

async fn within<T>(
    stalled: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, ConnectionError> {
    match timeout(stalled, work).await {
        Ok(done) => done.map_err(ConnectionError::writing),
        Err(_) => Err(ConnectionError::WriteStalled { stalled }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test(start_paused = true)]
    async fn only_a_delay_that_was_asked_for_is_waited_for() {
        // Between two of a timer's milliseconds.
        tokio::time::advance(Duration::from_micros(500)).await;
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let control = LinkControl::default();
        let limits = Limits::default();
        let mut sender = Sender::spawn(ours, &limits, control.clone(), Failure::new());
        let mut arrives = async |delay: Duration| {
            let before = Instant::now();
            control.set_delay(delay);
            sender.send(Bytes::from_static(b"x")).await.unwrap();
            sender.flush().await.unwrap();
            theirs.read_u8().await.unwrap();
            before.elapsed()
        };
        assert_eq!(arrives(Duration::ZERO).await, Duration::ZERO);
        let delay = Duration::from_millis(40);
        assert!(arrives(delay).await >= delay);
    }
}
