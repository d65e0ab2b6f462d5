//! What a Markdown page points to.

/// Where a path of this repository begins.
const ROOTS: [&str; 7] = [
    "crates/",
    "docs/",
    "bench/",
    "fuzz/",
    "examples/",
    ".ci/",
    ".config/",
];

/// The code spans of a page that are paths of this repository, with a directory in front.
#[must_use]
pub fn code_paths(page: &str) -> Vec<&str> {
    let spans = prose(page).flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |span: &&str| {
        ROOTS.iter().any(|root| span.starts_with(root))
            && span
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    spans.filter(is_path).collect()
}

/// The relative targets of a page's links, without their anchors.
#[must_use]
pub fn links(page: &str) -> Vec<&str> {
    let targets = prose(page).flat_map(|line| line.split("](").skip(1));
    let targets = targets.filter_map(|rest| rest.split(')').next());
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    relative
        .filter_map(|target| target.split('#').next())
        .collect()
}

/// The lines outside fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "See `crates/a/b.rs`, `crates/*` and `cargo run`, [this](docs/x.md#part),\n\
                        [that](https://example.org/docs/y.md), [here](#part).\n\
                        ```\n`crates/fenced` [no](z.md)\n```\n`docs/w.md`";

    #[test]
    fn paths_are_spans_below_a_known_root() {
        assert_eq!(code_paths(PAGE), ["crates/a/b.rs", "docs/w.md"]);
    }

    #[test]
    fn links_are_relative_and_without_anchor() {
        assert_eq!(links(PAGE), ["docs/x.md"]);
    }
}
