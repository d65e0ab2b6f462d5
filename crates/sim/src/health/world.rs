//! Regions with an observer and answers each, messages that take time, and faults. A step is a
//! millisecond.

use super::eyes::Eye;
use super::faults::Faults;
use super::front::Front;
use super::network::Network;
use super::regions::{NAMES, PRESET, index, ms, setup};
use super::verdicts;
use meridian_check::Violation;
use meridian_health::{
    Answer, Change, ChangedBy, Input, Observer, Output, ProbeId, Reports, Service, Status,
};
use meridian_model::{Hlc, Micros, Now, OriginId, RegionName, Version};
use meridian_steer::{Desired, Subject, Want, Wish};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a region of these worlds takes to answer.
const ANSWER_MS: u64 = 1;

enum Event {
    Asked(Asked),
    Answered {
        asked: Asked,
        answer: Answer,
    },
    Told {
        from: usize,
        /// The process that told.
        life: u32,
        to: usize,
        reports: Reports,
    },
}

#[derive(Clone, Copy)]
struct Asked {
    by: usize,
    life: u32,
    of: usize,
    service: Service,
    id: ProbeId,
    at_ms: u64,
}

/// A region's process.
pub(crate) struct Region {
    pub(crate) observer: Observer,
    pub(crate) front: Front,
    eyes: Vec<Eye>,
    life: u32,
    /// How far its wall clock is ahead.
    wall_offset_us: i64,
}

impl Region {
    pub(crate) fn eye(&self, region: usize, service: Service) -> Option<&Eye> {
        let mut eyes = self.eyes.iter();
        eyes.find(|eye| eye.region == region && eye.service == service)
    }
}

