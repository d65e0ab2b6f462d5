//! What runs between the stream and whoever takes the events.
//!
//! It is a task of its own because the server must hear of us each second, also while the events
//! aren't taken: else it takes us for dead after `wal_sender_timeout`. What waits to be taken is
//! bounded in bytes; beyond that the stream isn't read, and the server waits with the rest.

use super::Event;
use super::assemble::Assembler;
use super::changes::weight;
use super::error::CaptureError;
use super::stream::{Frame, Stream};
use crate::Lsn;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// At least so often the server hears of us.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A newly confirmed position is told after this, together with what is confirmed meanwhile.
const STATUS_SOON: Duration = Duration::from_millis(50);

/// How much may wait to be taken, in bytes of memory, about.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// The unit of what may wait: permits are counted in 32 bits.
const UNIT: usize = 1024;

/// An event with its share of what may wait, which taking it frees.
pub(super) type Waiting = (Result<Event, CaptureError>, Option<OwnedSemaphorePermit>);

pub(super) struct Task {
    stream: Stream,
    assembler: Assembler,
    events: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
    confirmed: watch::Receiver<Lsn>,
    /// An event for which there is no room yet, and what it weighs.
    pending: Option<(Event, u32)>,
    /// What came since the last event, in bytes.
    weight: usize,
    status_at: Instant,
}

impl Task {
    pub(super) fn new(
        stream: Stream,
        assembler: Assembler,
        events: mpsc::UnboundedSender<Waiting>,
        confirmed: watch::Receiver<Lsn>,
    ) -> Self {
        Self {
            stream,
            assembler,
            events,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX / UNIT)),
            confirmed,
            pending: None,
            weight: 0,
            status_at: Instant::now(),
        }
    }

    /// Runs until something is wrong, which is the last that is told.
    pub(super) async fn run(mut self) {
        let Err(error) = self.until_error().await;
        tracing::debug!(%error, "capture ends");
        // Nobody may be there to take it.
        let _ = self.events.send((Err(error), None));
    }

    async fn until_error(&mut self) -> Result<Infallible, CaptureError> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.status_at) => self.say_status().await?,
                changed = self.confirmed.changed() => match changed {
                    Ok(()) => self.status_at = self.status_at.min(Instant::now() + STATUS_SOON),
                    Err(_) => return Err(CaptureError::Ended),
                },
                permit = room(&self.room, &self.pending), if self.pending.is_some() => {
                    self.hand_over(permit);
                    self.stream.reads_again();
                }
                frame = self.stream.frame(), if self.pending.is_none() => self.take(frame?).await?,
            }
        }
    }

    async fn say_status(&mut self) -> Result<(), CaptureError> {
        if self.pending.is_none() {
            self.stream.is_heard()?;
        }
        let confirmed = *self.confirmed.borrow_and_update();
        self.stream.status(confirmed).await?;
        self.status_at = Instant::now() + STATUS_EVERY;
        Ok(())
    }

    async fn take(&mut self, frame: Frame) -> Result<(), CaptureError> {
        let event = match frame {
            Frame::Data(message) => {
                self.weight += weight(&message);
                self.assembler.message(message)?
            }
            Frame::Keepalive { at, wants_status } => {
                if wants_status {
                    self.say_status().await?;
                }
                self.assembler.passed(at)
            }
        };
        let Some(event) = event else {
            return Ok(());
        };
        let units = 1 + std::mem::take(&mut self.weight).min(WAITING_BYTES_MAX / 2) / UNIT;
        let units = u32::try_from(units).expect("it is bounded");
        match Arc::clone(&self.room).try_acquire_many_owned(units) {
            Ok(permit) => {
                let _ = self.events.send((Ok(event), Some(permit)));
            }
            Err(_) => self.pending = Some((event, units)),
        }
        Ok(())
    }

    fn hand_over(&mut self, permit: Option<OwnedSemaphorePermit>) {
        if let Some((event, _)) = self.pending.take() {
            // Where nobody takes events any more, `confirmed` says so next.
            let _ = self.events.send((Ok(event), permit));
        }
    }
}

/// Waits for room for what waits for it.
async fn room(
    room: &Arc<Semaphore>,
    pending: &Option<(Event, u32)>,
) -> Option<OwnedSemaphorePermit> {
    let units = pending.as_ref().map_or(0, |(_, units)| *units);
    Arc::clone(room).acquire_many_owned(units).await.ok()
}
