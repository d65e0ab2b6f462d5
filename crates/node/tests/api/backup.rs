//! The pieces of a backup.

use crate::support::Region;
use meridian_backup::{Block, BlockReader, Content};

const PATH: &str = "/v1/datasets/main/backup";

async fn block(region: &Region, query: &str) -> Block {
    let reply = region.get(&format!("{PATH}?{query}")).await.ok(200);
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    let mut blocks = BlockReader::bare(&reply.body[..]);
    let block = blocks.next_block().unwrap().unwrap();
    assert!(blocks.next_block().unwrap().is_none());
    block
}

#[tokio::test]
async fn a_snapshot_and_the_entries_after_it() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/k", "1").await.ok(201);
    let first = block(&region, "snapshot=7f").await;
    assert_eq!(first.source.dataset, "main");
    let Content::Snapshot(part) = first.content else {
        panic!("{first:?}");
    };
    let head = part.head.unwrap();
    assert!(part.records.iter().any(|record| record.key.ends_with(b"k")));
    region.put("/v1/tables/t/rows/later", "2").await.ok(201);
    let Content::Snapshot(again) = block(&region, "snapshot=7f").await.content else {
        panic!("no snapshot");
    };
    assert_eq!(again.head.unwrap(), head, "asked again, the same one");
    let rest = block(&region, &format!("position={}", head.position)).await;
    let Content::Entries {
        entries, is_last, ..
    } = rest.content
    else {
        panic!("{rest:?}");
    };
    assert_eq!((entries.len(), is_last), (1, true));
    assert!(entries[0].follows(head.marks.get(entries[0].origin)));
}

#[tokio::test]
async fn what_is_not_there_any_more_is_gone() {
    let region = Region::start();
    for query in ["snapshot=7f&after=72", "position=9999"] {
        let reply = region.get(&format!("{PATH}?{query}")).await;
        reply.problem(410, "backup-gone");
    }
    let reply = region.get("/v1/datasets/none/backup?position=0").await;
    reply.problem(404, "dataset-not-served");
}

#[tokio::test]
async fn a_query_that_asks_for_nothing_or_for_both_is_refused() {
    let region = Region::start();
    for query in [
        "",
        "?after=72",
        "?snapshot=7f&position=1",
        "?position=x",
        "?more=1",
    ] {
        let reply = region.get(&format!("{PATH}{query}")).await;
        reply.problem(400, "bad-query");
    }
}
