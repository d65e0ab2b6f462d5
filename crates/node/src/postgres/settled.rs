//! What whoever compares a server with the tables asks the conductor, which alone knows what is on its
//! way between the two.

use super::trouble::Trouble;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::projection::RowStanding;
use meridian_model::{Chosen, Position, RegionName, RowName};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How these rows stand, once capture has come by `captured` and the log has been followed to `followed`.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) rows: Vec<RowName>,
    pub(super) captured: Lsn,
    pub(super) followed: Position,
    answer: oneshot::Sender<Vec<RowStanding>>,
}

/// What was asked and is not answered yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiries(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    questions: Vec<Question>,
    /// Rows that are to be written again.
    wanted: Vec<RowName>,
    /// Rows of which a side was chosen, and who waits for that to be noted.
    choices: Vec<Choice>,
}

/// Rows of which a side was chosen, and who waits for that to be durable in the log.
pub(super) type Choice = (Vec<Chosen>, oneshot::Sender<Result<(), Trouble>>);

impl Inquiries {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; the answer comes in the rows' order.
    pub(super) fn ask(
        &self,
        rows: Vec<RowName>,
        captured: Lsn,
        followed: Position,
    ) -> oneshot::Receiver<Vec<RowStanding>> {
        let (answer, told) = oneshot::channel();
        let question = Question {
            rows,
            captured,
            followed,
            answer,
        };
        let mut inner = self.lock();
        // While nobody is there to answer, those who gave up are not waited for.
        inner.questions.retain(|asked| !asked.answer.is_closed());
        inner.questions.push(question);
        told
    }

    /// Has rows written again as the tables have them.
    pub(super) fn write(&self, rows: impl IntoIterator<Item = RowName>) {
        self.lock().wanted.extend(rows);
    }

    /// The rows that are to be written.
    pub(super) fn wanted(&self) -> Vec<RowName> {
        std::mem::take(&mut self.lock().wanted)
    }

    /// Has it noted in the log which side of rows somebody chose; the answer comes once that is durable,
    /// or can't be.
    pub(super) fn choose(&self, chosen: Vec<Chosen>) -> oneshot::Receiver<Result<(), Trouble>> {
        let (noted, told) = oneshot::channel();
        self.lock().choices.push((chosen, noted));
        told
    }

    /// What is to be noted: what somebody still waits for. While a region wouldn't read it, that is
    /// refused.
    pub(super) fn choices(&self, unread_by: impl FnOnce() -> Option<RegionName>) -> Vec<Choice> {
        let mut choices = std::mem::take(&mut self.lock().choices);
        choices.retain(|(_, noted)| !noted.is_closed());
        if choices.is_empty() {
            return choices;
        }
        let Some(region) = unread_by() else {
            return choices;
        };
        for (_, noted) in choices {
            let _ = noted.send(Err(Trouble::untold(&region)));
        }
        Vec::new()
    }

    /// Nobody who asked before is there any more.
    pub(super) fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// Answers the questions whose time has come.
    pub(super) fn answer(
        &self,
        captured: Lsn,
        followed: Position,
        standing: impl Fn(&RowName) -> RowStanding,
    ) {
        let mut inner = self.lock();
        let is_due =
            |asked: &mut Question| asked.captured <= captured && asked.followed <= followed;
        let due: Vec<Question> = inner.questions.extract_if(.., is_due).collect();
        drop(inner);
        for question in due {
            let answer = question.rows.iter().map(&standing).collect();
            // Whoever asked may have given up.
            let _ = question.answer.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_waits_for_capture_and_for_the_log() {
        let inquiries = Inquiries::default();
        let row = RowName {
            table: "public.t".to_owned(),
            key: "1".to_owned(),
        };
        let mut told = inquiries.ask(vec![row], Lsn(10), Position(5));
        let settled = |_: &RowName| RowStanding::Settled;
        inquiries.answer(Lsn(9), Position(5), settled);
        inquiries.answer(Lsn(10), Position(4), settled);
        assert!(told.try_recv().is_err());
        inquiries.answer(Lsn(10), Position(5), settled);
        assert_eq!(told.try_recv(), Ok(vec![RowStanding::Settled]));
    }

    #[test]
    fn a_choice_is_noted_for_whoever_waits_if_all_regions_read_it() {
        let inquiries = Inquiries::default();
        let region = RegionName::new("b");
        drop(inquiries.choose(Vec::new()));
        assert!(
            inquiries.choices(|| None).is_empty(),
            "nobody waits any more"
        );
        let mut told = inquiries.choose(Vec::new());
        assert!(inquiries.choices(|| Some(region)).is_empty());
        let refused = told.try_recv().unwrap().unwrap_err();
        assert!(refused.reason.contains("region b"), "{}", refused.reason);
        let mut told = inquiries.choose(Vec::new());
        for (_, noted) in inquiries.choices(|| None) {
            noted.send(Ok(())).unwrap();
        }
        assert!(told.try_recv().unwrap().is_ok());
    }
}
