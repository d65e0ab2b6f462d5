//! Regions that compare themselves with each other and mend what is bad.

use crate::world::{Event, Link, World};
use meridian_check::Violation;
use meridian_model::{Answer, Message, Question, RegionName, RowName, Span};
use meridian_replicate::compare::{Comparison, Mended, Mending, Plan, Reply, Report, Scope, Step};
use std::collections::BTreeMap;
use std::time::Duration;

const COMPARE_PAUSE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(3);

/// What a node has under way.
#[derive(Default)]
pub(crate) struct Repair {
    job: Option<Job>,
    questions: u64,
    /// Peers' questions that wait until more is applied here.
    asked: Vec<(Link, u64, Question, Duration)>,
    pub(crate) last: Option<Report>,
}

struct Job {
    comparison: Comparison,
    /// The questions of the step at hand that have no answer yet.
    waiting: BTreeMap<RegionName, (u64, Question)>,
    answers: Vec<(RegionName, Result<Answer, String>)>,
    mendings: Option<Vec<Mending>>,
    deadline: Duration,
}

/// A row for which a node's tables wait, and the question for it.
#[derive(Clone)]
pub(crate) struct Urgent {
    id: u64,
    name: RowName,
    deadline: Duration,
}

impl World {
    /// Starts what is due of repair in a node.
    pub(crate) fn compare(&mut self, index: usize) -> Result<(), Violation> {
        self.plan(COMPARE_PAUSE, Event::Compare(index));
        let time = self.time;
        let node = &mut self.nodes[index];
        let Some(replica) = &node.replica else {
            return Ok(());
        };
        if let Some(name) = replica.blocked_by().cloned() {
            self.ask_urgently(index, name);
            return Ok(());
        }
        if let Some(job) = &mut node.repair.job {
            if time >= job.deadline {
                for (region, _) in std::mem::take(&mut job.waiting) {
                    job.answers.push((region, Err("no answer".to_owned())));
                }
                if job.mendings.take().is_some() {
                    node.repair.job = None;
                }
            }
            return self.pursue(index);
        }
        if !replica.follows() {
            return Ok(());
        }
        let own = node.name.clone();
        let peers = self.regions.iter().filter(|region| **region != own);
        let plan = Plan {
            peers: peers.cloned().collect(),
            regions: self.nodes.len(),
            scope: Scope::Spans(vec![Span::default()]),
            repair: true,
            prefer: None,
            own,
        };
        self.nodes[index].repair.job = Some(Job {
            comparison: Comparison::new(plan),
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            mendings: None,
            deadline: time + PATIENCE,
        });
        self.begin_step(index)
    }

    fn begin_step(&mut self, index: usize) -> Result<(), Violation> {
        let deadline = self.time + PATIENCE;
        loop {
            let node = &mut self.nodes[index];
            let Some(job) = &mut node.repair.job else {
                return Ok(());
            };
            job.deadline = deadline;
            match job.comparison.due() {
                Step::Section {
                    span,
                    rows_max,
                    leaf_rows,
                } => {
                    let section = node.tables().snapshot().section(&span, rows_max, leaf_rows);
                    let section = section.expect("the tables in memory are readable");
                    let job = self.nodes[index].repair.job.as_mut();
                    job.expect("it is under way")
                        .comparison
                        .take(Reply::Section(section));
                }
                Step::Ask(questions) => {
                    self.ask_all(index, questions);
                    return self.pursue(index);
                }
                Step::Mend(mendings) => {
                    job.mendings = Some(mendings);
                    return self.pursue(index);
                }
                Step::Done => {
                    let job = node.repair.job.take();
                    let report = job.expect("it is under way").comparison.report().clone();
                    return self.compared(index, report);
                }
            }
        }
    }

    fn ask_all(&mut self, index: usize, questions: Vec<(RegionName, Question)>) {
        for (region, question) in questions {
            let repair = &mut self.nodes[index].repair;
            repair.questions += 1;
            let id = repair.questions;
            if let Some(job) = &mut repair.job {
                job.waiting.insert(region.clone(), (id, question.clone()));
            }
            self.ask(index, &region, id, question);
        }
    }

    fn ask(&mut self, index: usize, region: &RegionName, id: u64, question: Question) {
        let Some(sender) = self.regions.iter().position(|known| known == region) else {
            return;
        };
        if sender != index
            && let Some(link) = self.link(index, sender)
        {
            self.send(index, sender, link, Message::Ask { id, question });
        }
    }

    /// Goes on with a node's comparison as far as what is known takes it.
    pub(crate) fn pursue(&mut self, index: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        let own = node.name.clone();
        let Some(job) = &mut node.repair.job else {
            return Ok(());
        };
        if let Some((_, question)) = job.waiting.get(&own).cloned()
            && let Some(answer) = node.answer(&question)
        {
            let job = node.repair.job.as_mut().expect("it is under way");
            job.waiting.remove(&own);
            job.answers.push((own, Ok(answer)));
        }
        let node = &mut self.nodes[index];
        let job = node.repair.job.as_mut().expect("it is under way");
        if let Some(mendings) = job.mendings.clone() {
            return self.mend(index, &mendings);
        }
        if !job.waiting.is_empty() || job.answers.is_empty() {
            return Ok(());
        }
        let mut answers = std::mem::take(&mut job.answers);
        self.random.shuffle(&mut answers);
        job.comparison.take(Reply::Answers(answers));
        self.begin_step(index)
    }

