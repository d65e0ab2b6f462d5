//! Regions with an observer each, messages that take time, and faults. A step is a millisecond.

use meridian_health::{
    Answer, Change, ChangedBy, Input, Observer, Output, Preset, ProbeId, Reports, Service, Setup,
    Status, Target,
};
use meridian_model::{Micros, Now, RegionName};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What is broken. Regions and links by index; a link is one way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    pub dead: Vec<usize>,
    pub cut: Vec<(usize, usize)>,
    /// Observers all of whose probes of others get lost, while everything else works.
    pub blind: Vec<usize>,
    /// Each message on the link is lost with this probability.
    pub lossy: Vec<(usize, usize, f64)>,
    /// Regions that take so many milliseconds longer to answer a probe.
    pub slow: Vec<(usize, u64)>,
}

enum Event {
    Asked {
        by: usize,
        of: usize,
        id: ProbeId,
    },
    Answered {
        by: usize,
        id: ProbeId,
    },
    Told {
        from: usize,
        to: usize,
        reports: Reports,
    },
}

pub struct World {
    observers: Vec<Observer>,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    rng: fastrand::Rng,
    pub now_ms: u64,
    pub one_way_ms: u64,
    pub faults: Faults,
    /// Verdicts as they changed: when, at whom, and what.
    pub verdicts: Vec<(u64, usize, Change)>,
}

impl World {
    /// So many regions at `Fast`, all well, some seconds on.
    pub fn settled(regions: usize, seed: u64) -> Self {
        let mut world = Self::new(regions, seed, 30 + seed % 70);
        world.run_ms(3_000 + seed * 37 % 500);
        for observer in 0..regions {
            for region in 0..regions {
                assert_eq!(world.verdict(observer, region), Status::Healthy);
            }
        }
        world.verdicts.clear();
        world
    }

    pub fn new(regions: usize, seed: u64, one_way_ms: u64) -> Self {
        let names = || NAMES[..regions].iter().map(|name| RegionName::new(name));
        let observer = |own: RegionName| {
            let target = |region: RegionName| Target {
                endpoint: format!("{region}.test"),
                region,
                service: Service::Api,
            };
            let setup = Setup {
                own,
                observers: names().collect(),
                targets: names().map(target).collect(),
                cadence: Preset::Fast.cadence(),
                maintenance: Vec::new(),
            };
            Observer::new(setup, Now::default())
        };
        Self {
            observers: names().map(observer).collect(),
            events: BTreeMap::new(),
            scheduled: 0,
            rng: fastrand::Rng::with_seed(seed),
            now_ms: 0,
            one_way_ms,
            faults: Faults::default(),
            verdicts: Vec::new(),
        }
    }

    pub fn regions(&self) -> usize {
        self.observers.len()
    }

    pub fn has_quorum(&self, observer: usize) -> bool {
        self.observers[observer].has_quorum()
    }

    pub fn verdict(&self, observer: usize, region: usize) -> Status {
        self.health(observer, region).verdict[Service::Api].unwrap()
    }

    pub fn seen(&self, observer: usize, region: usize) -> Status {
        self.health(observer, region).seen[Service::Api].unwrap()
    }

    pub fn observer(&self, observer: usize) -> &Observer {
        &self.observers[observer]
    }

    fn health(&self, observer: usize, region: usize) -> meridian_health::RegionHealth {
        let name = RegionName::new(NAMES[region]);
        self.observers[observer].region(&name, self.now().wall)
    }

