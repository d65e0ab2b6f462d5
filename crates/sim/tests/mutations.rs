//! Each deliberate bug is caught: the proof that the checkers and scenarios can fail.

#![expect(clippy::print_stdout, reason = "how each bug shows is worth reading")]

use meridian_model::mutation::{Mutation, activate};
use meridian_sim::{Scenario, run};

const SEEDS_MAX: u64 = 400;

/// Some seed must show the bug; prints how many it took.
fn is_caught(mutation: Mutation, scenario: Scenario) {
    is_caught_from(0, mutation, scenario);
}

/// The same where the first seeds take long to show nothing.
fn is_caught_from(first: u64, mutation: Mutation, scenario: Scenario) {
    activate(Some(mutation));
    let mut seeds = first..first + SEEDS_MAX;
    let caught = seeds.find_map(|seed| Some((seed, run(scenario, seed).err()?)));
    activate(None);
    let (seed, failure) = caught.unwrap_or_else(|| panic!("{mutation:?} went unnoticed"));
    println!(
        "{mutation:?} is caught by seed {seed}: {}",
        failure.violation
    );
    run(scenario, seed).unwrap_or_else(|failure| panic!("without the bug: {failure}"));
}

#[test]
fn no_dependency_check() {
    is_caught(Mutation::NoDependencyCheck, Scenario::Chaos);
}

#[test]
fn no_relaying() {
    is_caught(Mutation::NoRelaying, Scenario::DyingOrigin);
}

#[test]
fn acknowledged_before_durable() {
    is_caught(Mutation::AcknowledgedBeforeDurable, Scenario::Chaos);
}

#[test]
fn versions_compared_wrongly() {
    is_caught(Mutation::VersionsComparedWrongly, Scenario::Chaos);
}

#[test]
fn applied_twice() {
    is_caught(Mutation::AppliedTwice, Scenario::Chaos);
}

#[test]
fn tail_lost_on_torn_write() {
    is_caught(Mutation::TailLostOnTornWrite, Scenario::Chaos);
}

/// That the last one to hold a dead region's entries loses them: nobody is there to miss them.
#[test]
fn tail_of_a_dead_region_lost() {
    is_caught(Mutation::TailLostOnTornWrite, Scenario::DyingOrigin);
}

#[test]
fn sequence_used_again() {
    is_caught(Mutation::SequenceUsedAgain, Scenario::LyingDisk);
}

#[test]
fn collected_by_plain_watermark() {
    is_caught(Mutation::CollectedByPlainWatermark, Scenario::Chaos);
}

#[test]
fn removal_of_unseen_additions() {
    is_caught(Mutation::RemovalOfUnseenAdditions, Scenario::Chaos);
}

#[test]
fn snapshot_without_tail() {
    is_caught(Mutation::SnapshotWithoutTail, Scenario::Joining);
}

#[test]
fn token_ignored() {
    is_caught(Mutation::TokenIgnored, Scenario::Promises);
}

#[test]
fn acknowledgement_counted_twice() {
    is_caught(Mutation::AcknowledgementCountedTwice, Scenario::Promises);
}

#[test]
fn strong_read_asks_nobody() {
    is_caught(Mutation::StrongReadAsksNobody, Scenario::Promises);
}

#[test]
fn strong_read_not_held() {
    is_caught(Mutation::StrongReadNotHeld, Scenario::Promises);
}

#[test]
fn evicted_by_minority() {
    is_caught(Mutation::EvictedByMinority, Scenario::Split);
}

#[test]
fn taken_beyond_the_cut() {
    is_caught(Mutation::TakenBeyondTheCut, Scenario::Membership);
}

#[test]
fn repair_resurrects_delete() {
    is_caught(Mutation::RepairResurrectsDelete, Scenario::SilentDamage);
}

#[test]
fn joiner_writes() {
    is_caught(Mutation::JoinerWrites, Scenario::Joining);
}

#[test]
fn log_not_kept_for_joiner() {
    is_caught(Mutation::LogNotKeptForJoiner, Scenario::Joining);
}

#[test]
fn forwarded_again() {
    is_caught(Mutation::ForwardedAgain, Scenario::Promises);
}

#[test]
fn forwarded_without_key() {
    is_caught(Mutation::ForwardedWithoutKey, Scenario::Promises);
}