    fn mend(&mut self, index: usize, mendings: &[Mending]) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        let applied = replica.applied();
        if !mendings
            .iter()
            .all(|mending| applied.covers(&mending.as_of))
            || !replica.follows()
        {
            return Ok(());
        }
        let mut outcomes = Vec::new();
        for mending in mendings {
            let mended = replica.mend(|tables| tables.mend(mending));
            outcomes.push(mended.unwrap_or(Mended::MovedOn));
        }
        self.flush(index)?;
        if let Some(job) = &mut self.nodes[index].repair.job {
            job.mendings = None;
            job.comparison.take(Reply::Mended(outcomes));
            return self.begin_step(index);
        }
        Ok(())
    }

    fn compared(&mut self, index: usize, report: Report) -> Result<(), Violation> {
        if self.is_undamaged && report.found > 0 {
            let region = self.nodes[index].name.to_string();
            let what = format!("differences were found where there are none: {report:?}");
            return Err(Violation::Broken { region, what });
        }
        self.mended += report.mended;
        self.nodes[index].repair.last = Some(report);
        Ok(())
    }

    /// Asks some peer for the row for which a node's tables wait.
    fn ask_urgently(&mut self, index: usize, name: RowName) {
        let time = self.time;
        let node = &mut self.nodes[index];
        if node
            .urgent
            .as_ref()
            .is_some_and(|urgent| time < urgent.deadline)
        {
            return;
        }
        node.repair.questions += 1;
        let id = node.repair.questions;
        node.urgent = Some(Urgent {
            id,
            name: name.clone(),
            deadline: time + PATIENCE,
        });
        let Some(replica) = &node.replica else { return };
        let covering = replica.marks().vector();
        let names = vec![name];
        let peer = (index + self.random.usize(1..self.nodes.len())) % self.nodes.len();
        let region = self.regions[peer].clone();
        self.ask(index, &region, id, Question::Fetch { names, covering });
    }

    /// A peer answered.
    pub(crate) fn compared_with(
        &mut self,
        index: usize,
        peer: &RegionName,
        id: u64,
        answer: Answer,
    ) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        if node.urgent.as_ref().is_some_and(|urgent| urgent.id == id) {
            let urgent = node.urgent.take();
            return self.unblock(index, urgent, answer);
        }
        let Some(job) = &mut node.repair.job else {
            return Ok(());
        };
        if job.waiting.get(peer).is_none_or(|(asked, _)| *asked != id) {
            return Ok(());
        }
        job.waiting.remove(peer);
        let answer = match answer {
            Answer::Unavailable { reason } => Err(reason),
            answer => Ok(answer),
        };
        job.answers.push((peer.clone(), answer));
        self.pursue(index)
    }

    fn unblock(
        &mut self,
        index: usize,
        urgent: Option<Urgent>,
        answer: Answer,
    ) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        let tables = node.tables();
        let (Some(Urgent { name, .. }), Answer::Fetched(mut fetched)) = (urgent, answer) else {
            return Ok(());
        };
        let Some(row) = fetched.rows.pop() else {
            return Ok(());
        };
        let copies = tables.snapshot().look(std::slice::from_ref(&name));
        let expected = copies.expect("the tables in memory are readable")[0].state;
        let mending = Mending {
            name,
            expected,
            as_of: fetched.as_of,
            ahead: true,
            row,
        };
        if let Some(replica) = &mut node.replica {
            // Where it waits for another row by now, this one was mended already.
            let _ = replica.unblock(|tables| Ok(tables.mend(&mending)? == Mended::Staged));
        }
        Ok(())
    }

    /// A peer asks; it is answered once what it needs is applied.
    pub(crate) fn asked_about_rows(
        &mut self,
        index: usize,
        link: Link,
        id: u64,
        question: Question,
    ) {
        let deadline = self.time + PATIENCE / 2;
        self.nodes[index]
            .repair
            .asked
            .push((link, id, question, deadline));
        self.answer_asked(index);
    }

    /// Answers what can be answered by now.
    pub(crate) fn answer_asked(&mut self, index: usize) {
        let time = self.time;
        let node = &mut self.nodes[index];
        let mut answers = Vec::new();
        let mut asked = std::mem::take(&mut node.repair.asked);
        asked.retain(
            |(link, id, question, deadline)| match node.answer(question) {
                Some(answer) => {
                    answers.push((*link, *id, answer));
                    false
                }
                None => time < *deadline,
            },
        );
        node.repair.asked = asked;
        for (link, id, answer) in answers {
            self.send(index, link.receiver, link, Message::Answer { id, answer });
        }
    }
}
