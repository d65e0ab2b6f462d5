//! The same question to every region, and what each said.

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::output;
use crate::status::{get, none_answers};
use crate::target::Target;
use serde_json::{Map, Value};
use std::thread;

/// Asks all regions at the same time, so that those which hang are waited for once.
pub fn at_once<T: Send, R: Send>(
    regions: impl IntoIterator<Item = T>,
    ask: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let ask = &ask;
    thread::scope(|scope| {
        let asked = regions.into_iter().map(|it| scope.spawn(move || ask(it)));
        let asked: Vec<_> = asked.collect();
        let replies = asked.into_iter().map(|reply| reply.join());
        replies
            .map(|reply| reply.expect("asking doesn't panic"))
            .collect()
    })
}

/// What every region said of a path.
pub struct Everywhere {
    regions: Vec<Api>,
    replies: Vec<CliResult<Value>>,
}

impl Everywhere {
    /// Asks the regions meant.
    pub fn ask(target: &Target, path: &str) -> CliResult<Self> {
        let said = at_once(target.all_at_a_glance()?, |mut api| {
            let reply = get(&api, path);
            reply.iter().for_each(|reply| api.learn_name(reply));
            (api, reply)
        });
        let (regions, replies) = said.into_iter().unzip();
        Ok(Self { regions, replies })
    }

    /// The regions' names and what they said.
    pub fn each(&self) -> impl Iterator<Item = (&str, &CliResult<Value>)> {
        self.regions.iter().map(Api::name).zip(&self.replies)
    }

    /// What those said that answered.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.each()
            .filter_map(|(region, reply)| Some((region, reply.as_ref().ok()?)))
    }

    /// Rows of a table: those that a region's answer comes to, or one that says why there is none.
    pub fn rows(
        &self,
        columns: usize,
        of: impl Fn(&str, &Value) -> Vec<Vec<String>>,
    ) -> Vec<Vec<String>> {
        let rows = self.each().flat_map(|(region, reply)| match reply {
            Ok(reply) => of(region, reply),
            Err(error) => {
                let mut row = vec![region.to_owned(), "no answer".to_owned()];
                row.resize(columns - 1, String::new());
                row.push(error.message().to_owned());
                vec![row]
            }
        });
        rows.collect()
    }

    /// Prints what each region said, or why it didn't, as JSON: its answer, made into something, as
    /// the member `name`.
    pub fn json(&self, name: &str, of: impl Fn(&str, &Value) -> Value) -> CliResult {
        let all = self.each().map(|(region, reply)| {
            let mut said = Map::new();
            said.insert("region".to_owned(), region.into());
            let answer = reply.as_ref().ok().map(|reply| of(region, reply));
            said.insert(name.to_owned(), answer.unwrap_or_default());
            let error = reply.as_ref().err().map(CliError::message);
            said.insert("error".to_owned(), error.into());
            Value::Object(said)
        });
        output::json(&all.collect::<Vec<_>>())
    }

    /// An error if no region answers.
    pub fn none_answers(&self) -> CliResult {
        none_answers(self.replies.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_region::regions_asked_at_once;
    use serde_json::json;

    #[test]
    fn a_region_that_answers_late_is_no_reason_to_ask_the_next_one_later() {
        let target = Target {
            api: regions_asked_at_once([(); 3].map(|()| json!({}))),
            ..Target::default()
        };
        let said = Everywhere::ask(&target, "/v1/status").unwrap();
        assert_eq!(said.answers().count(), 3);
    }
}
