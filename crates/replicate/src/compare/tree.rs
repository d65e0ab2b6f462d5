//! A section's rows as a tree of digests, of which only the leaves are kept: an inner node is the
//! sum of its leaves.

use super::Section;
use meridian_model::{Span, SpanDigest, SpanEnd};
use std::ops::Range;

/// Into how many parts a node that differs is split.
const FAN_OUT: usize = 16;

/// The tree over one section.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    span: Span,
    section: Section,
}

impl Tree {
    /// A tree over the section that was read at the start of `span`.
    pub(super) fn new(span: Span, mut section: Section) -> Self {
        if section.leaves.is_empty() {
            // Nothing is here; the peers may still have something.
            section.complete = true;
        }
        Self { span, section }
    }

    pub(super) fn root(&self) -> Range<usize> {
        0..self.section.leaves.len().max(1)
    }

    pub(super) fn digest(&self, node: &Range<usize>) -> SpanDigest {
        let leaves = self.section.leaves.iter();
        leaves
            .skip(node.start)
            .take(node.len())
            .fold(SpanDigest::default(), |sum, (_, leaf)| sum.plus(*leaf))
    }

    /// The rows of a node.
    pub(super) fn span(&self, node: &Range<usize>) -> Span {
        let last = |leaf: usize| self.section.leaves.get(leaf).map(|(name, _)| name.clone());
        let after = match node.start {
            0 => self.span.after.clone(),
            start => last(start - 1),
        };
        let is_last = node.end >= self.section.leaves.len();
        let to = match last(node.end - 1) {
            Some(name) if !(is_last && self.section.complete) => SpanEnd::Row(name),
            _ => self.span.to.clone(),
        };
        Span { after, to }
    }

    /// The parts of a node; none of a leaf.
    pub(super) fn children(node: &Range<usize>) -> Vec<Range<usize>> {
        if node.len() <= 1 {
            return Vec::new();
        }
        let size = node.len().div_ceil(FAN_OUT);
        let starts = node.clone().step_by(size);
        starts
            .map(|start| start..(start + size).min(node.end))
            .collect()
    }

    /// What of the span comes after this section.
    pub(super) fn rest(&self) -> Option<Span> {
        if self.section.complete {
            return None;
        }
        let (name, _) = self.section.leaves.last()?;
        Some(self.span.behind(name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::RowName;

    fn section(leaves: u64, complete: bool) -> Section {
        let leaf = |index: u64| {
            let name = RowName {
                table: "t".to_owned(),
                key: format!("{index:04}"),
            };
            let digest = SpanDigest {
                rows: 1,
                damaged: 0,
                digest: index,
            };
            (name, digest)
        };
        Section {
            leaves: (0..leaves).map(leaf).collect(),
            complete,
        }
    }

    #[test]
    fn every_node_is_the_sum_of_its_parts_and_the_spans_leave_no_gap() {
        let tree = Tree::new(Span::default(), section(256, true));
        let mut level = vec![tree.root()];
        loop {
            let digests = level.iter().map(|node| tree.digest(node));
            let sum = digests.fold(SpanDigest::default(), SpanDigest::plus);
            assert_eq!((sum.rows, sum.digest), (256, 255 * 128));
            let spans: Vec<Span> = level.iter().map(|node| tree.span(node)).collect();
            assert_eq!(spans[0].after, None);
            for pair in spans.windows(2) {
                assert_eq!(
                    Some(&pair[0].to),
                    pair[1].after.clone().map(SpanEnd::Row).as_ref()
                );
            }
            assert_eq!(spans.last().unwrap().to, SpanEnd::Last);
            let next: Vec<_> = level.iter().flat_map(Tree::children).collect();
            if next.is_empty() {
                break;
            }
            level = next;
        }
        assert_eq!(level.len(), 256);
    }

    #[test]
    fn an_empty_section_stands_for_all_that_is_left() {
        let tree = Tree::new(Span::of_table("t"), section(0, true));
        assert_eq!(tree.span(&tree.root()), Span::of_table("t"));
        assert_eq!(tree.digest(&tree.root()), SpanDigest::default());
        assert_eq!(tree.rest(), None);
    }

    #[test]
    fn a_section_that_is_cut_off_ends_with_its_last_row() {
        let tree = Tree::new(Span::default(), section(3, false));
        let rest = tree.rest().unwrap();
        assert_eq!(
            tree.span(&tree.root()).to,
            SpanEnd::Row(rest.after.unwrap())
        );
    }
}
