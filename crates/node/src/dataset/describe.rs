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
        // A cause may be part of what it caused, with the same advice.
        let hint = hint.map(str::to_owned);
        hints.extend(hint.filter(|hint| !hints.contains(hint)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_replicate::LOST_TABLES;

    #[derive(Debug, thiserror::Error)]
    #[error("the dataset can't be recovered\n\nhint: {LOST_TABLES}")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the tables were removed\n\nhint: {LOST_TABLES}")]
    struct Inner;

    #[test]
    fn what_to_do_is_said_once() {
        let text = describe(&Outer(Inner));
        let said = "the dataset can't be recovered: the tables were removed";
        assert_eq!(apart(&text), (said, Some(LOST_TABLES)));
    }
}
