//! `meridian regions aside`: what an evicted region alone held.

use crate::client::{Api, encode};
use crate::error::CliResult;
use crate::everywhere::at_once;
use crate::output::{self, Format, table};
use crate::target::Target;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The verbs.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian regions aside list")]
pub enum Verb {
    /// The transactions that were set aside, and what became of them
    List(Listing),
    /// One of them in full
    #[command(
        after_help = "Example:\n  meridian regions aside show main-1f00c5a2b3d4e5f6-17 --region eu-west-1"
    )]
    Show(One),
    /// Write one again, over what its rows are now
    #[command(
        after_help = "Example:\n  meridian regions aside resubmit main-1f00c5a2b3d4e5f6-17 --region eu-west-1"
    )]
    Resubmit(One),
    /// Give one up for good
    #[command(
        after_help = "Example:\n  meridian regions aside drop main-1f00c5a2b3d4e5f6-17 --region eu-west-1"
    )]
    Drop(One),
}

/// `meridian regions aside list`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks every region; each shows what it set aside when it joined anew.\n\nExample:\n  meridian regions aside list"
)]
pub struct Listing {
    #[command(flatten)]
    target: Target,
}

/// One transaction.
#[derive(Debug, Args)]
pub struct One {
    /// Its id, as `list` shows it
    id: String,
    #[command(flatten)]
    target: Target,
}

/// What a region set aside.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    aside: Vec<Kept>,
}

/// A transaction set aside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    region: String,
    id: String,
    dataset: String,
    committed_at: String,
    state: String,
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caution: Option<String>,
    rows: Vec<String>,
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::List(listing) => list(listing, format),
        Verb::Show(one) => {
            let found = holder(one)?;
            let shown: Value = found.get(&path(one, ""))?.json()?;
            output::json(&shown)
        }
        Verb::Resubmit(one) => act(one, "POST", "/resubmit", "written again", format),
        Verb::Drop(one) => act(one, "DELETE", "", "given up", format),
    }
}

fn list(listing: &Listing, format: Format) -> CliResult {
    let mut kept = Vec::new();
    for found in everywhere(&listing.target)? {
        match found {
            Ok(found) => kept.extend(found),
            Err(error) => output::talk(&format!("warning: {}", error.message())),
        }
    }
    if format == Format::Json {
        return output::json(&kept);
    }
    if kept.is_empty() {
        output::talk("nothing is set aside");
        return Ok(());
    }
    let rows: Vec<_> = kept
        .iter()
        .map(|kept| {
            vec![
                kept.region.clone(),
                kept.id.clone(),
                kept.committed_at.clone(),
                kept.rows.join(" "),
                kept.state.clone(),
                why(kept),
            ]
        })
        .collect();
    let head = ["region", "id", "committed at", "rows", "state", "why"];
    output::line(&table(&head, &rows))
}

fn why(kept: &Kept) -> String {
    let texts = [&kept.reason, &kept.caution];
    let texts: Vec<&str> = texts.into_iter().flatten().map(String::as_str).collect();
    texts.join("; ")
}

/// What each region set aside.
fn everywhere(target: &Target) -> CliResult<Vec<CliResult<Vec<Kept>>>> {
    let regions = target.all_at_a_glance()?;
    Ok(at_once(regions, |api| of_region(&api)))
}

fn of_region(api: &Api) -> CliResult<Vec<Kept>> {
    let page: Page = api.get("/v1/aside")?.json()?;
    let named = page.aside.into_iter().map(|kept| Kept {
        region: api.name().to_owned(),
        ..kept
    });
    Ok(named.collect())
}

/// The region that set it aside, or the first one, which will say that it doesn't know it.
fn holder(one: &One) -> CliResult<Api> {
    let mut regions = one.target.all()?;
    let knows = |api: &Api| {
        api.get(&path(one, ""))
            .is_ok_and(|reply| reply.is_success())
    };
    let at = regions.iter().position(knows).unwrap_or_default();
    Ok(regions.swap_remove(at))
}

fn act(one: &One, method: &str, suffix: &str, done: &str, format: Format) -> CliResult {
    let api = holder(one)?;
    let reply = api.send(method, &path(one, suffix), &[])?.success()?;
    if format == Format::Json {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        return output::json(&body);
    }
    output::line(&format!("{} is {done}", one.id))
}

fn path(one: &One, suffix: &str) -> String {
    format!("/v1/aside/{}{suffix}", encode(&one.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_region::regions_asked_at_once;
    use serde_json::json;

    #[test]
    fn a_region_that_hangs_keeps_no_other_from_being_asked() {
        let kept = |id: &str| json!({"aside": [{"id": id}]});
        let target = Target {
            api: regions_asked_at_once(["main-1f-17", "main-1f-18"].map(kept)),
            ..Target::default()
        };
        let found: CliResult<Vec<_>> = everywhere(&target).unwrap().into_iter().collect();
        assert_eq!(found.unwrap().concat().len(), 2);
    }
}
