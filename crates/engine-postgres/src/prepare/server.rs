//! What the server as a whole must be.

use super::finding::Finding;
use super::judge::Plan;
use super::survey::Survey;
use crate::names;

/// The major versions that this is tested with.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;

pub(super) fn check(survey: &Survey, plan: &Plan) -> Vec<Finding> {
    let mut found = vec![
        version(survey),
        wal_level(survey),
        encoding(survey),
        slots(survey, plan),
        senders(survey, plan),
    ];
    if survey.is_in_recovery {
        found.push(
            Finding::refused(
                "primary",
                "server",
                "the server is a standby, which takes no writes",
            )
            .hint("name the primary, or an endpoint that follows it"),
        );
    }
    found
}

fn version(survey: &Survey) -> Finding {
    let major = survey.version / 10_000;
    let said = format!("PostgreSQL {}.{}", major, survey.version % 10_000);
    if VERSIONS.contains(&major) {
        return Finding::ok("version", "server", said);
    }
    let reason = format!(
        "{said} isn't among the versions that this build knows, {} to {}",
        VERSIONS.start(),
        VERSIONS.end()
    );
    Finding::refused("version", "server", reason)
}

fn wal_level(survey: &Survey) -> Finding {
    if survey.wal_level == "logical" {
        return Finding::ok("wal_level", "server", "logical");
    }
    let reason = format!(
        "wal_level is {}: the WAL doesn't say what became of rows",
        survey.wal_level
    );
    Finding::refused("wal_level", "server", reason)
        .hint(if survey.is_rds {
            "set rds.logical_replication = 1 in the parameter group and reboot the instance"
        } else {
            "a superuser runs this, and the server is restarted"
        })
        .with((!survey.is_rds).then(|| "ALTER SYSTEM SET wal_level = 'logical'".to_owned()))
}

fn encoding(survey: &Survey) -> Finding {
    let said = &survey.encoding;
    if said != "SQL_ASCII" {
        return Finding::ok("encoding", "server", said.clone());
    }
    Finding::refused(
        "encoding",
        "server",
        "the database's encoding is SQL_ASCII: its texts are bytes of unknown meaning",
    )
    .hint("move the data to a database whose encoding is UTF8")
}

fn slots(survey: &Survey, plan: &Plan) -> Finding {
    let slot = names::of_dataset(&plan.dataset);
    let (used, max) = (survey.slots.len(), survey.slots_max);
    if let Some(own) = survey.slots.iter().find(|other| other.name == slot) {
        return match &own.trouble {
            None => Finding::ok("replication slot", slot, "exists"),
            Some(trouble) => Finding::refused("replication slot", slot, trouble.clone()),
        };
    }
    if i64::try_from(used).is_ok_and(|used| used < max) {
        return Finding::ok(
            "replication slot",
            "server",
            format!("{used} of {max} are taken (max_replication_slots)"),
        );
    }
    Finding::refused(
        "replication slot",
        "server",
        format!("all {max} slots are taken (max_replication_slots); capture needs one"),
    )
    .hint("drop a slot that nobody reads, or raise max_replication_slots and restart the server")
}

fn senders(survey: &Survey, plan: &Plan) -> Finding {
    let (used, max) = (survey.senders, survey.senders_max);
    let slot = names::of_dataset(&plan.dataset);
    let reads = survey
        .slots
        .iter()
        .any(|other| other.name == slot && other.is_active);
    if reads || used < max {
        return Finding::ok(
            "WAL senders",
            "server",
            format!("{used} of {max} are taken (max_wal_senders)"),
        );
    }
    Finding::refused(
        "WAL senders",
        "server",
        format!("all {max} are taken (max_wal_senders); capture needs one"),
    )
    .hint("raise max_wal_senders and restart the server")
}