pub(crate) struct World {
    pub(crate) regions: Vec<Region>,
    pub(crate) network: Network,
    pub(crate) random: fastrand::Rng,
    pub(crate) now_ms: u64,
    pub(crate) one_way_ms: u64,
    pub(crate) faults: Faults,
    /// Those of the last step.
    before: Faults,
    /// What people want, which every region has.
    pub(crate) desired: Desired,
    wishes: u64,
    /// Verdicts as they changed: when, at whom, and what.
    pub(crate) verdicts: Vec<(u64, usize, Change)>,
    /// By region and by whom it is answered for: from when on it must be in no answer.
    pub(crate) out_from_ms: BTreeMap<(usize, usize), u64>,
    /// What went wrong first.
    pub(crate) violation: Option<Violation>,
    pub(crate) events: u64,
    pub(crate) answered: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl World {
    pub(crate) fn new(regions: usize, seed: u64, one_way_ms: u64) -> Self {
        let mut world = Self {
            regions: Vec::new(),
            network: Network::new(regions),
            random: fastrand::Rng::with_seed(seed),
            now_ms: 0,
            one_way_ms,
            faults: Faults::default(),
            before: Faults::default(),
            desired: Desired::default(),
            wishes: 0,
            verdicts: Vec::new(),
            out_from_ms: BTreeMap::new(),
            violation: None,
            events: 0,
            answered: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
        };
        for region in 0..regions {
            let process = world.process(region, regions, 0, 0);
            world.regions.push(process);
        }
        world
    }

    /// So many regions at `Fast`, some seconds on, all well.
    pub(crate) fn settled(regions: usize, seed: u64) -> Self {
        let mut world = Self::new(regions, seed, 30 + seed % 70);
        world.run_ms(3_000 + seed * 37 % 500);
        world.expect_well();
        world.verdicts.clear();
        world
    }

    /// A process of a region that begins now and knows nothing.
    fn process(&self, own: usize, regions: usize, life: u32, wall_offset_us: i64) -> Region {
        let setup = setup(own, regions);
        let eye = |target: &meridian_health::Target| {
            Eye::new(self.now_ms, index(&target.region), target.service)
        };
        Region {
            eyes: setup.targets.iter().map(eye).collect(),
            observer: Observer::new(setup, self.clocks(wall_offset_us)),
            front: Front::new(own, regions, self.now_ms),
            life,
            wall_offset_us,
        }
    }

    /// A region's process is killed, and another begins in its place, whose clock says something else.
    pub(crate) fn restart(&mut self, region: usize, wall_offset_us: i64) {
        let life = self.regions[region].life + 1;
        let mut process = self.process(region, self.regions.len(), life, wall_offset_us);
        // What the old one said may go round a while longer.
        for (eye, before) in process.eyes.iter_mut().zip(&self.regions[region].eyes) {
            eye.down_ms = before.down_ms;
        }
        self.answered += self.regions[region].front.answered;
        self.regions[region] = process;
        self.network.break_off(self.now_ms, region);
    }

    /// Somebody wants something of a region, everywhere at once.
    pub(crate) fn wish(&mut self, region: usize, want: Want) {
        self.wishes += 1;
        let subject = Subject::region(NAMES[region]);
        self.desired.merge(Wish {
            before: self.desired.want(&subject),
            subject,
            want,
            version: Version {
                hlc: Hlc::from_raw(self.wishes),
                origin: OriginId(1),
            },
            at: Micros(self.now_ms),
            who: "ann".to_owned(),
            why: "a disk is changed".to_owned(),
        });
        for at in 0..self.regions.len() {
            self.look(at);
        }
    }

    pub(crate) fn violate(&mut self, at: usize, what: String) {
        let region = NAMES[at].to_owned();
        self.violation
            .get_or_insert(Violation::Misjudged { region, what });
    }

    /// Lets so much time pass, or less if something goes wrong.
    pub(crate) fn run_ms(&mut self, for_ms: u64) {
        self.note_faults();
        let end_ms = self.now_ms + for_ms;
        while let Some(at_ms) = self.next_ms().filter(|at_ms| *at_ms <= end_ms) {
            if self.violation.is_some() {
                return;
            }
            self.now_ms = at_ms;
            self.events += 1;
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > at_ms {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
            for at in 0..self.regions.len() {
                if self.faults.is_dead(at) {
                    continue;
                }
                if ms(self.regions[at].observer.due()) <= at_ms {
                    self.step(at, Input::Tick);
                }
                if self.regions[at].front.due_ms() <= at_ms {
                    self.look(at);
                }
            }
        }
        self.now_ms = end_ms;
    }

    /// Takes over what was broken or mended since the last step.
    fn note_faults(&mut self) {
        let (now_ms, faults) = (self.now_ms, &self.faults);
        self.network.note(now_ms, faults);
        for (observer, region) in self.regions.iter_mut().enumerate() {
            let wakes = self.before.is_dead(observer) && !faults.is_dead(observer);
            for eye in &mut region.eyes {
                if wakes {
                    eye.wake(now_ms);
                }
                eye.note_sight(now_ms, faults.sights(observer, eye.region, eye.service));
            }
        }
        self.before = self.faults.clone();
    }

    fn next_ms(&self) -> Option<u64> {
        let all = self.regions.iter().enumerate();
        let alive = all.filter(|(region, _)| !self.faults.is_dead(*region));
        let due = alive.map(|(_, region)| {
            let due_ms = ms(region.observer.due()).min(region.front.due_ms());
            due_ms.max(self.now_ms)
        });
        let event = self.agenda.keys().next().map(|(at_ms, _)| *at_ms);
        due.chain(event).min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked(asked) if !self.faults.is_dead(asked.of) => {
                let takes_ms = ANSWER_MS + self.faults.slow_ms(asked.of);
                let answer = if self.faults.failing.contains(&(asked.of, asked.service)) {
                    Answer::Wrong("503".to_owned())
                } else {
                    Answer::Right
                };
                let answered = Event::Answered { asked, answer };
                self.send(asked.of, asked.by, takes_ms, answered);
            }
            Event::Answered { asked, answer } if self.regions[asked.by].life == asked.life => {
                self.answer(asked, answer);
            }
            Event::Told {
                from,
                life,
                to,
                reports,
            } if self.regions[from].life == life => {
                let from = RegionName::new(NAMES[from]);
                self.step(to, Input::Reports { from, reports });
            }
            // Its process has gone.
            Event::Asked(_) | Event::Answered { .. } | Event::Told { .. } => {}
        }
    }

    fn answer(&mut self, asked: Asked, answer: Answer) {
        let Asked { by, of, id, .. } = asked;
        if self.faults.is_dead(by) {
            return;
        }
        let forgotten_ms = asked.at_ms + ms(PRESET.cadence().detection_max());
        if answer == Answer::Right && self.now_ms < forgotten_ms {
            let mut eyes = self.regions[by].eyes.iter_mut();
            let eye = eyes.find(|eye| eye.region == of && eye.service == asked.service);
            if let Some(eye) = eye {
                eye.answered(self.now_ms);
            }
        }
        self.step(by, Input::Answer { probe: id, answer });
    }

    fn step(&mut self, at: usize, input: Input) {
        if self.faults.is_dead(at) || self.violation.is_some() {
            return;
        }
        let now = self.clocks(self.regions[at].wall_offset_us);
        let had_quorum = self.regions[at].observer.has_quorum();
        let outputs = self.regions[at].observer.step(now, input);
        let mut is_changed = had_quorum != self.regions[at].observer.has_quorum();
        for output in outputs {
            match output {
                Output::Probe { id, target } => {
                    let asked = Asked {
                        by: at,
                        life: self.regions[at].life,
                        of: index(&target.region),
                        service: target.service,
                        id,
                        at_ms: self.now_ms,
                    };
                    if asked.of == at || !self.faults.blind.contains(&at) {
                        self.send(at, asked.of, 0, Event::Asked(asked));
                    }
                }
                Output::Send(reports) => self.tell_all(at, &reports),
                Output::Changed(change) => {
                    is_changed = true;
                    self.changed(at, change);
                }
            }
        }
        self.check_eyes(at);
        if is_changed {
            self.look(at);
        }
    }

    fn changed(&mut self, at: usize, change: Change) {
        let (now_ms, of) = (self.now_ms, index(&change.region));
        let checked = match change.by {
            ChangedBy::Vote(_) => {
                let checked = verdicts::check(self, at, &change);
                self.verdicts.push((now_ms, at, change));
                checked
            }
            ChangedBy::Probes(_) => {
                let mut eyes = self.regions[at].eyes.iter_mut();
                let eye = eyes.find(|eye| eye.region == of && eye.service == change.service);
                let changed = eye.map_or(Ok(()), |eye| eye.changed(now_ms, &change));
                changed.map_err(|what| format!("{} of {} {what}", change.service, change.region))
            }
        };
        if let Err(what) = checked {
            self.violate(at, what);
        }
    }

    fn check_eyes(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let mut wrong = None;
        for eye in &mut self.regions[at].eyes {
            if let Err(what) = eye.check(now_ms) {
                wrong = Some(format!("{} of {} {what}", eye.service, NAMES[eye.region]));
            }
        }
        if let Some(what) = wrong {
            self.violate(at, what);
        }
    }

    /// A region answers by what it knows now.
    fn look(&mut self, at: usize) {
        let wall = self.clocks(self.regions[at].wall_offset_us).wall;
        let region = &mut self.regions[at];
        let looked = region
            .front
            .look(&region.observer, &self.desired, wall, self.now_ms);
        if let Err(what) = looked {
            self.violate(at, what);
        }
        self.check_out(at);
    }

    /// Nobody that has to be out of a region's answers by now is in them.
    pub(crate) fn check_out(&mut self, at: usize) {
        let of = |region: usize| self.out_from_ms.get(&(at, region));
        let (out, others): (Vec<_>, Vec<_>) =
            (0..self.regions.len()).partition(|region| of(*region).is_some());
        let is_due = |region: &usize| of(*region).is_some_and(|from_ms| self.now_ms >= *from_ms);
        let front = &self.regions[at].front;
        let sent = out.into_iter().filter(is_due);
        let sent = sent.filter_map(|region| Some((region, front.sends_to(region, &others)?)));
        if let Some((region, who)) = sent.collect::<Vec<_>>().pop() {
            self.violate(at, format!("{} is still answered: {who}", NAMES[region]));
        }
    }

    fn tell_all(&mut self, from: usize, reports: &Reports) {
        let life = self.regions[from].life;
        for to in (0..self.regions.len()).filter(|to| *to != from) {
            let reports = reports.clone();
            let told = Event::Told {
                from,
                life,
                to,
                reports,
            };
            self.send(from, to, 0, told);
        }
    }

    fn send(&mut self, from: usize, to: usize, after_ms: u64, event: Event) {
        let loss = self.faults.loss(from, to);
        let is_lost = loss > 0.0 && self.random.f64() < loss;
        if !self.faults.passes(from, to) || is_lost {
            return;
        }
        let jitter_ms = match self.faults.jitter_ms {
            0 => 0,
            most_ms => self.random.u64(0..=most_ms),
        };
        let way_ms = if from == to {
            0
        } else {
            self.one_way_ms + jitter_ms
        };
        let at_ms = self.now_ms + after_ms + way_ms;
        self.agenda.insert((at_ms, self.scheduled), event);
        self.scheduled += 1;
    }

    fn clocks(&self, wall_offset_us: i64) -> Now {
        let wall = 1_700_000_000_000_000 + self.now_ms * 1000;
        Now {
            wall: Micros(wall.saturating_add_signed(wall_offset_us)),
            elapsed: Duration::from_millis(self.now_ms),
        }
    }

    /// When the last service that is down to somebody is held down no more.
    pub(crate) fn held_until_ms(&self) -> u64 {
        let eyes = self.regions.iter().flat_map(|region| &region.eyes);
        eyes.map(Eye::held_until_ms).max().unwrap_or(0)
    }

    /// Everybody says of everybody that it is well, and answers as usual.
    pub(crate) fn expect_well(&mut self) {
        for at in 0..self.regions.len() {
            for region in 0..self.regions.len() {
                for service in [Service::Api, Service::Database] {
                    let verdict = self.verdict_of(at, region, service);
                    if verdict != Status::Healthy {
                        let name = NAMES[region];
                        self.violate(at, format!("the {service} of {name} is {verdict}"));
                    }
                }
            }
            if !self.regions[at].observer.has_quorum() {
                self.violate(at, "there is no quorum".to_owned());
            }
            if let Err(what) = self.regions[at].front.is_as_usual() {
                self.violate(at, what);
            }
        }
    }

    pub(crate) fn verdict_of(&self, at: usize, region: usize, service: Service) -> Status {
        let name = RegionName::new(NAMES[region]);
        let health = self.regions[at].observer.region(&name, Micros(0));
        health.verdict[service].unwrap_or_default()
    }

    /// How the verdict about an `api` changed at one observer.
    pub(crate) fn changes(&self, at: usize, region: usize) -> impl Iterator<Item = (u64, Status)> {
        let of = move |(_, by, change): &&(u64, usize, Change)| {
            *by == at && index(&change.region) == region && change.service == Service::Api
        };
        let found = self.verdicts.iter().filter(of);
        found.map(|(at_ms, _, change)| (*at_ms, change.to))
    }
}

#[cfg(test)]
impl World {
    pub(crate) fn has_quorum(&self, at: usize) -> bool {
        self.observer(at).has_quorum()
    }

    pub(crate) fn verdict(&self, at: usize, region: usize) -> Status {
        self.verdict_of(at, region, Service::Api)
    }

    pub(crate) fn seen(&self, at: usize, region: usize) -> Status {
        let name = RegionName::new(NAMES[region]);
        self.observer(at).region(&name, Micros(0)).seen[Service::Api].unwrap()
    }

    pub(crate) fn observer(&self, at: usize) -> &Observer {
        &self.regions[at].observer
    }

    /// When `at` first said that `region` is down.
    pub(crate) fn down_at_ms(&self, at: usize, region: usize) -> Option<u64> {
        self.changes(at, region)
            .find(|(_, to)| *to == Status::Unhealthy)
            .map(|(at_ms, _)| at_ms)
    }
}
