//! A region around the tables: a clock, a log, and what was applied.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use meridian_engine_kv::{
    Action, FjallStore, Limits, MemoryStore, Outcome, Rejection, Request, RowOperation, Store,
    TableReader, Tables,
};
use meridian_model::{
    Captured, Hlc, IdempotencyKey, Micros, OriginId, Position, Transaction, Vector, Version,
};
use meridian_replicate::{Applying, Engine, Executed};

pub type Logged = (Version, Transaction);

/// A store and what must outlive it.
pub trait TestStore: Store + std::fmt::Debug {
    type Home;
    fn fresh() -> (Self::Home, Self);
}

impl TestStore for MemoryStore {
    type Home = ();
    fn fresh() -> ((), Self) {
        ((), Self::default())
    }
}

impl TestStore for FjallStore {
    type Home = tempfile::TempDir;
    fn fresh() -> (Self::Home, Self) {
        let home = tempfile::tempdir().unwrap();
        let store = Self::open(&home.path().join("tables")).unwrap();
        (home, store)
    }
}

pub struct Region<S: Store> {
    pub tables: Tables<S>,
    pub log: Vec<Logged>,
    pub origin: OriginId,
    pub seen: Vector,
    pub clock: u64,
}

impl<S: Store> Region<S> {
    pub fn new(origin: u64, store: S) -> Self {
        Self::with_limits(origin, store, Limits::default())
    }

    pub fn with_limits(origin: u64, store: S, limits: Limits) -> Self {
        Self {
            tables: Tables::open(store, limits).unwrap(),
            log: Vec::new(),
            origin: OriginId(origin),
            seen: Vector::default(),
            clock: 0,
        }
    }

    pub fn reader(&self) -> TableReader<S> {
        self.tables.reader()
    }

    pub fn next_version(&self) -> Version {
        let newest = self.seen.iter().map(|(_, hlc)| hlc.raw()).max();
        Version {
            hlc: Hlc::from_raw(newest.unwrap_or(0).max(self.clock) + 1),
            origin: self.origin,
        }
    }

    pub fn execute(&self, request: &Request) -> Result<Executed<Outcome>, Rejection> {
        self.tables.execute(self.next_version(), request)
    }

    /// Executes, logs and stages; commits nothing.
    pub fn stage(&mut self, request: &Request) -> Result<Outcome, Rejection> {
        let executed = self.execute(request)?;
        if !executed.changes.is_empty() {
            let mut dependencies = self.seen.clone();
            dependencies.remove(self.origin);
            let transaction = Transaction {
                dependencies,
                changes: executed.changes,
                idempotency: executed.idempotency,
            };
            self.apply((self.next_version(), transaction));
        }
        Ok(executed.reply)
    }

    pub fn request(&mut self, request: &Request) -> Result<Outcome, Rejection> {
        let outcome = self.stage(request)?;
        self.commit();
        Ok(outcome)
    }

    pub fn run(&mut self, operations: Vec<RowOperation>) -> Outcome {
        self.request(&request(operations)).unwrap()
    }

    pub fn put(&mut self, key: &str, document: &str) -> Logged {
        self.run(vec![put(key, document)]);
        self.log.last().unwrap().clone()
    }

    pub fn delete(&mut self, key: &str) -> Logged {
        self.run(vec![delete(key)]);
        self.log.last().unwrap().clone()
    }

    pub fn increment(&mut self, key: &str, field: &str, by: i64) -> Logged {
        self.run(vec![increment(key, field, by)]);
        self.log.last().unwrap().clone()
    }

    /// Logs and stages a transaction.
    pub fn apply(&mut self, logged: Logged) {
        let position = Position(self.log.len() as u64);
        self.log.push(logged);
        self.stage_logged(position);
    }

    fn stage_logged(&mut self, position: Position) {
        let (version, transaction) = &self.log[usize::try_from(position.0).unwrap()];
        let applying = Applying {
            position,
            version: *version,
            transaction,
            captured: None,
            now: Micros(7),
        };
        self.tables.apply(&applying).unwrap();
        self.seen.raise(version.origin, version.hlc);
    }

    /// Applies what an engine committed first.
    pub fn deliver_captured(&mut self, version: Version, captured: &Captured) {
        let applying = Applying {
            position: Position(self.log.len() as u64),
            version,
            transaction: &captured.transaction,
            captured: Some(captured),
            now: Micros(7),
        };
        self.tables.apply(&applying).unwrap();
        self.log.push((version, captured.transaction.clone()));
        self.commit();
    }

    pub fn commit(&mut self) {
        let position = Position(self.log.len() as u64);
        self.tables.commit(position, None).unwrap();
    }

    pub fn deliver(&mut self, logged: &Logged) {
        self.apply(logged.clone());
        self.commit();
    }

    pub fn collect(&mut self, stable: &Vector, now: Micros) {
        self.tables.collect(stable, now).unwrap();
        self.commit();
    }

    /// Opens the tables anew and replays the log from their position.
    pub fn restart(&mut self, store: S) {
        self.tables = Tables::open(store, Limits::default()).unwrap();
        for position in self.tables.position().0..self.log.len() as u64 {
            self.stage_logged(Position(position));
        }
        self.commit();
    }

    pub fn document(&self, key: &str) -> Option<String> {
        let row = self.reader().get("t", key).unwrap();
        row.map(|row| row.document)
    }
}

/// Every record in the store.
pub fn dump<S: Store>(store: &S) -> Vec<(Vec<u8>, Vec<u8>)> {
    use meridian_engine_kv::{Order, View};
    let mut records = Vec::new();
    store
        .view()
        .visit(&[], &[0xff; 4], Order::Ascending, &mut |key, value| {
            records.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    records
}

pub fn kinds<S: Store>(store: &S) -> String {
    let kinds = dump(store).into_iter().map(|(key, _)| char::from(key[0]));
    kinds.filter(|kind| *kind != 'm').collect()
}

pub fn request(operations: Vec<RowOperation>) -> Request {
    Request {
        operations,
        ..Request::default()
    }
}

pub fn with_key(operations: Vec<RowOperation>, key: &str, fingerprint: u64) -> Request {
    Request {
        idempotency: Some(IdempotencyKey {
            key: key.to_owned(),
            fingerprint,
        }),
        ..request(operations)
    }
}

pub fn operation(table: &str, key: &str, action: Action) -> RowOperation {
    RowOperation {
        table: table.to_owned(),
        key: key.to_owned(),
        action,
    }
}

pub fn put(key: &str, document: &str) -> RowOperation {
    let document = document.to_owned();
    operation("t", key, Action::Put { document })
}

pub fn delete(key: &str) -> RowOperation {
    operation("t", key, Action::Delete)
}

pub fn increment(key: &str, field: &str, by: i64) -> RowOperation {
    let field = field.to_owned();
    operation("t", key, Action::Increment { field, by })
}

pub fn change_members(
    key: &str,
    field: &str,
    add: Vec<String>,
    remove: Vec<String>,
) -> RowOperation {
    let field = field.to_owned();
    operation("t", key, Action::Members { field, add, remove })
}

/// A test for each store.
#[macro_export]
macro_rules! on_both_stores {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name::<meridian_engine_kv::MemoryStore>(); })*
        }
        mod fjall {
            $(#[test] fn $name() { super::$name::<meridian_engine_kv::FjallStore>(); })*
        }
    };
}
