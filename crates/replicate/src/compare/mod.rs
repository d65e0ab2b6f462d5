//! Comparing this region's rows with those of its peers, and mending what is bad here.
//!
//! ```text
//! own section ─▶ descend ─▶ list ─▶ look … look ─▶ judge ─▶ fetch ─▶ mend ─▶ look again
//!  (a run of      (digests   (rows   (do they     (who is  (the good
//!   rows, as a     of spans,  of      still        right?)  copy)
//!   tree)          16 parts   leaves  differ?)
//!      ▲           a time)    that                              │
//!      └────────────────────  differ) ◀────────── next section ─┘
//! ```
//!
//! The rows are walked in sections, in the store's order. Of each section this region makes a tree
//! of digests; peers are asked for the digest of the whole section, and only where theirs differs
//! for those of its parts, down to a few rows. So what is alike costs one number for each section
//! and peer, the memory is that of one section, whatever the table's size, and each section is
//! compared as the rows are *now*: a long walk doesn't collect what was written meanwhile.
//! (Refused: one tree over hashed keys, as other stores build it. It needs a view of everything
//! held for as long as the scan takes, and a second scan to find the rows of a bucket that differs.)
//!
//! Every region mends only its own copies. The machine does no I/O: [`Comparison::due`] says what
//! is to be done, [`Comparison::take`] is told what came of it.

mod judge;
mod looks;
mod report;
mod step;
mod tree;

pub use judge::{Verdict, judge};
pub use report::{Finding, PeerFigures, Report};
pub use step::{Mended, Mending, Reply, Section, Step};

use looks::{Looks, Settled};
use meridian_model::{Answer, Question, RegionName, RowName, RowState, Span, SpanDigest, Vector};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use tree::Tree;

/// Rows of a section.
const SECTION_ROWS: usize = 16_384;
/// Rows of a leaf.
const LEAF_ROWS: usize = 64;
/// Rows that a peer lists at once.
const LISTED_ROWS_MAX: u32 = 4096;
/// Rows that are looked at together.
const LOOKED_ROWS_MAX: usize = 256;
/// Rows that are fetched from a peer together.
const FETCHED_ROWS_MAX: usize = 64;
/// How often a row is judged anew because it changed before it could be mended, or had been mended.
const JUDGED_MAX: u32 = 4;

/// What is to be compared, and what may be done about it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// This region.
    pub own: RegionName,
    /// The peers to compare with.
    pub peers: Vec<RegionName>,
    /// How many regions there are, those that don't answer included.
    pub regions: usize,
    /// What to compare.
    pub scope: Scope,
    /// Whether bad copies here are mended.
    pub repair: bool,
    /// Whose copies are right, where a person has decided.
    pub prefer: Option<RegionName>,
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The rows of these spans.
    Spans(Vec<Span>),
    /// These rows.
    Rows(Vec<RowName>),
}

/// A comparison under way.
#[derive(Clone, Debug)]
pub struct Comparison {
    plan: Plan,
    spans: VecDeque<Span>,
    /// What is left to list of the section whose leaves differ, by peer.
    to_list: BTreeMap<RegionName, Vec<Span>>,
    /// What this region shows there.
    listed_here: BTreeMap<RowName, Option<u64>>,
    suspects: BTreeSet<RowName>,
    /// Rows of the batch at hand that differed, and how often they were judged.
    open: BTreeMap<RowName, (u32, Finding)>,
    phase: Phase,
    report: Report,
}

#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Section(Span),
    Descend {
        tree: Tree,
        frontier: BTreeMap<RegionName, Vec<Range<usize>>>,
        differing: BTreeMap<RegionName, BTreeSet<usize>>,
    },
    List {
        asks_own: bool,
    },
    Look(Looks),
    Fetch {
        wanted: Vec<Wanted>,
        covering: Vector,
    },
    Mend {
        mendings: Vec<Mending>,
        rest: Vec<Wanted>,
        covering: Vector,
    },
    Done,
}

/// A good copy that is to be taken over.
#[derive(Clone, Debug)]
struct Wanted {
    name: RowName,
    from: RegionName,
    state_here: u64,
    state_there: u64,
}

type Answers = Vec<(RegionName, Result<Answer, String>)>;

