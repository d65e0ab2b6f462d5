//! The clients of a region's server: ordinary connections, one transaction after another, none of
//! them knowing of the other regions.

use crate::choose::{Chooser, Operation};
use crate::record::{FlightKey, FlightState, RegionRecord, Renamed};
use crate::servers::{Place, connect};
use crate::world::{World, follows_its_plane};
use anyhow::{Context, Result};
use std::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

/// What a server made of a statement or transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// So many rows were written.
    Done(u64),
    /// A foreign key forbids it here.
    Refused,
    /// The server ended it for another one's sake.
    Again,
}

/// Tells a refusal from a failure.
///
/// # Errors
/// Any error of another kind.
pub fn attempt(result: Result<u64, Error>) -> Result<Attempt> {
    let error = match result {
        Ok(rows) => return Ok(Attempt::Done(rows)),
        Err(error) => error,
    };
    match error.code() {
        Some(&SqlState::FOREIGN_KEY_VIOLATION) => Ok(Attempt::Refused),
        Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE) => {
            Ok(Attempt::Again)
        }
        _ => Err(error).context("write"),
    }
}

/// Runs the clients of one region until `until`.
pub(crate) async fn run(
    place: &Place,
    region: usize,
    world: &World,
    clients: usize,
    seed: u64,
    until: Instant,
) -> Result<RegionRecord> {
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let chooser = Chooser::new(world, seed, region, client, clients);
        let mut writer = Writer::new(place, chooser).await?;
        tasks.spawn(async move {
            while Instant::now() < until {
                writer.step().await?;
            }
            anyhow::Ok(writer.record)
        });
    }
    let mut record = RegionRecord::default();
    while let Some(done) = tasks.join_next().await {
        record.add(done.context("a client panicked")??);
    }
    Ok(record)
}

/// The statements, prepared once.
struct Statements {
    update: Statement,
    delete: Statement,
    insert: Statement,
    rename: Statement,
    follow: Statement,
    book: Statement,
}

const KEY: &str =
    "year = $1 AND month = $2 AND day = $3 AND carrier = $4 AND flight = $5 AND origin = $6";
/// Adds a flight, its key and what clients change given.
pub const INSERT_FLIGHT: &str = "INSERT INTO public.flights (year, month, day, carrier, flight, origin, \
    dep_delay, arr_delay, tailnum, sched_dep_time, sched_arr_time, dest, distance, hour, minute, time_hour) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 600, 900, 'SJU', 1608, 6, 0, '2014-01-01T11:00:00Z') \
    ON CONFLICT DO NOTHING";

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        let update = format!(
            "UPDATE public.flights SET dep_delay = $7, arr_delay = $8, tailnum = $9 WHERE {KEY}"
        );
        let delete = format!("DELETE FROM public.flights WHERE {KEY}");
        let follow = format!(
            "UPDATE public.flights SET tailnum = $2 WHERE tailnum = $1 AND {}",
            follows_its_plane()
        );
        Ok(Self {
            update: client.prepare(&update).await?,
            delete: client.prepare(&delete).await?,
            insert: client.prepare(INSERT_FLIGHT).await?,
            rename: client
                .prepare("UPDATE public.planes SET tailnum = $2 WHERE tailnum = $1")
                .await?,
            follow: client.prepare(&follow).await?,
            book: client
                .prepare("UPDATE public.bookings SET seats = seats + $2 WHERE carrier = $1")
                .await?,
        })
    }
}

struct Writer {
    client: Client,
    statements: Statements,
    chooser: Chooser,
    region: &'static str,
    record: RegionRecord,
}

impl Writer {
    async fn new(place: &Place, chooser: Chooser) -> Result<Self> {
        let client = connect(place).await?;
        let statements = Statements::prepare(&client).await;
        Ok(Self {
            statements: statements.context("prepare the clients' statements")?,
            client,
            chooser,
            region: place.name,
            record: RegionRecord::default(),
        })
    }

    async fn step(&mut self) -> Result<()> {
        let operation = self.chooser.next();
        loop {
            let written = match attempt(self.write(&operation).await)? {
                Attempt::Done(rows) => rows > 0,
                Attempt::Refused => false,
                Attempt::Again => {
                    self.record.counts.again += 1;
                    continue;
                }
            };
            if written {
                self.note(operation);
            } else {
                self.record.counts.idle += 1;
            }
            return Ok(());
        }
    }

    async fn write(&mut self, operation: &Operation) -> Result<u64, Error> {
        let (client, statements) = (&mut self.client, &self.statements);
        match operation {
            Operation::Update(key, state) => {
                client
                    .execute(&statements.update, &flight_values(key, state))
                    .await
            }
            Operation::Insert(key, state) => {
                client
                    .execute(&statements.insert, &flight_values(key, state))
                    .await
            }
            Operation::Delete(key) => client.execute(&statements.delete, &key_values(key)).await,
            Operation::Book(carrier, seats) => {
                client.execute(&statements.book, &[carrier, seats]).await
            }
            Operation::Rename(plane) => {
                let fresh = renamed(plane, self.region);
                let transaction = client.transaction().await?;
                let rows = transaction
                    .execute(&statements.rename, &[plane, &fresh])
                    .await?;
                if rows > 0 {
                    transaction
                        .execute(&statements.follow, &[plane, &fresh])
                        .await?;
                }
                transaction.commit().await?;
                Ok(rows)
            }
        }
    }

    /// Remembers what the server has acknowledged.
    fn note(&mut self, operation: Operation) {
        let record = &mut self.record;
        match operation {
            Operation::Update(key, state) => {
                record.counts.updated += 1;
                record.flights.insert(key, Some(state));
            }
            Operation::Insert(key, state) => {
                record.counts.inserted += 1;
                record.flights.insert(key, Some(state));
            }
            Operation::Delete(key) => {
                record.counts.deleted += 1;
                record.flights.insert(key, None);
            }
            Operation::Rename(from) => {
                record.counts.renamed += 1;
                let to = renamed(&from, self.region);
                record.renamed.insert(Renamed { from, to });
            }
            Operation::Book(carrier, seats) => {
                record.counts.booked += 1;
                *record.seats.entry(carrier).or_default() += seats;
            }
        }
    }
}

/// The tail number that a plane gets in a region.
fn renamed(plane: &str, region: &str) -> String {
    format!("{plane}/{region}")
}

fn key_values(key: &FlightKey) -> [&(dyn ToSql + Sync); 6] {
    [
        &key.year,
        &key.month,
        &key.day,
        &key.carrier,
        &key.flight,
        &key.origin,
    ]
}

/// The values that [`INSERT_FLIGHT`] and updates take.
#[must_use]
pub fn flight_values<'a>(
    key: &'a FlightKey,
    state: &'a FlightState,
) -> Vec<&'a (dyn ToSql + Sync)> {
    let mut values = key_values(key).to_vec();
    values.extend([
        &state.dep_delay as &(dyn ToSql + Sync),
        &state.arr_delay,
        &state.tailnum,
    ]);
    values
}
