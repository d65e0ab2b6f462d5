//! Maintenance: times in which a region or a service is expected to be away.

use crate::Service;
use meridian_model::{Micros, RegionName};
use serde::{Deserialize, Serialize};

/// A planned time. What falls in it is shown as it is, but as expected: it raises no alert and no
/// hold-down, and steering treats the region as drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The region.
    pub region: RegionName,
    /// The service; all of them without one.
    pub service: Option<Service>,
    /// From when, by the wall clock.
    pub from: Micros,
    /// Until just before when.
    pub until: Micros,
    /// What for.
    pub reason: String,
}

impl Maintenance {
    /// Whether the service of that region is expected to be away at that time.
    #[must_use]
    pub fn covers(&self, region: &RegionName, service: Service, wall: Micros) -> bool {
        self.region == *region
            && self.service.is_none_or(|named| named == service)
            && (self.from..self.until).contains(&wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_covers_its_own() {
        let region = RegionName::new("eu-west-1");
        let mut window = Maintenance {
            region: region.clone(),
            service: None,
            from: Micros(10),
            until: Micros(20),
            reason: "new disks".to_owned(),
        };
        let covered = |window: &Maintenance, at| window.covers(&region, Service::Api, Micros(at));
        assert_eq!(
            [9, 10, 19, 20].map(|at| covered(&window, at)),
            [false, true, true, false]
        );
        assert!(!window.covers(&RegionName::new("us-east-1"), Service::Api, Micros(15)));
        window.service = Some(Service::Cache);
        assert!(!covered(&window, 15));
    }
}
