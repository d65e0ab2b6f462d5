//! One region's process: datasets, links and the API, assembled.

pub mod api;
pub mod dataset;
pub mod dns;
pub mod faults;
pub mod health;

mod arrival;
mod aside;
mod durable;
mod founding;
mod growing;
mod joining;
mod keeper;
mod known;
mod lifecycle;
mod links;
mod postgres;
mod region;
mod registry;
pub mod steering;

pub use aside::{ShelfError, Shelves};
pub use durable::make_data_dir;
pub use joining::Progress;
pub use known::Known;
pub use meridian_model::{WIRE_VERSION_MAX, WIRE_VERSION_MIN};
pub use postgres::{PostgresConfig, PostgresState, PostgresStatus, SharedStatus};
pub use region::{Serve, ServeError, Wan, serve};
pub use registry::{DatasetState, Datasets, Registry};
