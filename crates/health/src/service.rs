//! The services of a region, and what depends on them.

use crate::Status;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of a region that is observed by itself. New ones are appended: the position is the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// What clients speak to.
    Api,
    /// The database.
    Database,
    /// The cache.
    Cache,
    /// Files and objects.
    Storage,
    /// Passwords, keys and certificates.
    Secrets,
}

impl Service {
    /// Every service, in the order in which a [`PerService`] holds them.
    pub const ALL: [Self; 5] = [
        Self::Api,
        Self::Database,
        Self::Cache,
        Self::Storage,
        Self::Secrets,
    ];

    /// The name, as in the topology and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Storage => "storage",
            Self::Secrets => "secrets",
        }
    }

    /// The service of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.as_str() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerService<T>([T; Service::ALL.len()]);

impl<T> PerService<T> {
    /// A value of every service's own.
    #[must_use]
    pub fn with(value: impl FnMut(Service) -> T) -> Self {
        Self(Service::ALL.map(value))
    }

    /// Services and values.
    pub fn iter(&self) -> impl Iterator<Item = (Service, &T)> {
        Service::ALL.into_iter().zip(&self.0)
    }
}

impl<T> std::ops::Index<Service> for PerService<T> {
    type Output = T;

    fn index(&self, service: Service) -> &T {
        &self.0[service as usize]
    }
}

impl<T> std::ops::IndexMut<Service> for PerService<T> {
    fn index_mut(&mut self, service: Service) -> &mut T {
        &mut self.0[service as usize]
    }
}

/// What something cannot do without, and what it does worse without.
///
/// A name that clients ask for has needs of its own: the download page that needs `api` and
/// `storage` goes on in a region whose database is down, the shop doesn't (requirement D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Without these it is unhealthy.
    pub required: PerService<bool>,
    /// Without these it is degraded.
    pub useful: PerService<bool>,
}

impl Default for Needs {
    /// `api` and `database` are required, the rest is useful.
    fn default() -> Self {
        Self::of(
            &[Service::Api, Service::Database],
            &[Service::Cache, Service::Storage, Service::Secrets],
        )
    }
}

impl Needs {
    /// Needs by list. What is in both is required.
    #[must_use]
    pub fn of(required: &[Service], useful: &[Service]) -> Self {
        Self {
            required: PerService::with(|service| required.contains(&service)),
            useful: PerService::with(|service| useful.contains(&service)),
        }
    }

    /// What the services amount to for whoever has these needs, and the service to blame if it isn't
    /// `Healthy`.
    ///
    /// The worst of: a required service's own status, and `Degraded` for a useful one that is
    /// degraded or worse. A service that nobody observes (`None`) counts for nothing. `Unknown` comes
    /// out only where nothing is known of any required service.
    #[must_use]
    pub fn status(&self, services: &PerService<Option<Status>>) -> (Status, Option<Service>) {
        let mut worst = (Status::Unknown, None);
        for (service, status) in services.iter() {
            let Some(status) = *status else { continue };
            let counts_as = if self.required[service] {
                status
            } else if self.useful[service] && status >= Status::Degraded {
                Status::Degraded
            } else {
                continue;
            };
            if counts_as > worst.0 {
                let to_blame = (counts_as > Status::Healthy).then_some(service);
                worst = (counts_as, to_blame);
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(status: &[(Service, Status)]) -> PerService<Option<Status>> {
        PerService::with(|service| {
            let found = status.iter().find(|(named, _)| *named == service);
            found.map(|(_, status)| *status)
        })
    }

    #[test]
    fn every_service_has_its_place_and_name() {
        for (place, service) in Service::ALL.into_iter().enumerate() {
            assert_eq!(service as usize, place);
            assert_eq!(Service::named(service.as_str()), Some(service));
        }
        assert_eq!(Service::named("API"), None);
    }

    #[test]
    fn a_required_service_takes_the_rest_with_it_and_a_useful_one_does_not() {
        use Service::{Api, Cache, Database, Storage};
        use Status::{Degraded, Healthy, Unhealthy};
        let no_database = services(&[(Api, Healthy), (Database, Unhealthy), (Storage, Healthy)]);
        let shop = Needs::default();
        let downloads = Needs::of(&[Api, Storage], &[Cache]);
        assert_eq!(shop.status(&no_database), (Unhealthy, Some(Database)));
        assert_eq!(downloads.status(&no_database), (Healthy, None));
        let no_cache = services(&[(Api, Healthy), (Cache, Unhealthy)]);
        assert_eq!(shop.status(&no_cache), (Degraded, Some(Cache)));
    }

    #[test]
    fn nothing_known_is_unknown() {
        let needs = Needs::default();
        assert_eq!(needs.status(&services(&[])), (Status::Unknown, None));
        let cache_only = services(&[(Service::Cache, Status::Healthy)]);
        assert_eq!(needs.status(&cache_only), (Status::Unknown, None));
    }
}
