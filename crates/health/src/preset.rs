//! How often is looked, and how much is needed to change one's mind.

use std::time::Duration;

/// A named [`Cadence`], after what the owner's documents call them (requirement N7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// Every 30 s; a passive alarm is checked at once and every 3 s.
    Standard,
    /// Every 5 s.
    Moderate,
    /// Every second.
    #[default]
    Default,
    /// Twice a second.
    Fast,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Moderate, Self::Default, Self::Fast];

    /// The name, as in the topology and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Moderate => "moderate",
            Self::Default => "default",
            Self::Fast => "fast",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// What the preset stands for.
    #[must_use]
    pub const fn cadence(self) -> Cadence {
        let [interval_ms, alarmed_ms, timeout_ms, hold_down_ms] = match self {
            Self::Standard => [30_000, 3_000, 2_000, 30_000],
            Self::Moderate => [5_000, 3_000, 2_000, 15_000],
            Self::Default => [1_000, 1_000, 750, 5_000],
            Self::Fast => [500, 500, 350, 2_000],
        };
        Cadence {
            interval: Duration::from_millis(interval_ms),
            interval_alarmed: Duration::from_millis(alarmed_ms),
            timeout: Duration::from_millis(timeout_ms),
            failures_to_fall: 3,
            successes_to_rise: 3,
            hold_down: Duration::from_millis(hold_down_ms),
            hold_down_max: Duration::from_secs(300),
            calm: Duration::from_millis(hold_down_ms * 10),
        }
    }
}

/// How often a service is probed and what its answers amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The same after a passive alarm, until an answer comes.
    pub interval_alarmed: Duration,
    /// A probe that isn't answered after so long counts as a failure. A later answer still counts as
    /// a slow success, and one that takes longer than this is slow.
    pub timeout: Duration,
    /// Failures without an answer between them, until a service is unhealthy.
    pub failures_to_fall: u32,
    /// Successes without a failure between them, until it is up again.
    pub successes_to_rise: u32,
    /// For how long a service stays unhealthy at least, the first time. Each time that follows
    /// doubles it.
    pub hold_down: Duration,
    /// The longest that doubling makes of it.
    pub hold_down_max: Duration,
    /// After each such time without falling, a doubling is forgotten.
    pub calm: Duration,
}

impl Cadence {
    /// How often an observer reports what it sees, changes aside.
    #[must_use]
    pub fn report_interval(&self) -> Duration {
        self.interval.min(Duration::from_secs(1))
    }

    /// How long after the last report from an observer itself it counts as out of touch: three may be
    /// lost.
    #[must_use]
    pub fn contact_expiry(&self) -> Duration {
        self.report_interval() * 7 / 2
    }

    /// How long an observer still counts among those who vote, after the last report in which it
    /// might. Longer than contact lasts: those who lose touch notice it at different times, and who
    /// notices last must not be a majority for a moment.
    #[must_use]
    pub fn vote_expiry(&self) -> Duration {
        self.contact_expiry() + self.report_interval() * 5
    }

    /// How long after its last answer a service that falls silent is unhealthy to one observer, at
    /// most: `failures_to_fall` intervals and the last probe's time limit.
    #[must_use]
    pub fn detection_max(&self) -> Duration {
        self.interval * self.failures_to_fall + self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_keep_their_promises() {
        let seconds = |preset: Preset| preset.cadence().detection_max().as_secs_f64();
        // N7, with 5 s of DNS: 30 s, of answers alone 5 s and 2 s. `Standard` needs its alarm.
        assert!(seconds(Preset::Moderate) + 5.0 < 30.0);
        assert!(seconds(Preset::Default) < 5.0);
        assert!(seconds(Preset::Fast) < 2.0);
        let standard = Preset::Standard.cadence();
        let alarmed = standard.interval_alarmed * standard.failures_to_fall + standard.timeout;
        assert!(alarmed.as_secs_f64() + 5.0 < 30.0);
    }

    #[test]
    fn presets_have_names() {
        for preset in Preset::ALL {
            assert_eq!(Preset::named(preset.as_str()), Some(preset));
        }
        assert_eq!(Preset::named("Fast"), None);
    }
}
