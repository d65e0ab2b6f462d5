//! dnsperf, and what it says.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::Path;
use tokio::process::Command;

/// Sockets that ask, so that each of the server's threads gets its part.
const CLIENTS: usize = 16;

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    pub queries_per_second: f64,
    pub completed: u64,
    pub lost: u64,
    pub noerror: u64,
}

/// Asks for so many seconds, with as many threads as the server has.
pub async fn dnsperf(
    server: SocketAddr,
    threads: usize,
    questions: &Path,
    seconds: u64,
) -> Result<Run> {
    let output = Command::new("dnsperf")
        .args(["-s", &server.ip().to_string()])
        .args(["-p", &server.port().to_string()])
        .arg("-d")
        .arg(questions)
        .args(["-B", "-W", "-q", "200"])
        .args(["-c", &CLIENTS.to_string(), "-T", &threads.to_string()])
        .args(["-l", &seconds.to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .context("run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(run) = read(&text) else {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("dnsperf gave no figures: {text}{errors}");
    };
    Ok(run)
}

fn read(text: &str) -> Option<Run> {
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let codes = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Response codes:"))?;
    let noerror = codes
        .split_whitespace()
        .skip_while(|word| *word != "NOERROR")
        .nth(1)
        .and_then(|count| count.parse().ok());
    Some(Run {
        queries_per_second: field("Queries per second:")?,
        completed: field("Queries completed:")? as u64,
        lost: field("Queries lost:")? as u64,
        noerror: noerror.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read() {
        let text = "Statistics:\n\n  Queries sent:         301\n  Queries completed:    300 (99.67%)\n  \
                    Queries lost:         1 (0.33%)\n\n  Response codes:       REFUSED 100 (33.33%), NOERROR 200 (66.67%)\n  \
                    Average packet size:  request 39, response 71\n  Run time (s):         2.0\n  \
                    Queries per second:   149.875\n";
        let expected = Run {
            queries_per_second: 149.875,
            completed: 300,
            lost: 1,
            noerror: 200,
        };
        assert_eq!(read(text), Some(expected));
        assert_eq!(read("Error: no server"), None);
    }
}
