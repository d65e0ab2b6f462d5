//! `meridian schema apply`.
//!
//! ```text
//! read ─ connect to every server ─ records ─ rehearse (rolled back) ─ refused? nothing was done
//!   └─▶ for each step: region after region ─ prepare ─ wait until every region captures
//! ```

use super::plan::{Judgements, Migration, is_of_rows};
use super::report;
use super::servers::{self, Server, failed};
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format};
use crate::postgres::access::Access;
use crate::postgres::prepare::{Report, apply_dataset};
use crate::retry::Backoff;
use clap::Args;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::catalog::{Fingerprint, TableName};
use meridian_engine_postgres::migrate::{self, MigrateError, Record, Script, Standing};
use meridian_engine_postgres::prepare::{Finding, Status, Survey, compare, survey};
use meridian_engine_postgres::server::connect;
use meridian_topology::{Dataset, Topology};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often a region is asked whether it captures.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often preparing is tried: `up --postgres` may prepare at the same moment.
const PREPARE_TRIES: usize = 5;

/// `meridian schema apply`
#[derive(Debug, Args)]
#[command(
    after_help = "A line `-- step` in FILE begins a step. A step is one transaction in each region, and is in every region before the next begins. A step that changes rows and nothing else runs in one region, from which the rows replicate. A statement that can't run in a transaction (CREATE INDEX CONCURRENTLY) stands alone in its step.\n\nBefore anything is done, the steps are rehearsed in one server in a transaction that is rolled back. What each server has is recorded in its table meridian.migrations: run again, it goes on where it stopped. Without --config the system is found by --data-dir (the one given to `meridian up`), else by ./meridian.toml.\n\nExample:\n  meridian schema apply 0001_orders.sql\n  meridian schema apply 0002_stock.sql --config meridian.toml --user shop_owner --password-file owner.secret"
)]
pub struct Options {
    /// The migration: SQL
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The topology file
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    /// The data directory given to `meridian up` [default: .meridian]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The dataset, where several are on PostgreSQL
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Show the steps and what they change, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    access: Access,
    /// Give a lock up after so many seconds, and try again: applications wait no longer than that
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    lock_timeout: u64,
    /// How many seconds to try for a lock, and to wait until every region captures
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let file = options.file.display();
    let text = fs::read_to_string(&options.file)
        .map_err(|error| CliError::usage(format!("read the migration {file}")).because(&error))?;
    let script = Script::parse(&text)
        .map_err(|error| CliError::usage(format!("{file}: {error}")).hint(error.hint()))?;
    let name = options.file.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let topology = servers::topology(options.config.as_deref(), options.data_dir.as_deref())?;
    let dataset = servers::dataset(&topology, options.dataset.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("start the threads").because(&error))?;
    runtime.block_on(async {
        let lock_timeout = Duration::from_secs(options.lock_timeout);
        let servers = servers::connect(&topology, dataset, &options.access, lock_timeout).await?;
        let work = Work {
            options,
            topology: &topology,
            dataset,
            servers,
        };
        work.run(&script, name, format).await
    })
}

/// A migration at work.
struct Work<'t> {
    options: &'t Options,
    topology: &'t Topology,
    dataset: &'t Dataset,
    servers: Vec<Server>,
}

