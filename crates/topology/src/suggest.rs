//! "Did you mean": the known word nearest to one that is not known.

/// The candidate within a third of the word's length in edits, if any; the first of equals.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let edits_max = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many of the words that are known a hint names.
const NAMED_MAX: usize = 10;

/// What to do about a word that is none of the known ones: the one that was meant, perhaps, and which
/// there are. `what` is what they are, as in "the regions are".
#[must_use]
pub fn did_you_mean<'a>(
    word: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let more = known.len().saturating_sub(NAMED_MAX);
    let mut named = known[..known.len() - more].to_vec();
    let more = (more > 0).then(|| format!("{more} more"));
    named.extend(more.as_deref());
    let all = match named.as_slice() {
        [] => format!("there are no {what}"),
        named => format!("the {what} are {}", named.join(", ")),
    };
    match nearest(word, known) {
        Some(near) => format!("did you mean {near:?}? {all}"),
        None => all,
    }
}

/// Levenshtein's distance: insertions, deletions and substitutions from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("zone", "zone", 0),
            ("zoen", "zone", 2),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["zone", "region", "dataset"];
        assert_eq!(nearest("regions", known), Some("region"));
        assert_eq!(nearest("data-set", known), Some("dataset"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn names_what_is_near_and_what_there_is_but_not_all_of_many() {
        let hint = |word: &str, known: &[&str]| did_you_mean(word, "tables", known.iter().copied());
        let two = ["carts", "orders"];
        let near = "did you mean \"orders\"? the tables are carts, orders";
        assert_eq!(hint("ordres", &two), near);
        assert_eq!(hint("stock", &two), "the tables are carts, orders");
        assert_eq!(hint("stock", &[]), "there are no tables");
        let many: Vec<_> = (10..25).map(|number| format!("t{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let all = hint("elsewhere", &many);
        assert!(all.ends_with("t18, t19, 5 more"), "{all}");
        assert_eq!(hint("elsewhere", &many[..10]).matches(',').count(), 9);
        assert!(hint("t24x", &many).starts_with("did you mean \"t24\"?"));
    }
}
