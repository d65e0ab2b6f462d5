//! A small run of the nycflights example, its rows made up: no network but this machine's.

use meridian_nycflights::{Plan, Tables, run};
use std::time::Duration;

#[test]
fn five_tables_are_copied_written_in_three_regions_and_equal() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        meridian: env!("CARGO_BIN_EXE_meridian").into(),
        tables: Tables::made_up(3_000),
        data_parent: directory.path().to_owned(),
        base_port: None,
        writing: Duration::from_secs(4),
        clients: 2,
        seed: 7,
        patience: Duration::from_secs(120),
        talk: |_| {},
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(run(&plan)).unwrap();
    // Most of what the run looks at are errors of its own; what follows says that it was not idle.
    assert_eq!(report.loaded, 3_000 + 4 + 5 + 150 + 600);
    for region in &report.regions {
        assert!(region.conflicts > 0, "{report}");
        assert!(region.counts.updated > 20, "{report}");
    }
    let verified = report.verified;
    assert!(verified.contested > 5 && verified.deleted > 0, "{report}");
    assert!(verified.planes > 0 && verified.seats > 0, "{report}");
    assert!(report.parked > report.parked_after, "{report}");
    let flights = report
        .digests
        .iter()
        .find(|digest| digest.table == "flights");
    assert!(flights.unwrap().rows > 3_000, "{report}");
}
