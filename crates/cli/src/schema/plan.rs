//! What is to be done where: a pure function of the file and what each server has of it.

use crate::error::{CliError, CliResult};
use meridian_engine_postgres::migrate::{Applied, Judgement, Script, Step};
use std::collections::BTreeMap;

/// A migration over regions.
pub struct Migration<'s> {
    /// Its name.
    pub name: String,
    /// The file.
    pub script: &'s Script,
    /// By region, in the order in which they take their turn: the steps that it has, from 0.
    pub has: Vec<(String, Vec<usize>)>,
}

impl<'s> Migration<'s> {
    /// What stands in the servers' records, if it is of this very file.
    pub fn new(
        name: String,
        script: &'s Script,
        records: Vec<(String, Vec<Applied>)>,
    ) -> CliResult<Self> {
        let mut has = Vec::new();
        for (region, applied) in records {
            let other = applied.iter().find(|it| it.checksum != script.checksum);
            if other.is_some() {
                return Err(CliError::failure(format!(
                    "{name} was run in {region} with another text"
                ))
                .hint(
                    "a migration that was run is not edited: put what is to change into a file of \
                     another name",
                ));
            }
            let steps = applied.iter().filter_map(|it| {
                let step = usize::try_from(it.step).ok()?.checked_sub(1)?;
                (step < script.steps.len()).then_some(step)
            });
            has.push((region, steps.collect()));
        }
        Ok(Self { name, script, has })
    }

    /// Whether a region has a step.
    pub fn has(&self, region: &str, step: usize) -> bool {
        let mut regions = self.has.iter();
        regions.any(|(name, steps)| name == region && steps.contains(&step))
    }

    /// Whether any region has it.
    pub fn is_begun(&self, step: usize) -> bool {
        self.has.iter().any(|(_, steps)| steps.contains(&step))
    }

    /// Notes that a region has it now.
    pub fn done(&mut self, region: &str, step: usize) {
        let mut regions = self.has.iter_mut();
        if let Some((_, steps)) = regions.find(|(name, _)| name == region) {
            steps.push(step);
        }
    }

    /// The regions that are to run a step yet. One that writes rows runs in the first alone: from
    /// there they replicate.
    pub fn regions_for(&self, step: usize, is_of_rows: bool) -> Vec<String> {
        let missing = self.has.iter().filter(|(_, steps)| !steps.contains(&step));
        let missing = missing.map(|(region, _)| region.clone());
        match is_of_rows {
            true if self.is_begun(step) => Vec::new(),
            true => missing.take(1).collect(),
            false => missing.collect(),
        }
    }

    /// The first region that lacks a step, and which steps from there on it can be rehearsed with.
    pub fn to_rehearse(&self) -> Option<(&str, usize)> {
        // A step of rows is in one region alone: it is lacking where none has it.
        let lacks = |region: &str, step: usize| {
            let is_in_one = self.script.steps[step].writes_rows() && self.is_begun(step);
            !(self.has(region, step) || is_in_one)
        };
        self.has.iter().find_map(|(region, _)| {
            let mut steps = 0..self.script.steps.len();
            let first = steps.find(|step| lacks(region, *step))?;
            Some((region.as_str(), first))
        })
    }
}

/// What is known of the steps: by step, what a rehearsal found. A step that can't run in a
/// transaction has none.
pub type Judgements = BTreeMap<usize, Judgement>;

/// Whether a step runs in one region only.
pub fn is_of_rows(step: &Step, judged: Option<&Judgement>) -> bool {
    judged.map_or_else(|| step.writes_rows(), Judgement::is_of_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        Script::parse(
            "ALTER TABLE t ADD c int;\n-- step\nUPDATE t SET c = 1;\n-- step\nALTER TABLE t DROP d;",
        )
        .unwrap()
    }

    fn records(script: &Script, steps: [&[i32]; 3]) -> Vec<(String, Vec<Applied>)> {
        let regions = ["a", "b", "c"].into_iter().zip(steps);
        let of = |steps: &[i32]| {
            let applied = steps.iter().map(|step| Applied {
                step: *step,
                checksum: script.checksum.clone(),
            });
            applied.collect()
        };
        regions
            .map(|(region, steps)| (region.to_owned(), of(steps)))
            .collect()
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let script = script();
        let fresh =
            Migration::new("m".to_owned(), &script, records(&script, [&[], &[], &[]])).unwrap();
        assert_eq!(fresh.regions_for(0, false), ["a", "b", "c"]);
        assert_eq!(fresh.regions_for(1, true), ["a"]);
        assert_eq!(fresh.to_rehearse(), Some(("a", 0)));

        let mut begun = Migration::new(
            "m".to_owned(),
            &script,
            records(&script, [&[1, 2], &[1], &[]]),
        )
        .unwrap();
        assert_eq!(begun.regions_for(0, false), ["c"]);
        assert!(begun.regions_for(1, true).is_empty());
        assert_eq!(begun.regions_for(2, false), ["a", "b", "c"]);
        assert_eq!(begun.to_rehearse(), Some(("a", 2)));
        for region in ["a", "b", "c"] {
            begun.done(region, 0);
            begun.done(region, 2);
        }
        assert_eq!(begun.to_rehearse(), None);
    }

    #[test]
    fn an_edited_file_is_another_migration() {
        let script = script();
        let mut records = records(&script, [&[1], &[], &[]]);
        records[0].1[0].checksum = "other".to_owned();
        let error = Migration::new("m.sql".to_owned(), &script, records).map(drop);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("m.sql was run in a with another text"),
            "{error}"
        );
    }
}
