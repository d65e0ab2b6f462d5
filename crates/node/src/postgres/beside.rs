//! What goes on beside the conductor's loop, so that no write waits for it: each takes some syncs of a
//! disk, and comes every moment.
//!
//! - The note: what the server had been given goes into the log, where no transaction carries it. The
//!   slot may forget the WAL up to where it says that, once it is durable. It is sent to the dataset's
//!   thread before whatever is captured after it, so that the log's last place stays the last.
//! - The mark: how far the server is captured goes into the server, and into a file.

use super::conductor::Conductor;
use super::mark;
use super::trouble::Trouble;
use crate::dataset::CaptureError;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::meeting::mark::{Reading, Writing};
use meridian_model::Position;
use std::future::Future;
use std::pin::Pin;

/// Something under way.
pub(super) type UnderWay<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A mark on its way into the server.
pub(super) type Marking = UnderWay<Result<Writing, Trouble>>;

/// What was seen, on its way into the log.
pub(super) struct Noting {
    /// Up to here in the WAL it says that.
    reached: Lsn,
    logged: UnderWay<Result<(), CaptureError>>,
}

impl Conductor<'_> {
    /// Has it noted in the log what the server had been given.
    pub(super) fn note(&mut self) -> Result<(), Trouble> {
        self.reading.keep()?;
        let note = self.reading.note();
        self.noting = Some(Noting {
            reached: self.reading.reached(),
            logged: Box::pin(self.dataset.capture(vec![note])),
        });
        Ok(())
    }

    /// What was seen is in the log. More may have been seen since.
    pub(super) async fn noted(&mut self, reached: Lsn) -> Result<(), Trouble> {
        self.takes_again().await?;
        self.confirm_up_to(reached);
        self.write_mark(reached);
        Ok(())
    }

    /// Marks in the server how far it is captured.
    pub(super) fn mark(&mut self, found: Reading, settled: Position) -> Result<(), Trouble> {
        if self.refill.is_due() {
            // What is written now is not what the log says from any place on.
            return self.refilled();
        }
        let who = (self.reading.system(), self.dataset.origin());
        self.marks.observe(found, settled, who);
        if self.reading.is_noted() && self.noting.is_none() {
            self.write_mark(self.reading.reached());
        }
        Ok(())
    }

    /// Begins to write the mark that waits, where the log has all that the server had been given up to
    /// here in the WAL, and capture has passed the mark by then.
    fn write_mark(&mut self, reached: Lsn) {
        let Some(writing) = self.marks.due(reached) else {
            return;
        };
        let (session, name) = (self.session.clone(), self.config.dataset.clone());
        let directory = self.config.directory.clone();
        self.marking = Some(Box::pin(async move {
            mark::carry_out(writing, directory, (session.client(), &name)).await
        }));
    }
}

/// What comes of something under way; never where nothing is.
pub(super) async fn coming<T>(under_way: &mut Option<UnderWay<T>>) -> T {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

/// Up to where the log has what was seen; never where nothing is on its way there.
pub(super) async fn logged(noting: &mut Option<Noting>) -> Result<Lsn, CaptureError> {
    let Some(under_way) = noting else {
        return std::future::pending().await;
    };
    let logged = under_way.logged.as_mut().await;
    let reached = under_way.reached;
    *noting = None;
    logged.map(|()| reached)
}

/// Reads what is here. Where that may be long, the runtime's other tasks go on in another thread: the
/// region answers whoever asks, and its links go on.
pub(super) fn in_place<T>(is_long: bool, read: impl FnOnce() -> T) -> T {
    if is_long {
        tokio::task::block_in_place(read)
    } else {
        read()
    }
}