    pub fn run_ms(&mut self, for_ms: u64) {
        let end_ms = self.now_ms + for_ms;
        while let Some(at_ms) = self.next_ms().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = at_ms;
            while let Some(entry) = self.events.first_entry() {
                if entry.key().0 > at_ms {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
            for observer in 0..self.regions() {
                if !self.is_dead(observer) && due_ms(&self.observers[observer]) <= at_ms {
                    self.step(observer, Input::Tick);
                }
            }
        }
        self.now_ms = end_ms;
    }

    fn next_ms(&self) -> Option<u64> {
        let alive = (0..self.regions()).filter(|observer| !self.is_dead(*observer));
        let due = alive.map(|observer| due_ms(&self.observers[observer]).max(self.now_ms));
        let event = self.events.keys().next().map(|(at_ms, _)| *at_ms);
        due.chain(event).min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked { by, of, id } if !self.is_dead(of) => {
                let slow = self.faults.slow.iter().find(|(region, _)| *region == of);
                let takes_ms = 1 + slow.map_or(0, |(_, ms)| *ms);
                self.send(of, by, takes_ms, Event::Answered { by, id });
            }
            Event::Answered { by, id } => {
                let answer = Answer::Right;
                self.step(by, Input::Answer { probe: id, answer });
            }
            Event::Told { from, to, reports } => {
                let from = RegionName::new(NAMES[from]);
                self.step(to, Input::Reports { from, reports });
            }
            Event::Asked { .. } => {}
        }
    }

    fn step(&mut self, observer: usize, input: Input) {
        if self.is_dead(observer) {
            return;
        }
        let now = self.now();
        for output in self.observers[observer].step(now, input) {
            match output {
                Output::Probe { id, target } => {
                    let of = index(&target.region);
                    if of == observer || !self.faults.blind.contains(&observer) {
                        self.send(
                            observer,
                            of,
                            0,
                            Event::Asked {
                                by: observer,
                                of,
                                id,
                            },
                        );
                    }
                }
                Output::Send(reports) => self.tell_all(observer, &reports),
                Output::Changed(change) if matches!(change.by, ChangedBy::Vote(_)) => {
                    self.verdicts.push((self.now_ms, observer, change));
                }
                Output::Changed(_) => {}
            }
        }
    }

    fn tell_all(&mut self, from: usize, reports: &Reports) {
        let bytes = reports.encode();
        for to in (0..self.regions()).filter(|to| *to != from) {
            let reports = Reports::decode(&bytes).unwrap();
            self.send(from, to, 0, Event::Told { from, to, reports });
        }
    }

    fn send(&mut self, from: usize, to: usize, after_ms: u64, event: Event) {
        if self.faults.cut.contains(&(from, to)) {
            return;
        }
        let lossy = self.faults.lossy.iter();
        let loss = lossy.filter(|(a, b, _)| (*a, *b) == (from, to));
        if loss
            .map(|(.., share)| *share)
            .any(|share| self.rng.f64() < share)
        {
            return;
        }
        let way_ms = if from == to { 0 } else { self.one_way_ms };
        let at_ms = self.now_ms + after_ms + way_ms;
        self.events.insert((at_ms, self.scheduled), event);
        self.scheduled += 1;
    }

    pub fn is_dead(&self, region: usize) -> bool {
        self.faults.dead.contains(&region)
    }

    fn now(&self) -> Now {
        Now {
            wall: Micros(1_700_000_000_000_000 + self.now_ms * 1000),
            elapsed: Duration::from_millis(self.now_ms),
        }
    }

    /// When `observer` first said that `region` is down.
    pub fn down_at_ms(&self, observer: usize, region: usize) -> Option<u64> {
        self.changes(observer, region)
            .find(|(_, to)| *to == Status::Unhealthy)
            .map(|(at_ms, _)| at_ms)
    }

    /// How a verdict changed.
    pub fn changes(&self, observer: usize, region: usize) -> impl Iterator<Item = (u64, Status)> {
        let of = move |(_, at, change): &&(u64, usize, Change)| {
            *at == observer && index(&change.region) == region
        };
        let found = self.verdicts.iter().filter(of);
        found.map(|(at_ms, _, change)| (*at_ms, change.to))
    }
}

fn index(region: &RegionName) -> usize {
    let place = NAMES.iter().position(|name| *name == region.as_str());
    place.unwrap()
}

fn due_ms(observer: &Observer) -> u64 {
    u64::try_from(observer.due().as_millis()).unwrap()
}
