//! What goes wrong for a person: a message, a blank line, a hint, and an exit code that a script can
//! tell apart. The codes are documented in `docs/reference/exit-codes.md`; a test holds the two
//! together.

use serde_json::{Map, Value};
use std::error::Error;
use std::fmt;
use std::io;

/// The exit codes, besides 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The reader of stdout went away; there is nobody to tell, and nothing is wrong.
    Quiet = 0,
    /// It was asked for rightly and did not succeed.
    Failure = 1,
    /// The command line or a configuration file is wrong; nothing was tried.
    Usage = 2,
    /// No running system was found, or the region does not answer.
    Unreachable = 3,
    /// The row that was asked for is not there.
    NotFound = 4,
    /// The row that was asked for has siblings.
    Siblings = 5,
    /// The write is done, but fewer regions than promised are known to hold it.
    Unconfirmed = 6,
    /// Interrupted by Ctrl-C or SIGTERM before the work was done.
    Interrupted = 130,
}

/// Why a verb did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    exit: Exit,
    message: String,
    hint: Option<String>,
    /// The message begins with `error:` and has its hints in it.
    renders_itself: bool,
    /// The problem of the region that refused, where one did.
    problem: Option<Box<Map<String, Value>>>,
}

impl CliError {
    /// An error with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            renders_itself: false,
            problem: None,
        }
    }

    /// [`Exit::Failure`].
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// [`Exit::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error in a file of the user's whose text already names place, reason and hint for each
    /// fault.
    pub fn rendered(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            renders_itself: true,
            ..Self::new(exit, text)
        }
    }

    /// The same with a cause and all the cause's causes after the message.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        self.message = format!("{}: {}", self.message, chain(cause));
        self
    }

    /// The same with the place it is about before the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as a region's refusal, with its problem.
    #[must_use]
    pub fn of_region(mut self, problem: Option<Map<String, Value>>) -> Self {
        self.problem = problem.map(Box::new);
        self
    }

    /// The problem of the region that refused, where one did.
    pub fn problem(&self) -> Option<&Map<String, Value>> {
        self.problem.as_deref()
    }

    /// Whether the message is all that a person is shown, its hints among it.
    pub fn renders_itself(&self) -> bool {
        self.renders_itself
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What happened, without hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The process's exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// An error and its causes in one line, each said once: some libraries repeat the cause's text.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.renders_itself {
            f.write_str("error: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// For writing to stdout: a closed pipe ends the work without a word.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Quiet, "");
        }
        Self::failure("write to stdout").because(&error)
    }
}

/// What verbs return.
pub type CliResult<T = ()> = Result<T, CliError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_blank_line_hint() {
        let cause = io::Error::other("disk on fire");
        let error = CliError::failure("write a")
            .because(&cause)
            .hint("put it out");
        assert_eq!(
            error.to_string(),
            "error: write a: disk on fire\n\nhint: put it out"
        );
    }

    #[test]
    fn a_text_that_renders_itself_is_left_alone() {
        let error = CliError::rendered(Exit::Usage, "error: f:1:1: no\n  hint: yes");
        assert_eq!(error.to_string(), "error: f:1:1: no\n  hint: yes");
    }

    #[test]
    fn a_closed_pipe_is_nobodys_fault() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Quiet);
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../docs/reference/exit-codes.md");
        for code in [
            Exit::Quiet,
            Exit::Failure,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::Siblings,
            Exit::Unconfirmed,
            Exit::Interrupted,
        ] {
            assert!(page.contains(&format!("| {} |", code as u8)), "{code:?}");
        }
    }
}
