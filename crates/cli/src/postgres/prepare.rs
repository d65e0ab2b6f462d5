//! `meridian postgres prepare`: from the topology and the servers themselves; no region need run.

use crate::config::{load, rendered};
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format};
use crate::postgres::access::Access;
use clap::Args;
use meridian_engine_postgres::prepare::{
    ApplyError, Finding, Floors, Plan, Status, Survey, apply, compare, findings, note_columns,
    places, shared, survey,
};
use meridian_engine_postgres::server::{self, ServerConfig, ServerError};
use meridian_topology::{Dataset, Topology};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `meridian postgres prepare`
#[derive(Debug, Args)]
#[command(
    after_help = "Prints what stands in the way (✗), what SQL does (→, with the SQL), what could be better (!) and a line about the rest. Without --apply nothing is changed; advice is never carried out. All regions' servers are read, so that sequences can be made disjoint and differing tables found. Exits with 1 while anything is missing.\n\nExample:\n  meridian postgres prepare --config meridian.toml\n  meridian postgres prepare --user shop_owner --password-file owner.secret --apply"
)]
pub struct Options {
    /// The topology file
    #[arg(long, value_name = "FILE", default_value = "meridian.toml")]
    config: PathBuf,
    /// Prepare the server of this region only
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Prepare this dataset only
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Run the SQL
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    access: Access,
    /// Print what is as it must be, too
    #[arg(long)]
    all: bool,
}

/// What was found of a dataset.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The dataset.
    pub dataset: String,
    /// By region, what was found of its server.
    pub regions: BTreeMap<String, Vec<Finding>>,
    /// What was found when regions were compared.
    pub between: Vec<Finding>,
    /// By region, why its server couldn't be asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unreachable: BTreeMap<String, String>,
    /// By region, how many findings' SQL was run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<String, usize>,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let topology = load(&options.config)?;
    check_names(&topology, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("start the threads").because(&error))?;
    let mut reports = Vec::new();
    for dataset in &topology.datasets {
        let is_meant = options
            .dataset
            .as_ref()
            .is_none_or(|name| name == dataset.name.as_str());
        if dataset.postgres().is_some() && is_meant {
            let work = Work::new(&topology, dataset, options)?;
            reports.push(runtime.block_on(work.run())?);
        }
    }
    match format {
        Format::Json => output::json(&reports)?,
        Format::Text => {
            for report in &reports {
                print(report, options)?;
            }
        }
    }
    verdict(&reports, options)
}

/// Prepares every dataset of a topology that is on PostgreSQL, in every region.
pub async fn apply_all(topology: &Topology) -> CliResult<Vec<Report>> {
    let options = Options {
        config: PathBuf::new(),
        region: None,
        dataset: None,
        apply: true,
        access: Access::default(),
        all: false,
    };
    let mut reports = Vec::new();
    for dataset in &topology.datasets {
        if dataset.postgres().is_some() {
            reports.push(Work::new(topology, dataset, &options)?.run().await?);
        }
    }
    Ok(reports)
}

/// Does what `prepare --apply` does for one dataset, as the role that `access` says.
pub async fn apply_dataset(
    topology: &Topology,
    dataset: &Dataset,
    access: &Access,
) -> CliResult<Report> {
    let options = Options {
        config: PathBuf::new(),
        region: None,
        dataset: None,
        apply: true,
        access: access.clone(),
        all: false,
    };
    Work::new(topology, dataset, &options)?.run().await
}

fn check_names(topology: &Topology, options: &Options) -> CliResult {
    let on_postgres: Vec<&str> = topology
        .datasets
        .iter()
        .filter(|dataset| dataset.postgres().is_some())
        .map(|dataset| dataset.name.as_str())
        .collect();
    if on_postgres.is_empty() {
        return Err(CliError::usage("the topology has no dataset on PostgreSQL")
            .hint("add one with engine = \"postgres\"; `meridian init` writes an example"));
    }
    if let Some(name) = &options.dataset
        && !on_postgres.contains(&name.as_str())
    {
        return Err(CliError::usage(format!(
            "the topology has no dataset {name:?} on PostgreSQL"
        ))
        .hint(format!("it has {}", on_postgres.join(", "))));
    }
    if let Some(name) = &options.region {
        topology.for_region(name).map_err(rendered)?;
    }
    Ok(())
}

