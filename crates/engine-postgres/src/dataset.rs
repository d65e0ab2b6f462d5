//! A dataset of the topology, as this engine takes it.

use crate::catalog::Selection;
use crate::prepare::Plan;
use crate::server::{PasswordSource, ServerConfig, ServerError};
use meridian_topology::{Dataset, Password, PostgresServer};

impl From<&PostgresServer> for ServerConfig {
    fn from(server: &PostgresServer) -> Self {
        Self {
            url: server.url.clone(),
            password: server.password.as_ref().map(PasswordSource::from),
            root_certificates: server.root_certificates.clone(),
        }
    }
}

impl From<&Password> for PasswordSource {
    fn from(password: &Password) -> Self {
        match password {
            Password::File(path) => Self::File(path.clone()),
            Password::Environment(name) => Self::Environment(name.clone()),
        }
    }
}

impl Selection {
    /// The tables and counters of a dataset; a dataset that isn't on PostgreSQL has none.
    #[must_use]
    pub fn of(dataset: &Dataset) -> Self {
        let Some(postgres) = dataset.postgres() else {
            return Self::default();
        };
        let include = dataset.tables.iter().flatten();
        let counters = dataset
            .table_rules
            .iter()
            .filter(|(_, rules)| !rules.counters.is_empty());
        Self {
            include: include.map(ToString::to_string).collect(),
            exclude: postgres.exclude.iter().map(ToString::to_string).collect(),
            counters: counters
                .map(|(table, rules)| (table.as_str().to_owned(), rules.counters.clone()))
                .collect(),
        }
    }
}

impl Plan {
    /// What a dataset needs of a region's server, for the role of its URL.
    ///
    /// # Errors
    /// [`ServerError`] if the URL is none.
    pub fn of(dataset: &Dataset, server: &ServerConfig, place: u16) -> Result<Self, ServerError> {
        Ok(Self {
            dataset: dataset.name.as_str().to_owned(),
            role: server.target()?.user,
            selection: Selection::of(dataset),
            place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_topology::Topology;
    use std::path::Path;

    #[test]
    fn a_dataset_of_the_topology_says_what_to_prepare() {
        let text = r#"
            zone = "a.test"
            [[region]]
            name = "eu-west-1"
            [[dataset]]
            name = "shop"
            engine = "postgres"
            tables = ["public.*"]
            [dataset.postgres]
            exclude = ["public.log"]
            [dataset.postgres.region.eu-west-1]
            url = "postgresql://clerk@127.0.0.1:7016/shop"
            password-env = "SECRET"
            [dataset.table."public.accounts"]
            counters = ["balance"]
        "#;
        let topology = Topology::parse(text, Path::new("meridian.toml")).unwrap();
        let dataset = &topology.datasets[0];
        let server = &dataset.postgres().unwrap().servers[&topology.regions[0].name];
        let server = ServerConfig::from(server);
        let plan = Plan::of(dataset, &server, 5).unwrap();
        assert_eq!((plan.role.as_str(), plan.place), ("clerk", 5));
        assert_eq!(plan.selection.include, ["public.*"]);
        assert_eq!(plan.selection.exclude, ["public.log"]);
        assert!(plan.selection.counters["public.accounts"].contains("balance"));
        assert_eq!(
            server.password,
            Some(PasswordSource::Environment("SECRET".to_owned()))
        );
    }
}
