//! What each policy does.

use crate::support::{
    TRIO, answer, client, client_number, first, order, over, picture, set_status, table,
};
use meridian_health::Status;
use meridian_model::RegionName;
use meridian_steer::{
    Area, By, Choice, Client, Clients, Country, Policy, Residency, Route, RouteError, Table,
};

const VIRGINIA: usize = 0;
const IRELAND: usize = 1;
const TOKYO: usize = 2;

const AMERICAN: &str = "8.8.8.8";
const EUROPEAN: &str = "193.0.6.139";
const ASIAN: &str = "202.12.27.33";

#[test]
fn latency_and_distance_lead_to_the_nearest() {
    for by in [By::Latency, By::Geoproximity] {
        let table = over(by, &picture(&TRIO));
        assert_eq!(first(&table, &client(AMERICAN)), VIRGINIA);
        assert_eq!(first(&table, &client(EUROPEAN)), IRELAND);
        assert_eq!(first(&table, &client(ASIAN)), TOKYO);
        assert_eq!(first(&table, &client("2a00:1450::1")), IRELAND);
    }
}

#[test]
fn the_next_nearest_serves_when_the_nearest_is_down() {
    let mut picture = picture(&TRIO);
    set_status(&mut picture, IRELAND, Status::Unhealthy);
    assert_eq!(
        order(&over(By::Latency, &picture), &client(EUROPEAN)),
        [VIRGINIA, TOKYO, IRELAND]
    );
}

#[test]
fn who_is_nowhere_is_here() {
    let mut picture = picture(&TRIO);
    for own in 0..3 {
        picture.own = own;
        for by in [By::Latency, By::Geoproximity] {
            assert_eq!(first(&over(by, &picture), &client("127.0.0.1")), own);
        }
    }
}

/// From Ireland on, Virginia is measured to be slower than Tokyo.
#[test]
fn measurements_go_before_distances() {
    let mut picture = picture(&TRIO);
    set_status(&mut picture, IRELAND, Status::Unhealthy);
    picture.regions[IRELAND].round_trips_ms = vec![Some(300.0), None, Some(210.0)];
    assert_eq!(
        order(&over(By::Latency, &picture), &client(EUROPEAN))[0],
        TOKYO
    );
    assert_eq!(
        order(&over(By::Geoproximity, &picture), &client(EUROPEAN))[0],
        VIRGINIA
    );
}

#[test]
fn a_bias_moves_the_border() {
    let biased = |bias| {
        let tokyo = Choice::region("ap-northeast-1").biased(bias);
        let choices = vec![Choice::region("eu-west-1"), tokyo];
        Route::new("app", Policy::new(By::Geoproximity, choices))
    };
    let to = |bias| first(&table(&biased(bias), &picture(&TRIO)), &client(AMERICAN));
    // Missouri is 6,500 km from Dublin and 10,200 km from Tokyo.
    assert_eq!([-50, 0, 30].map(to), [IRELAND; 3]);
    assert_eq!([45, 99].map(to), [TOKYO; 2]);
}

#[test]
fn geolocation_goes_by_country_then_area_then_fallback() {
    let german = Country(*b"DE");
    let choices = vec![
        Choice::region("us-east-1"),
        Choice::region("eu-west-1").serving(&[Clients::Area(Area::Europe)]),
        Choice::region("ap-northeast-1")
            .serving(&[Clients::Country(german), Clients::Area(Area::Africa)]),
    ];
    let route = Route::new("app", Policy::new(By::Geolocation, choices));
    let table = table(&route, &picture(&TRIO));
    let european = client(EUROPEAN);
    assert_eq!(order(&table, &european), [IRELAND, VIRGINIA, TOKYO]);
    let mut located = european.located.unwrap();
    located.country = Some(german);
    let german = Client {
        located: Some(located),
        ..european
    };
    assert_eq!(order(&table, &german), [TOKYO, IRELAND, VIRGINIA]);
    assert_eq!(first(&table, &client(ASIAN)), VIRGINIA);
    assert_eq!(first(&table, &client("127.0.0.1")), VIRGINIA);
}

#[test]
fn failover_keeps_to_the_order() {
    let mut picture = picture(&TRIO);
    let route = Route::new(
        "app",
        Policy::over(By::Failover, &["ap-northeast-1", "us-east-1"]),
    );
    assert_eq!(
        order(&table(&route, &picture), &client(EUROPEAN)),
        [TOKYO, VIRGINIA]
    );
    set_status(&mut picture, TOKYO, Status::Degraded);
    assert_eq!(
        order(&table(&route, &picture), &client(EUROPEAN)),
        [VIRGINIA, TOKYO]
    );
}

