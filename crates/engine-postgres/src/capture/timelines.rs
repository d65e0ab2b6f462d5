//! Which histories a server's present one goes back to.
//!
//! A server that is promoted begins a new timeline, and keeps a file that says where each earlier one
//! was left: <https://www.postgresql.org/docs/current/protocol-replication.html> (`TIMELINE_HISTORY`).

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::error::CaptureError;
use super::patiently;
use crate::Lsn;
use crate::server::ServerConfig;

/// Up to where a server has the WAL of the timelines before this one, the oldest first. Empty where it
/// doesn't say.
///
/// # Errors
/// [`CaptureError`] when it can't be asked.
pub async fn earlier_timelines(
    server: &ServerConfig,
    timeline: u32,
) -> Result<Vec<(u32, Lsn)>, CaptureError> {
    // The first timeline has no file.
    if timeline <= 1 {
        return Ok(Vec::new());
    }
    let endpoint = Endpoint::of(server)?;
    patiently(endpoint.place(), async {
        let mut connection = Connection::open(&endpoint).await?;
        let answer = connection
            .query(&format!("TIMELINE_HISTORY {timeline}"))
            .await?;
        // A file that was removed says nothing.
        let rows = answer.unwrap_or_default();
        let content = rows.first().and_then(|row| row.get(1)).cloned().flatten();
        Ok(parsed(&content.unwrap_or_default()))
    })
    .await
}

/// Lines of a timeline, where it was left, and why; what follows `#` is a comment.
fn parsed(content: &str) -> Vec<(u32, Lsn)> {
    let lines = content.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let timeline = words.next()?.parse().ok()?;
        let end = words.next()?.parse().ok()?;
        Some((timeline, end))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_where_a_timeline_was_left() {
        let content = "1\t0/3000110\tno recovery target specified\n\n# by hand\n\
                       2\t1/50000A0\tbefore 2026-01-01\n";
        assert_eq!(
            parsed(content),
            [(1, Lsn(0x300_0110)), (2, Lsn(0x1_0500_00A0))]
        );
        assert_eq!(parsed("what\n3\n"), []);
    }
}
