//! `meridian shift` and `meridian drain`: what people want of the regions.
//!
//! Thin: a region stages, checks and applies. Any region will do, so the first that answers is asked.

mod list;
mod set;
mod undo;

pub mod drain;

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, one_line, table};
use crate::target::Target;
use clap::{Args, Subcommand};
use nix::unistd::{Uid, User, getuid};
use serde_json::{Value, json};

/// `meridian shift`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A change is staged and shown, then applied; every region goes by it as soon as it hears of it. The last healthy region of a route can't be drained, whatever is forced.\n\nExample:\n  meridian shift set eu-west-1=25% --why \"a new release\""
)]
pub enum Verb {
    /// Stage what regions are to take, and show what it changes
    Set(set::Options),
    /// Put what was staged into effect
    Apply(set::ApplyOptions),
    /// Forget what was staged
    Discard(set::DiscardOptions),
    /// Take back what still stands of a change
    Undo(undo::Options),
    /// What is wanted of the regions, and what is staged
    List(list::Options),
    /// Who changed what when, and why
    History(list::HistoryOptions),
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Set(options) => set::run(options, format),
        Verb::Apply(options) => set::apply(options, format),
        Verb::Discard(options) => set::discard(options, format),
        Verb::Undo(options) => undo::run(options, format),
        Verb::List(options) => list::run(options, format),
        Verb::History(options) => list::history(options, format),
    }
}

/// Who changes something.
#[derive(Clone, Debug, Args)]
struct Signed {
    /// Who wants it [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

impl Signed {
    fn who(&self) -> String {
        let is_said = |who: &String| !who.is_empty();
        let given = self.who.clone().filter(is_said);
        let user = || {
            let mut names = ["USER", "LOGNAME"].iter();
            names.find_map(|name| std::env::var(name).ok().filter(is_said))
        };
        given.or_else(user).unwrap_or_else(|| name_of(getuid()))
    }
}

/// What the system calls a user; one of whom it knows no name is `uid:NUMBER`.
fn name_of(user: Uid) -> String {
    let known = User::from_uid(user).ok().flatten();
    known.map_or_else(|| format!("uid:{user}"), |known| known.name)
}

/// A region that answers.
fn somewhere(target: &Target) -> CliResult<Api> {
    Ok(target.first_that_answers("/v1/shifts")?.0)
}

/// Stages changes in a region; what it says.
fn stage(api: &Api, changes: &[Value], who: &str, why: &str) -> CliResult<Value> {
    let body = json!({"changes": changes, "who": who, "why": why}).to_string();
    api.send("POST", "/v1/shifts", body.as_bytes())?.json()
}

/// Applies a stage; what the region says.
fn apply(api: &Api, id: &str, force: bool) -> CliResult<Value> {
    let path = format!("/v1/shifts/{}/apply", crate::client::encode(id));
    let body = json!({"force": force}).to_string();
    api.send("POST", &path, body.as_bytes())?.json()
}

/// Forgets a stage that can't be applied and that nobody was told of.
fn forget(api: &Api, id: &str) {
    // A region that doesn't answer forgets it when it restarts.
    let _ = api.send("DELETE", &format!("/v1/shifts/{id}"), &[]);
}

fn id_of(stage: &Value) -> CliResult<&str> {
    let id = stage["id"].as_str();
    id.ok_or_else(|| CliError::failure("the region replied without the stage's id"))
}

/// Shows a change that is in effect.
fn show_applied(api: &Api, applied: &Value, format: Format) -> CliResult {
    if format == Format::Json {
        return output::json(applied);
    }
    show_differences(applied)?;
    let version = applied["version"].as_str().unwrap_or("-");
    output::talk(&format!(
        "in effect in {}, and elsewhere as soon as it is heard of\ntake it back: meridian shift undo {version}",
        api.place()
    ));
    Ok(())
}

fn show_differences(change: &Value) -> CliResult {
    let lines = change["differences"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            vec![text("region"), route_of(line), text("from"), text("to")]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    output::line(&table(&["region", "route", "from", "to"], &rows))
}

/// The route that a line is about.
fn route_of(line: &Value) -> String {
    line["route"].as_str().unwrap_or("all").to_owned()
}

/// A text that somebody wrote, on one line.
fn said(of: &Value, name: &str) -> String {
    one_line(of[name].as_str().unwrap_or("-"))
}

/// A share, for people.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_as_the_system_calls_them_or_by_number() {
        assert_eq!(name_of(Uid::from_raw(0)), "root");
        // The number that stands for nobody in system calls.
        assert_eq!(name_of(Uid::from_raw(u32::MAX)), "uid:4294967295");
        let who = |who: &str| Signed {
            who: Some(who.to_owned()),
        };
        assert_eq!(who("ana").who(), "ana");
        assert!(!["", "unknown"].contains(&who("").who().as_str()));
    }
}
