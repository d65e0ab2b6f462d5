//! The crate from outside: what files mean, and every fault as a person sees it.

mod errors;
mod errors_of_datasets;
mod errors_of_dns;
mod errors_of_health;
mod errors_of_postgres;
mod errors_of_promises;
mod errors_of_regions;
mod errors_of_routes;
mod errors_of_witnesses;
mod files;
mod meaning;
mod meaning_of_steering;
