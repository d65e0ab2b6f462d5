//! The name servers and the sample application of a running system, asked as clients ask: over
//! sockets, by programs of others, and by those who mean no good.

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod ask;
mod flood;
mod lost_region;
mod newcomer;
mod programs;
mod system;

/// Generous: the machine may be busy with other tests.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