/// One dataset's servers.
struct Work<'t> {
    dataset: &'t Dataset,
    order: Vec<String>,
    servers: BTreeMap<String, Server>,
    region: Option<&'t str>,
    apply: bool,
}

struct Server {
    plan: Plan,
    asks: ServerConfig,
}

impl<'t> Work<'t> {
    fn new(topology: &'t Topology, dataset: &'t Dataset, options: &'t Options) -> CliResult<Self> {
        let order: Vec<String> = topology
            .regions
            .iter()
            .map(|region| region.name.to_string())
            .collect();
        let mut servers = BTreeMap::new();
        for (region, server) in dataset.postgres().into_iter().flat_map(|own| &own.servers) {
            let config = ServerConfig::from(server);
            let fault = |error: ServerError| refused(error, region.as_str(), Exit::Usage);
            let plan = Plan::of(dataset, &config, 0).map_err(fault)?;
            let asks = options.access.of(&config).map_err(fault)?;
            servers.insert(region.to_string(), Server { plan, asks });
        }
        Ok(Self {
            dataset,
            order,
            servers,
            region: options.region.as_deref(),
            apply: options.apply,
        })
    }

    async fn run(self) -> CliResult<Report> {
        let mut report = Report {
            dataset: self.dataset.name.to_string(),
            ..Report::default()
        };
        let surveys = self.survey(&mut report).await;
        let mut judged = self.judge(&surveys);
        // What is right for one of two regions in a database is wrong for the other.
        let may_apply = self.region.is_some() || shared(&surveys).is_empty();
        if self.apply && may_apply {
            for (region, found) in &judged {
                let done = self.apply(region, found).await?;
                report.applied.insert(region.clone(), done);
            }
            // What stands in the report is what stands now.
            report.unreachable.clear();
            let surveys = self.survey(&mut report).await;
            judged = self.judge(&surveys);
            report.between = self.between(&surveys);
        } else {
            report.between = self.between(&surveys);
        }
        report.regions = judged;
        Ok(report)
    }

    /// All servers, whichever are to be prepared: a sequence is made disjoint from all others.
    async fn survey(&self, report: &mut Report) -> BTreeMap<String, Survey> {
        let mut surveys = BTreeMap::new();
        for (region, server) in &self.servers {
            let read = async {
                let client = server::connect(&server.asks, "prepare").await?;
                survey(&client, &server.plan).await
            };
            match read.await {
                Ok(found) => {
                    surveys.insert(region.clone(), found);
                }
                Err(error) => {
                    let hint = error
                        .hint()
                        .map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                    report
                        .unreachable
                        .insert(region.clone(), format!("{error}{hint}"));
                }
            }
        }
        surveys
    }

    fn judge(&self, surveys: &BTreeMap<String, Survey>) -> BTreeMap<String, Vec<Finding>> {
        let floors = Floors::of(surveys.values());
        let places = places(&self.order, surveys);
        surveys
            .iter()
            .filter(|(region, _)| self.region.is_none_or(|wanted| wanted == region.as_str()))
            .map(|(region, survey)| {
                let plan = Plan {
                    place: places.get(region).copied().unwrap_or_default(),
                    ..self.servers[region].plan.clone()
                };
                let mut found = findings(survey, &plan, &floors);
                let all = (surveys.len() == self.servers.len()).then_some(surveys);
                found.push(note_columns(survey, &plan, all));
                (region.clone(), found)
            })
            .collect()
    }

