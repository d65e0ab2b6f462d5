//! Errors in words: what happened, and apart from it what to do about it.

/// What stands before a hint in an error's text.
const HINT: &str = "\n\nhint: ";

/// An error with its causes on one line, and after it what any of them hints at.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let (mut said, mut hints) = (Vec::new(), Vec::new());
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let (what, hint) = apart(&text);
        said.push(what.to_owned());
        hints.extend(hint.map(str::to_owned));
        next = error.source();
    }
    let said = said.join(": ");
    if hints.is_empty() {
        return said;
    }
    format!("{said}{HINT}{}", hints.join("; "))
}

/// What happened and, where the text says it, what to do about it.
pub(crate) fn apart(text: &str) -> (&str, Option<&str>) {
    match text.split_once(HINT) {
        Some((what, hint)) => (what, Some(hint)),
        None => (text, None),
    }
}
