use super::*;
use crate::record::Renamed;

fn flight(day: i32, number: i32) -> FlightKey {
    FlightKey {
        year: 2013,
        month: 12,
        day,
        carrier: "UA".to_owned(),
        flight: number,
        origin: "EWR".to_owned(),
    }
}

fn state(delay: i32, plane: &str) -> FlightState {
    FlightState {
        dep_delay: Some(delay),
        arr_delay: Some(delay),
        tailnum: Some(plane.to_owned()),
    }
}

struct Case {
    shown: Shown,
    world: World,
    records: Vec<RegionRecord>,
    closings: Vec<Closing>,
}

impl Case {
    /// Flight 1 was written in two regions, 2 deleted, 3 left alone; plane N1, which flies 4 and 5
    /// late in December, got two names; one small airline was closed and one opened again.
    fn right() -> Self {
        let flights = [
            (flight(1, 1), 1),
            (flight(1, 2), 2),
            (flight(1, 3), 3),
            (flight(30, 4), 4),
        ];
        let mut december: BTreeMap<_, _> = flights
            .into_iter()
            .map(|(key, delay)| (key, state(delay, "N1")))
            .collect();
        december.insert(flight(30, 5), state(5, "N1"));
        let mut shown = Shown {
            flights: december.clone(),
            planes: vec!["N1/b".to_owned(), "N1/a".to_owned()],
            seats: [("UA".to_owned(), 7)].into(),
            carriers: vec!["UA".to_owned(), "M01".to_owned()],
            parked: Vec::new(),
        };
        shown.flights.insert(flight(1, 1), state(20, "N1"));
        shown.flights.remove(&flight(1, 2));
        shown.flights.insert(flight(30, 4), state(4, "N1/b"));
        shown.flights.insert(flight(30, 5), state(5, "N1/b"));
        let closing = |carrier: &str, closed| Closing {
            carrier: carrier.to_owned(),
            flight: FlightKey {
                carrier: carrier.to_owned(),
                ..flight(1, 9)
            },
            closed,
            sold: true,
        };
        let closings = vec![closing("M00", true), closing("M01", false)];
        shown.parked.push(closings[0].parked_row());
        let second = closings[1].flight.clone();
        shown.flights.insert(second, closings::state());
        let record = |delay, seats, name: &str| RegionRecord {
            flights: [(flight(1, 1), Some(state(delay, "N1")))].into(),
            renamed: [Renamed {
                from: "N1".to_owned(),
                to: name.to_owned(),
            }]
            .into(),
            seats: [("UA".to_owned(), seats)].into(),
            ..RegionRecord::default()
        };
        let mut records = vec![record(10, 3, "N1/a"), record(20, 4, "N1/b")];
        records[0].flights.insert(flight(1, 2), None);
        Self {
            shown,
            world: World {
                december,
                carriers: vec!["UA".to_owned()],
                planes: vec!["N1".to_owned()],
            },
            records,
            closings,
        }
    }

    fn verify(&self) -> Result<Verified> {
        verify(&self.shown, &self.world, &self.records, &self.closings)
    }

    #[track_caller]
    fn fails(&self, with: &str) {
        let error = self.verify().unwrap_err().to_string();
        assert!(error.contains(with), "{error}");
    }
}

#[test]
fn what_is_right_is_counted() {
    let expected = Verified {
        flights: 2,
        contested: 1,
        deleted: 1,
        planes: 1,
        planes_contested: 1,
        seats: 7,
    };
    assert_eq!(Case::right().verify().unwrap(), expected);
}

#[test]
fn a_lost_write_is_noticed() {
    let mut case = Case::right();
    case.shown.flights.insert(flight(1, 1), state(1, "N1"));
    case.fails("last writes left");
}

#[test]
fn a_deleted_flight_that_came_back_is_noticed() {
    let mut case = Case::right();
    case.shown.flights.insert(flight(1, 2), state(2, "N1"));
    case.fails("last writes left");
}

#[test]
fn a_change_that_nobody_made_is_noticed() {
    let mut case = Case::right();
    case.shown.flights.insert(flight(1, 3), state(4, "N1"));
    case.fails("nobody wrote");
    let mut case = Case::right();
    case.shown.flights.insert(flight(2, 77), state(4, "N1"));
    case.fails("nobody wrote");
}

#[test]
fn half_a_transaction_is_noticed() {
    let mut case = Case::right();
    case.shown.flights.insert(flight(30, 5), state(5, "N1/a"));
    case.fails("another one of its plane");
}

#[test]
fn an_old_name_that_stayed_and_a_new_one_that_did_not_come_are_noticed() {
    let mut case = Case::right();
    case.shown.planes.push("N1".to_owned());
    case.fails("plane N1 ");
    let mut case = Case::right();
    case.shown.planes.pop();
    case.fails("plane N1/a");
}

#[test]
fn a_lost_increment_is_noticed() {
    let mut case = Case::right();
    case.shown.seats.insert("UA".to_owned(), 4);
    case.fails("7 seats of UA");
}

#[test]
fn a_lost_or_needlessly_parked_row_is_noticed() {
    let mut case = Case::right();
    case.shown.parked.clear();
    case.fails("parked are");
    let mut case = Case::right();
    case.shown.parked.push(case.closings[1].parked_row());
    case.fails("parked are");
    let mut case = Case::right();
    let flight = case.closings[1].flight.clone();
    case.shown.flights.remove(&flight);
    case.fails("of a small airline");
}