/// Continents by distance, and in each of them regions by weight.
#[test]
fn policies_nest() {
    let names = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1"];
    let by_weight = |one: &str, other: &str| {
        let choices = vec![
            Choice::region(one).weighing(3),
            Choice::region(other).weighing(1),
        ];
        Choice::policy(Policy::new(By::Weighted, choices))
    };
    let continents = vec![by_weight(names[0], names[1]), by_weight(names[2], names[3])];
    let route = Route::new("app", Policy::new(By::Geoproximity, continents));
    let mut picture = picture(&names);
    let counted = |picture: &_| {
        let table = table(&route, picture);
        let mut counts = [0; 4];
        for number in 0..4_000 {
            let located = client(EUROPEAN).located;
            counts[first(
                &table,
                &Client {
                    located,
                    ..client_number(number)
                },
            )] += 1;
        }
        counts
    };
    let counts = counted(&picture);
    assert!(
        counts[0] + counts[1] == 0 && (2_850..3_150).contains(&counts[2]),
        "{counts:?}"
    );
    // One of the two lost: the other takes its clients; both lost: the other continent, by weight.
    set_status(&mut picture, 2, Status::Unhealthy);
    assert_eq!(counted(&picture), [0, 0, 0, 4_000]);
    set_status(&mut picture, 3, Status::Unhealthy);
    let counts = counted(&picture);
    assert!(
        (2_850..3_150).contains(&counts[0]) && counts[0] + counts[1] == 4_000,
        "{counts:?}"
    );
}

#[test]
fn residency_goes_before_availability() {
    let eu = vec![
        RegionName::new("eu-west-1"),
        RegionName::new("eu-central-1"),
    ];
    let names = ["us-east-1", "eu-west-1", "eu-central-1"];
    let mut route = Route::new("app", Policy::over(By::Latency, &names));
    route.residency = Residency {
        rules: vec![(Clients::Area(Area::Europe), eu)],
        otherwise: None,
    };
    let mut picture = picture(&names);
    assert_eq!(order(&table(&route, &picture), &client(EUROPEAN)), [2, 1]);
    set_status(&mut picture, 1, Status::Unhealthy);
    set_status(&mut picture, 2, Status::Unhealthy);
    assert_eq!(
        order(&table(&route, &picture), &client(EUROPEAN)),
        [2, 1],
        "down, but there"
    );
    assert_eq!(first(&table(&route, &picture), &client(AMERICAN)), 0);
    route.residency.rules[0].1.clear();
    let nobody = answer(&table(&route, &picture), &client(EUROPEAN));
    assert!(nobody.entries().is_empty() && nobody.first().is_none());
}

#[test]
fn the_scope_is_what_decided() {
    let scope =
        |by, address: &str| answer(&over(by, &picture(&TRIO)), &client(address)).scope_bits();
    assert_eq!(scope(By::Failover, AMERICAN), 0);
    assert_eq!(scope(By::Latency, AMERICAN), 8);
    assert_eq!(scope(By::Geolocation, "2a00:1450::1"), 12);
    assert_eq!(scope(By::Weighted, AMERICAN), 24);
    assert_eq!(
        scope(By::Latency, "10.0.0.1"),
        24,
        "nobody knows how much of it is nowhere"
    );
    let mut picture = picture(&TRIO);
    picture.regions[1].share = 0.5;
    let shared = answer(&over(By::Latency, &picture), &client(AMERICAN));
    assert_eq!(shared.scope_bits(), 24);
}

#[test]
fn routes_that_make_no_sense_are_refused() {
    let refused = |policy| {
        let route = Route::new("app", policy);
        Table::compile(&route, &picture(&TRIO), &Default::default()).unwrap_err()
    };
    let unknown = refused(Policy::over(By::Latency, &["eu-west-9"]));
    assert!(
        matches!(unknown, RouteError::UnknownRegion { .. }),
        "{unknown}"
    );
    let twice = refused(Policy::over(By::Latency, &["eu-west-1", "eu-west-1"]));
    assert!(matches!(twice, RouteError::RegionTwice { .. }), "{twice}");
    let empty = refused(Policy::over(By::Latency, &[]));
    assert!(matches!(empty, RouteError::NoChoices { .. }), "{empty}");
    let biased = vec![Choice::region("eu-west-1").biased(-100)];
    let biased = refused(Policy::new(By::Geoproximity, biased));
    assert!(matches!(biased, RouteError::Bias { .. }), "{biased}");
}

#[test]
fn a_question_is_its_networks_or_its_resolvers() {
    let registries = meridian_steer::Registries::default();
    let resolver = EUROPEAN.parse().unwrap();
    let network = Some((AMERICAN.parse().unwrap(), 20));
    let behind = |network, turn| Client::behind(&registries, resolver, network, turn);
    let table = over(By::Latency, &picture(&TRIO));
    assert_eq!(first(&table, &behind(network, 1)), VIRGINIA);
    assert_eq!(behind(network, 1), behind(network, 2));
    let nameless = Some((AMERICAN.parse().unwrap(), 0));
    for nobody in [None, nameless] {
        assert_eq!(first(&table, &behind(nobody, 1)), IRELAND);
        assert_ne!(behind(nobody, 1).key, behind(nobody, 2).key);
    }
}
