//! Dead letters: what no region can apply, shown and decided about.
//!
//! A letter's id is its transaction's version, the same in every region; it names the dataset too,
//! since no two datasets share an origin.

mod decide;
mod list;
mod show;

// With what describes each handler to OpenAPI, which has names of its own.
pub(crate) use decide::*;
pub(crate) use list::*;
pub(crate) use show::*;

use super::incoming::Incoming;
use super::listing::read;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::dataset::DatasetHandle;
use meridian_model::Version;

/// The letter that the path names.
fn letter_id(incoming: &Incoming) -> Result<Version, Problem> {
    let id = incoming.id()?;
    id.parse().map_err(|_| not_found(&id))
}

/// The dataset that a letter is in.
async fn find(state: &ApiState, id: Version) -> Result<&DatasetHandle, Problem> {
    for dataset in state.running() {
        let found = read(dataset.tables(), move |tables| tables.letter(id)).await?;
        if found.is_some() {
            return Ok(dataset);
        }
    }
    Err(not_found(&id.to_string()))
}

fn not_found(id: &str) -> Problem {
    Problem::new(
        Kind::LetterNotFound,
        format!("there is no dead letter {id:?}"),
    )
    .hint(
        "it may have been decided about already, here or in another region; GET /v1/dead-letters \
         lists those that wait",
    )
}
