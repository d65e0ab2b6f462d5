//! The machine of one region's observer.
//!
//! It is told the time and what arrived, and says which probes to start and what to send; it does
//! neither. Its parts: a watch for each target, the board of the others' reports, the verdicts.

use crate::board::{Board, Weight};
use crate::history::{Change, ChangedBy, History};
use crate::maintenance::Maintenance;
use crate::quorum::Votes;
use crate::report::{Opinion, Report, ReportNumber, Reports};
use crate::watch::{Answer, ProbeId, Target, Watch};
use crate::{Cadence, Metrics, PerService, Record, Service, Status};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{Micros, Now, RegionName};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an observer is set up with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The observer's own region.
    pub own: RegionName,
    /// Every region that observes, witnesses and its own included.
    pub observers: Vec<RegionName>,
    /// What this one probes, its own region's services included.
    pub targets: Vec<Target>,
    /// How often, and what it takes to change one's mind.
    pub cadence: Cadence,
    /// When what is expected to be away.
    pub maintenance: Vec<Maintenance>,
}

/// What an observer is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// That time has passed.
    Tick,
    /// A probe's answer.
    Answer {
        /// The probe.
        probe: ProbeId,
        /// What it came back with.
        answer: Answer,
    },
    /// A passive alarm: real traffic to the service fails. A node raises it where the link has fallen
    /// silent.
    Alarm {
        /// The region.
        region: RegionName,
        /// The service.
        service: Service,
    },
    /// A message of another observer; `from` is who the link says it is.
    Reports {
        /// The sender.
        from: RegionName,
        /// The message.
        reports: Reports,
    },
}

/// What an observer wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Start this probe; its answer is wanted however late.
    Probe {
        /// Its number.
        id: ProbeId,
        /// What to probe.
        target: Target,
    },
    /// Send this to every other observer.
    Send(Reports),
    /// Something changed; it is in the history too.
    Changed(Change),
}

/// How a region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionHealth {
    /// The verdicts; `None` for what nobody observes.
    pub verdict: PerService<Option<Status>>,
    /// What this observer itself sees.
    pub seen: PerService<Option<Status>>,
    /// Whether all of it is expected to be away.
    pub maintenance: bool,
}

/// One region's observer.
pub struct Observer {
    setup: Setup,
    watches: Vec<Watch>,
    board: Board,
    verdicts: BTreeMap<(RegionName, Service), Status>,
    history: History,
    number: ReportNumber,
    next_probe: u64,
    next_report: Duration,
    quorum: bool,
    /// When this observer last was in touch with a majority.
    voted_at: Option<Duration>,
}

impl Observer {
    /// An observer that knows nothing yet. Its first step starts every probe.
    #[must_use]
    pub fn new(setup: Setup, now: Now) -> Self {
        let targets = setup.targets.iter().cloned();
        Self {
            watches: targets
                .map(|target| Watch::new(target, now.elapsed))
                .collect(),
            board: Board::default(),
            verdicts: BTreeMap::new(),
            history: History::default(),
            number: ReportNumber {
                started: now.wall,
                count: 0,
            },
            next_probe: 0,
            next_report: now.elapsed,
            quorum: false,
            voted_at: None,
            setup,
        }
    }

    /// Goes by another setup from now on: regions that came or went, other windows or intervals.
    /// What is known of targets that stay is kept.
    pub fn set_up(&mut self, setup: Setup, now: Now) {
        let mut before = std::mem::take(&mut self.watches);
        for target in &setup.targets {
            let known = before.iter().position(|watch| watch.target == *target);
            self.watches.push(match known {
                Some(place) => before.swap_remove(place),
                None => Watch::new(target.clone(), now.elapsed),
            });
        }
        self.board
            .retain(|observer| setup.observers.contains(observer));
        self.next_report = now.elapsed;
        self.setup = setup;
    }

    /// What it goes by.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The region whose observer it is.
    #[must_use]
    pub fn own(&self) -> &RegionName {
        &self.setup.own
    }

    /// When to step next, whatever arrives until then.
    #[must_use]
    pub fn due(&self) -> Duration {
        let cadence = &self.setup.cadence;
        let probes = self.watches.iter().map(|watch| watch.due(cadence)).min();
        let expiry = self.board.due(cadence);
        let earliest = probes.into_iter().chain(expiry).min();
        earliest.map_or(self.next_report, |due| due.min(self.next_report))
    }

