//! The run, in its order: start, load, write, become equal, open again, become equal, verify.

use crate::clients;
use crate::closings::{self, Closing};
use crate::data::Tables;
use crate::record::{REGIONS, RegionRecord};
use crate::report::{RegionReport, Report};
use crate::servers::{self, Digest, ParkedRow, Place, connect};
use crate::system::{Home, Standing, System};
use crate::verify::{Shown, verify};
use crate::world::World;
use anyhow::{Context, Result, ensure};
use meridian_bench::machine::Machine;
use meridian_bench::table::thousands;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What to run.
pub struct Plan {
    /// The `meridian` binary.
    pub meridian: PathBuf,
    /// The rows to load.
    pub tables: Tables,
    /// Where a directory for the regions' data is made.
    pub data_parent: PathBuf,
    /// The first of the regions' ports, or any free block.
    pub base_port: Option<u16>,
    /// For how long clients write.
    pub writing: Duration,
    /// Clients of each region's server.
    pub clients: usize,
    /// What they draw their choices from.
    pub seed: u64,
    /// How long the servers may take to become equal, each time.
    pub patience: Duration,
    /// Says what is going on.
    pub talk: fn(&str),
}

/// Runs everything; ends the regions and removes their data whatever happens.
///
/// # Errors
/// Where anything differs from what it should be, or fails.
pub async fn run(plan: &Plan) -> Result<Report> {
    let home = Home::new(&plan.data_parent)?;
    let machine = Machine::describe(home.path()).context("describe the machine")?;
    (plan.talk)("starting three regions, each with a PostgreSQL server");
    let started = Instant::now();
    let system = System::start(plan, &home).await?;
    let mut phases = vec![("regions and servers started", started.elapsed())];
    let report = work(plan, &system, machine, &mut phases).await;
    if report.is_err() {
        (plan.talk)(&format!(
            "the last words of `meridian up`:\n{}",
            system.cluster.log_tail()
        ));
    }
    system.cluster.stop().await.context("stop the regions")?;
    report
}

type Phases = Vec<(&'static str, Duration)>;

async fn work(
    plan: &Plan,
    system: &System,
    machine: Machine,
    phases: &mut Phases,
) -> Result<Report> {
    let mut run = Run {
        plan,
        places: &system.places,
        clients: connect_all(&system.places).await?,
        phases,
    };
    run.time("tables made and prepared", system.make_tables())
        .await?;
    let loaded = run.load().await?;
    let world = World::read(&run.clients[0]).await?;
    let untouched = servers::untouched(&run.clients[0]).await?;

    (plan.talk)(&format!(
        "writing in all regions for {} s, {} clients in each",
        plan.writing.as_secs(),
        plan.clients
    ));
    let (records, mut closings) = run.write(&world).await?;
    let agreed = run.converge("servers equal after the last write").await?;
    let parked = agreed.parked.clone();
    verify(
        &run.shown(agreed.parked).await?,
        &world,
        &records,
        &closings,
    )?;

    let reopened = closings::reopen(run.places, &mut closings).await?;
    let agreed = run
        .converge("servers equal after airlines opened again")
        .await?;
    (plan.talk)("verifying");
    let shown = run.shown(agreed.parked).await?;
    let verified = verify(&shown, &world, &records, &closings)?;
    for (client, place) in run.clients.iter().zip(run.places) {
        ensure!(
            servers::untouched(client).await? == untouched,
            "rows that no client touched are others in {} than were loaded",
            place.name
        );
    }
    let mut regions = Vec::new();
    for (record, place) in records.into_iter().zip(run.places) {
        regions.push(RegionReport {
            name: place.name,
            counts: record.counts,
            conflicts: Standing::of(place).await?.conflicts,
        });
    }
    Ok(Report {
        loaded,
        phases: run.phases.clone(),
        regions,
        digests: agreed.digests,
        parked: parked.len() as u64,
        parked_after: shown.parked.len() as u64,
        reopened: reopened as u64,
        verified,
        machine,
    })
}

async fn connect_all(places: &[Place; REGIONS]) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for place in places {
        clients.push(connect(place).await?);
    }
    Ok(clients)
}

/// What all servers agree on.
struct Agreed {
    digests: Vec<Digest>,
    parked: Vec<ParkedRow>,
}

struct Run<'a> {
    plan: &'a Plan,
    places: &'a [Place; REGIONS],
    /// One for each server.
    clients: Vec<Client>,
    phases: &'a mut Phases,
}

