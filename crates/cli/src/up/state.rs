//! How the regions stand, as far as `up` has seen: a pure function of the events.

use super::event::{Death, Event, Happened};
use crate::reading::Reading;
use crate::system::{System, SystemRegion};
use std::time::{Duration, Instant};

/// The regions of an `up`.
#[derive(Debug)]
pub struct State {
    /// In the order of the topology.
    pub regions: Vec<RegionState>,
}

/// One region.
#[derive(Debug)]
pub struct RegionState {
    /// What it is; its process id is kept up to date.
    pub region: SystemRegion,
    /// Where it is in its life.
    pub phase: Phase,
    /// How often it was started again.
    pub restarts: u64,
    /// Its last death.
    pub last_death: Option<Death>,
    /// What it last said.
    pub reading: Option<Reading>,
    /// Clients' writes a second, between the last two readings.
    pub writes_per_second: Option<f64>,
    read_at: Option<Instant>,
    /// Whether it has left the system, so that its end is no surprise.
    has_left: bool,
}

/// Where a region is in its life.
///
/// ```text
/// Starting ─▶ Ready ─▶ Down ─▶ Starting …      Stopped, Gone and Dead are final
///     └─────────────────▲ └──▶ Dead
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet.
    Starting,
    /// It serves.
    Ready,
    /// It served, and its process runs, but it doesn't answer.
    Silent,
    /// It died and will be started again then.
    Down {
        /// When it is started again.
        until: Instant,
    },
    /// It died and is not started again.
    Dead,
    /// It was asked to end, and did.
    Stopped,
    /// It has left the system.
    Gone,
}

impl Phase {
    /// Whether nothing more will happen to the region.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Dead | Self::Stopped | Self::Gone)
    }

    /// For people.
    pub fn text(self, now: Instant) -> String {
        match self {
            Self::Starting => "starting".to_owned(),
            Self::Ready => "ready".to_owned(),
            Self::Silent => "does not answer".to_owned(),
            Self::Down { until } => {
                let left = until.saturating_duration_since(now).as_secs_f64();
                format!("down, starts in {left:.1} s")
            }
            Self::Dead => "dead".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Gone => "gone".to_owned(),
        }
    }
}

impl State {
    /// Nothing has happened yet.
    pub fn new(system: &System) -> Self {
        let regions = system.regions.iter().cloned().map(RegionState::new);
        Self {
            regions: regions.collect(),
        }
    }

    /// One more region, or one that had left and is back; returns its index.
    pub fn admit(&mut self, region: SystemRegion) -> usize {
        let mut known = self.regions.iter();
        let at = known.position(|state| state.region.name == region.name);
        let at = at.unwrap_or(self.regions.len());
        match self.regions.get_mut(at) {
            Some(state) => *state = RegionState::new(region),
            None => self.regions.push(RegionState::new(region)),
        }
        at
    }

    /// Takes an event in.
    pub fn take(&mut self, event: &Event, now: Instant) {
        let Some(state) = self.regions.get_mut(event.region) else {
            return;
        };
        match &event.happened {
            Happened::Started { process_id } => {
                if state.last_death.is_some() {
                    state.restarts += 1;
                }
                state.region.process_id = Some(*process_id);
                state.phase = Phase::Starting;
            }
            Happened::Ready { .. } => state.phase = Phase::Ready,
            Happened::Died(death) => {
                state.end(match death.restart_after {
                    Some(wait) => Phase::Down { until: now + wait },
                    None => Phase::Dead,
                });
                state.last_death = Some(death.clone());
            }
            Happened::Stopped { .. } => state.end(if state.has_left {
                Phase::Gone
            } else {
                Phase::Stopped
            }),
            Happened::Left => state.has_left = true,
            Happened::Members(_)
            | Happened::Admitted { .. }
            | Happened::ServerDied { .. }
            | Happened::ServerStarted
            | Happened::LeftOut { .. } => {}
            Happened::Read(reading) => state.read(reading.as_deref(), now),
        }
    }

    /// Whether every region serves.
    pub fn is_serving(&self) -> bool {
        let mut here = self.regions.iter().filter(|it| it.phase != Phase::Gone);
        here.all(|state| state.phase == Phase::Ready)
    }

    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        self.regions.iter().all(|state| state.phase.is_final())
    }
}

impl RegionState {
    fn new(region: SystemRegion) -> Self {
        Self {
            region,
            phase: Phase::Starting,
            restarts: 0,
            last_death: None,
            reading: None,
            writes_per_second: None,
            read_at: None,
            has_left: false,
        }
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        self.region.process_id = None;
        self.reading = None;
        self.writes_per_second = None;
    }

