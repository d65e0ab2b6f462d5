//! `docs/reference/cli.md`, generated from the command line's own help. The test fails when the two
//! differ; `UPDATE=1 cargo test -p meridian-cli reference` writes the page.

use crate::arguments::Arguments;
use clap::{Command, CommandFactory};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
const HEAD: &str = "# The `meridian` command line\n\nGenerated from the program's own help. Exit codes: [exit-codes.md](exit-codes.md).\n";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut command = Arguments::command().term_width(96);
    command.build();
    describe(&mut command, &mut page);
    page
}

fn describe(command: &mut Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    write!(page, "\n## `{name}`\n\n").unwrap();
    let help = command.render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    write!(page, "```text\n{}\n```\n", lines.join("\n").trim()).unwrap();
    for verb in command.get_subcommands_mut() {
        if !verb.is_hide_set() && verb.get_name() != "help" {
            describe(verb, page);
        }
    }
}

#[test]
fn the_reference_is_what_the_program_says() {
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/cli.md is out of date\n\nhint: UPDATE=1 cargo test -p meridian-cli reference"
    );
}

#[test]
fn every_verb_has_an_example() {
    fn check(command: &Command) {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        assert!(help.contains("Example"), "{}", command.get_name());
        command.get_subcommands().for_each(check);
    }
    check(&Arguments::command());
}

/// A line that was broken by hand is broken again by a narrower terminal.
#[test]
fn prose_is_wrapped_by_the_terminal_alone() {
    fn check(command: &Command) {
        let help = command.get_after_help().map(ToString::to_string);
        for paragraph in help.unwrap_or_default().split("\n\n") {
            let is_prose = !paragraph.starts_with("Example");
            assert!(!is_prose || !paragraph.contains('\n'), "{paragraph}");
        }
        command.get_subcommands().for_each(check);
    }
    check(&Arguments::command());
}

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}
