//! Clients that write, and readers that look.

use super::{Event, World};
use crate::node::request;
use meridian_check::{Action, CHAIN, Step, Violation};
use meridian_model::{OriginId, Sequence};
use meridian_replicate::Arrival;
use serde_json::json;
use std::time::Duration;

impl World {
    pub(super) fn client(&mut self, index: usize) {
        if !self.clients_act {
            return;
        }
        let step = self.workload.step(index == 0);
        let actions = match step {
            Step::Write(actions) => actions,
            Step::Derive(key) => {
                let Some(source) = self.nodes[index].document(CHAIN, "source") else {
                    return;
                };
                let document = json!({ "n": source["n"] }).to_string();
                vec![(CHAIN.to_owned(), key, Action::Put(document))]
            }
        };
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return;
        };
        if !replica.is_settled(now) {
            return;
        }
        let before = replica.staged().len();
        let request = request(&actions);
        // A refusal (budget, overflow) is an answer like any other; nothing is staged then.
        let _ = replica.write(now, |tables, version| tables.execute(version, &request));
        if replica.staged().len() > before {
            self.wrote(index, before);
        }
        let pause = Duration::from_micros(self.random.u64(0..3_000));
        self.plan(pause, Event::Flush(index));
    }

    /// A client's transaction was staged as the entry at `at` of the round.
    pub(crate) fn wrote(&mut self, index: usize, at: usize) -> Option<(OriginId, Sequence)> {
        let node = &self.nodes[index];
        let replica = node.replica.as_ref()?;
        let entry = replica.staged().get(at)?;
        self.ledger.staged(node.life, entry);
        if node.arrival == Arrival::Joining {
            self.gate.wrote(node.life, &node.name, replica, entry);
        }
        Some((entry.origin, entry.sequence))
    }

    pub(super) fn read(&mut self, index: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        if node.replica.is_none() || node.is_damaged {
            return Ok(());
        }
        let mut checker = node.checker.clone();
        checker.check(&|table: &str, key: &str| node.document(table, key))?;
        node.checker = checker;
        Ok(())
    }
}