    /// How the servers stand to each other. Whoever prepares one region alone may be where that one's url
    /// leads to its server, and the others' don't.
    fn between(&self, surveys: &BTreeMap<String, Survey>) -> Vec<Finding> {
        let Some(server) = self.servers.values().next() else {
            return Vec::new();
        };
        let mut found = compare(surveys, &server.plan);
        if self.region.is_none() {
            found.extend(shared(surveys));
        }
        found
    }

    async fn apply(&self, region: &str, found: &[Finding]) -> CliResult<usize> {
        let server = &self.servers[region];
        let client = server::connect(&server.asks, "prepare")
            .await
            .map_err(|error| refused(error, region, Exit::Failure))?;
        apply(&client, found).await.map_err(|error: ApplyError| {
            let failed = CliError::failure(error.to_string()).at(region);
            match error.hint() {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        })
    }
}

fn refused(error: ServerError, region: &str, exit: Exit) -> CliError {
    let failed = CliError::new(exit, error.to_string()).at(region);
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn print(report: &Report, options: &Options) -> CliResult {
    for (region, reason) in &report.unreachable {
        output::line(&format!("✗ {region}: {reason}"))?;
    }
    for (region, found) in &report.regions {
        output::line(&format!("dataset {} in {region}", report.dataset))?;
        print_findings(found, options.all)?;
        if let Some(done) = report.applied.get(region).filter(|done| **done > 0) {
            output::line(&format!("  {} done", counted(*done, "step")))?;
        }
    }
    if !report.between.is_empty() {
        output::line(&format!("dataset {}, regions compared", report.dataset))?;
        print_findings(&report.between, options.all)?;
    }
    Ok(())
}

fn print_findings(found: &[Finding], all: bool) -> CliResult {
    for finding in found {
        let sign = match finding.status {
            Status::Ok if !all => continue,
            Status::Ok => "✓",
            Status::Sql => "→",
            Status::Refused => "✗",
            Status::Advice => "!",
        };
        output::line(&format!(
            "  {sign} {} {}: {}",
            finding.subject, finding.check, finding.reason
        ))?;
        if let Some(hint) = &finding.hint {
            output::line(&format!("      hint: {hint}"))?;
        }
        for statement in &finding.sql {
            output::line(&format!("      {statement};"))?;
        }
    }
    let missing = found
        .iter()
        .filter(|finding| finding.status.is_missing())
        .count();
    let (good, all) = (found.len() - missing, found.len());
    output::line(&format!("  ✓ {good} of {all} as they must be"))
}

fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// An error while anything is missing.
fn verdict(reports: &[Report], options: &Options) -> CliResult {
    let all = || {
        reports
            .iter()
            .flat_map(|report| report.regions.values().flatten().chain(&report.between))
    };
    let count = |status| all().filter(|finding| finding.status == status).count();
    let (sql, refused) = (count(Status::Sql), count(Status::Refused));
    let unreachable: usize = reports.iter().map(|report| report.unreachable.len()).sum();
    if unreachable > 0 {
        return Err(CliError::new(
            Exit::Unreachable,
            format!("{} can't be asked", counted(unreachable, "server")),
        )
        .hint("sequences are made disjoint only from those of servers that answer"));
    }
    if refused > 0 {
        return Err(CliError::failure(format!(
            "{} to be decided about",
            counted(refused, "finding")
        ))
        .hint(
            "mend each as it says; a table among them stays out of replication until then, or for good if \
             `exclude` names it",
        ));
    }
    if sql > 0 && !options.apply {
        return Err(
            CliError::failure(format!("{} to be done", counted(sql, "step")))
                .hint("the same with --apply runs the SQL above, as the tables' owner (--user)"),
        );
    }
    if sql > 0 {
        return Err(
            CliError::failure(format!("{} came up meanwhile", counted(sql, "step")))
                .hint("run this again"),
        );
    }
    Ok(())
}