    fn read(&mut self, reading: Option<&Reading>, now: Instant) {
        // A reading under way when the region died says nothing about it any more.
        if !matches!(self.phase, Phase::Ready | Phase::Silent) {
            return;
        }
        self.phase = match reading {
            Some(_) => Phase::Ready,
            None => Phase::Silent,
        };
        let writes = |reading: Option<&Reading>| reading.and_then(|it| it.writes_total);
        self.writes_per_second = rate(
            writes(self.reading.as_ref()),
            writes(reading),
            self.read_at.map(|at| now.saturating_duration_since(at)),
        );
        self.read_at = Some(now);
        self.reading = reading.cloned();
    }
}

/// How much a total grew a second; unknown without two readings, or if it fell (a restart).
fn rate(before: Option<u64>, after: Option<u64>, between: Option<Duration>) -> Option<f64> {
    let grown = after?.checked_sub(before?)?;
    let seconds = between?.as_secs_f64();
    (seconds > 0.0).then(|| grown as f64 / seconds)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::collections::BTreeMap;

    pub fn state() -> State {
        let region = |name: &str, port: u16| SystemRegion {
            name: name.to_owned(),
            api: format!("http://127.0.0.1:{port}"),
            link: format!("127.0.0.1:{}", port + 1),
            dns: Some(format!("127.0.0.1:{}", port + 2)),
            app: vec![([127, 0, 0, 1], port + 3).into()],
            process_id: None,
            data_dir: name.into(),
            log: format!("{name}/log.txt").into(),
            witness: false,
        };
        State::new(&System {
            process_id: 1,
            topology: "meridian.toml".into(),
            zone: "meridian.test".to_owned(),
            regions: vec![region("us-east-1", 7000), region("eu-west-1", 7010)],
            next: None,
            former: BTreeMap::new(),
        })
    }

    fn event(region: usize, happened: Happened) -> Event {
        Event { region, happened }
    }

    fn death(restart_after: Option<Duration>) -> Happened {
        Happened::Died(Death {
            status: "signal: 9 (SIGKILL)".to_owned(),
            was_ready: true,
            last_lines: Vec::new(),
            restart_after,
        })
    }

    fn reading(writes: u64) -> Happened {
        Happened::Read(Some(Box::new(Reading {
            writes_total: Some(writes),
            ..Reading::default()
        })))
    }

    #[test]
    fn a_region_lives_dies_and_lives_again() {
        let (mut state, now) = (state(), Instant::now());
        let second = Duration::from_secs(1);
        for region in 0..2 {
            state.take(&event(region, Happened::Started { process_id: 5 }), now);
            state.take(&event(region, Happened::Ready { after: second }), now);
        }
        assert!(state.is_serving());
        state.take(&event(1, death(Some(second))), now);
        assert!(!state.is_serving());
        assert_eq!(state.regions[1].phase.text(now), "down, starts in 1.0 s");
        assert_eq!(state.regions[1].region.process_id, None);
        state.take(&event(1, Happened::Started { process_id: 6 }), now);
        assert_eq!(state.regions[1].restarts, 1);
        state.take(&event(1, death(None)), now);
        state.take(&event(0, Happened::Stopped { was_killed: false }), now);
        assert!(state.is_over());
    }

    #[test]
    fn writes_a_second_come_from_two_readings() {
        let (mut state, now) = (state(), Instant::now());
        let after = Duration::from_secs(1);
        state.take(&event(0, Happened::Ready { after }), now);
        state.take(&event(0, reading(100)), now);
        assert_eq!(state.regions[0].writes_per_second, None);
        let later = now + Duration::from_millis(500);
        state.take(&event(0, reading(600)), later);
        assert_eq!(state.regions[0].writes_per_second, Some(1000.0));
        state.take(&event(0, reading(5)), later + after);
        assert_eq!(state.regions[0].writes_per_second, None);
    }

    #[test]
    fn a_region_joins_leaves_and_may_come_back() {
        let (mut state, now) = (state(), Instant::now());
        let after = Duration::from_secs(1);
        for region in 0..2 {
            state.take(&event(region, Happened::Ready { after }), now);
        }
        let mut third = state.regions[0].region.clone();
        third.name = "third".to_owned();
        assert_eq!(state.admit(third.clone()), 2);
        assert!(!state.is_serving());
        state.take(&event(2, Happened::Ready { after }), now);
        state.take(&event(2, Happened::Left), now);
        state.take(&event(2, Happened::Stopped { was_killed: false }), now);
        assert_eq!(state.regions[2].phase, Phase::Gone);
        assert!(state.is_serving() && !state.is_over());
        assert_eq!(state.admit(third), 2);
        assert_eq!(state.regions[2].phase, Phase::Starting);
    }
}
