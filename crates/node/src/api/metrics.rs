//! placeholder while the real one is written
#[derive(Default)]
pub(crate) struct HttpMetrics;
