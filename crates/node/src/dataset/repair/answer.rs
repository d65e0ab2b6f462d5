//! Answers to questions about rows, a peer's and this region's own.

use super::super::{DatasetHandle, describe};
use meridian_model::{Answer, Fetched, Question, RowName, Vector};
use meridian_replicate::EngineError;
use std::time::Duration;

/// How long a question waits until what it needs is applied.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Answers from one state of the tables, once it includes all that the question needs.
pub(crate) async fn answer(dataset: &DatasetHandle, question: Question) -> Answer {
    if let Question::Fetch { names, covering } = &question
        && dataset.repairs().waiting_for().is_some()
    {
        return ahead(dataset, names.clone(), covering).await;
    }
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

/// Gives away rows though a damaged one has stopped the tables here: as of the log's end, for whoever
/// asks may stand still too, and wait for these.
async fn ahead(dataset: &DatasetHandle, names: Vec<RowName>, covering: &Vector) -> Answer {
    let log = dataset.log();
    let holds = async {
        while !log.marks().vector().covers(covering) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(CATCH_UP_TIMEOUT, holds).await.is_err() {
        return unavailable("its log doesn't hold yet what another region has".to_owned());
    }
    let Ok(_turn) = dataset.repairs().0.reading.acquire().await else {
        return unavailable("it is shutting down".to_owned());
    };
    let Some((snapshot, standstill)) = dataset.standstill().await else {
        return unavailable("its tables don't follow its log".to_owned());
    };
    let read = move || {
        let rows = snapshot.ahead(&names, |each| standstill.follow(each))?;
        let as_of = standstill.as_of;
        Ok::<_, EngineError>(Fetched { as_of, rows })
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(fetched)) => Answer::Fetched(fetched),
        Ok(Err(error)) => unavailable(describe(&error)),
        Err(error) => unavailable(error.to_string()),
    }
}

fn unavailable(reason: String) -> Answer {
    Answer::Unavailable { reason }
}
