//! Whatever applications do, in three regions at once, while servers and regions die, links are cut
//! and clocks are wrong: in the end all servers have the same rows, and every sum is right.
//!
//! A run is drawn from a seed: the same statements and faults in the same order. What overlaps with
//! what is up to the machine, so a seed that failed is worth more than one try.
#![allow(
    clippy::print_stderr,
    reason = "the seed is what somebody needs who sees it fail"
)]

use crate::system::{REGIONS, System, Wanted, describe};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const SCHEMA: &str = "\
    CREATE TABLE public.account (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL); \
    CREATE TABLE public.tally (id int PRIMARY KEY, n bigint NOT NULL); \
    CREATE TABLE public.stock (id int PRIMARY KEY, name text NOT NULL, n bigint NOT NULL); \
    CREATE TABLE public.journal (id text PRIMARY KEY, at timestamptz DEFAULT now()); \
    CREATE TABLE public.item (id int PRIMARY KEY, u int UNIQUE, w int UNIQUE, v text, body text); \
    CREATE TABLE public.parent (id int PRIMARY KEY, v text); \
    CREATE TABLE public.child (id int PRIMARY KEY, parent int NOT NULL REFERENCES public.parent ON DELETE CASCADE, u int UNIQUE); \
    CREATE TABLE public.scratch (id int PRIMARY KEY, v text); \
    CREATE TABLE public.part (k text, id int, v text, PRIMARY KEY (k, id)) PARTITION BY LIST (k); \
    CREATE TABLE public.part_x PARTITION OF public.part FOR VALUES IN ('x'); \
    CREATE TABLE public.part_y PARTITION OF public.part DEFAULT;";
const DATASET: &str = "\
    [dataset.table.\"public.account\"]\ncounters = [\"balance\"]\n\
    [dataset.table.\"public.tally\"]\ncounters = [\"n\"]\n\
    [dataset.table.\"public.stock\"]\ncounters = [\"n\"]\n";
const ACCOUNTS: i64 = 8;
const STEPS: usize = 90;
/// An application gives up rather than wait for another's lock.
const SETTINGS: &str = "SET lock_timeout = '100ms'; SET statement_timeout = '20s'";

/// What must be there, as far as it can be known: of what failed nobody knows whether it happened.
#[derive(Default)]
struct Model {
    journal: BTreeSet<String>,
    journal_tried: BTreeSet<String>,
    tally: i64,
    tally_tried: i64,
}

/// What a transaction adds to the model.
#[derive(Default)]
struct Effect {
    journal: Vec<String>,
    tally: i64,
}

struct Run {
    system: System,
    random: Rng,
    model: Model,
    /// An application's connection in each region, if its server answers.
    clients: [Option<Client>; 3],
    is_server_up: [bool; 3],
    is_clock_off: [bool; 3],
    written: u64,
    refused: u64,
}

impl Run {
    fn start(seed: u64) -> Self {
        let system = System::start_with(&Wanted {
            schema: SCHEMA,
            dataset: DATASET,
            ..Wanted::default()
        });
        system.sql(
            0,
            &format!(
                "INSERT INTO public.account SELECT g, 'owner ' || g, 1000 FROM generate_series(1, {ACCOUNTS}) g; \
                 INSERT INTO public.tally SELECT g, 0 FROM generate_series(0, 3) g; \
                 INSERT INTO public.item SELECT g, g, -g, '-', repeat(md5(g::text), 200) FROM generate_series(1, 15) g; \
                 INSERT INTO public.parent SELECT g, '-' FROM generate_series(1, 8) g"
            ),
        );
        system.barrier();
        Self {
            system,
            random: Rng::with_seed(seed),
            model: Model::default(),
            clients: [None, None, None],
            is_server_up: [true; 3],
            is_clock_off: [false; 3],
            written: 0,
            refused: 0,
        }
    }

    /// Writes and faults, then peace, in which everything must come right.
    fn round(&mut self) {
        for region in 0..3 {
            let offset = [-5_000, 1, 5_000][self.random.usize(0..3)];
            // Until its process dies; then it jumps back.
            if !self.is_clock_off[region] {
                self.system.set_clock_off(region, offset);
                self.is_clock_off[region] = true;
            }
        }
        for _ in 0..STEPS {
            if self.random.u8(0..100) < 12 {
                self.fault();
            } else {
                let region = self.random.usize(0..3);
                self.write(region);
            }
        }
        self.calm();
        self.check();
    }

    fn fault(&mut self) {
        let (one, other) = (self.random.usize(0..3), self.random.usize(0..3));
        match self.random.u8(0..12) {
            0..=1 if one != other => self.system.part(one, other),
            2 if one != other => self.system.cut(one, other),
            3 => self.system.heal(),
            4..=5 => self.system.gate(one).hold_capture(),
            6 => self.system.gate(one).swallow_replies_to_commits(),
            7 => self.system.gate(one).cut(),
            8..=9 if self.system.is_up(one) => {
                self.system.kill(one);
                self.is_clock_off[one] = false;
            }
            10 if self.is_server_up[one] => {
                self.clients[one] = None;
                self.system.crash_server(one);
                self.is_server_up[one] = false;
            }
            _ => self.mend(one),
        }
    }