impl Work<'_> {
    async fn run(&self, script: &Script, name: String, format: Format) -> CliResult {
        let dataset = self.dataset.name.as_str();
        self.must_be_only_one().await?;
        let mut records = Vec::new();
        for server in &self.servers {
            let applied = migrate::applied(&server.client, dataset, &name).await;
            let applied = applied.map_err(|error| failed(&error, &server.region))?;
            records.push((server.region.clone(), applied));
        }
        let mut migration = Migration::new(name, script, records)?;
        let had = migration.has.clone();
        if migration.has.iter().all(|(_, steps)| steps.is_empty()) {
            self.must_be_alike().await?;
        }
        let mut judgements = Judgements::new();
        self.rehearse(&migration, &mut judgements).await?;
        if let Some(refused) = report::refusal(&migration, &judgements) {
            report::print(&migration, &judgements, &had, format, dataset)?;
            return Err(refused);
        }
        if self.options.dry_run {
            return report::print(&migration, &judgements, &had, format, dataset);
        }
        let mut is_ready = false;
        for step in 0..script.steps.len() {
            if !judgements.contains_key(&step) {
                self.rehearse(&migration, &mut judgements).await?;
                if let Some(refused) = report::refusal(&migration, &judgements) {
                    return Err(refused);
                }
            }
            let is_of_rows = is_of_rows(&script.steps[step], judgements.get(&step));
            let regions = migration.regions_for(step, is_of_rows);
            if is_of_rows && !regions.is_empty() && !is_ready {
                // The rows are to be captured with the tables as they are.
                self.make_ready().await?;
            }
            if let Some(judged) = judgements.get(&step).filter(|_| !regions.is_empty()) {
                self.must_be_empty(&judged.dropped).await?;
            }
            is_ready = is_of_rows || regions.is_empty();
            for region in &regions {
                self.run_step(&migration, region, step, is_of_rows).await?;
                migration.done(region, step);
            }
            if !is_ready {
                self.make_ready().await?;
                is_ready = true;
            }
        }
        self.make_ready().await?;
        report::print(&migration, &judgements, &had, format, dataset)
    }

    fn server(&self, region: &str) -> &Server {
        let mut servers = self.servers.iter();
        let server = servers.find(|server| server.region == region);
        server.expect("a migration's regions are those with a server")
    }

    async fn must_be_only_one(&self) -> CliResult {
        let Some(first) = self.servers.first() else {
            return Err(CliError::usage("no region has a server for the dataset"));
        };
        let is_only = migrate::only_one(&first.client, self.dataset.name.as_str()).await;
        if is_only.map_err(|error| failed(&error, &first.region))? {
            return Ok(());
        }
        Err(
            CliError::failure("another migration of this dataset is under way")
                .hint("run this again when it is through"),
        )
    }

    /// All servers as they are now, in sessions that see them as regions do.
    async fn survey(&self) -> CliResult<BTreeMap<String, Survey>> {
        let mut surveys = BTreeMap::new();
        for server in &self.servers {
            let unread = |error: &dyn std::error::Error| {
                CliError::failure("read the catalog")
                    .because(error)
                    .at(&server.region)
            };
            let client = connect(&server.config, "schema apply")
                .await
                .map_err(|error| unread(&error))?;
            let found = survey(&client, &server.plan)
                .await
                .map_err(|error| unread(&error))?;
            surveys.insert(server.region.clone(), found);
        }
        Ok(surveys)
    }

    /// What is rehearsed in one server says something about the others only where they are alike.
    async fn must_be_alike(&self) -> CliResult {
        let surveys = self.survey().await?;
        let found = compare(&surveys, &self.servers[0].plan);
        match found.iter().find(|finding| is_of_table(finding)) {
            None => Ok(()),
            Some(finding) => Err(CliError::failure(format!(
                "the regions' tables differ before the migration: {}: {}",
                finding.subject, finding.reason
            ))
            .hint("make them alike first; `meridian postgres prepare` shows what differs")),
        }
    }

    /// Judges the steps that the first region with something to do lacks.
    async fn rehearse(&self, migration: &Migration<'_>, judgements: &mut Judgements) -> CliResult {
        let Some((region, first)) = migration.to_rehearse() else {
            return Ok(());
        };
        let server = self.server(region);
        let all = migration.script.steps.len();
        output::talk(&format!("rehearsing in {region}"));
        let steps: Vec<_> = migration.script.steps[first..all].iter().collect();
        let judged = self
            .patiently(region, "rehearse", async || {
                migrate::rehearse(&server.client, &server.plan, &steps).await
            })
            .await?;
        judgements.extend((first..).zip(judged));
        self.must_be_allowed(judgements).await
    }

    /// Once steps are run, what Meridian keeps in the servers follows them: whoever may not do that is not
    /// to begin.
    async fn must_be_allowed(&self, judgements: &Judgements) -> CliResult {
        let mut judged = judgements.values();
        let alters_publication = judged.any(|judgement| judgement.alters_publication);
        let dataset = self.dataset.name.as_str();
        for server in &self.servers {
            let withheld = migrate::withheld(&server.client, dataset, alters_publication).await;
            let withheld = withheld.map_err(|error| failed(&error, &server.region))?;
            let Some(first) = withheld.first() else {
                continue;
            };
            let all = withheld
                .iter()
                .map(|it| format!("{} belongs to {}", it.what, it.owner));
            return Err(CliError::failure(format!(
                "{}, and the migration needs what belongs to it changed too",
                all.collect::<Vec<_>>().join(", ")
            ))
            .at(&server.region)
            .hint(format!(
                "run it as {} (--user and --password-file), or give it to the tables' owner (ALTER … \
                 OWNER TO …)",
                first.owner
            )));
        }
        Ok(())
    }

    /// A table that is dropped must have been emptied everywhere.
    async fn must_be_empty(&self, dropped: &[String]) -> CliResult {
        let until = Instant::now() + Duration::from_secs(self.options.patience);
        for (table, server) in dropped
            .iter()
            .flat_map(|table| self.servers.iter().map(move |server| (table, server)))
        {
            let (schema, name) = table.split_once('.').unwrap_or(("public", table));
            let name = TableName {
                schema: schema.to_owned(),
                name: name.to_owned(),
            };
            loop {
                let query = "SELECT pg_catalog.to_regclass($1) IS NULL";
                let row = server.client.query_one(query, &[&name.sql()]).await;
                let row = row.map_err(|error| {
                    CliError::failure("look for a table")
                        .because(&error)
                        .at(&server.region)
                })?;
                if row.get(0) {
                    break;
                }
                let is_empty = migrate::is_empty(&server.client, &name).await;
                let is_empty = is_empty.map_err(|error| failed(&error, &server.region))?;
                let dataset = self.dataset.name.as_str();
                let parked = migrate::rows_parked(&server.client, dataset, table).await;
                let parked = parked.map_err(|error| {
                    CliError::failure("look for parked rows")
                        .because(&error)
                        .at(&server.region)
                })?;
                if is_empty && parked == 0 {
                    break;
                }
                if Instant::now() > until && is_empty {
                    return Err(CliError::failure(format!(
                        "{table} is to be dropped, and {parked} rows of it are parked in {}",
                        server.region
                    ))
                    .hint(
                        "decide about them (`meridian postgres parked list`, `… drop`), and run \
                         this again",
                    ));
                }
                if Instant::now() > until {
                    return Err(CliError::failure(format!(
                        "{table} is to be dropped and has rows in {}",
                        server.region
                    ))
                    .hint("empty it first (TRUNCATE replicates), and run this again"));
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    async fn run_step(
        &self,
        migration: &Migration<'_>,
        region: &str,
        step: usize,
        is_of_rows: bool,
    ) -> CliResult {
        let server = self.server(region);
        let steps = &migration.script.steps;
        let of = format!("step {} of {}", step + 1, steps.len());
        output::talk(&format!("{region}: {of}"));
        let record = Record {
            dataset: self.dataset.name.as_str(),
            name: &migration.name,
            step: i32::try_from(step + 1).unwrap_or(i32::MAX),
            checksum: &migration.script.checksum,
        };
        let catalog = match is_of_rows {
            true => None,
            false => Some(
                survey(&server.client, &server.plan)
                    .await
                    .map_err(|error| CliError::failure(error.to_string()).at(region))?
                    .catalog,
            ),
        };
        self.patiently(region, &of, async || {
            migrate::run(&server.client, &steps[step], record, catalog.as_ref()).await
        })
        .await
    }

    /// Tries again where somebody holds a lock.
    async fn patiently<T>(
        &self,
        region: &str,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, MigrateError>,
    ) -> CliResult<T> {
        let until = Instant::now() + Duration::from_secs(self.options.patience);
        let mut backoff = Backoff::new();
        loop {
            match attempt().await {
                Err(error) if error.is_contention() && Instant::now() < until => {
                    let wait = backoff.wait();
                    output::talk(&format!(
                        "{region}: {what}: {error}; trying again in {:.1} s",
                        wait.as_secs_f64()
                    ));
                    sleep(wait).await;
                }
                done => return done.map_err(|error| failed(&error, region)),
            }
        }
    }

    /// Prepares the tables as they are now, and returns when every region captures them.
    async fn make_ready(&self) -> CliResult {
        let report = self.prepare().await?;
        let found = report.regions.values().flatten().chain(&report.between);
        for finding in found.filter(|finding| finding.status == Status::Refused) {
            output::talk(&format!(
                "✗ {} {}: {}",
                finding.subject, finding.check, finding.reason
            ));
        }
        if let Some(finding) = report.between.iter().find(|it| is_of_table(it)) {
            return Err(CliError::failure(format!(
                "the regions' tables differ: {}: {}",
                finding.subject, finding.reason
            ))
            .hint("was one altered meanwhile? Make them alike, and run this again"));
        }
        let surveys = self.survey().await?;
        let mut waiting = Vec::new();
        for server in &self.servers {
            let mark = migrate::mark(&server.client).await;
            let mark = mark.map_err(|error| failed(&error, &server.region))?;
            let tables = published(&surveys[&server.region]);
            waiting.push((server, tables, mark));
        }
        let until = Instant::now() + Duration::from_secs(self.options.patience);
        for (server, tables, mark) in waiting {
            self.must_capture(server, tables, mark, until).await?;
            output::talk(&format!("{}: captures", server.region));
        }
        Ok(())
    }

    async fn prepare(&self) -> CliResult<Report> {
        let mut tries = 1;
        let mut backoff = Backoff::new();
        loop {
            let done = apply_dataset(self.topology, self.dataset, &self.options.access).await;
            match done {
                Err(_) if tries < PREPARE_TRIES => {
                    tries += 1;
                    sleep(backoff.wait()).await;
                }
                done => return done,
            }
        }
    }

    async fn must_capture(
        &self,
        server: &Server,
        tables: Fingerprint,
        mark: Lsn,
        until: Instant,
    ) -> CliResult {
        let dataset = self.dataset.name.as_str();
        loop {
            let whose = (dataset, &*server.plan.role);
            let standing = migrate::standing(&server.client, whose, tables, mark).await;
            let standing = standing.map_err(|error| failed(&error, &server.region))?;
            if standing.is_captured() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(unconfirmed(&server.region, standing));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The tables that a region goes by once it has looked.
fn published(survey: &Survey) -> Fingerprint {
    let publication = survey.publication.as_ref();
    let names = publication.map(|it| it.tables.as_slice());
    let is_published = |name: &TableName| names.unwrap_or_default().contains(name);
    let tables = survey.catalog.tables().filter(|facts| {
        let table = &facts.table;
        is_published(&table.name) && !table.key.is_empty()
    });
    Fingerprint::of(tables)
}

fn is_of_table(finding: &Finding) -> bool {
    finding.status == Status::Refused && finding.check == "table"
}

fn unconfirmed(region: &str, standing: Standing) -> CliError {
    let why = if !standing.reads {
        "it doesn't read its server: does it run?"
    } else if !standing.knows_tables {
        "it doesn't go by the tables as they are now"
    } else {
        "it is behind"
    };
    CliError::new(
        Exit::Unconfirmed,
        format!("{region}: what was run is done and recorded, but the region doesn't capture it yet: {why}"),
    )
    .hint("`meridian postgres status` shows why; run this again to wait for it")
}
