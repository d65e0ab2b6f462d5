//! What a backup holds.

use super::failed;
use super::fetch::kind;
use crate::error::{CliResult, chain};
use crate::output::{self, Format, table, thousands};
use meridian_backup::{BackupSet, FileRecord, format_time};
use serde_json::json;
use std::path::Path;

pub fn list(directory: &Path, format: Format) -> CliResult {
    let set = BackupSet::open(directory).map_err(|error| failed(&error))?;
    let manifest = set.manifest();
    if format == Format::Json {
        let spans = manifest.coverage().into_iter().map(
            |span| json!({ "from": format_time(span.from), "until": format_time(span.until) }),
        );
        return output::json(&json!({
            "dataset": manifest.dataset,
            "covers": spans.collect::<Vec<_>>(),
            "files": manifest.files,
        }));
    }
    let rows: Vec<_> = manifest.files.iter().map(row).collect();
    output::line(&table(
        &["file", "region", "count", "bytes", "until"],
        &rows,
    ))?;
    for span in manifest.coverage() {
        output::talk(&format!("dataset {} as of {span}", manifest.dataset));
    }
    Ok(())
}

fn row(record: &FileRecord) -> Vec<String> {
    vec![
        record.name.clone(),
        record.region.clone(),
        thousands(record.count),
        thousands(record.bytes),
        format_time(record.until),
    ]
}

/// A file that was added.
pub fn line(record: &FileRecord) -> String {
    format!(
        "{}: {} {}, {} bytes, up to {}",
        record.name,
        thousands(record.count),
        match kind(record) {
            "snapshot" => "records",
            other => other,
        },
        thousands(record.bytes),
        format_time(record.until)
    )
}

pub fn verify(directory: &Path, format: Format) -> CliResult {
    let set = BackupSet::open(directory).map_err(|error| failed(&error))?;
    let (mut files, mut damaged) = (0, Vec::new());
    set.verify(|record, read| {
        files += 1;
        let said = read
            .as_ref()
            .map_or_else(|error| chain(error), |()| "whole".to_owned());
        if format == Format::Text {
            output::talk(&format!("{}: {said}", record.name));
        }
        if let Err(error) = read {
            damaged.push((record.name.clone(), said, error));
        }
    });
    let verdict = match damaged.is_empty() {
        true => "whole",
        false => "damaged",
    };
    match format {
        Format::Json => {
            let damaged = damaged.iter();
            let damaged =
                damaged.map(|(file, reason, _)| json!({ "file": file, "reason": reason }));
            let damaged: Vec<_> = damaged.collect();
            output::json(&json!({ "files": files, "verdict": verdict, "damaged": damaged }))?;
        }
        Format::Text if damaged.is_empty() => {
            output::line(&format!("{files} files, all whole"))?;
        }
        Format::Text => {
            output::line(&format!("{files} files, {} damaged", damaged.len()))?;
        }
    }
    match damaged.first() {
        Some((_, _, first)) => Err(failed(first)),
        None => Ok(()),
    }
}
