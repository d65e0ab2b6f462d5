//! Hundreds of seeds of every scenario; the soak command runs thousands.

use meridian_sim::{Scenario, run};

fn all_pass(scenario: Scenario, seeds: impl IntoIterator<Item = u64>) {
    let mut acknowledged = 0;
    for seed in seeds {
        match run(scenario, seed) {
            Ok(report) => acknowledged += report.acknowledged,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(acknowledged > 0, "the clients did nothing");
}

#[test]
fn chaos() {
    all_pass(Scenario::Chaos, 0..200);
}

#[test]
fn a_dying_origin_leaves_its_last_transactions_to_all() {
    all_pass(Scenario::DyingOrigin, 0..100);
}

#[test]
fn promises_to_clients_are_kept() {
    let (mut confirmed, mut answered) = (0, 0);
    for seed in 0..60 {
        let report = run(Scenario::Promises, seed).unwrap_or_else(|failure| panic!("{failure}"));
        confirmed += report.confirmed;
        answered += report.answered;
    }
    assert!(confirmed > 3_000, "only {confirmed} writes were confirmed");
    assert!(answered > 3_000, "only {answered} reads were answered");
}

#[test]
fn a_lying_disk_is_noticed() {
    for seed in 0..100 {
        run(Scenario::LyingDisk, seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_region_joins_under_load() {
    all_pass(Scenario::Joining, 0..100);
}

#[test]
fn dead_letters_part_nobody() {
    all_pass(Scenario::DeadLetters, 0..150);
}

#[test]
fn regions_come_and_go() {
    // The last one has shown a defect.
    all_pass(Scenario::Membership, (0..200).chain([1006]));
}

#[test]
fn a_minority_decides_nothing() {
    all_pass(Scenario::Split, 0..200);
}

#[test]
fn silent_damage_is_found_and_mended_and_nothing_else_is_touched() {
    let mut mended = 0;
    for seed in 0..150 {
        match run(Scenario::SilentDamage, seed) {
            Ok(report) => mended += report.mended,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(mended > 150, "only {mended} rows had to be mended");
}

#[test]
fn a_witness_makes_two_regions_three() {
    all_pass(Scenario::Witness, 0..150);
}

#[test]
fn promises_hold_while_regions_come_and_go() {
    let (mut confirmed, mut answered) = (0, 0);
    // Each of the last ones has shown a defect.
    for seed in (0..30).chain([107, 218, 276, 330, 1278]) {
        let report = run(Scenario::Changing, seed).unwrap_or_else(|failure| panic!("{failure}"));
        confirmed += report.confirmed;
        answered += report.answered;
    }
    assert!(confirmed > 1_000, "only {confirmed} writes were confirmed");
    assert!(answered > 1_000, "only {answered} reads were answered");
}

#[test]
fn who_leaves_takes_nothing_with_it_that_was_confirmed() {
    let mut confirmed = 0;
    // As above: a person decided where another region had yet to answer.
    for seed in (0..100).chain([407, 995, 2255]) {
        let report = run(Scenario::Leaving, seed).unwrap_or_else(|failure| panic!("{failure}"));
        confirmed += report.confirmed;
    }
    assert!(confirmed > 5_000, "only {confirmed} writes were confirmed");
}

#[test]
fn servers_of_postgresql_show_what_the_tables_do() {
    let (mut acknowledged, mut conflicts) = (0, 0);
    let (mut meetings, mut asked, mut taken) = (0, 0, 0);
    for seed in 0..100 {
        let report = run(Scenario::Postgres, seed).unwrap_or_else(|failure| panic!("{failure}"));
        acknowledged += report.acknowledged;
        conflicts += report.conflicts;
        meetings += report.met.meetings;
        asked += report.met.asked;
        taken += report.met.taken;
    }
    assert!(meetings > 100, "only {meetings} servers came back");
    assert!(asked > 50, "only {asked} questions");
    assert!(taken > 500, "only {taken} rows were taken over");
    assert!(acknowledged > 10_000, "only {acknowledged} were captured");
    assert!(conflicts > 1_000, "only {conflicts} conflicts");
}

#[test]
fn a_region_joins_with_a_server_that_is_written_to() {
    let (mut acknowledged, mut conflicts, mut absorbing) = (0, 0, 0);
    // A row that was deleted in the joiner's server before the two met stayed out; the joiner had yet to
    // hear that a region understands what it absorbs, and said nothing of it; transactions from before a
    // mark was written were counted as later ones, and hid one that deleted unseen.
    for seed in (0..60).chain([382, 3816, 20_122]) {
        let report =
            run(Scenario::PostgresJoining, seed).unwrap_or_else(|failure| panic!("{failure}"));
        acknowledged += report.acknowledged;
        conflicts += report.conflicts;
        absorbing += report.absorbing;
    }
    assert!(absorbing > 500, "only {absorbing} of joining servers");
    assert!(acknowledged > 10_000, "only {acknowledged} were captured");
    assert!(conflicts > 1_000, "only {conflicts} conflicts");
}

/// Each pattern of three regions and more runs of five are among the scenario's own tests.
#[test]
fn verdicts_and_answers_stay_right() {
    let mut answered = 0;
    for seed in 0..100 {
        let report = run(Scenario::Health, seed).unwrap_or_else(|failure| panic!("{failure}"));
        answered += report.answered;
    }
    assert!(answered > 100_000, "only {answered} clients were answered");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for scenario in Scenario::ALL {
        assert_eq!(run(scenario, 7), run(scenario, 7));
    }
}
