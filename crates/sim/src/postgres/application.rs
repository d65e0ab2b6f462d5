//! Applications: transactions of a few rows that begin, hold locks for a while, and end in any order.

use super::Beside;
use super::schema::{ACCOUNTS, NOTES, PURSES, PURSES_COUNT, SEATS, VISITS, name};
use super::server::{Server, Write};
use crate::world::{Event, World};
use std::time::Duration;

const IDS: u32 = 12;
const OPEN_MAX: usize = 4;
/// More than are captured at once.
const STATEMENTS_MAX: usize = 20;
/// Who may hold seats: few, so that regions often give two seats to one.
const HOLDERS: u32 = 8;

impl World {
    pub(crate) fn application(&mut self, index: usize) {
        let pause = Duration::from_micros(self.random.u64(1_000..40_000));
        self.plan(pause, Event::Application(index));
        if !self.applications_act {
            return;
        }
        let random = &mut self.random;
        let Beside {
            server,
            writes_large,
            ..
        } = &mut self.postgres[index];
        let open = server.open_count();
        if open > 0 && (open == OPEN_MAX || random.bool()) {
            let (which, commits) = (random.usize(0..open), random.u32(0..8) > 0);
            server.end(which, commits);
            return;
        }
        if random.u32(0..60) == 0 {
            return empty(server, random);
        }
        let statements = match random.usize(1..4) {
            1 if *writes_large && random.bool() => STATEMENTS_MAX,
            statements => statements,
        };
        let writes = transaction(server, random, statements);
        if !writes.is_empty() {
            server.begin(writes);
        }
    }
}

/// A transaction empties tables, unless somebody is at work there, and writes a note.
fn empty(server: &mut Server, random: &mut fastrand::Rng) {
    let tables: &[&str] = match random.u32(0..4) {
        0 => &[NOTES],
        1 => &[ACCOUNTS],
        2 => &[VISITS],
        // What refers to a table is emptied with it.
        _ => &[SEATS, VISITS],
    };
    let tables = tables.iter().map(|table| format!("public.{table}"));
    let tables: Vec<String> = tables.collect();
    let (id, note) = (random.u32(0..IDS), random.u32(..).to_string());
    let note = Write {
        row: name(NOTES, id),
        after: Some(vec![Some(id.to_string()), Some(note)]),
        in_savepoint: false,
    };
    let is_free = !server.is_locked(&note.row) && server.permits(&[], &note);
    if is_free && tables.iter().all(|table| server.is_unused(table)) {
        server.begin_emptying(tables, vec![note]);
    }
}

/// What one transaction does, of the rows that nobody else has locked.
fn transaction(server: &Server, random: &mut fastrand::Rng, statements: usize) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    for _ in 0..statements {
        let more = statement(server, random);
        let is_free = |write: &Write| {
            !server.is_locked(&write.row)
                && writes.iter().all(|other| other.row != write.row)
                && server.permits(&writes, write)
        };
        if more.iter().all(is_free) {
            writes.extend(more);
        }
    }
    writes
}

/// One statement, going by what the server shows.
fn statement(server: &Server, random: &mut fastrand::Rng) -> Vec<Write> {
    let in_savepoint = random.u32(0..4) == 0;
    let write = |table: &str, id: u32, value: Option<String>| Write {
        row: name(table, id),
        after: value.map(|value| vec![Some(id.to_string()), Some(value)]),
        in_savepoint,
    };
    let noted = |table: &str, id: u32, value: u32, note: u32| Write {
        row: name(table, id),
        after: Some([id, value, note].map(|it| Some(it.to_string())).to_vec()),
        in_savepoint,
    };
    let id = random.u32(0..IDS);
    match random.u32(0..20) {
        0..4 => vec![write(NOTES, id, Some(random.u32(..).to_string()))],
        4 => vec![write(NOTES, id, None)],
        5 => {
            // The key of a row changes, where the new one is free.
            let to = random.u32(0..IDS);
            let note = server.values(&name(NOTES, id));
            match note.and_then(|values| values[1].clone()) {
                Some(note) if to != id && server.values(&name(NOTES, to)).is_none() => {
                    vec![write(NOTES, id, None), write(NOTES, to, Some(note))]
                }
                _ => Vec::new(),
            }
        }
        6..9 => {
            let balance = match server.balance(&name(ACCOUNTS, id)) {
                Some(balance) => balance + random.i64(-20..20),
                None => 0,
            };
            vec![write(ACCOUNTS, id, Some(balance.to_string()))]
        }
        9 => vec![write(ACCOUNTS, id, None)],
        12..14 => vec![noted(SEATS, id, random.u32(0..HOLDERS), random.u32(..))],
        14 => vec![write(SEATS, id, None)],
        15..17 => vec![noted(VISITS, id, random.u32(0..IDS), random.u32(..))],
        17 => vec![write(VISITS, id, None)],
        _ => {
            let (from, to) = (random.u32(0..PURSES_COUNT), random.u32(0..PURSES_COUNT));
            let amount = random.i64(1..4);
            let balance = |id: u32| server.balance(&name(PURSES, id));
            match (balance(from), balance(to)) {
                (Some(less), Some(more)) if from != to => vec![
                    write(PURSES, from, Some((less - amount).to_string())),
                    write(PURSES, to, Some((more + amount).to_string())),
                ],
                _ => Vec::new(),
            }
        }
    }
}