    /// One region has nothing in its way any more.
    fn mend(&mut self, region: usize) {
        if !self.is_server_up[region] {
            self.system.start_server(region);
            self.is_server_up[region] = true;
        }
        self.system.gate(region).open();
        if !self.system.is_up(region) {
            self.system.start_region(region);
        }
    }

    fn calm(&mut self) {
        for region in 0..3 {
            self.mend(region);
            // What an application left open ends with its connection.
            self.clients[region] = None;
        }
        self.system.lift();
        for region in 0..3 {
            self.system.wait_running(region);
        }
    }

    fn check(&self) {
        self.system.settle();
        let ask = |sql: &str| self.system.ask(0, sql);
        let sums = ask("SELECT sum(balance) || ' ' || count(*) FROM public.account");
        assert_eq!(
            sums,
            format!("{} {ACCOUNTS}", ACCOUNTS * 1000),
            "the accounts"
        );
        let tally: i64 = ask("SELECT sum(n) FROM public.tally")
            .parse()
            .expect("a sum");
        let (least, most) = (self.model.tally, self.model.tally_tried);
        assert!(
            (least..=most).contains(&tally),
            "{tally} counted, {least} to {most} done"
        );
        let journal = ask("SELECT id FROM public.journal ORDER BY id");
        let journal: BTreeSet<String> = journal.lines().map(str::to_owned).collect();
        let lost: Vec<_> = self.model.journal.difference(&journal).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let made_up: Vec<_> = journal.difference(&self.model.journal_tried).collect();
        assert!(made_up.is_empty(), "nobody wrote {made_up:?}");
    }

    fn write(&mut self, region: usize) {
        if !self.is_server_up[region] {
            return;
        }
        if self.clients[region].as_ref().is_none_or(Client::is_closed) {
            self.clients[region] = self.system.try_connect(region);
            let Some(client) = &self.clients[region] else {
                return;
            };
            self.system.on(client, SETTINGS);
        }
        let mut effect = Effect::default();
        let sql = match self.random.u8(0..40) {
            0 => "TRUNCATE public.scratch".to_owned(),
            1 => self.rare(),
            2..=13 => self.transaction(region, &mut effect),
            _ => self.statement(region, &mut effect),
        };
        self.model
            .journal_tried
            .extend(effect.journal.iter().cloned());
        self.model.tally_tried += effect.tally;
        let client = self.clients[region].as_ref().expect("just made");
        match self.system.try_on(client, &sql) {
            Ok(()) => {
                self.written += 1;
                self.model.journal.extend(effect.journal);
                self.model.tally += effect.tally;
            }
            Err(error) if error.as_db_error().is_some() => {
                self.refused += 1;
                let code = error
                    .code()
                    .map(|code| code.code().to_owned())
                    .unwrap_or_default();
                // Constraints, locks, deadlocks; anything else is this test's own mistake.
                let is_expected = ["23", "55", "40", "57"]
                    .iter()
                    .any(|class| code.starts_with(class));
                assert!(is_expected, "{sql}: {}", describe(&error));
                let _ = self.system.try_on(client, "ROLLBACK");
            }
            Err(_) => self.clients[region] = None,
        }
    }

    fn rare(&mut self) -> String {
        let statements = [
            "TRUNCATE public.parent CASCADE",
            "TRUNCATE public.part",
            "VACUUM (FREEZE) public.item",
            "VACUUM FULL public.item",
            "DELETE FROM public.item WHERE id % 3 = 0",
            "UPDATE public.item SET u = -u",
        ];
        statements[self.random.usize(0..statements.len())].to_owned()
    }

    /// Several statements, some of them taken back.
    fn transaction(&mut self, region: usize, effect: &mut Effect) -> String {
        let mut sql = "BEGIN".to_owned();
        for turn in 0..self.random.usize(2..6) {
            let mut of_part = Effect::default();
            let statement = self.statement(region, &mut of_part);
            match self.random.u8(0..4) {
                0 => sql += &format!("; SAVEPOINT s{turn}; {statement}; ROLLBACK TO s{turn}"),
                1 => sql += &format!("; SAVEPOINT s{turn}; {statement}; RELEASE s{turn}"),
                _ => sql += &format!("; {statement}"),
            }
            if !sql.ends_with(&format!("ROLLBACK TO s{turn}")) {
                effect.journal.append(&mut of_part.journal);
                effect.tally += of_part.tally;
            }
        }
        if self.random.u8(0..8) == 0 {
            *effect = Effect::default();
            return sql + "; ROLLBACK";
        }
        sql + "; COMMIT"
    }

