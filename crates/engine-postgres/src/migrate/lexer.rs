//! SQL as tokens, as far as it takes to find where statements end.

use super::script::ScriptError;

/// A piece of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A word that isn't quoted.
    Word {
        /// The word.
        text: &'t str,
        /// Its line.
        line: usize,
    },
    /// Anything else: blanks, strings, names in quotes, signs.
    Other {
        /// As written.
        text: &'t str,
        /// The line it begins in.
        line: usize,
    },
    /// A comment, and the line's end after it.
    Comment(&'t str),
    /// A comment that begins a step.
    Step {
        /// The step's title.
        title: Option<String>,
        /// Its line.
        line: usize,
    },
    /// A command of `psql`.
    Meta {
        /// Its first word.
        command: String,
        /// Its line.
        line: usize,
    },
    /// A semicolon.
    End,
}

/// What is left of a text.
pub(super) struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            line: 1,
        }
    }

    /// The line that is read.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token<'t>>, ScriptError> {
        let line = self.line;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let rest = self.rest;
        if rest.starts_with("--") {
            let text = self.take(rest.find('\n').unwrap_or(rest.len()));
            return Ok(Some(comment(text, line)));
        }
        if rest.starts_with("/*") {
            let length = block(rest).ok_or_else(|| unclosed(line, "a comment"))?;
            return Ok(Some(Token::Comment(self.take(length))));
        }
        let text = match first {
            ';' => {
                self.take(1);
                return Ok(Some(Token::End));
            }
            '\\' => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let command = self.take(end).to_owned();
                return Ok(Some(Token::Meta { command, line }));
            }
            '\'' => self.string(false)?,
            'e' | 'E' if rest[1..].starts_with('\'') => self.string(true)?,
            '"' => {
                let length = quoted(rest, '"', false).ok_or_else(|| unclosed(line, "a name"))?;
                self.take(length)
            }
            '$' => match dollar(rest) {
                Some(tag) => {
                    let body = &rest[tag.len()..];
                    let end = body.find(tag).ok_or_else(|| unclosed(line, "a string"))?;
                    self.take(end + 2 * tag.len())
                }
                None => self.take(1),
            },
            _ if is_word(first) => {
                let is_in = |it: char| is_word(it) || it.is_ascii_digit() || it == '$';
                let end = rest.find(|it| !is_in(it)).unwrap_or(rest.len());
                let text = self.take(end);
                return Ok(Some(Token::Word { text, line }));
            }
            // A digit takes what follows with it, so that `1e'` is no string with escapes.
            _ if first.is_ascii_digit() => {
                let is_in = |it: char| it.is_ascii_alphanumeric() || it == '_';
                let end = rest.find(|it| !is_in(it)).unwrap_or(rest.len());
                self.take(end)
            }
            _ => self.take(first.len_utf8()),
        };
        Ok(Some(Token::Other { text, line }))
    }

    fn string(&mut self, has_escapes: bool) -> Result<&'t str, ScriptError> {
        let from = usize::from(has_escapes);
        let length = quoted(&self.rest[from..], '\'', has_escapes);
        let length = length.ok_or_else(|| unclosed(self.line, "a string"))?;
        Ok(self.take(from + length))
    }

    fn take(&mut self, length: usize) -> &'t str {
        let (text, rest) = self.rest.split_at(length);
        self.line += text.matches('\n').count();
        self.rest = rest;
        text
    }
}

fn unclosed(line: usize, what: &'static str) -> ScriptError {
    ScriptError::Unclosed { line, what }
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}

fn comment(text: &str, line: usize) -> Token<'_> {
    let said = text.trim_start_matches('-').trim();
    let title = match said.strip_prefix("step") {
        Some("") => None,
        Some(rest) => match rest.trim_start().strip_prefix(':') {
            Some(title) => Some(title.trim().to_owned()).filter(|title| !title.is_empty()),
            None => return Token::Comment(text),
        },
        None => return Token::Comment(text),
    };
    Token::Step { title, line }
}

/// The length of a comment, which may have others within.
fn block(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The length of what stands in quotes, which are doubled within.
fn quoted(text: &str, quote: char, has_escapes: bool) -> Option<usize> {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if has_escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

/// The opening tag of a dollar quote, if it is one: `$$` or `$name$`.
fn dollar(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 1;
    let name = &text[1..end];
    let is_name = name.chars().all(|it| is_word(it) || it.is_ascii_digit())
        && !name.starts_with(|it: char| it.is_ascii_digit());
    is_name.then(|| &text[..=end])
}
