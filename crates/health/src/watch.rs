//! One service of one region under one observer's eyes: when to probe, which probes are out, what
//! came back.
//!
//! Probes start on time whether the last one was answered or not, so a service that falls silent is
//! noticed after `failures_to_fall` intervals and one time limit, not after as many time limits. A
//! probe beyond its limit counts as a failure at once but stays open: its answer, when it does come,
//! is a slow success. So a region that answers late is degraded, and only silence is death.

use crate::detector::Detector;
use crate::tally::Tally;
use crate::{Cadence, Service, Status};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{Micros, Now, RegionName};
use std::collections::VecDeque;
use std::time::Duration;

/// What is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The region.
    pub region: RegionName,
    /// The service.
    pub service: Service,
    /// Where, as a person would read it.
    pub endpoint: String,
}

/// A probe's number, given by the machine that wants it and never given twice by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// What a probe came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was expected.
    Right,
    /// Something else, or a refusal; and what it was.
    Wrong(String),
}

struct Open {
    id: ProbeId,
    started: Duration,
    overdue: Option<Overdue>,
}

/// A probe's time was over, and it was counted as a failure.
#[derive(Clone, Copy)]
struct Overdue {
    /// The row of successes that this ended, for the time being.
    successes_before: u32,
}

/// A target and all that is known of it here.
pub(crate) struct Watch {
    pub(crate) target: Target,
    pub(crate) detector: Detector,
    pub(crate) tally: Tally,
    /// Why the last failure failed.
    pub(crate) reason: String,
    pub(crate) checked: Option<Micros>,
    /// The last answer's time.
    pub(crate) took: Option<Duration>,
    open: VecDeque<Open>,
    next: Duration,
    alarmed: bool,
}

