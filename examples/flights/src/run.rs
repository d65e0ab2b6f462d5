//! The run, in its order: fetch, start, import and clash, converge, verify.

use crate::clashes::{self, Clash};
use crate::clients::{self, TABLE, Touched};
use crate::data::{self, Flights, KEY_COLUMNS, NULL};
use crate::lag::{self, Stop};
use crate::report::{RegionReport, Report, Standings};
use crate::verify::{Standing, as_text, has_values, judge};
use crate::{Arguments, talk};
use anyhow::{Context, Result, bail, ensure};
use meridian_bench::cluster::{Cluster, Region, check_binary};
use meridian_bench::latency::Latencies;
use meridian_bench::machine::Machine;
use meridian_bench::meridian::{Checksum, MeridianClient, Row};
use meridian_bench::table::thousands;
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many rows that no client touched are compared with the file, in every region.
const UNTOUCHED_SAMPLE_COUNT: usize = 500;

/// Runs everything; ends the regions and removes their data whatever happens.
pub fn run(arguments: &Arguments) -> Result<Report> {
    check_binary(&arguments.meridian)?;
    let file = match &arguments.data {
        Some(file) => file.clone(),
        None => data::fetch(&arguments.cache)?,
    };
    let flights = data::read(&file)?;
    talk(&format!(
        "{} flights, {} different keys ({} lines repeat a key)",
        thousands(flights.flights.len() as u64),
        thousands(flights.distinct_keys),
        thousands(flights.duplicates())
    ));
    let runtime = tokio::runtime::Runtime::new().context("start the clients' threads")?;
    runtime.block_on(async {
        tokio::select! {
            report = with_regions(arguments, &file, &flights) => report,
            interrupted = interruption() => {
                interrupted?;
                bail!("interrupted; the regions are ended and their data removed")
            }
        }
    })
}

async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

async fn with_regions(arguments: &Arguments, file: &Path, flights: &Flights) -> Result<Report> {
    std::fs::create_dir_all(&arguments.data_parent)
        .context("create the data's parent directory")?;
    let directory = tempfile::Builder::new()
        .prefix("meridian-flights-")
        .tempdir_in(&arguments.data_parent)
        .context("create a directory for the regions' data")?;
    let machine = Machine::describe(directory.path()).context("describe the machine")?;
    let cluster =
        Cluster::start(&arguments.meridian, directory.path(), arguments.base_port).await?;
    let import = Import {
        meridian: &arguments.meridian,
        file,
        state: directory.path().join("import"),
    };
    let report = work(arguments, &import, flights, &cluster.regions, machine).await;
    if report.is_err() {
        talk(&format!(
            "the last words of `meridian up`:\n{}",
            cluster.log_tail()
        ));
    }
    cluster.stop().await.context("stop the regions")?;
    report
}

/// The command that imports the flights.
struct Import<'a> {
    meridian: &'a Path,
    file: &'a Path,
    /// Where it keeps how far it came: with the regions' data, which it must not outlive.
    state: PathBuf,
}

async fn work(
    arguments: &Arguments,
    import: &Import<'_>,
    flights: &Flights,
    regions: &[Region],
    machine: Machine,
) -> Result<Report> {
    let [importing, second, third] = regions else {
        bail!("this needs three regions, not {}", regions.len());
    };
    let patience = Duration::from_secs(arguments.deadline_seconds);
    let deadline = Instant::now() + patience;
    let clashes = clashes::plan(flights, arguments.share_percent);
    let contended = clashes.iter().filter(|clash| is_contended(clash)).count();
    talk(&format!(
        "importing into {}, while clients of {} and {} write {} of the same rows",
        importing.name,
        second.name,
        third.name,
        thousands(clashes.len() as u64)
    ));
    let stop = Stop::default();
    let others = vec![second.clone(), third.clone()];
    let seen = tokio::spawn(lag::probe(importing.clone(), others, stop.clone()));
    let pair = [second.clone(), third.clone()];
    let (import_time, touched) = tokio::try_join!(import.run(importing, deadline), async {
        check_keys(second, deadline).await?;
        clients::run(pair, clashes, arguments.clients.into(), deadline).await
    },)?;
    let last_acknowledged = Instant::now();
    stop.now();
    let checksums = converge(regions, last_acknowledged + patience).await?;
    let converged = last_acknowledged.elapsed();
    let lag_seen: Latencies = seen.await.context("the lag probe panicked")??;

    talk("verifying");
    let standings = verify_touched(regions, &touched).await?;
    verify_untouched(regions, flights, &touched).await?;
    let expected = flights.distinct_keys - standings.deleted;
    ensure!(
        checksums.iter().all(|checksum| checksum.rows == expected),
        "{} different keys less {} deleted rows are {expected}, but the regions hold {checksums:?}",
        flights.distinct_keys,
        standings.deleted
    );
    Ok(Report {
        lines: flights.flights.len() as u64,
        distinct_keys: flights.distinct_keys,
        import: import_time,
        touched: touched.len() as u64,
        contended: contended as u64,
        acknowledged: touched
            .iter()
            .map(|row| row.acknowledged.len() as u64)
            .sum(),
        standings,
        converged,
        lag_seen: lag_seen.summary(),
        regions: describe(regions, &checksums).await?,
        machine,
    })
}

