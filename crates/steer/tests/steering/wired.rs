//! Observers and steering together: what each living region answers while regions are dead and links
//! cut, for every such pattern of three regions.

use crate::support::{TRIO, client, first, over};
use meridian_health::{Answer, Input, Observer, Output, Preset, Service, Setup, Target};
use meridian_model::{Micros, Now, RegionName};
use meridian_steer::{By, Picture, Table};
use meridian_topology::{Place, well_known};
use std::collections::VecDeque;
use std::time::Duration;

const STEP_MS: u64 = 10;
const ONE_WAY_MS: u64 = 40;
/// Clients next to each region.
const CLIENTS: [&str; 3] = ["8.8.8.8", "193.0.6.139", "202.12.27.33"];

struct World {
    observers: Vec<Observer>,
    /// What arrives, for whom and when.
    arriving: VecDeque<(u64, usize, Input)>,
    now_ms: u64,
    dead: usize,
    cut: usize,
}

fn regions() -> Vec<(RegionName, Place)> {
    let region = |name: &&str| (RegionName::new(name), well_known(name).unwrap());
    TRIO.iter().map(region).collect()
}

impl World {
    fn settled() -> Self {
        let names: Vec<_> = regions().into_iter().map(|(name, _)| name).collect();
        let target = |region: &RegionName| Target {
            region: region.clone(),
            service: Service::Api,
            endpoint: String::new(),
        };
        let observer = |own: &RegionName| {
            let setup = Setup {
                own: own.clone(),
                observers: names.clone(),
                targets: names.iter().map(target).collect(),
                cadence: Preset::Fast.cadence(),
                maintenance: Vec::new(),
            };
            Observer::new(setup, Now::default())
        };
        let mut world = Self {
            observers: names.iter().map(observer).collect(),
            arriving: VecDeque::new(),
            now_ms: 0,
            dead: 0,
            cut: 0,
        };
        world.run_ms(3_000);
        world
    }

    fn is_alive(&self, region: usize) -> bool {
        self.dead >> region & 1 == 0
    }

    /// Whether a message gets there. The six directed links are the bits of `cut`.
    fn passes(&self, from: usize, to: usize) -> bool {
        let link = from * 2 + usize::from((from + 1) % 3 == to);
        self.is_alive(to) && (from == to || self.cut >> link & 1 == 0)
    }

    fn run_ms(&mut self, for_ms: u64) {
        let end_ms = self.now_ms + for_ms;
        while self.now_ms < end_ms {
            self.now_ms += STEP_MS;
            while self
                .arriving
                .front()
                .is_some_and(|(at_ms, ..)| *at_ms <= self.now_ms)
            {
                let (_, to, input) = self.arriving.pop_front().unwrap();
                self.step(to, input);
            }
            for observer in 0..3 {
                if self.observers[observer].due() <= Duration::from_millis(self.now_ms) {
                    self.step(observer, Input::Tick);
                }
            }
        }
    }

    fn step(&mut self, observer: usize, input: Input) {
        if !self.is_alive(observer) {
            return;
        }
        let now = Now {
            wall: Micros(self.now_ms * 1000),
            elapsed: Duration::from_millis(self.now_ms),
        };
        for output in self.observers[observer].step(now, input) {
            match output {
                Output::Probe { id, target } => {
                    let of = TRIO
                        .iter()
                        .position(|name| *name == target.region.as_str())
                        .unwrap();
                    if self.passes(observer, of) && self.passes(of, observer) {
                        let (probe, answer) = (id, Answer::Right);
                        self.arrive(2 * ONE_WAY_MS, observer, Input::Answer { probe, answer });
                    }
                }
                Output::Send(reports) => {
                    for to in (0..3).filter(|to| *to != observer) {
                        if self.passes(observer, to) {
                            let (from, reports) =
                                (RegionName::new(TRIO[observer]), reports.clone());
                            self.arrive(ONE_WAY_MS, to, Input::Reports { from, reports });
                        }
                    }
                }
                Output::Changed(_) => {}
            }
        }
    }

    fn arrive(&mut self, after_ms: u64, to: usize, input: Input) {
        let at_ms = self.now_ms + after_ms;
        let place = self
            .arriving
            .partition_point(|(due_ms, ..)| *due_ms <= at_ms);
        self.arriving.insert(place, (at_ms, to, input));
    }

    fn table(&self, region: usize) -> Table {
        let wall = Micros(self.now_ms * 1000);
        over(
            By::Latency,
            &Picture::seen_by(&self.observers[region], &regions(), wall),
        )
    }

    /// Where each region sends the clients next to each region.
    fn answers(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let living = (0..3).filter(|region| self.is_alive(*region));
        living.flat_map(|region| {
            let table = self.table(region);
            let near = CLIENTS.iter().enumerate();
            let answers =
                near.map(|(near, address)| (region, near, first(&table, &client(address))));
            answers.collect::<Vec<_>>()
        })
    }
}

/// Eight sets of dead regions, 64 of cut links: whoever answers, it is with a region that lives.
#[test]
fn nobody_is_ever_sent_to_a_dead_region() {
    for pattern in 0..8 << 6 {
        let mut world = World::settled();
        (world.dead, world.cut) = (pattern & 7, pattern >> 3);
        world.run_ms(6_000);
        for (region, _, answer) in world.answers() {
            assert!(
                world.is_alive(answer),
                "{region}: dead {:03b}, cut {:06b}",
                world.dead,
                world.cut
            );
        }
    }
}

#[test]
fn a_cut_link_changes_no_answer() {
    let between = |a: usize, b: usize| {
        let link = |from: usize, to: usize| 1 << (from * 2 + usize::from((from + 1) % 3 == to));
        [link(a, b), link(b, a), link(a, b) | link(b, a)]
    };
    for cut in [between(0, 1), between(1, 2), between(2, 0)].concat() {
        let mut world = World::settled();
        world.cut = cut;
        world.run_ms(6_000);
        for (region, near, answer) in world.answers() {
            assert_eq!(answer, near, "{region}: {cut:06b}");
        }
    }
}

#[test]
fn a_dead_region_is_in_no_answer_after_two_seconds_and_its_clients_go_to_the_next() {
    for died in 0..3 {
        let mut world = World::settled();
        world.dead = 1 << died;
        world.run_ms(2_000);
        for (_, near, answer) in world.answers() {
            assert!(answer != died && (near == died || answer == near));
        }
        world.dead = 0;
        world.run_ms(6_000);
        assert!(world.answers().all(|(_, near, answer)| answer == near));
    }
}
