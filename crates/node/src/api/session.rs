//! Session tokens: what a client has seen, per dataset, so that any region can wait until it has
//! seen as much.
//!
//! A token is the hexadecimal form of a format byte and the postcard encoding of dataset names and
//! vectors. What it says of datasets other than the request's is carried over unchanged.
//!
//! A token says at least what its reply showed: what the tables said after they were read, and what
//! the request's own token said. It may say a little more, which costs another region a moment of
//! waiting and can't be wrong: the region that gave it shows all of it.

use super::json::{SESSION, hex, unhex};
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::dataset::DatasetHandle;
use axum::http::{HeaderMap, HeaderValue};
use meridian_model::Vector;
use std::collections::BTreeMap;
use std::time::Duration;

const FORMAT: u8 = 1;
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How long a write waits for what its client has seen.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// What a client has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session(BTreeMap<String, Vector>);

impl Session {
    /// What the request's tokens say of this region's datasets.
    pub(crate) fn read(state: &ApiState, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut session = Self::default();
        for value in headers.get_all(SESSION) {
            let token = value.to_str().ok().and_then(decode).ok_or_else(malformed)?;
            for (dataset, seen) in token {
                if state.has_dataset(&dataset) {
                    session.raise(&dataset, &seen);
                }
            }
        }
        Ok(session)
    }

    fn raise(&mut self, dataset: &str, seen: &Vector) {
        match self.0.get_mut(dataset) {
            Some(held) => held.raise_all(seen),
            None => drop(self.0.insert(dataset.to_owned(), seen.clone())),
        }
    }

    /// The client has seen this of a dataset, and all that the region says it has applied.
    pub(crate) fn note(&mut self, dataset: &DatasetHandle, seen: &Vector) {
        self.raise(dataset.name(), &dataset.applied());
        self.raise(dataset.name(), seen);
    }

    /// The client has seen this of a dataset, in another region.
    pub(crate) fn saw(&mut self, dataset: &DatasetHandle, seen: &Vector) {
        self.raise(dataset.name(), seen);
    }

    /// What the client has seen of a dataset.
    pub(crate) fn seen(&self, dataset: &str) -> Option<&Vector> {
        self.0.get(dataset)
    }

    /// Waits until the dataset has seen here what the client has seen of it.
    pub(crate) async fn wait(
        &self,
        dataset: &DatasetHandle,
        timeout: Duration,
    ) -> Result<(), Problem> {
        let Some(seen) = self.seen(dataset.name()) else {
            return Ok(());
        };
        if dataset.wait_for(seen, timeout).await {
            return Ok(());
        }
        let ms = timeout.as_millis();
        Err(Problem::new(
            Kind::SessionNotReached,
            format!("after {ms} ms this region has not yet seen all that the session has"),
        )
        .hint(
            "send it again, or to the region where the session began; /v1/replication has the lag",
        )
        .member("dataset", dataset.name())
        .retry_after(1))
    }

    /// The token.
    pub(crate) fn token(&self) -> HeaderValue {
        let all = self.0.iter().map(|(name, seen)| (name.as_str(), seen));
        encode(&all.collect())
    }
}

fn encode(seen: &BTreeMap<&str, &Vector>) -> HeaderValue {
    let bytes = postcard::to_extend(seen, vec![FORMAT]).expect("names and numbers can be encoded");
    HeaderValue::try_from(hex(&bytes)).expect("hexadecimal digits are header text")
}

fn decode(token: &str) -> Option<BTreeMap<String, Vector>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = unhex(token.trim())?;
    let (seen, rest) = postcard::take_from_bytes(bytes.strip_prefix(&[FORMAT])?).ok()?;
    rest.is_empty().then_some(seen)
}

/// A token that is understood is written as it was meant.
#[cfg(feature = "fuzzing")]
pub(crate) fn reads_back(token: &str) {
    let Some(seen) = decode(token) else { return };
    let borrowed = seen.iter().map(|(name, seen)| (name.as_str(), seen));
    let again = encode(&borrowed.collect());
    let again = again.to_str().expect("hexadecimal digits are text");
    assert_eq!(decode(again), Some(seen));
}

fn malformed() -> Problem {
    Problem::new(Kind::BadSession, "Meridian-Session holds no session token")
        .hint("send back the value of the last reply's Meridian-Session as it was, or none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    #[test]
    fn a_token_reads_back_and_no_part_of_it_does() {
        let vector: Vector = [(OriginId(7), Hlc::from_raw(1 << 60))]
            .into_iter()
            .collect();
        let token = encode(&[("main", &vector)].into_iter().collect());
        let token = token.to_str().unwrap();
        assert_eq!(
            decode(token),
            Some([("main".to_owned(), vector)].into_iter().collect())
        );
        for end in 0..token.len() {
            assert_eq!(decode(&token[..end]), None);
        }
        assert_eq!(decode(&format!("{token}00")), None, "left over");
        assert_eq!(
            decode(&token.replacen("01", "02", 1)),
            None,
            "another format"
        );
        assert_eq!(decode("é"), None);
    }
}