fn is_contended(clash: &Clash) -> bool {
    clash.operations.iter().all(Option::is_some)
}

impl Import<'_> {
    /// Says how long it took.
    async fn run(&self, region: &Region, deadline: Instant) -> Result<Duration> {
        let started = Instant::now();
        let output = tokio::process::Command::new(self.meridian)
            .args(["tables", "import", TABLE])
            .arg(self.file)
            .args([
                "--key",
                &KEY_COLUMNS.join(","),
                "--format",
                "csv",
                "--null",
                NULL,
            ])
            .arg("--state")
            .arg(&self.state)
            .args(["--api", &region.url()])
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout_at(deadline.into(), output)
            .await
            .context("the import took too long")?
            .context("run `meridian tables import`")?;
        ensure!(
            output.status.success(),
            "`meridian tables import` failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(started.elapsed())
    }
}

/// Waits for the first row and looks whether its key is what the clients will ask for.
async fn check_keys(region: &Region, deadline: Instant) -> Result<()> {
    let mut client = MeridianClient::connect(region.api, TABLE).await?;
    let path = format!("/v1/tables/{TABLE}/rows?limit=1");
    loop {
        let page = client.json(&path).await?;
        if let Some(row) = page["rows"].get(0) {
            let values = KEY_COLUMNS.map(|column| as_text(row["document"].get(column)));
            let expected = values.join("-");
            ensure!(
                row["key"] == Value::String(expected.clone()),
                "the import named a row {}, where its columns give {expected}",
                row["key"]
            );
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "no row became visible in {} in time",
            region.name
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until all regions have the same checksum twice in a row.
async fn converge(regions: &[Region], deadline: Instant) -> Result<Vec<Checksum>> {
    let mut clients = connect(regions).await?;
    let mut before = None;
    loop {
        let mut checksums = Vec::new();
        for client in &mut clients {
            checksums.push(client.checksum().await?);
        }
        let equal = checksums.windows(2).all(|pair| pair[0] == pair[1]);
        if equal && before.as_ref() == Some(&checksums) {
            return Ok(checksums);
        }
        ensure!(
            Instant::now() < deadline,
            "the regions do not agree in time: {checksums:?}"
        );
        before = equal.then_some(checksums);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn connect(regions: &[Region]) -> Result<Vec<MeridianClient>> {
    let mut clients = Vec::new();
    for region in regions {
        clients.push(MeridianClient::connect(region.api, TABLE).await?);
    }
    Ok(clients)
}

async fn row_everywhere(
    clients: &mut [MeridianClient],
    regions: &[Region],
    key: &str,
) -> Result<Option<Row>> {
    let mut rows = Vec::new();
    for client in clients {
        rows.push(client.row(key).await?);
    }
    for (row, region) in rows.iter().zip(regions) {
        ensure!(
            *row == rows[0],
            "row {key}: {} holds {row:?}, {} holds {:?}",
            region.name,
            regions[0].name,
            rows[0]
        );
    }
    Ok(rows.swap_remove(0))
}

/// Judges every touched row, after checking that it is the same in all regions.
async fn verify_touched(regions: &[Region], touched: &[Touched]) -> Result<Standings> {
    let mut clients = connect(regions).await?;
    let mut standings = Standings::default();
    for row in touched {
        let found = row_everywhere(&mut clients, regions, &row.key).await?;
        match judge(row, found.as_ref())? {
            Standing::Updated => standings.updated += 1,
            Standing::Deleted => standings.deleted += 1,
            Standing::Superseded => standings.superseded += 1,
        }
    }
    Ok(standings)
}

/// Compares some of the rows that no client touched with the file.
async fn verify_untouched(
    regions: &[Region],
    flights: &Flights,
    touched: &[Touched],
) -> Result<()> {
    let touched: HashSet<&str> = touched.iter().map(|row| row.key.as_str()).collect();
    let mut clients = connect(regions).await?;
    // Where lines repeat a key any of them may stand, so only their presence is looked at.
    let compares_values = flights.duplicates() == 0;
    let stride = (flights.flights.len() / UNTOUCHED_SAMPLE_COUNT).max(1);
    let sample = flights.flights.iter().step_by(stride);
    for flight in sample.filter(|flight| !touched.contains(flight.key.as_str())) {
        let found = row_everywhere(&mut clients, regions, &flight.key).await?;
        let row = found.with_context(|| format!("row {} is missing", flight.key))?;
        ensure!(
            !compares_values || has_values(&row.document, &flights.columns, &flight.values),
            "row {} is {}, in the file it is {:?}",
            flight.key,
            String::from_utf8_lossy(&row.document),
            flight.values
        );
    }
    Ok(())
}

async fn describe(regions: &[Region], checksums: &[Checksum]) -> Result<Vec<RegionReport>> {
    let mut reports = Vec::new();
    for (region, checksum) in regions.iter().zip(checksums) {
        let mut client = MeridianClient::connect(region.api, TABLE).await?;
        reports.push(RegionReport {
            name: region.name,
            rows: checksum.rows,
            checksum: match &checksum.checksum {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
            conflicts: client.conflicts().await?,
            delays: lag::reported(region).await?,
        });
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Flight;
    use meridian_bench::stand_in::{Behaviour, start};

    fn flights(count: usize) -> Flights {
        let flight = |number: usize| Flight {
            key: format!("2013-1-1-UA-{number}-EWR-515"),
            values: csv::StringRecord::from(vec![number.to_string()]),
        };
        Flights {
            columns: csv::StringRecord::from(vec!["flight"]),
            flights: (0..count).map(flight).collect(),
            distinct_keys: count as u64,
        }
    }

    /// Imports, clashes and verifies against stand-ins; gives the touched rows and their standings.
    async fn rehearse(behaviour: Behaviour) -> Result<(usize, Standings)> {
        let flights = flights(600);
        let regions = start(behaviour).await?;
        let clashes = clashes::plan(&flights, 50.0);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut importer = MeridianClient::connect(regions[0].api, TABLE).await?;
        let import = async {
            for (number, flight) in flights.flights.iter().enumerate() {
                let document = serde_json::json!({"flight": number});
                importer
                    .put(&flight.key, document.to_string().into())
                    .await?;
            }
            anyhow::Ok(())
        };
        let pair = [regions[1].clone(), regions[2].clone()];
        let (touched, ()) = tokio::try_join!(clients::run(pair, clashes, 8, deadline), import)?;
        let checksums = converge(&regions, deadline).await?;
        let standings = verify_touched(&regions, &touched).await?;
        verify_untouched(&regions, &flights, &touched).await?;
        assert_eq!(checksums[0].rows, 600 - standings.deleted);
        Ok((touched.len(), standings))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn regions_that_agree_are_verified() {
        let delay = Duration::from_millis(3);
        let (touched, standings) = rehearse(Behaviour {
            delay,
            ..Behaviour::default()
        })
        .await
        .unwrap();
        assert_eq!(touched, 300);
        assert_eq!(standings.updated + standings.deleted, 300);
        assert!(
            standings.updated >= 100 && standings.deleted >= 100,
            "{standings:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_forgotten_delete_is_noticed() {
        let error = rehearse(Behaviour {
            forgotten_deletes: 3,
            ..Behaviour::default()
        })
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains("was acknowledged and is newer"),
            "{error}"
        );
    }
}
