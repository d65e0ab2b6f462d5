//! One region's process: datasets, links and the API, assembled.

pub mod dataset;
