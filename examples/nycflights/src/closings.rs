//! Small airlines that one region closes while another sells their first flight. Each server is right
//! by itself; together they have a flight without its airline, which is then parked everywhere.

use crate::clients::{Attempt, INSERT_FLIGHT, attempt, flight_values};
use crate::record::{FlightKey, FlightState, REGIONS};
use crate::servers::{ParkedRow, Place, connect};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// How many small airlines there are.
const AIRLINES: usize = 40;

/// What became of an airline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Its code.
    pub carrier: String,
    /// Its flight.
    pub flight: FlightKey,
    /// Whether a region deleted it.
    pub closed: bool,
    /// Whether another inserted the flight.
    pub sold: bool,
}

impl Closing {
    /// Whether the flight has lost its airline.
    pub fn is_orphan(&self) -> bool {
        self.closed && self.sold
    }

    /// The flight as it stands among the parked rows.
    pub fn parked_row(&self) -> ParkedRow {
        let flight = &self.flight;
        let numbers = [flight.year, flight.month, flight.day].map(|number| number.to_string());
        let [year, month, day] = numbers;
        let number = flight.flight.to_string();
        let key = [
            year,
            month,
            day,
            flight.carrier.clone(),
            number,
            flight.origin.clone(),
        ];
        ParkedRow {
            table: "public.flights".to_owned(),
            key: serde_json::json!(key).to_string(),
        }
    }
}

/// What every flight of a small airline is like.
pub fn state() -> FlightState {
    FlightState {
        dep_delay: None,
        arr_delay: None,
        tailnum: None,
    }
}

fn carrier(number: usize) -> String {
    format!("M{number:02}")
}

/// Adds the small airlines.
pub async fn open(client: &Client) -> Result<()> {
    let carriers: Vec<_> = (0..AIRLINES).map(carrier).collect();
    client
        .execute(
            "INSERT INTO public.airlines SELECT c, 'Small ' || c FROM unnest($1::text[]) u(c)",
            &[&carriers],
        )
        .await
        .context("add the small airlines")?;
    Ok(())
}

/// Closes them one by one, evenly until `until`, each the moment its flight is sold elsewhere.
pub async fn run(places: &[Place; REGIONS], until: Instant) -> Result<Vec<Closing>> {
    let mut clients = Vec::new();
    for place in places {
        clients.push(connect(place).await?);
    }
    let pause = until.saturating_duration_since(Instant::now()) / u32::try_from(AIRLINES)?;
    let mut closings = Vec::new();
    for number in 0..AIRLINES {
        let carrier = carrier(number);
        let flight = FlightKey {
            year: 2014,
            month: 2,
            day: 1,
            carrier: carrier.clone(),
            flight: 1,
            origin: "EWR".to_owned(),
        };
        let (here, there) = (&clients[number % REGIONS], &clients[(number + 1) % REGIONS]);
        let state = state();
        let values = flight_values(&flight, &state);
        let closed = [&carrier as &(dyn ToSql + Sync)];
        let (closed, sold) = tokio::join!(
            here.execute("DELETE FROM public.airlines WHERE carrier = $1", &closed),
            there.execute(INSERT_FLIGHT, &values),
        );
        let is_done = |result| Ok::<_, anyhow::Error>(attempt(result)? == Attempt::Done(1));
        let (closed, sold) = (is_done(closed)?, is_done(sold)?);
        closings.push(Closing {
            carrier,
            flight,
            closed,
            sold,
        });
        tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
    }
    Ok(closings)
}

/// Opens every second of the airlines again whose flights are parked, in a region that neither closed
/// it nor sold a flight; gives their number.
pub async fn reopen(places: &[Place; REGIONS], closings: &mut [Closing]) -> Result<usize> {
    let mut reopened = 0;
    let orphans = closings.iter_mut().enumerate();
    let orphans = orphans.filter(|(_, closing)| closing.is_orphan());
    for (number, closing) in orphans.step_by(2) {
        let client = connect(&places[(number + 2) % REGIONS]).await?;
        client
            .execute(
                "INSERT INTO public.airlines VALUES ($1, 'Opened again')",
                &[&closing.carrier],
            )
            .await
            .context("open an airline again")?;
        closing.closed = false;
        reopened += 1;
    }
    Ok(reopened)
}