impl Run<'_> {
    async fn time<T>(
        &mut self,
        phase: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let done = work.await?;
        self.phases.push((phase, started.elapsed()));
        Ok(done)
    }

    /// Copies the tables into the first region's server and waits for them in the others; gives
    /// the number of rows.
    async fn load(&mut self) -> Result<u64> {
        let started = Instant::now();
        let mut rows = 0;
        for table in &self.plan.tables.0 {
            let copied = servers::copy(&self.clients[0], table).await?;
            (self.plan.talk)(&format!(
                "copied {} rows of {} into {}",
                thousands(copied),
                table.name,
                self.places[0].name
            ));
            rows += copied;
        }
        let seats = "INSERT INTO public.bookings SELECT carrier, 0 FROM public.airlines";
        let booked = self.clients[0].batch_execute(seats).await;
        booked.context("begin to count seats")?;
        self.phases
            .push(("copied into us-east-1", started.elapsed()));
        let copied = Instant::now();
        let expected = servers::counts(&self.clients[0]).await?;
        for (client, place) in self.clients.iter().zip(self.places).skip(1) {
            while servers::counts(client).await? != expected {
                self.check_time(copied, || format!("not all rows are in {}", place.name))?;
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        self.phases
            .push(("all rows in the two others, after that", copied.elapsed()));
        self.converge("checksums equal, after that").await?;
        Ok(rows)
    }

    fn check_time(&self, since: Instant, late: impl Fn() -> String) -> Result<()> {
        ensure!(since.elapsed() < self.plan.patience, "{} in time", late());
        Ok(())
    }

    /// Lets clients write in all regions at once, and airlines close meanwhile.
    async fn write(&mut self, world: &World) -> Result<(Vec<RegionRecord>, Vec<Closing>)> {
        closings::open(&self.clients[0]).await?;
        self.converge("forty small airlines in all regions").await?;
        // The world is that of the data; the small airlines have flights of their own.
        let (places, plan) = (self.places, self.plan);
        let until = Instant::now() + plan.writing;
        let clients = |region: usize| {
            clients::run(
                &places[region],
                region,
                world,
                plan.clients,
                plan.seed,
                until,
            )
        };
        let writing = async {
            let (first, second, third, closings) = tokio::try_join!(
                clients(0),
                clients(1),
                clients(2),
                closings::run(places, until)
            )?;
            Ok((vec![first, second, third], closings))
        };
        self.time("clients wrote in all three", writing).await
    }

    /// Waits until all servers show the same and owe nothing. What changes is small and looked at
    /// often; then all of it is, each server in one snapshot.
    async fn converge(&mut self, phase: &'static str) -> Result<Agreed> {
        let started = Instant::now();
        loop {
            let settled = started.elapsed();
            if self.is_settled().await? {
                let digests = self.of_each(servers::digests).await?;
                let parked = self.of_each(servers::parked).await?;
                if all_equal(&digests) && all_equal(&parked) {
                    self.phases.push((phase, settled));
                    return Ok(Agreed {
                        digests: first(digests),
                        parked: first(parked),
                    });
                }
                self.check_time(started, || {
                    format!("the servers aren't equal ({digests:?}, parked {parked:?})")
                })?;
            }
            self.check_time(started, || "the servers aren't equal".to_owned())?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether no region owes its server anything and what clients touch is equal.
    async fn is_settled(&self) -> Result<bool> {
        for place in self.places {
            if Standing::of(place).await?.rows_dirty > 0 {
                return Ok(false);
            }
        }
        Ok(all_equal(&self.of_each(servers::touchable_digest).await?))
    }

    /// Asks every server the same.
    async fn of_each<T>(&self, ask: impl AsyncFn(&Client) -> Result<T>) -> Result<Vec<T>> {
        let mut answers = Vec::new();
        for client in &self.clients {
            answers.push(ask(client).await?);
        }
        Ok(answers)
    }

    /// What the servers, which agree, show.
    async fn shown(&self, parked: Vec<ParkedRow>) -> Result<Shown> {
        let client = &self.clients[0];
        Ok(Shown {
            flights: servers::touchable(client).await?,
            planes: servers::planes(client).await?,
            seats: servers::bookings(client).await?,
            carriers: servers::carriers(client).await?,
            parked,
        })
    }
}

fn all_equal<T: PartialEq>(answers: &[T]) -> bool {
    answers.windows(2).all(|pair| pair[0] == pair[1])
}

fn first<T>(mut answers: Vec<T>) -> T {
    answers.swap_remove(0)
}