    /// Takes an input, and everything that is due by now.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let before: Vec<_> = self.watches.iter().map(Watch::status).collect();
        let board_changed = self.take(now, input);
        self.probe(now, &mut outputs);
        let expired = self.board.expire(now.elapsed, &self.setup.cadence);
        let own_changed = self.note_own_changes(now, &before, &mut outputs);
        // Verdicts may wait for windows and setups until the next report, at most a second.
        let report_is_due = own_changed || now.elapsed >= self.next_report;
        if board_changed || expired || report_is_due {
            self.judge(now, &mut outputs);
        }
        if report_is_due {
            self.next_report = now.elapsed + self.setup.cadence.report_interval();
            self.number.count += 1;
            outputs.push(Output::Send(self.reports()));
        }
        outputs
    }

    /// Whether a majority is in touch, here or where reports come from: without one, verdicts about
    /// others stay as they were, and this region's front ends go by [`RegionHealth::seen`].
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.quorum
    }

    /// How a region is, as far as is known here.
    #[must_use]
    pub fn region(&self, region: &RegionName, wall: Micros) -> RegionHealth {
        RegionHealth {
            verdict: PerService::with(|service| {
                self.verdicts.get(&(region.clone(), service)).copied()
            }),
            seen: PerService::with(|service| self.watch(region, service).map(Watch::status)),
            maintenance: Service::ALL
                .into_iter()
                .all(|service| self.expected_away(region, service, wall)),
        }
    }

    /// What this observer and those it has reports of say, its own first.
    pub fn all_reports(&self) -> impl Iterator<Item = Report> {
        std::iter::once(self.report()).chain(self.board.reports().cloned())
    }

    /// How long a service last took to answer an observer, as far as that is known here.
    #[must_use]
    pub fn response_ms(
        &self,
        observer: &RegionName,
        region: &RegionName,
        service: Service,
    ) -> Option<u32> {
        if *observer == self.setup.own {
            return self.watch(region, service).and_then(response_ms);
        }
        let mut reports = self.board.reports();
        let report = reports.find(|report| report.observer == *observer)?;
        let mut opinions = report.opinions.iter();
        let opinion =
            opinions.find(|opinion| opinion.region == *region && opinion.service == service);
        opinion?.response_ms
    }

    /// Why a service's last probe from here failed, where it did.
    #[must_use]
    pub fn reason(&self, region: &RegionName, service: Service) -> Option<&str> {
        let watch = self.watch(region, service)?;
        (watch.detector.failures_in_a_row() > 0).then_some(watch.reason.as_str())
    }

    /// The health record of each target (requirement D3).
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.watches
            .iter()
            .map(|watch| watch.record(&self.setup.own))
    }

    /// What changed.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    fn take(&mut self, now: Now, input: Input) -> bool {
        match input {
            Input::Tick => false,
            Input::Answer { probe, answer } => {
                self.answer(now, probe, answer);
                false
            }
            Input::Alarm { region, service } => {
                let watched = |watch: &&mut Watch| {
                    watch.target.region == region && watch.target.service == service
                };
                if let Some(watch) = self.watches.iter_mut().find(watched) {
                    watch.alarm(now.elapsed);
                }
                false
            }
            Input::Reports { from, reports } => {
                let Setup { own, observers, .. } = &self.setup;
                from == reports.own.observer
                    && from != *own
                    && observers.contains(&from)
                    && self.board.take(now.elapsed, reports, own, observers)
            }
        }
    }

    fn answer(&mut self, now: Now, probe: ProbeId, answer: Answer) {
        let Setup {
            cadence,
            maintenance,
            ..
        } = &self.setup;
        for watch in &mut self.watches {
            let expected = expected(maintenance, &watch.target, now.wall);
            if watch.answer(probe, answer.clone(), now, cadence, expected) {
                return;
            }
        }
    }

    fn probe(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let Setup {
            cadence,
            maintenance,
            ..
        } = &self.setup;
        for watch in &mut self.watches {
            let expected = expected(maintenance, &watch.target, now.wall);
            if watch.tick(now, cadence, expected) {
                let id = ProbeId(self.next_probe);
                self.next_probe += 1;
                watch.start(id, now.elapsed, cadence);
                outputs.push(Output::Probe {
                    id,
                    target: watch.target.clone(),
                });
            }
        }
    }

    fn note_own_changes(&mut self, now: Now, before: &[Status], outputs: &mut Vec<Output>) -> bool {
        let mut changed = false;
        for (watch, from) in self.watches.iter().zip(before) {
            let to = watch.status();
            if to == *from {
                continue;
            }
            changed = true;
            let failed = watch.detector.failures_in_a_row() > 0;
            let change = Change {
                at: now.wall,
                region: watch.target.region.clone(),
                service: watch.target.service,
                from: *from,
                to,
                by: ChangedBy::Probes(failed.then(|| watch.reason.clone())),
                maintenance: expected(&self.setup.maintenance, &watch.target, now.wall),
            };
            self.history.push(change.clone());
            outputs.push(Output::Changed(change));
        }
        changed
    }

    /// Counts the votes again.
    fn judge(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let own = self.report();
        let Setup {
            observers, cadence, ..
        } = &self.setup;
        let may_vote = own.may_vote(observers);
        if may_vote {
            self.voted_at = Some(now.elapsed);
        }
        let own_weight = Weight::of(may_vote, self.voted_at, now.elapsed, cadence);
        let others = || self.board.weighed(now.elapsed, cadence, observers);
        self.quorum = may_vote || others().any(|(_, weight)| weight == Weight::Full);
        let mut counted: BTreeMap<(RegionName, Service), Votes> = BTreeMap::new();
        for (report, weight) in std::iter::once((&own, own_weight)).chain(others()) {
            for opinion in &report.opinions {
                let of = (opinion.region.clone(), opinion.service);
                let vote = if self.quorum {
                    weight.vote(opinion.status)
                } else {
                    // A region still knows how it is itself.
                    let may_say = of.0 == own.observer || active(Mutation::VerdictWithoutMajority);
                    (may_say && report.observer == own.observer).then_some(opinion.status)
                };
                if let Some(vote) = vote {
                    counted.entry(of).or_default().add(vote);
                }
            }
        }
        if self.quorum {
            self.forget_unobserved(now, &counted, outputs);
        }
        for (of, votes) in counted {
            self.decide(now, of, votes, outputs);
        }
    }

    /// What nobody has an opinion of any more is unknown: its only observer is gone, or stopped
    /// observing it.
    fn forget_unobserved(
        &mut self,
        now: Now,
        counted: &BTreeMap<(RegionName, Service), Votes>,
        outputs: &mut Vec<Output>,
    ) {
        let verdicts = std::mem::take(&mut self.verdicts);
        for (of, from) in verdicts {
            if counted.contains_key(&of) {
                self.verdicts.insert(of, from);
            } else if from != Status::Unknown {
                self.changed(now, of, (from, Status::Unknown), Votes::default(), outputs);
            }
        }
    }

    fn decide(
        &mut self,
        now: Now,
        of: (RegionName, Service),
        votes: Votes,
        outputs: &mut Vec<Output>,
    ) {
        let from = self.verdicts.get(&of).copied().unwrap_or_default();
        let to = votes.verdict(from);
        self.verdicts.insert(of.clone(), to);
        if from != to {
            self.changed(now, of, (from, to), votes, outputs);
        }
    }

    fn changed(
        &mut self,
        now: Now,
        (region, service): (RegionName, Service),
        (from, to): (Status, Status),
        votes: Votes,
        outputs: &mut Vec<Output>,
    ) {
        let change = Change {
            at: now.wall,
            maintenance: self.expected_away(&region, service, now.wall),
            region,
            service,
            from,
            to,
            by: ChangedBy::Vote(votes),
        };
        self.history.push(change.clone());
        outputs.push(Output::Changed(change));
    }

    fn reports(&self) -> Reports {
        Reports {
            own: self.report(),
            relayed: self.board.reports().cloned().collect(),
        }
    }

    fn report(&self) -> Report {
        let opinion = |watch: &Watch| Opinion {
            region: watch.target.region.clone(),
            service: watch.target.service,
            status: watch.status(),
            response_ms: response_ms(watch),
        };
        Report {
            observer: self.setup.own.clone(),
            number: self.number,
            hears: self.board.hears(),
            in_touch: self.board.in_touch(&self.setup.own),
            opinions: self.watches.iter().map(opinion).collect(),
        }
    }

    fn watch(&self, region: &RegionName, service: Service) -> Option<&Watch> {
        self.watches
            .iter()
            .find(|watch| watch.target.region == *region && watch.target.service == service)
    }

    fn expected_away(&self, region: &RegionName, service: Service, wall: Micros) -> bool {
        let mut windows = self.setup.maintenance.iter();
        windows.any(|window| window.covers(region, service, wall))
    }
}

fn expected(windows: &[Maintenance], target: &Target, wall: Micros) -> bool {
    windows
        .iter()
        .any(|window| window.covers(&target.region, target.service, wall))
}

fn response_ms(watch: &Watch) -> Option<u32> {
    let took = watch.took?.as_millis();
    Some(u32::try_from(took).unwrap_or(u32::MAX))
}

impl Watch {
    fn record(&self, observer: &RegionName) -> Record {
        let availability = self.tally.availability();
        Record {
            health_check_id: format!("{observer}/{}/{}", self.target.region, self.target.service),
            region: self.target.region.to_string(),
            endpoint: self.target.endpoint.clone(),
            status: self.status(),
            last_checked: self.checked,
            response_time: self.took.map(|took| took.as_secs_f64() * 1e3),
            consecutive_failures: self.detector.failures_in_a_row(),
            metrics: Metrics {
                availability,
                average_response_time: self.tally.response_ms_mean(),
                error_rate: 100.0 - availability,
            },
        }
    }
}
