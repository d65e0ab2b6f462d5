//! Asks for a change of the regions, of which one can be under way at a time.

use super::follow::Waiting;
use crate::client::Api;
use crate::error::CliResult;
use crate::output;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is asked again while another change is under way.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// A wait as short as this is not worth a word.
const SILENCE: Duration = Duration::from_secs(2);

/// A change to ask a region for.
pub struct Wish {
    method: &'static str,
    path: String,
    body: Vec<u8>,
}

impl Wish {
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            body: body.to_string().into_bytes(),
        }
    }

    pub fn delete(path: String) -> Self {
        Self {
            method: "DELETE",
            path,
            body: Vec::new(),
        }
    }

    /// Asks for it, again and again while another change is under way: often the last one, of which not
    /// every member has heard yet. Any other refusal, and that one once the wait is over, is the error.
    pub fn send(&self, asked: &Api, waiting: &Waiting) -> CliResult {
        let began = Instant::now();
        let until = waiting.until();
        let mut has_said = false;
        loop {
            let reply = asked.send(self.method, &self.path, &self.body)?;
            let is_busy = reply.problem() == "/problems/membership-busy";
            if !is_busy || Instant::now() >= until {
                let begun: Value = reply.success()?.read().unwrap_or_default();
                if let Some(hint) = begun["hint"].as_str() {
                    output::talk(&format!("hint: {hint}"));
                }
                return Ok(());
            }
            if !has_said && began.elapsed() >= SILENCE {
                let problem = reply.problem_details().unwrap_or_default();
                let reason = problem.get("detail").and_then(Value::as_str);
                output::talk(&format!(
                    "waits: {}",
                    reason.unwrap_or("another change is under way")
                ));
                has_said = true;
            }
            thread::sleep(BUSY_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Address;
    use crate::test_region::region;
    use clap::Parser;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        waiting: Waiting,
    }

    const BUSY: &str = "/problems/membership-busy";
    const OTHER: &str = "/problems/membership-refused";

    /// What comes of a change that is refused so, and then accepted, and how often it was asked for.
    fn sent(refusals: &'static [&str], flags: &[&str]) -> (CliResult, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let url = region(
            move || match refusals.get(count.fetch_add(1, Ordering::SeqCst)) {
                Some(problem) => (409, json!({"type": problem, "title": "refused"})),
                None => (202, json!({})),
            },
        );
        let address = Address {
            url,
            ..Address::default()
        };
        let api = Api::new(address, Duration::from_secs(30)).unwrap();
        let flags = [&["command"], flags].concat();
        let waiting = Command::parse_from(flags).waiting;
        let said = Wish::post("/v1/regions", &json!({"region": "d"})).send(&api, &waiting);
        (said, asked.load(Ordering::SeqCst))
    }

    #[test]
    fn a_change_that_waits_for_another_is_asked_for_again() {
        let (said, asked) = sent(&[BUSY, BUSY], &[]);
        assert!(said.is_ok(), "{said:?}");
        assert_eq!(asked, 3);
    }

    #[test]
    fn any_other_refusal_is_told_at_once() {
        let (said, asked) = sent(&[OTHER], &[]);
        assert!(said.is_err());
        assert_eq!(asked, 1);
    }

    #[test]
    fn without_waiting_a_change_under_way_is_told_at_once() {
        let (said, asked) = sent(&[BUSY], &["--no-wait"]);
        assert!(said.is_err());
        assert_eq!(asked, 1);
    }
}