impl Comparison {
    /// Begins a comparison.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let peers = plan.peers.iter();
        let report = Report {
            peers: peers
                .map(|peer| (peer.clone(), report::PeerFigures::default()))
                .collect(),
            ..Report::default()
        };
        let (spans, suspects) = match &plan.scope {
            Scope::Spans(spans) => (spans.iter().cloned().collect(), BTreeSet::new()),
            Scope::Rows(names) => (VecDeque::new(), names.iter().cloned().collect()),
        };
        Self {
            plan,
            spans,
            to_list: BTreeMap::new(),
            listed_here: BTreeMap::new(),
            suspects,
            open: BTreeMap::new(),
            phase: Phase::Idle,
            report,
        }
    }

    /// What has been found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What is to be done next. Its outcome goes to [`Comparison::take`].
    pub fn due(&mut self) -> Step {
        if matches!(self.phase, Phase::Idle) {
            self.phase = self.begin();
        }
        match &self.phase {
            Phase::Idle | Phase::Done => Step::Done,
            Phase::Section(span) => Step::Section {
                span: span.clone(),
                rows_max: SECTION_ROWS,
                leaf_rows: LEAF_ROWS,
            },
            Phase::Descend { tree, frontier, .. } => {
                let questions = frontier.iter().map(|(peer, nodes)| {
                    let spans = nodes.iter().map(|node| tree.span(node)).collect();
                    (peer.clone(), Question::Digests(spans))
                });
                Step::Ask(questions.collect())
            }
            Phase::List { asks_own } => self.list_step(*asks_own),
            Phase::Look(looks) => {
                let everybody = std::iter::once(&self.plan.own).chain(self.peers());
                let questions = everybody.map(|region| (region.clone(), looks.question()));
                Step::Ask(questions.collect())
            }
            Phase::Fetch { wanted, covering } => fetch_step(wanted, covering),
            Phase::Mend { mendings, .. } => Step::Mend(mendings.clone()),
        }
    }

    /// The peers that still answer.
    fn peers(&self) -> impl Iterator<Item = &RegionName> {
        let peers = self.report.peers.iter();
        peers
            .filter(|(_, figures)| figures.lost.is_none())
            .map(|(peer, _)| peer)
    }

    /// What comes next where nothing is under way.
    fn begin(&mut self) -> Phase {
        if self.report.failed.is_some() {
            return Phase::Done;
        }
        if !self.suspects.is_empty() {
            let names = std::iter::from_fn(|| self.suspects.pop_first());
            return Phase::Look(Looks::at(names.take(LOOKED_ROWS_MAX).collect()));
        }
        self.close();
        if !self.to_list.is_empty() {
            return Phase::List { asks_own: false };
        }
        self.listed_here.clear();
        match self.spans.pop_front() {
            Some(span) => Phase::Section(span),
            None => Phase::Done,
        }
    }

    /// Everything about the rows at hand is known.
    fn close(&mut self) {
        for (_, finding) in std::mem::take(&mut self.open).into_values() {
            self.report.add(&self.plan.own, finding);
        }
    }

    /// Takes the outcome of the last step.
    pub fn take(&mut self, reply: Reply) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        self.phase = match (phase, reply) {
            (_, Reply::Failed(reason)) => {
                self.close();
                self.report.failed = Some(reason);
                Phase::Done
            }
            (Phase::Section(span), Reply::Section(section)) => self.sectioned(span, section),
            (
                Phase::Descend {
                    tree,
                    frontier,
                    differing,
                },
                Reply::Answers(answers),
            ) => self.descended(tree, &frontier, differing, answers),
            (Phase::List { .. }, Reply::Answers(answers)) => {
                self.listed(answers);
                Phase::Idle
            }
            (Phase::Look(looks), Reply::Answers(answers)) => self.looked(looks, answers),
            (Phase::Fetch { wanted, covering }, Reply::Answers(answers)) => {
                self.fetched(wanted, covering, answers)
            }
            (
                Phase::Mend {
                    mendings,
                    rest: wanted,
                    covering,
                },
                Reply::Mended(outcomes),
            ) => {
                self.mended(mendings, &outcomes);
                if wanted.is_empty() {
                    Phase::Idle
                } else {
                    Phase::Fetch { wanted, covering }
                }
            }
            (phase, _) => phase,
        };
    }

    fn sectioned(&mut self, span: Span, section: Section) -> Phase {
        let tree = Tree::new(span, section);
        let digest = tree.digest(&tree.root());
        self.report.rows += digest.rows;
        self.report.damaged += digest.damaged;
        if let Some(rest) = tree.rest() {
            self.spans.push_front(rest);
        }
        let frontier = self.peers().map(|peer| (peer.clone(), vec![tree.root()]));
        let frontier: BTreeMap<_, _> = frontier.collect();
        if frontier.is_empty() {
            return Phase::Idle;
        }
        Phase::Descend {
            frontier,
            tree,
            differing: BTreeMap::new(),
        }
    }

    fn descended(
        &mut self,
        tree: Tree,
        frontier: &BTreeMap<RegionName, Vec<Range<usize>>>,
        mut differing: BTreeMap<RegionName, BTreeSet<usize>>,
        answers: Answers,
    ) -> Phase {
        let mut deeper = BTreeMap::new();
        for (peer, answer) in self.answers(answers) {
            let (Some(nodes), Answer::Digests(digests)) = (frontier.get(&peer), answer) else {
                continue;
            };
            let next = differing_children(
                &tree,
                nodes,
                &digests,
                differing.entry(peer.clone()).or_default(),
            );
            if !next.is_empty() {
                deeper.insert(peer, next);
            }
        }
        if !deeper.is_empty() {
            return Phase::Descend {
                tree,
                frontier: deeper,
                differing,
            };
        }
        for (peer, leaves) in differing {
            let spans: Vec<Span> = leaves
                .iter()
                .map(|leaf| tree.span(&(*leaf..leaf + 1)))
                .collect();
            if !spans.is_empty() {
                self.to_list.insert(peer, spans);
            }
        }
        if self.to_list.is_empty() {
            Phase::Idle
        } else {
            Phase::List { asks_own: true }
        }
    }

    fn list_step(&self, asks_own: bool) -> Step {
        let mut questions = Vec::new();
        if asks_own {
            let mut spans: Vec<Span> = Vec::new();
            for span in self.to_list.values().flatten() {
                if !spans.contains(span) {
                    spans.push(span.clone());
                }
            }
            let rows_max = u32::MAX;
            let question = Question::Rows { spans, rows_max };
            questions.push((self.plan.own.clone(), question));
        }
        for (peer, spans) in &self.to_list {
            let question = Question::Rows {
                spans: spans.clone(),
                rows_max: LISTED_ROWS_MAX,
            };
            questions.push((peer.clone(), question));
        }
        Step::Ask(questions)
    }

    fn listed(&mut self, answers: Answers) {
        let mut answers = self.answers(answers);
        // Answers come in any order, and the peers' are held against this region's own.
        answers.sort_by_key(|(region, _)| *region != self.plan.own);
        for (region, answer) in answers {
            let Answer::Rows { rows, complete } = answer else {
                continue;
            };
            if region == self.plan.own {
                self.listed_here = rows.into_iter().collect();
                continue;
            }
            let Some(spans) = self.to_list.remove(&region) else {
                continue;
            };
            let last = rows
                .last()
                .map(|(name, _)| name.clone())
                .filter(|_| !complete);
            let there: BTreeMap<RowName, Option<u64>> = rows.into_iter().collect();
            let covered = |name: &RowName| {
                last.as_ref().is_none_or(|last| name <= last)
                    && spans.iter().any(|span| span.contains(name))
            };
            for (name, digest) in self.listed_here.iter().filter(|(name, _)| covered(name)) {
                if digest.is_none() || there.get(name) != Some(digest) {
                    self.suspects.insert(name.clone());
                }
            }
            let unknown = there
                .into_keys()
                .filter(|name| !self.listed_here.contains_key(name));
            self.suspects.extend(unknown);
            let Some(last) = last else { continue };
            let rest = spans.into_iter().filter(|span| !span.ends_before(&last));
            let rest: Vec<Span> = rest
                .map(|span| {
                    if span.contains(&last) {
                        span.behind(last.clone())
                    } else {
                        span
                    }
                })
                .collect();
            self.to_list.insert(region, rest);
        }
        let lost = |peer: &RegionName| {
            self.report
                .peers
                .get(peer)
                .is_none_or(|peer| peer.lost.is_some())
        };
        self.to_list
            .retain(|peer, spans| !spans.is_empty() && !lost(peer));
    }

    fn looked(&mut self, mut looks: Looks, answers: Answers) -> Phase {
        let answers = self.answers(answers).into_iter();
        let looked = answers.filter_map(|(region, answer)| match answer {
            Answer::Looked(looked) => Some((region, looked)),
            _ => None,
        });
        looks.take(looked.collect());
        if self.report.failed.is_some() {
            return Phase::Idle;
        }
        if !looks.is_done() {
            return Phase::Look(looks);
        }
        self.report.busy += looks.unsettled() as u64;
        let settled = std::mem::take(&mut looks.settled);
        let wanted: Vec<Wanted> = settled
            .into_iter()
            .filter_map(|settled| self.judge(&settled))
            .collect();
        if wanted.is_empty() {
            return Phase::Idle;
        }
        Phase::Fetch {
            wanted,
            covering: looks.covering().clone(),
        }
    }

    /// Judges a row, and says what is to be fetched for it.
    fn judge(&mut self, settled: &Settled) -> Option<Wanted> {
        let Plan {
            own,
            regions,
            prefer,
            repair,
            ..
        } = &self.plan;
        let verdict = judge(own, &settled.holds(), *regions, prefer.as_ref());
        let known = self.open.get_mut(&settled.name);
        let from = match (&verdict, known.is_some()) {
            (Verdict::Agreed | Verdict::Theirs, true) => {
                let (_, finding) = known?;
                // Where it was bad here, it is good now.
                finding.mended |= matches!(finding.verdict, Verdict::Take(_));
                return None;
            }
            (Verdict::Agreed, false) => return None,
            (Verdict::Take(from), _) => from.clone(),
            (_, _) => own.clone(),
        };
        let (judged, _) = self.open.entry(settled.name.clone()).or_insert_with(|| {
            let finding = Finding {
                name: settled.name.clone(),
                copies: settled.holds(),
                verdict,
                mended: false,
            };
            (0, finding)
        });
        *judged += 1;
        if from == *own || !repair || *judged > JUDGED_MAX {
            return None;
        }
        let (here, there) = (settled.copies.get(own)?, settled.copies.get(&from)?);
        Some(Wanted {
            name: settled.name.clone(),
            state_here: here.state,
            state_there: there.state,
            from,
        })
    }

    fn fetched(&mut self, wanted: Vec<Wanted>, covering: Vector, answers: Answers) -> Phase {
        let mut fetched: BTreeMap<RegionName, (Vector, VecDeque<RowState>, usize)> =
            BTreeMap::new();
        for (region, answer) in self.answers(answers) {
            if let Answer::Fetched(answer) = answer {
                fetched.insert(region, (answer.as_of, answer.rows.into(), 0));
            }
        }
        let mut mendings = Vec::new();
        let mut rest = Vec::new();
        for wanted in wanted {
            let Some((as_of, rows, asked)) = fetched.get_mut(&wanted.from) else {
                continue;
            };
            if *asked == FETCHED_ROWS_MAX || rows.is_empty() {
                // It was not asked for yet, or did not fit in. An answer without any row ends it.
                rest.extend((*asked > 0).then_some(wanted));
                continue;
            }
            *asked += 1;
            match rows.pop_front() {
                Some(row) if row.state == wanted.state_there => mendings.push(Mending {
                    name: wanted.name,
                    expected: wanted.state_here,
                    as_of: as_of.clone(),
                    ahead: false,
                    row,
                }),
                // It was written there since: it is looked at anew.
                _ => drop(self.suspects.insert(wanted.name)),
            }
        }
        Phase::Mend {
            mendings,
            rest,
            covering,
        }
    }

    fn mended(&mut self, mendings: Vec<Mending>, outcomes: &[Mended]) {
        for (mending, outcome) in mendings.into_iter().zip(outcomes) {
            // Mended or moved on, it has to show that it is right now.
            if *outcome != Mended::Unreadable {
                self.suspects.insert(mending.name);
            }
        }
    }

    /// The answers that came. A peer without one is left out from here on; without this region's
    /// own there is nothing to compare.
    fn answers(&mut self, answers: Answers) -> Vec<(RegionName, Answer)> {
        let mut given = Vec::new();
        for (region, answer) in answers {
            match answer {
                Ok(answer) => given.push((region, answer)),
                Err(reason) if region == self.plan.own => self.report.failed = Some(reason),
                Err(reason) => {
                    if let Some(peer) = self.report.peers.get_mut(&region) {
                        peer.lost = Some(reason);
                    }
                }
            }
        }
        given
    }
}

/// The parts of nodes that differ; leaves that do go to `leaves`.
fn differing_children(
    tree: &Tree,
    nodes: &[Range<usize>],
    theirs: &[SpanDigest],
    leaves: &mut BTreeSet<usize>,
) -> Vec<Range<usize>> {
    let mut next = Vec::new();
    for (node, theirs) in nodes.iter().zip(theirs) {
        if tree.digest(node).agrees(*theirs) {
            continue;
        }
        let children = Tree::children(node);
        if children.is_empty() {
            leaves.insert(node.start);
        }
        next.extend(children);
    }
    next
}

fn fetch_step(wanted: &[Wanted], covering: &Vector) -> Step {
    let mut names: BTreeMap<&RegionName, Vec<RowName>> = BTreeMap::new();
    for wanted in wanted {
        let names = names.entry(&wanted.from).or_default();
        if names.len() < FETCHED_ROWS_MAX {
            names.push(wanted.name.clone());
        }
    }
    let questions = names.into_iter().map(|(from, names)| {
        let covering = covering.clone();
        (from.clone(), Question::Fetch { names, covering })
    });
    Step::Ask(questions.collect())
}