    fn statement(&mut self, region: usize, effect: &mut Effect) -> String {
        let mut below = |end: i64| self.random.i64(0..end);
        let (id, other, n, kind) = (below(25), below(25), below(1000), below(30));
        let name = REGIONS[region];
        match kind {
            0..=1 => format!(
                "INSERT INTO public.item VALUES ({id}, {other}, {n}, '{name}', repeat(md5('{n}'), 200)) \
                 ON CONFLICT (id) DO UPDATE SET u = excluded.u, v = excluded.v"
            ),
            2 => format!("INSERT INTO public.item VALUES ({id}, {other}, {id}, '{name}', NULL)"),
            3..=4 => format!("UPDATE public.item SET v = '{name}{n}' WHERE id = {id}"),
            5 => format!("UPDATE public.item SET u = {other}, w = {n} % 30 WHERE id = {id}"),
            6 => format!("UPDATE public.item SET body = repeat(md5('{n}'), {n}) WHERE id = {id}"),
            7 => format!("DELETE FROM public.item WHERE id = {id}"),
            8 => format!("UPDATE public.item SET id = {other} WHERE id = {id}"),
            9 => format!(
                "WITH a AS (SELECT id, u FROM public.item WHERE id IN ({id}, {other}) FOR UPDATE) \
                 UPDATE public.item i SET v = a.u::text FROM a WHERE i.id <> a.id AND i.id IN ({id}, {other})"
            ),
            10..=11 => format!(
                "INSERT INTO public.parent VALUES ({id}, '{name}') ON CONFLICT (id) DO UPDATE SET v = '{name}{n}'"
            ),
            12 => format!("DELETE FROM public.parent WHERE id = {id}"),
            13..=14 => format!(
                "INSERT INTO public.child SELECT {other}, id, {n} % 20 FROM public.parent WHERE id = {id} ON CONFLICT DO NOTHING"
            ),
            15 => format!(
                "UPDATE public.child SET parent = (SELECT min(id) FROM public.parent WHERE id >= {id}) \
                 WHERE id = {other} AND EXISTS (SELECT FROM public.parent WHERE id >= {id})"
            ),
            16 => format!("DELETE FROM public.child WHERE id = {id}"),
            17..=19 => {
                let (from, to) = (id % ACCOUNTS + 1, other % ACCOUNTS + 1);
                format!(
                    "UPDATE public.account SET balance = balance + CASE WHEN {from} = {to} THEN 0 \
                     WHEN id = {from} THEN -{n} ELSE {n} END WHERE id IN ({from}, {to})"
                )
            }
            20 => format!(
                "UPDATE public.account SET owner = '{name}{n}' WHERE id = {id} % {ACCOUNTS} + 1"
            ),
            21..=22 => {
                effect.tally += 1;
                format!("UPDATE public.tally SET n = n + 1 WHERE id = {id} % 4")
            }
            23 => {
                let id = format!("{name}-{:016x}", self.random.u64(..));
                effect.journal.push(id.clone());
                format!("INSERT INTO public.journal VALUES ('{id}')")
            }
            24 => format!(
                "INSERT INTO public.stock VALUES ({id} % 9, '{name}', {n}) ON CONFLICT DO NOTHING"
            ),
            25 => format!("UPDATE public.stock SET n = n + {n} WHERE id = {id} % 9"),
            26 => format!("DELETE FROM public.stock WHERE id = {id} % 9"),
            27 => format!(
                "INSERT INTO public.scratch VALUES ({id}, '{name}') ON CONFLICT (id) DO UPDATE SET v = '{n}'"
            ),
            28 => format!(
                "INSERT INTO public.part VALUES ('{}', {id}, '{name}') ON CONFLICT (k, id) DO UPDATE SET v = '{n}'",
                ["x", "y", "z"][usize::try_from(other % 3).expect("small")]
            ),
            _ => format!(
                "UPDATE public.part p SET k = 'y' WHERE id = {id} AND k = 'x' \
                 AND NOT EXISTS (SELECT FROM public.part q WHERE q.id = p.id AND q.k = 'y')"
            ),
        }
    }
}

/// Runs rounds of one seed until there were enough of them or it is time.
fn run(seed: u64, rounds: usize, until: Instant) -> usize {
    eprintln!(
        "seed {seed}; again with: MERIDIAN_SEED={seed} cargo test -p meridian-cli \
         --test postgres_cases random::some_rounds -- --nocapture"
    );
    let mut run = Run::start(seed);
    let mut done = 0;
    while done < rounds && (done == 0 || Instant::now() < until) {
        run.round();
        done += 1;
    }
    eprintln!(
        "seed {seed}: {done} rounds, {} written, {} refused",
        run.written, run.refused
    );
    done
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn some_rounds() {
    let until = Instant::now() + Duration::from_secs(30);
    run(number("MERIDIAN_SEED").unwrap_or(1), 3, until);
}

/// Run by hand, for as long as MERIDIAN_SOAK_SECONDS says, from MERIDIAN_SEED on.
#[test]
#[ignore = "goes on for ten minutes, or for as long as it is told to"]
fn soak() {
    let seconds = number("MERIDIAN_SOAK_SECONDS").unwrap_or(600);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = number("MERIDIAN_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let mut rounds = 0;
    while Instant::now() < until {
        rounds += run(seed, 10, until);
        seed += 1;
    }
    eprintln!("{rounds} rounds");
}
