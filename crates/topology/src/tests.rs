//! The crate from outside: what files mean, and every fault as a person sees it.

mod errors;
mod errors_of_datasets;
mod errors_of_postgres;
mod errors_of_promises;
mod errors_of_regions;
mod files;
mod meaning;
