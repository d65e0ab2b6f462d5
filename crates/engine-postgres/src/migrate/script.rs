//! A migration's file: steps, and the statements of each.
//!
//! A line that begins with `-- step` (a title may follow after a colon) begins a step. Each step runs
//! as one transaction in each region, and in every region before the next one begins. Statements are
//! told apart by their semicolons, as `psql` does it: strings, quoted names, dollar quotes, comments
//! and the bodies of `BEGIN ATOMIC` are passed over.

use super::lexer::{Lexer, Token};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A migration as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What tells the file from one that was edited: the SHA-256 of its text, in hex.
    pub checksum: String,
    /// Its steps, at least one.
    pub steps: Vec<Step>,
}

/// What runs at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What the file calls it.
    pub title: Option<String>,
    /// Its statements, at least one.
    pub statements: Vec<Statement>,
}

/// One SQL statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// As it was written, without its semicolon.
    pub sql: String,
    /// The line of the file that it begins in, from 1.
    pub line: usize,
    /// Its words that aren't quoted, in small letters.
    words: Vec<String>,
}

/// A file that is no migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// There is nothing in it.
    #[error("it has no statement")]
    Empty,
    /// A string, a comment or the like doesn't end.
    #[error("line {line}: {what} doesn't end")]
    Unclosed {
        /// Where it begins.
        line: usize,
        /// What.
        what: &'static str,
    },
    /// A step begins where a statement hasn't ended.
    #[error("line {line}: a step begins before the statement above it ended")]
    Unfinished {
        /// Where the step begins.
        line: usize,
    },
    /// It begins or ends transactions itself.
    #[error("line {line}: {word} is Meridian's to say")]
    Control {
        /// Where.
        line: usize,
        /// The word.
        word: String,
    },
    /// A command of `psql`.
    #[error("line {line}: {command} is a command of psql, not SQL")]
    Meta {
        /// Where.
        line: usize,
        /// The command.
        command: String,
    },
    /// A statement that can't run in a transaction has others beside it.
    #[error("line {line}: this can't run in a transaction, and others stand in its step")]
    NotAlone {
        /// Where.
        line: usize,
    },
}

impl ScriptError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "write SQL statements into it, each ending with a semicolon",
            Self::Unclosed { .. } => "is a quote missing?",
            Self::Unfinished { .. } => "end the statement with a semicolon",
            Self::Control { .. } => {
                "leave it out: each step is one transaction; a line `-- step` begins the next"
            }
            Self::Meta { .. } => "write it as SQL",
            Self::NotAlone { .. } => "give it a step of its own: a line `-- step` before and after",
        }
    }
}

/// What begins or ends transactions.
const CONTROL: &[&str] = &[
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "prepare",
];

