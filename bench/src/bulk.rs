//! Rows written in bulk: transactions of so many rows on several connections at once, each with one
//! request outstanding. Keys and documents follow from the row's number alone.

use crate::http_writer::{HttpWriteError, HttpWriter};
use crate::load;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct BulkPlan {
    /// How many rows.
    pub rows: u64,
    /// How many of them a transaction puts.
    pub rows_per_transaction: u64,
    /// The length of a document.
    pub value_bytes: usize,
    /// Connections, each with one request outstanding.
    pub connections: usize,
}

impl BulkPlan {
    /// How many transactions that makes.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.rows.div_ceil(self.rows_per_transaction.max(1))
    }

    /// The bytes of all keys and documents.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows * (load::key(0, 0).len() + self.value_bytes) as u64
    }
}

/// The key of a row.
#[must_use]
pub fn key(number: u64) -> String {
    load::key(0, number)
}

/// Writes all rows into `table`; says how long that took.
///
/// # Errors
/// The first write that failed.
pub async fn write(
    api: SocketAddr,
    table: &str,
    plan: BulkPlan,
) -> Result<Duration, HttpWriteError> {
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for _ in 0..plan.connections.max(1) {
        let writer = HttpWriter::connect(api, table).await?;
        let work = write_some(writer, table.to_owned(), plan, next.clone());
        connections.push(tokio::spawn(work));
    }
    for connection in connections {
        connection.await.expect("a writer's task does not panic")?;
    }
    Ok(started.elapsed())
}

async fn write_some(
    mut writer: HttpWriter,
    table: String,
    plan: BulkPlan,
    next: Arc<AtomicU64>,
) -> Result<(), HttpWriteError> {
    let step = plan.rows_per_transaction.max(1);
    let mut body = Vec::new();
    loop {
        let first = next.fetch_add(step, Ordering::Relaxed);
        let end = plan.rows.min(first + step);
        if first >= end {
            return Ok(());
        }
        transaction(&mut body, &table, first..end, plan.value_bytes);
        writer.transaction(&body).await?;
    }
}

/// The body of a transaction that puts these rows. Table and keys need no escapes.
fn transaction(body: &mut Vec<u8>, table: &str, numbers: std::ops::Range<u64>, value_bytes: usize) {
    body.clear();
    body.extend_from_slice(b"{\"operations\":[");
    for number in numbers.clone() {
        let comma = if number == numbers.start { "" } else { "," };
        let head = format!(
            "{comma}{{\"op\":\"put\",\"table\":\"{table}\",\"key\":\"{}\",\"document\":",
            key(number)
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&load::value(0, number, value_bytes));
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_transaction_puts_its_rows() {
        let mut body = Vec::new();
        transaction(&mut body, "t", 7..9, 100);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let operations = body["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 2);
        assert_eq!(operations[1]["key"], key(8));
        let expected: Value = serde_json::from_slice(&load::value(0, 8, 100)).unwrap();
        assert_eq!(operations[1]["document"], expected);
    }

    #[test]
    fn the_last_transaction_may_be_smaller() {
        let plan = BulkPlan {
            rows: 101,
            rows_per_transaction: 10,
            value_bytes: 100,
            connections: 4,
        };
        assert_eq!(plan.transactions(), 11);
        assert_eq!(plan.bytes(), 101 * (key(0).len() as u64 + 100));
    }
}
