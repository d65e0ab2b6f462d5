//! Taking a backup.

use super::failed;
use crate::client::{Api, Reply, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, thousands};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_backup::{BackupError, BackupSet, Content, FileKind, FileRecord, Writer};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How often a call is made again that got no answer, or that the region was too busy for.
const TRIES: u32 = 5;
/// Entries go into a new file at this size: what was fetched stays, whatever happens later.
const ENTRIES_FILE_BYTES: u64 = 64 << 20;

pub fn run(api: &Api, dataset: &str, directory: &Path, is_full: bool, format: Format) -> CliResult {
    let mut set = BackupSet::open_or_begin(directory, dataset).map_err(|error| failed(&error))?;
    is_of_the_same_region(api, &set, directory, is_full)?;
    let mut added = Vec::new();
    let fetch = Fetch { api, dataset };
    let goes_on = !is_full && fetch.entries(&mut set, &mut added)?;
    if !goes_on {
        added.push(fetch.snapshot(&mut set)?);
    }
    if format == Format::Json {
        return output::json(&serde_json::json!({ "dataset": dataset, "added": added }));
    }
    for record in &added {
        output::line(&super::show::line(record))?;
    }
    Ok(())
}

/// Whether the region is the one that the backup's last file came from. Another one's log is another,
/// and what is covered would end with the last run: that is to be wanted.
fn is_of_the_same_region(api: &Api, set: &BackupSet, directory: &Path, is_full: bool) -> CliResult {
    let status: Value = api.get("/v1/status")?.json()?;
    let last = set.manifest().files.last().map(|file| &file.region);
    let (Some(last), Some(region)) = (last, status["region"].as_str()) else {
        return Ok(());
    };
    if last == region {
        return Ok(());
    }
    if is_full {
        output::talk(&format!(
            "warning: the backup so far is of region {last}; between its last run and this snapshot \
             of region {region} no time is covered"
        ));
        return Ok(());
    }
    Err(CliError::failure(format!(
        "the backup in {} was last taken from region {last}, and this is region {region}",
        directory.display()
    ))
    .hint(format!(
        "name {last} with --region, or give each region a directory of its own; --full goes on with \
         {region}, by a new snapshot"
    )))
}

struct Fetch<'a> {
    api: &'a Api,
    dataset: &'a str,
}

impl Fetch<'_> {
    /// Adds what was written since; `false` where only a new snapshot will do.
    fn entries(&self, set: &mut BackupSet, added: &mut Vec<FileRecord>) -> CliResult<bool> {
        loop {
            let Some(mut writer) = Writer::entries(set).map_err(|error| failed(&error))? else {
                return Ok(false);
            };
            let progress = progress("entries");
            while !writer.is_whole() && writer.bytes() < ENTRIES_FILE_BYTES {
                let query = format!("position={}", writer.position());
                let reply = self.get(&query)?;
                if reply.status == 410 {
                    output::talk("the region's log no longer reaches back: taking a new snapshot");
                    return Ok(false);
                }
                let reply = reply.success()?;
                match writer.take(&reply.body) {
                    Ok(_) => {}
                    Err(BackupError::AnotherLog) => {
                        output::talk(
                            "another incarnation of the region than before: taking a new snapshot",
                        );
                        return Ok(false);
                    }
                    Err(error) => return Err(failed(&error)),
                }
                show(&progress, &writer);
            }
            let is_whole = writer.is_whole();
            added.push(writer.finish().map_err(|error| failed(&error))?);
            progress.finish_and_clear();
            if is_whole {
                return Ok(true);
            }
        }
    }

    fn snapshot(&self, set: &mut BackupSet) -> CliResult<FileRecord> {
        let id = fastrand::u64(..);
        let progress = progress("records");
        let mut writer = Writer::snapshot(set).map_err(|error| failed(&error))?;
        let mut after: Option<String> = None;
        while !writer.is_whole() {
            let mut query = format!("snapshot={id:016x}");
            if let Some(after) = &after {
                let _ = write!(query, "&after={after}");
            }
            let reply = self.get(&query)?.success()?;
            let block = writer.take(&reply.body).map_err(|error| failed(&error))?;
            if let Content::Snapshot(part) = &block.content
                && let Some(last) = part.records.last()
            {
                after = Some(last.key.iter().map(|byte| format!("{byte:02x}")).collect());
            }
            show(&progress, &writer);
        }
        progress.finish_and_clear();
        writer.finish().map_err(|error| failed(&error))
    }

    /// A call that changes nothing is made again where it got no answer.
    fn get(&self, query: &str) -> CliResult<Reply> {
        let path = format!("/v1/datasets/{}/backup?{query}", encode(self.dataset));
        let mut tried = 0;
        loop {
            tried += 1;
            let pause = Duration::from_millis(200) * tried;
            match self.api.get(&path) {
                Ok(reply) if reply.status != 503 || tried == TRIES => return Ok(reply),
                Err(error) if tried == TRIES => return Err(CliError::from(error)),
                _ => std::thread::sleep(pause),
            }
        }
    }
}

fn progress(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
        .expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_message(what.to_owned());
    bar
}

fn show(progress: &ProgressBar, writer: &Writer<'_>) {
    let count = thousands(writer.count());
    let mebibytes = writer.bytes() >> 20;
    progress.set_message(format!("{count} fetched, {mebibytes} MiB"));
    progress.tick();
}

/// What a file holds, in a word.
pub fn kind(record: &FileRecord) -> &'static str {
    match record.kind {
        FileKind::Snapshot => "snapshot",
        FileKind::Entries => "entries",
    }
}
