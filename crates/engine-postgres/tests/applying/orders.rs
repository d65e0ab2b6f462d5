//! Whatever the order of arrival, all regions show the same rows.

use super::*;

const SCHEMA: &str = "
CREATE TABLE p (id int PRIMARY KEY, a int UNIQUE, b int UNIQUE);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, a int UNIQUE)";

/// Draws numbers (an LCG; Knuth's constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[derive(Clone, Debug)]
struct Entry {
    table: &'static str,
    key: String,
    at: u64,
    document: Option<String>,
}

fn entries(numbers: &mut Numbers, count: u64) -> Vec<Entry> {
    (1..=count)
        .map(|at| {
            let table = if numbers.below(2) == 0 { "p" } else { "c" };
            let key = numbers.below(5).to_string();
            let (one, other) = (numbers.below(4), numbers.below(4));
            let document = (numbers.below(5) > 0).then(|| match table {
                "p" => format!(r#"{{"id":"{key}","a":"{one}","b":"{other}"}}"#),
                _ => format!(r#"{{"id":"{key}","p":"{one}","a":"{other}"}}"#),
            });
            Entry {
                table,
                key,
                at,
                document,
            }
        })
        .collect()
}

async fn state(region: &Region) -> (Vec<String>, BTreeSet<String>) {
    let mut rows = region.rows("SELECT 'p', id, a, b FROM p ORDER BY id").await;
    rows.extend(region.rows("SELECT 'c', id, p, a FROM c ORDER BY id").await);
    let parked = region.projection.parked().map(|parked| {
        let kind = match parked.hindrance {
            Hindrance::Rival { .. } => "rival",
            Hindrance::Orphan { .. } => "orphan",
            Hindrance::Incomplete { .. } => "incomplete",
            Hindrance::Refused { .. } => "refused",
        };
        format!("{} {kind}", parked.row)
    });
    (rows, parked.collect())
}

async fn renew(region: &mut Region) {
    region
        .execute("TRUNCATE p, c; DELETE FROM meridian.parked")
        .await;
    region.projection = Projection::default();
    region.tables.clear();
}

#[tokio::test]
async fn every_order_of_arrival_ends_the_same() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    for seed in 0..25 {
        let mut numbers = Numbers(seed);
        let mut entries = entries(&mut numbers, 14);
        let mut first = None;
        for turn in 0..4 {
            renew(&mut region).await;
            for entry in &entries {
                region.arrives(entry.table, &entry.key, entry.at, entry.document.clone());
                // One by one the first time, then in heaps.
                if turn == 0 || numbers.below(4) == 0 {
                    region.settle().await;
                }
            }
            region.settle().await;
            let state = state(&region).await;
            let first = first.get_or_insert_with(|| state.clone());
            assert_eq!(*first, state, "seed {seed}, order {entries:?}");
            for at in (1..entries.len()).rev() {
                entries.swap(at, usize::try_from(numbers.below(at as u64 + 1)).unwrap());
            }
        }
    }
}
