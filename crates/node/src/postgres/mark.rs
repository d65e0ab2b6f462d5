//! The mark ([`mark`](meridian_engine_postgres::meeting::mark)) in the server and in the data
//! directory. In the server it is a row of `meridian.position` called after the dataset with
//! [`MARK_SUFFIX`], which no dataset is called.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::apply::{LET_IN_SUFFIX, MARK_SUFFIX};
use meridian_engine_postgres::meeting::mark::{Mark, Noted, Writing};
use meridian_model::{OriginId, Position};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;

/// Where the last one is noted.
const FILE: &str = "mark.json";

/// A mark as the server has it. One of a later release says nothing here.
pub(super) fn parsed(text: &str) -> Option<Mark> {
    serde_json::from_str(text).ok()
}

/// Removes it, with what the server says that it was given.
///
/// # Errors
/// [`Trouble`] from the server.
pub(super) async fn forget(client: &Client, dataset: &str) -> Result<(), Trouble> {
    let delete = "DELETE FROM meridian.position WHERE dataset IN ($1, $2, $3)";
    let names = [dataset.to_owned(), named(dataset), let_in(dataset)];
    client
        .execute(delete, &[&names[0], &names[1], &names[2]])
        .await?;
    Ok(())
}

async fn write(client: &Client, dataset: &str, mark: &Mark) -> Result<(), Trouble> {
    let text = serde_json::to_string(mark).expect("numbers are JSON");
    let write = "INSERT INTO meridian.position (dataset, seen) VALUES ($1, CASE WHEN $3 THEN \
                 ($2::text)::jsonb ELSE ($2::text)::jsonb || jsonb_build_object('written', \
                 pg_current_wal_insert_lsn() - '0/0'::pg_lsn) END) \
                 ON CONFLICT (dataset) DO UPDATE SET seen = excluded.seen";
    client
        .execute(write, &[&named(dataset), &text, &mark.is_renewed])
        .await?;
    Ok(())
}

/// What a dataset's mark is called.
pub(super) fn named(dataset: &str) -> String {
    format!("{dataset}{MARK_SUFFIX}")
}

/// What the row is called that names transactions which let rows in.
pub(super) fn let_in(dataset: &str) -> String {
    format!("{dataset}{LET_IN_SUFFIX}")
}

/// From where on the log is needed by the mark that is noted in the directory, as long as nothing is
/// known of the server.
pub(crate) fn kept_from(directory: &Path, origin: OriginId) -> Option<Position> {
    let bytes = fs::read(directory.join(FILE)).ok()?;
    let noted: Noted = serde_json::from_slice(&bytes).ok()?;
    noted.needs(origin)
}

/// What is noted in the directory.
///
/// # Errors
/// [`Trouble`] when it can't be read.
pub(super) fn noted(directory: &Path) -> Result<Noted, Trouble> {
    match fs::read(directory.join(FILE)) {
        // One that a crash of the machine left half is as good as none: rows are compared.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Noted::default()),
        Err(error) => Err(unwritable(&error)),
    }
}

/// Notes it there.
///
/// # Errors
/// [`Trouble`] when it can't be written.
pub(super) fn note(directory: &Path, noted: Noted) -> Result<(), Trouble> {
    let bytes = serde_json::to_vec(&noted).expect("numbers are JSON");
    // The server must never have a mark that a power cut here makes unknown again.
    durable::replace(&directory.join(FILE), &bytes).map_err(|error| unwritable(&error))
}

/// Writes a mark. That takes some syncs of the disk, and nothing waits for it.
///
/// # Errors
/// [`Trouble`] when it can't be written.
pub(super) async fn carry_out(
    writing: Writing,
    directory: PathBuf,
    (client, dataset): (&Client, &str),
) -> Result<Writing, Trouble> {
    note_beside(directory.clone(), writing.before).await?;
    write(client, dataset, &writing.mark).await?;
    note_beside(directory, writing.after).await?;
    Ok(writing)
}

async fn note_beside(directory: PathBuf, noted: Noted) -> Result<(), Trouble> {
    let written = tokio::task::spawn_blocking(move || note(&directory, noted)).await;
    written.map_err(|_| Trouble::passing("the node is shutting down"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(noted(directory.path()).unwrap(), Noted::default());
        let three = serde_json::json!({ "number": 3, "is_written": true, "needs": [1, 9] });
        let three: Noted = serde_json::from_value(three).unwrap();
        note(directory.path(), three).unwrap();
        assert_eq!(noted(directory.path()).unwrap(), three);
        let kept = kept_from(directory.path(), OriginId(1));
        assert_eq!(kept, Some(Position(9)));
    }
}
