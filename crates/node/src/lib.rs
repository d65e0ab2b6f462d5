//! One region's process: datasets, links and the API, assembled.

pub mod api;
pub mod dataset;
pub mod faults;

mod links;
mod region;

pub use meridian_model::{WIRE_VERSION_MAX, WIRE_VERSION_MIN};
pub use region::{Serve, ServeError, Wan, serve};
