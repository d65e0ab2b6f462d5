//! A mixed workload whose outcome can be judged.
//!
//! - `plain` rows are put and deleted by everybody: conflicts, tombstones.
//! - `counters` are incremented, and now and then put or deleted under way.
//! - `groups` are rows that every transaction writes together: seen alone, they give a torn
//!   transaction away.
//! - `chain` has one source row that only rises, and rows derived from it anywhere: an effect seen
//!   without its cause gives broken causal order away.
//! - `fields`, `sets` and `siblings` are tables with other strategies; the rows of `switched` are
//!   written under whichever strategy their region happens to have. All get every kind of write.

use serde_json::json;

/// Rows that are put and deleted.
pub const PLAIN: &str = "plain";
/// Rows that are incremented.
pub const COUNTERS: &str = "counters";
/// Rows that are written together.
pub const GROUPS: &str = "groups";
/// A source and what is derived from it.
pub const CHAIN: &str = "chain";

/// Rows of which each field is by itself.
pub const FIELDS: &str = "fields";
/// Rows with a field that is a set.
pub const SETS: &str = "sets";
/// Rows of which all concurrent puts are kept.
pub const SIBLINGS: &str = "siblings";
/// Rows whose table changes its strategy under way, in each region by itself.
pub const SWITCHED: &str = "switched";

/// What is done to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put this document.
    Put(String),
    /// Delete the row.
    Delete,
    /// Add to a field.
    Increment(String, i64),
    /// Add members to a field, and remove others; as canonical JSON texts.
    Members(String, Vec<String>, Vec<String>),
}

/// One client's next transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These actions, together.
    Write(Vec<(String, String, Action)>),
    /// Read `chain/source` and put its number into this row of `chain`, if it is there.
    Derive(String),
}

/// Makes steps, from a seed.
#[derive(Clone, Debug)]
pub struct Workload {
    random: fastrand::Rng,
    next_id: u64,
    source: i64,
}

/// The keys of a group's rows.
#[must_use]
pub fn group_members(group: &str) -> [String; 3] {
    ["a", "b", "c"].map(|member| format!("{group}-{member}"))
}

impl Workload {
    /// A workload from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            next_id: 0,
            source: 0,
        }
    }

    /// The next step of a client; only `owner`s write the chain's source, and there is one.
    pub fn step(&mut self, owner: bool) -> Step {
        self.next_id += 1;
        match self.random.u32(0..16) {
            0..=3 => self.plain(),
            4..=5 => self.counter(),
            6..=7 => self.group(),
            10 => self.any(FIELDS),
            11..=12 => self.any(SETS),
            13 => self.any(SIBLINGS),
            14..=15 => self.any(SWITCHED),
            _ if owner => self.source(),
            _ => Step::Derive(format!("derived-{}", self.random.u32(0..2))),
        }
    }

    fn plain(&mut self) -> Step {
        let key = format!("row-{}", self.random.u32(0..6));
        let action = if self.random.u32(0..3) == 0 {
            Action::Delete
        } else {
            self.put()
        };
        Step::Write(vec![(PLAIN.into(), key, action)])
    }

    fn put(&self) -> Action {
        Action::Put(json!({ "id": self.next_id }).to_string())
    }

    fn counter(&mut self) -> Step {
        let key = format!("counter-{}", self.random.u32(0..3));
        let action = match self.random.u32(0..12) {
            0 => Action::Delete,
            1 => Action::Put(json!({ "n": 1000, "id": self.next_id }).to_string()),
            2..=4 => Action::Increment("m".into(), 1),
            _ => Action::Increment("n".into(), self.random.i64(-3..10)),
        };
        Step::Write(vec![(COUNTERS.into(), key, action)])
    }

    fn group(&mut self) -> Step {
        let group = format!("group-{}", self.random.u32(0..3));
        let action = if self.random.u32(0..6) == 0 {
            Action::Delete
        } else {
            self.put()
        };
        let rows = group_members(&group);
        Step::Write(rows.map(|key| (GROUPS.into(), key, action.clone())).into())
    }

    /// Any kind of write to a row with a number, a counter and a set.
    fn any(&mut self, table: &str) -> Step {
        let key = format!("row-{}", self.random.u32(0..3));
        let action = match self.random.u32(0..12) {
            0 => Action::Delete,
            1..=2 => Action::Increment("n".into(), self.random.i64(-3..10)),
            3..=7 => {
                let (mut add, mut remove) = (self.members(), self.members());
                match self.random.u32(0..3) {
                    0 => add.clear(),
                    1 => remove.clear(),
                    _ => remove.retain(|member| !add.contains(member)),
                }
                Action::Members("s".into(), add, remove)
            }
            _ => self.object(),
        };
        Step::Write(vec![(table.to_owned(), key, action)])
    }

    fn members(&mut self) -> Vec<String> {
        let all = 0..5;
        let some: Vec<u32> = all.filter(|_| self.random.u32(0..3) == 0).collect();
        some.iter().map(|member| format!("\"m{member}\"")).collect()
    }

    /// A document in which each field may be missing, or be what it was before.
    fn object(&mut self) -> Action {
        let mut fields = serde_json::Map::new();
        for field in ["a", "b"] {
            if self.random.u32(0..4) > 0 {
                fields.insert(field.to_owned(), json!(self.random.u32(0..4)));
            }
        }
        if self.random.bool() {
            fields.insert("n".to_owned(), json!(100));
        }
        if self.random.bool() {
            let members = self.members().join(",");
            let members = serde_json::from_str(&format!("[{members}]"));
            fields.insert("s".to_owned(), members.expect("members are JSON"));
        }
        Action::Put(serde_json::Value::Object(fields).to_string())
    }

    fn source(&mut self) -> Step {
        self.source += 1;
        let document = json!({ "n": self.source }).to_string();
        Step::Write(vec![(CHAIN.into(), "source".into(), Action::Put(document))])
    }
}
