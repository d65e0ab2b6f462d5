//! Explanations say what was decided.

use crate::any::any_system;
use crate::support::{TRIO, answer, client, over, picture, set_status};
use meridian_health::{Service, Status};
use meridian_steer::{By, Table};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_explanation_names_what_is_answered_and_what_is_not(any in any_system()) {
        let table = Table::compile(&any.route, &any.picture, &any.effective).unwrap();
        let answer = answer(&table, &any.client);
        let explained = table.explain(&any.client);
        let name = |region: u8| any.picture.regions[usize::from(region)].name.clone();
        let decided: Vec<_> = answer.entries().iter().map(|entry| (name(entry.region), entry.tier)).collect();
        let told: Vec<_> = explained.regions.iter().map(|region| (region.region.clone(), region.tier)).collect();
        prop_assert_eq!(decided, told);
        let given = explained.regions.iter().filter(|region| region.given).count();
        prop_assert_eq!(given, answer.given().len());
        let all = explained.regions.len() + explained.left_out.len();
        prop_assert_eq!(all, any.route.policy.regions().len());
    }
}

#[test]
fn reasons_read_well() {
    let mut picture = picture(&TRIO);
    picture.regions[1].health.verdict[Service::Database] = Some(Status::Unhealthy);
    set_status(&mut picture, 2, Status::Degraded);
    let explained = over(By::Latency, &picture).explain(&client("193.0.6.139"));
    let reasons: Vec<_> = explained
        .regions
        .iter()
        .map(|region| region.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "healthy, 70 ms from the region next to the client",
            "degraded or not known yet: api, 202 ms from the region next to the client",
            "down: database, 0 ms from the region next to the client",
        ]
    );
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["area"], "europe");
    assert_eq!(json["policy"], "latency");
    assert_eq!(json["regions"][0]["tier"], "healthy");
    assert_eq!(json["regions"][0]["given"], true);
}

#[test]
fn what_is_left_out_has_a_reason() {
    let mut picture = picture(&TRIO);
    picture.has_quorum = false;
    set_status(&mut picture, 1, Status::Unhealthy);
    let explained = over(By::Latency, &picture).explain(&client("193.0.6.139"));
    assert_eq!(explained.left_out[0].region.as_str(), "eu-west-1");
    assert_eq!(
        explained.left_out[0].reason,
        "not reached from here, and no majority says otherwise"
    );
    assert!(
        explained.regions[0].reason.starts_with("this region first"),
        "{explained:?}"
    );
}