impl Script {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ScriptError`].
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut steps = vec![Step::default()];
        let mut reading = Reading::default();
        let mut lexer = Lexer::new(text);
        while let Some(token) = lexer.next()? {
            match token {
                Token::Step { title, line } => {
                    if reading.has_begun() {
                        return Err(ScriptError::Unfinished { line });
                    }
                    reading = Reading::default();
                    steps.push(Step {
                        title,
                        statements: Vec::new(),
                    });
                }
                Token::Meta { command, line } if !reading.has_begun() => {
                    return Err(ScriptError::Meta { line, command });
                }
                Token::End if !reading.is_in_body() => {
                    let step = steps.last_mut().expect("the first is there");
                    step.statements.extend(reading.finish()?);
                    reading = Reading::default();
                }
                Token::Comment(text) => reading.passes(text),
                Token::Word { text, line } => reading.word(text, line),
                Token::Meta { command, line } => reading.other(&command, line),
                Token::Other { text, line } => reading.other(text, line),
                Token::End => reading.other(";", lexer.line()),
            }
        }
        let step = steps.last_mut().expect("the first is there");
        step.statements.extend(reading.finish()?);
        steps.retain(|step| !step.statements.is_empty());
        if steps.is_empty() {
            return Err(ScriptError::Empty);
        }
        for step in &steps {
            let apart = step.statements.iter().find(|it| !it.is_transactional());
            if let Some(statement) = apart.filter(|_| step.statements.len() > 1) {
                return Err(ScriptError::NotAlone {
                    line: statement.line,
                });
            }
        }
        Ok(Self {
            checksum: checksum(text),
            steps,
        })
    }
}

fn checksum(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all");
        hex
    })
}

impl Step {
    /// Whether it runs in a transaction; if not, it is one statement.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.statements.iter().all(Statement::is_transactional)
    }

    /// Whether it looks as if it changed rows and nothing else: it runs in one region then, and
    /// replicates.
    #[must_use]
    pub fn writes_rows(&self) -> bool {
        self.statements.iter().any(Statement::writes_rows) && self.leaves_schema_alone()
    }

    /// Whether nothing in it defines anything, as far as its words tell.
    #[must_use]
    pub fn leaves_schema_alone(&self) -> bool {
        const OTHERS: &[&str] = &["select", "set", "do", "call", "lock", "values"];
        self.statements
            .iter()
            .all(|it| it.writes_rows() || OTHERS.contains(&it.first()))
    }

    /// Whether a statement of it drops something.
    #[must_use]
    pub fn drops(&self) -> bool {
        self.statements.iter().any(|it| it.first() == "drop")
    }
}

impl Statement {
    /// Whether the server lets it run in a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        let has = |word: &str| self.words.iter().any(|it| it == word);
        let second = self.words.get(1).map_or("", String::as_str);
        match self.first() {
            "vacuum" => false,
            "create" | "drop" => {
                let is_apart = matches!(second, "database" | "tablespace" | "subscription");
                !(is_apart || (has("index") && has("concurrently")))
            }
            "reindex" => !(has("concurrently") || matches!(second, "database" | "system")),
            "alter" => second != "system" && !(has("detach") && has("concurrently")),
            _ => true,
        }
    }

    fn writes_rows(&self) -> bool {
        const WRITE: &[&str] = &["insert", "update", "delete", "merge", "truncate"];
        let is_with = self.first() == "with";
        WRITE.contains(&self.first())
            || (is_with && self.words.iter().any(|it| WRITE.contains(&it.as_str())))
    }

    fn first(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// A statement as far as it was read.
#[derive(Debug, Default)]
struct Reading<'t> {
    text: String,
    line: usize,
    words: Vec<String>,
    /// How many `BEGIN ATOMIC` and `CASE` are open.
    depth: usize,
    last_word: &'t str,
}

impl<'t> Reading<'t> {
    fn has_begun(&self) -> bool {
        self.line > 0
    }

    /// A semicolon ends a statement of the body then, not this one.
    fn is_in_body(&self) -> bool {
        self.depth > 0
    }

    fn word(&mut self, text: &'t str, line: usize) {
        self.other(text, line);
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if (is("atomic") && self.last_word.eq_ignore_ascii_case("begin"))
            || (self.depth > 0 && is("case"))
        {
            self.depth += 1;
        } else if self.depth > 0 && is("end") {
            self.depth -= 1;
        }
        self.words.push(text.to_ascii_lowercase());
        self.last_word = text;
    }

    fn other(&mut self, text: &str, line: usize) {
        if !self.has_begun() {
            if text.trim().is_empty() {
                return;
            }
            self.line = line;
        }
        self.text.push_str(text);
    }

    /// A comment: a blank in its place, so that the server's word of a place stays near.
    fn passes(&mut self, text: &str) {
        if self.has_begun() {
            self.text.push_str(text);
        }
    }

    fn finish(self) -> Result<Option<Statement>, ScriptError> {
        if !self.has_begun() {
            return Ok(None);
        }
        let statement = Statement {
            sql: self.text.trim_end().to_owned(),
            line: self.line,
            words: self.words,
        };
        let first = statement.first();
        if CONTROL.contains(&first) {
            return Err(ScriptError::Control {
                line: statement.line,
                word: first.to_ascii_uppercase(),
            });
        }
        Ok(Some(statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Vec<String>> {
        let script = Script::parse(text).unwrap();
        let sql = |step: &Step| step.statements.iter().map(|it| it.sql.clone()).collect();
        script.steps.iter().map(sql).collect()
    }

    #[test]
    fn statements_end_with_their_semicolons_and_nowhere_else() {
        let text = "-- first; of all\n\
            CREATE TABLE \"a;b\" (x text DEFAULT 'it''s;', y text DEFAULT E'\\';');\n\
            /* a; /* nested; */ ; */ CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$\n\
            BEGIN RETURN 1; END $body$;\n\
            CREATE FUNCTION g(n int) RETURNS int BEGIN ATOMIC SELECT CASE n WHEN 1 THEN 2 END; SELECT 3; END;\n\
            SELECT $1;;";
        let steps = parsed(text);
        assert_eq!(steps.len(), 1);
        let starts: Vec<_> = steps[0].iter().map(|sql| &sql[..17]).take(3).collect();
        assert_eq!(
            starts,
            [
                "CREATE TABLE \"a;b",
                "CREATE FUNCTION f",
                "CREATE FUNCTION g"
            ]
        );
        assert_eq!(steps[0][3], "SELECT $1");
        assert!(steps[0][2].ends_with("SELECT 3; END"), "{}", steps[0][2]);
        assert_eq!(steps[0].len(), 4);
    }

    #[test]
    fn a_line_begins_a_step_and_may_name_it() {
        let text = "ALTER TABLE t ADD c int;\n-- step: fill it\nUPDATE t SET c = 1;\n\
            -- step\nCREATE INDEX CONCURRENTLY i ON t (c);\n-- stepping stones aren't steps\n-- step\n";
        let script = Script::parse(text).unwrap();
        let titles: Vec<_> = script.steps.iter().map(|it| it.title.as_deref()).collect();
        assert_eq!(titles, [None, Some("fill it"), None]);
        let rows: Vec<_> = script.steps.iter().map(Step::writes_rows).collect();
        assert_eq!(rows, [false, true, false]);
        let within: Vec<_> = script.steps.iter().map(Step::is_transactional).collect();
        assert_eq!(within, [true, true, false]);
        assert_eq!(script.steps[2].statements[0].line, 5);
        let edited = Script::parse(&text.replace("= 1", "= 2")).unwrap();
        assert_ne!(edited.checksum, script.checksum);
    }

    #[test]
    fn what_is_no_migration_is_told_with_its_line() {
        let error = |text: &str| Script::parse(text).unwrap_err();
        assert_eq!(error("-- nothing\n;"), ScriptError::Empty);
        assert_eq!(
            error("SELECT 1;\nSELECT 'a"),
            ScriptError::Unclosed {
                line: 2,
                what: "a string"
            }
        );
        assert_eq!(
            error("SELECT 1\n-- step\n"),
            ScriptError::Unfinished { line: 2 }
        );
        let word = "COMMIT".to_owned();
        assert_eq!(
            error("SELECT 1;\n\ncommit;"),
            ScriptError::Control { line: 3, word }
        );
        let command = "\\d".to_owned();
        assert_eq!(
            error("SELECT 1;\n\\d t\n"),
            ScriptError::Meta { line: 2, command }
        );
        assert_eq!(
            error("SELECT 1;\nVACUUM t;"),
            ScriptError::NotAlone { line: 2 }
        );
        for alone in ["DROP INDEX CONCURRENTLY i", "REINDEX TABLE CONCURRENTLY t"] {
            assert!(!Script::parse(alone).unwrap().steps[0].is_transactional());
        }
    }
}
