//! Answers to questions about rows, a peer's and this region's own.

use super::super::{DatasetHandle, describe};
use meridian_model::{Answer, Question};
use std::time::Duration;

/// How long a question waits until what it needs is applied.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers from one state of the tables, once it includes all that the question needs.
pub(crate) async fn answer(dataset: &DatasetHandle, question: Question) -> Answer {
    if let Some(needed) = question.covering()
        && !dataset.wait_for(needed, CATCH_UP_TIMEOUT).await
    {
        return unavailable("it has not applied yet what another region has".to_owned());
    }
    let repairs = dataset.repairs().clone();
    let Ok(_turn) = repairs.0.reading.acquire().await else {
        return unavailable("it is shutting down".to_owned());
    };
    let Some((snapshot, as_of)) = dataset.view().await else {
        return unavailable("its tables don't follow its log".to_owned());
    };
    let read = move || snapshot.answer(&as_of, &question);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(Some(answer))) => answer,
        Ok(Ok(None)) => unavailable("it is no question about rows".to_owned()),
        Ok(Err(error)) => {
            if let Some(row) = error.damaged_row() {
                dataset.repairs().mend_soon(row);
            }
            unavailable(describe(&error))
        }
        Err(error) => unavailable(error.to_string()),
    }
}

fn unavailable(reason: String) -> Answer {
    Answer::Unavailable { reason }
}
