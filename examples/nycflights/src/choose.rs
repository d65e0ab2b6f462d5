//! What a client does next.

use crate::record::{FlightKey, FlightState};
use crate::world::World;
use fastrand::Rng;

/// New flights have numbers from here on; those that every region may add come first.
const NEW_FLIGHTS: i32 = 10_000;
/// How many new flights of one client number every region may add.
const SHARED_NEW_FLIGHTS: i32 = 40;
/// Room for the new flights of one client that nobody else adds.
const OWN_NEW_FLIGHTS: i32 = 1_000_000;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A flight is late, or has another plane.
    Update(FlightKey, FlightState),
    /// It doesn't fly.
    Delete(FlightKey),
    /// A flight that the data doesn't have.
    Insert(FlightKey, FlightState),
    /// A plane gets another tail number, and its flights with it.
    Rename(String),
    /// Seats are booked.
    Book(String, i64),
}

/// Draws a client's operations. The clients of one number in all regions share their flights and
/// planes, and no other client of the same region writes these.
pub struct Chooser {
    random: Rng,
    region: i32,
    client: i32,
    clients: i32,
    flights: Vec<FlightKey>,
    renamable: Vec<String>,
    planes: Vec<String>,
    carriers: Vec<String>,
    own: i32,
}

impl Chooser {
    pub fn new(world: &World, seed: u64, region: usize, client: usize, clients: usize) -> Self {
        let number = |count: usize| i32::try_from(count).expect("there are few clients");
        let mine = |(index, _): &(usize, _)| index % clients == client;
        let singles = world.singles().into_iter().enumerate().filter(mine);
        let mut random = Rng::with_seed(seed);
        // The same order in every region, so that the same ones are written most.
        let mut flights: Vec<_> = singles.map(|(_, flight)| flight).collect();
        random.shuffle(&mut flights);
        let mine = |(index, _): &(usize, _)| index % clients == client;
        let renamable = world.renamable().into_iter().enumerate().filter(mine);
        let place = region * clients + client;
        Self {
            random: Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(place as u64)),
            region: number(region),
            client: number(client),
            clients: number(clients),
            flights,
            renamable: renamable.map(|(_, plane)| plane).collect(),
            planes: world.planes.clone(),
            carriers: world.carriers.clone(),
            own: 0,
        }
    }

    pub fn next(&mut self) -> Operation {
        match self.random.u32(0..100) {
            0..50 => {
                let flight = self.flight();
                let state = self.state();
                Operation::Update(flight, state)
            }
            50..60 => Operation::Delete(self.flight()),
            60..70 => {
                let flight = self.shared_new();
                let state = self.state();
                Operation::Insert(flight, state)
            }
            70..78 => {
                self.own += 1;
                let block = (self.region * self.clients + self.client + 1) * OWN_NEW_FLIGHTS;
                let flight = self.new_flight(NEW_FLIGHTS + block + self.own);
                let state = self.state();
                Operation::Insert(flight, state)
            }
            78..84 => match self.random.choice(&self.renamable) {
                Some(plane) => Operation::Rename(plane.clone()),
                None => self.booking(),
            },
            _ => self.booking(),
        }
    }

    fn booking(&mut self) -> Operation {
        let carrier = one_of(&mut self.random, &self.carriers);
        Operation::Book(carrier, self.random.i64(1..=4))
    }

    /// Some flights are written much more often than others, and a new one now and then.
    fn flight(&mut self) -> FlightKey {
        if self.random.u32(0..6) == 0 || self.flights.is_empty() {
            return self.shared_new();
        }
        let skewed = self.random.f64().powi(3);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below the length, which is some thousands"
        )]
        let index = (skewed * self.flights.len() as f64) as usize;
        self.flights[index].clone()
    }

    fn shared_new(&mut self) -> FlightKey {
        let number = self.random.i32(0..SHARED_NEW_FLIGHTS) * self.clients + self.client;
        self.new_flight(NEW_FLIGHTS + number)
    }

    fn new_flight(&self, flight: i32) -> FlightKey {
        let carrier = flight.unsigned_abs() as usize % self.carriers.len();
        FlightKey {
            year: 2014,
            month: 1,
            day: 1,
            carrier: self.carriers[carrier].clone(),
            flight,
            origin: "EWR".to_owned(),
        }
    }

    /// Of so many that hardly two writes leave the same.
    fn state(&mut self) -> FlightState {
        FlightState {
            dep_delay: Some(self.random.i32(-20..600)),
            arr_delay: Some(self.random.i32(-40..600)),
            tailnum: Some(one_of(&mut self.random, &self.planes)),
        }
    }
}

fn one_of(random: &mut Rng, texts: &[String]) -> String {
    let chosen = random.choice(texts);
    chosen.expect("a world has airlines and planes").clone()
}