#[test]
fn no_relaying_by_a_witness() {
    is_caught(Mutation::NoRelaying, Scenario::Witness);
}

#[test]
fn leaving_confirms() {
    is_caught(Mutation::LeavingConfirms, Scenario::Leaving);
}

#[test]
fn gone_with_what_it_confirmed() {
    is_caught_from(600, Mutation::GoneWithWhatItConfirmed, Scenario::Leaving);
}

#[test]
fn token_not_cut() {
    is_caught(Mutation::TokenNotCut, Scenario::Membership);
}

#[test]
fn decision_forgotten_at_damage() {
    is_caught(Mutation::DecisionForgottenAtDamage, Scenario::DeadLetters);
}

#[test]
fn horizon_too_early() {
    is_caught(Mutation::HorizonTooEarly, Scenario::Postgres);
}

#[test]
fn probe_trusted_at_once() {
    is_caught(Mutation::ProbeTrustedAtOnce, Scenario::Postgres);
}

#[test]
fn sums_taken_for_rows() {
    is_caught(Mutation::SumsTakenForRows, Scenario::Postgres);
}

#[test]
fn parked_forgotten() {
    is_caught(Mutation::ParkedForgotten, Scenario::Postgres);
}

#[test]
fn parts_shown_at_once() {
    is_caught(Mutation::PartsShownAtOnce, Scenario::Postgres);
}

#[test]
fn emptied_table_kept() {
    is_caught(Mutation::EmptiedTableKept, Scenario::Postgres);
}

#[test]
fn nothing_given_forgotten() {
    is_caught(Mutation::NothingGivenForgotten, Scenario::Postgres);
}

#[test]
fn one_observer_decides() {
    is_caught(Mutation::OneObserverDecides, Scenario::Health);
}

#[test]
fn observers_cut_off_vote() {
    is_caught(Mutation::ObserversCutOffVote, Scenario::Health);
}

#[test]
fn verdict_without_majority() {
    is_caught(Mutation::VerdictWithoutMajority, Scenario::Health);
}

#[test]
fn reports_kept_for_ever() {
    is_caught(Mutation::ReportsKeptForEver, Scenario::Health);
}

#[test]
fn late_answers_dropped() {
    is_caught(Mutation::LateAnswersDropped, Scenario::Health);
}

#[test]
fn no_hold_down() {
    is_caught(Mutation::NoHoldDown, Scenario::Health);
}

#[test]
fn reports_not_relayed() {
    is_caught(Mutation::ReportsNotRelayed, Scenario::Health);
}

#[test]
fn silence_speaks_for_service() {
    is_caught(Mutation::SilenceSpeaksForService, Scenario::Health);
}

#[test]
fn no_fading() {
    is_caught(Mutation::NoFading, Scenario::Health);
}

#[test]
fn no_hysteresis() {
    is_caught(Mutation::NoHysteresis, Scenario::Health);
}

#[test]
fn no_ramp() {
    is_caught(Mutation::NoRamp, Scenario::Health);
}

#[test]
fn answers_without_the_down() {
    is_caught(Mutation::AnswersWithoutTheDown, Scenario::Health);
}

#[test]
fn unreached_peers_answered() {
    is_caught(Mutation::UnreachedPeersAnswered, Scenario::Health);
}

#[test]
fn drains_ignored() {
    is_caught(Mutation::DrainsIgnored, Scenario::Health);
}

#[test]
fn any_state_is_older() {
    is_caught(Mutation::AnyStateIsOlder, Scenario::Postgres);
}

#[test]
fn seen_goes_back() {
    is_caught(Mutation::SeenGoesBack, Scenario::Postgres);
}

#[test]
fn lost_twice_forgotten() {
    is_caught(Mutation::LostTwiceForgotten, Scenario::Postgres);
}

#[test]
fn older_directory_trusted() {
    is_caught(Mutation::OlderDirectoryTrusted, Scenario::Postgres);
}

#[test]
fn parked_taken_for_deleted() {
    is_caught(Mutation::ParkedTakenForDeleted, Scenario::Postgres);
}

#[test]
fn nothing_absorbed() {
    is_caught(Mutation::NothingAbsorbed, Scenario::PostgresJoining);
}
