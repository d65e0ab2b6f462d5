//! A failure as programs are told of it, with `--output json`: problem details (RFC 9457) on one
//! line of stderr, the last that the command says. Stdout stays what it is without a failure: data,
//! whole or not at all.
//!
//! Where a region refused, its problem is handed on with all that it has; what this program finds
//! wrong by itself has a type of its own for each exit code. `detail` is what a person would read,
//! and `exit_code` stands beside it for whoever reads the line alone.

use crate::error::{CliError, Exit};
use clap::error::ErrorKind;
use serde_json::{Map, Value};

/// The failure as one JSON object.
pub fn as_json(error: &CliError) -> Value {
    let mut problem = error.problem().cloned().unwrap_or_default();
    if !problem.contains_key("type") {
        let (name, title) = kind(error.exit());
        problem.insert("type".to_owned(), format!("/problems/{name}").into());
        problem.insert("title".to_owned(), title.into());
    }
    let (detail, hint) = told(error);
    problem.insert("detail".to_owned(), detail.into());
    if let Some(hint) = hint {
        problem.insert("hint".to_owned(), hint.into());
    }
    problem.insert("exit_code".to_owned(), (error.exit() as u8).into());
    Value::Object(problem)
}

/// What happened, and what to do about it. Faults in a file of the user's, several perhaps, have
/// their hints between them: a line each.
fn told(error: &CliError) -> (String, Option<String>) {
    if !error.renders_itself() {
        return (
            error.message().to_owned(),
            error.hint_text().map(str::to_owned),
        );
    }
    let (mut details, mut hints) = (Vec::new(), Vec::new());
    for line in error.message().lines() {
        match line.trim_start().strip_prefix("hint: ") {
            Some(hint) => hints.push(hint),
            None => details.push(line.strip_prefix("error: ").unwrap_or(line)),
        }
    }
    let hint = (!hints.is_empty()).then(|| hints.join("\n"));
    (details.join("\n"), hint)
}

/// The name and the title of what this program finds wrong by itself.
fn kind(exit: Exit) -> (&'static str, &'static str) {
    match exit {
        Exit::Quiet => ("quiet", "Nobody reads what is written"),
        Exit::Failure => ("failure", "It did not succeed"),
        Exit::Usage => ("usage", "The command line or a file can't be"),
        Exit::Unreachable => ("unreachable", "No region answers"),
        Exit::NotFound => ("not-found", "It is not there"),
        Exit::Siblings => ("siblings", "The row has siblings"),
        Exit::Unconfirmed => ("unconfirmed", "The write is done, and not confirmed"),
        Exit::Interrupted => ("interrupted", "It was interrupted"),
    }
}

/// A region's problem out of a reply's body; none where the body is something else.
pub fn problem_of(body: &[u8]) -> Option<Map<String, Value>> {
    let members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    members.contains_key("type").then_some(members)
}

/// Whether a command line that can't be read asks for JSON all the same.
pub fn wants_json(arguments: impl IntoIterator<Item = String>) -> bool {
    let mut arguments = arguments.into_iter().take_while(|it| it != "--");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--output" => return arguments.next().is_some_and(|format| format == "json"),
            "--output=json" => return true,
            _ => {}
        }
    }
    false
}

/// A command line that can't be read, as an error; none where somebody asked for help.
pub fn of_arguments(error: &clap::Error) -> Option<CliError> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let text = error.to_string();
    let mut parts = text.trim().split("\n\n");
    let detail = parts.next().unwrap_or_default();
    let detail = detail.strip_prefix("error: ").unwrap_or(detail);
    let hints: Vec<_> = parts.map(one_line).collect();
    Some(CliError::usage(one_line(detail)).hint(hints.join(" · ")))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::Parser;
    use serde_json::json;

    #[test]
    fn a_regions_problem_is_handed_on() {
        let body = br#"{"type":"/problems/too-large","title":"Too large","status":413,"detail":"20 MB","bytes_max":7}"#;
        let error = CliError::failure("region a refused it")
            .hint("split it")
            .of_region(problem_of(body));
        let expected = json!({
            "type": "/problems/too-large",
            "title": "Too large",
            "status": 413,
            "detail": "region a refused it",
            "hint": "split it",
            "bytes_max": 7,
            "exit_code": 1,
        });
        assert_eq!(as_json(&error), expected);
        assert_eq!(problem_of(b"<html>"), None);
        assert_eq!(problem_of(b"{}"), None);
    }

    #[test]
    fn what_is_found_here_has_a_type_for_each_exit_code() {
        let error = CliError::new(Exit::NotFound, "no such row");
        let problem = as_json(&error);
        assert_eq!(problem["type"], "/problems/not-found");
        assert_eq!(problem["exit_code"], 4);
        assert!(problem.get("hint").is_none());
    }

    #[test]
    fn several_faults_of_a_file_are_a_line_each() {
        let text = "error: f:1:1: no\n  hint: yes\nerror: f:2:1: nor this\n  hint: that";
        let problem = as_json(&CliError::rendered(Exit::Usage, text));
        assert_eq!(problem["detail"], "f:1:1: no\nf:2:1: nor this");
        assert_eq!(problem["hint"], "yes\nthat");
    }

    #[test]
    fn the_wish_for_json_is_seen_in_a_command_line_that_can_not_be() {
        let wants = |line: &str| wants_json(line.split(' ').map(str::to_owned));
        assert!(wants("meridian --output json nonsense"));
        assert!(wants("meridian status --output=json"));
        assert!(!wants("meridian status --output text"));
        assert!(!wants("meridian tables put t k -- --output=json"));
        assert!(!wants("meridian status --output"));
    }

    #[test]
    fn a_slip_of_the_pen_is_told_in_one_line_with_a_hint() {
        let error = Arguments::try_parse_from(["meridian", "statsu"]).unwrap_err();
        let error = of_arguments(&error).unwrap();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(error.message(), "unrecognized subcommand 'statsu'");
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("status"), "{hint}");
        assert!(!hint.contains('\n'), "{hint}");
        let help = Arguments::try_parse_from(["meridian", "--help"]).unwrap_err();
        assert!(of_arguments(&help).is_none());
    }
}