impl Watch {
    pub(crate) fn new(target: Target, now: Duration) -> Self {
        Self {
            target,
            detector: Detector::default(),
            tally: Tally::default(),
            reason: String::new(),
            checked: None,
            took: None,
            open: VecDeque::new(),
            next: now,
            alarmed: false,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.detector.status()
    }

    /// When it has to be looked after next.
    pub(crate) fn due(&self, cadence: &Cadence) -> Duration {
        let waiting = self.open.iter().find(|probe| probe.overdue.is_none());
        let overdue = waiting.map_or(Duration::MAX, |probe| probe.started + cadence.timeout);
        self.next.min(overdue)
    }

    /// Counts probes beyond their limit as failures, and says whether a new one is to start.
    pub(crate) fn tick(&mut self, now: Now, cadence: &Cadence, maintenance: bool) -> bool {
        self.count_overdue(now, cadence, maintenance);
        let forgotten_after = cadence.detection_max();
        self.open
            .retain(|probe| now.elapsed < probe.started + forgotten_after);
        now.elapsed >= self.next
    }

    fn count_overdue(&mut self, now: Now, cadence: &Cadence, maintenance: bool) {
        for probe in &mut self.open {
            if probe.overdue.is_some() || now.elapsed < probe.started + cadence.timeout {
                continue;
            }
            probe.overdue = Some(Overdue {
                successes_before: self.detector.successes_in_a_row(),
            });
            self.tally.failure(probe.id);
            self.checked = Some(now.wall);
            self.reason = format!("no answer within {} ms", cadence.timeout.as_millis());
            self.detector.failure(now.elapsed, cadence, maintenance);
        }
    }

    /// Notes that a probe starts.
    pub(crate) fn start(&mut self, id: ProbeId, now: Duration, cadence: &Cadence) {
        let interval = if self.alarmed {
            cadence.interval_alarmed
        } else {
            cadence.interval
        };
        // On the beat, unless the machine was asleep for a whole one.
        let on_the_beat = self.next + interval;
        self.next = if on_the_beat > now {
            on_the_beat
        } else {
            now + interval
        };
        self.open.push_back(Open {
            id,
            started: now,
            overdue: None,
        });
    }

    /// Takes an answer; false if nobody waits for it.
    pub(crate) fn answer(
        &mut self,
        id: ProbeId,
        answer: Answer,
        now: Now,
        cadence: &Cadence,
        maintenance: bool,
    ) -> bool {
        let Some(place) = self.open.iter().position(|probe| probe.id == id) else {
            return false;
        };
        let Some(probe) = self.open.remove(place) else {
            return false;
        };
        if probe.overdue.is_some() && active(Mutation::LateAnswersDropped) {
            return true;
        }
        self.checked = Some(now.wall);
        match answer {
            Answer::Right => {
                let took = now.elapsed.saturating_sub(probe.started);
                self.alarmed = false;
                self.took = Some(took);
                self.tally.success(id, took);
                match probe.overdue {
                    Some(Overdue { successes_before }) => {
                        self.detector.late(now.elapsed, successes_before, cadence);
                    }
                    None => {
                        let slow = took > cadence.timeout;
                        self.detector.success(now.elapsed, slow, cadence);
                    }
                }
            }
            // It was counted when its time was over.
            Answer::Wrong(_) if probe.overdue.is_some() => {}
            Answer::Wrong(reason) => {
                self.tally.failure(id);
                self.reason = reason;
                self.detector.failure(now.elapsed, cadence, maintenance);
            }
        }
        true
    }

    /// Others have trouble with it: probe at once, and more often until it answers.
    pub(crate) fn alarm(&mut self, now: Duration) {
        if !self.alarmed {
            self.alarmed = true;
            self.next = self.next.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    fn at(ms: u64) -> Now {
        Now {
            wall: Micros(ms * 1000),
            elapsed: Duration::from_millis(ms),
        }
    }

    fn watch() -> Watch {
        let target = Target {
            region: RegionName::new("eu-west-1"),
            service: Service::Api,
            endpoint: "127.0.0.1:7010".to_owned(),
        };
        Watch::new(target, Duration::ZERO)
    }

    /// Runs, answering each probe after `latency_ms`; returns when it was unhealthy first.
    fn run(
        watch: &mut Watch,
        preset: Preset,
        during_ms: std::ops::Range<u64>,
        latency_ms: Option<u64>,
    ) -> Option<u64> {
        let cadence = preset.cadence();
        let mut answers = VecDeque::new();
        let mut fell = None;
        for ms in during_ms.step_by(10) {
            while answers.front().is_some_and(|(due, _)| *due <= ms) {
                let (_, id) = answers.pop_front().unwrap();
                watch.answer(id, Answer::Right, at(ms), &cadence, false);
            }
            if watch.tick(at(ms), &cadence, false) {
                let id = ProbeId(ms);
                watch.start(id, at(ms).elapsed, &cadence);
                if let Some(latency) = latency_ms {
                    answers.push_back((ms + latency, id));
                }
            }
            if watch.status() == Status::Unhealthy {
                fell.get_or_insert(ms);
            }
        }
        fell
    }

    #[test]
    fn silence_is_noticed_after_three_intervals_and_a_limit() {
        // Probes at 0, 500 and 1000; the last one's limit is 350.
        assert_eq!(run(&mut watch(), Preset::Fast, 0..5_000, None), Some(1_350));
        assert_eq!(
            run(&mut watch(), Preset::Default, 0..5_000, None),
            Some(2_750)
        );
    }

    #[test]
    fn a_slow_service_is_degraded_and_never_unhealthy() {
        for latency_ms in [400, 600, 900, 1_200] {
            let mut slow = watch();
            assert_eq!(
                run(&mut slow, Preset::Fast, 0..20_000, Some(latency_ms)),
                None
            );
            assert_eq!(slow.status(), Status::Degraded, "{latency_ms}");
        }
        let mut quick = watch();
        run(&mut quick, Preset::Fast, 0..20_000, Some(300));
        assert_eq!(quick.status(), Status::Healthy);
    }

    #[test]
    fn a_slow_service_that_fell_comes_back_and_is_degraded() {
        for latency_ms in [400, 600, 900, 1_200, 1_700] {
            let mut slow = watch();
            run(&mut slow, Preset::Fast, 0..2_000, None);
            assert_eq!(slow.status(), Status::Unhealthy);
            run(&mut slow, Preset::Fast, 2_000..20_000, Some(latency_ms));
            assert_eq!(slow.status(), Status::Degraded, "{latency_ms}");
        }
    }

    #[test]
    fn an_alarm_brings_the_next_probe_forward_and_an_answer_ends_it() {
        let cadence = Preset::Standard.cadence();
        let mut watch = watch();
        assert!(watch.tick(at(0), &cadence, false));
        watch.start(ProbeId(0), at(0).elapsed, &cadence);
        watch.answer(ProbeId(0), Answer::Right, at(40), &cadence, false);
        assert_eq!(watch.due(&cadence), Duration::from_secs(30));
        watch.alarm(at(5_000).elapsed);
        watch.alarm(at(5_100).elapsed);
        assert!(watch.tick(at(5_000), &cadence, false));
        watch.start(ProbeId(1), at(5_000).elapsed, &cadence);
        assert_eq!(watch.due(&cadence), at(7_000).elapsed);
        assert!(
            watch.tick(at(8_000), &cadence, false),
            "three seconds later"
        );
        watch.start(ProbeId(2), at(8_000).elapsed, &cadence);
        watch.answer(ProbeId(2), Answer::Right, at(8_040), &cadence, false);
        assert!(watch.tick(at(11_000), &cadence, false));
        watch.start(ProbeId(3), at(11_000).elapsed, &cadence);
        watch.answer(ProbeId(3), Answer::Right, at(11_040), &cadence, false);
        assert_eq!(watch.due(&cadence), at(41_000).elapsed);
    }

    #[test]
    fn an_answer_counts_once() {
        let cadence = Preset::Fast.cadence();
        let mut watch = watch();
        watch.start(ProbeId(7), Duration::ZERO, &cadence);
        assert!(watch.answer(
            ProbeId(7),
            Answer::Wrong("503".into()),
            at(9),
            &cadence,
            false
        ));
        assert!(!watch.answer(ProbeId(7), Answer::Right, at(10), &cadence, false));
        assert_eq!(watch.detector.failures_in_a_row(), 1);
        assert_eq!(watch.reason, "503");
    }
}
