//! What one observer does by itself: alarms, maintenance, other setups, bad input.

use meridian_health::{
    Answer, Change, Input, Maintenance, Observer, Opinion, Output, Preset, Report, ReportNumber,
    Reports, Service, Setup, Status, Target,
};
use meridian_model::{Micros, Now, RegionName};
use std::time::Duration;

fn at(ms: u64) -> Now {
    Now {
        wall: Micros(ms * 1000),
        elapsed: Duration::from_millis(ms),
    }
}

fn setup(observers: &[&str], preset: Preset) -> Setup {
    let names = || observers.iter().map(|name| RegionName::new(name));
    let target = |region: RegionName| Target {
        endpoint: String::new(),
        region,
        service: Service::Api,
    };
    Setup {
        own: RegionName::new(observers[0]),
        observers: names().collect(),
        targets: names().map(target).collect(),
        cadence: preset.cadence(),
        maintenance: Vec::new(),
    }
}

/// Steps when due; probes of regions that `answers` names are answered 5 ms later.
fn run(
    observer: &mut Observer,
    from_ms: u64,
    until_ms: u64,
    answers: &[&str],
    mut first: Option<Input>,
) -> Vec<Change> {
    let (mut changes, mut open) = (Vec::new(), Vec::new());
    for ms in from_ms..until_ms {
        let mut inputs: Vec<_> = first.take().into_iter().collect();
        while open.first().is_some_and(|(due, _)| *due <= ms) {
            let (_, probe) = open.remove(0);
            let answer = Answer::Right;
            inputs.push(Input::Answer { probe, answer });
        }
        if observer.due() <= at(ms).elapsed {
            inputs.push(Input::Tick);
        }
        for input in inputs {
            for output in observer.step(at(ms), input) {
                match output {
                    Output::Probe { id, target } if answers.contains(&target.region.as_str()) => {
                        open.push((ms + 5, id));
                    }
                    Output::Changed(change) => changes.push(change),
                    Output::Probe { .. } | Output::Send(_) => {}
                }
            }
        }
    }
    changes
}

fn seen(observer: &Observer, region: &str) -> Option<Status> {
    observer.region(&RegionName::new(region), Micros(0)).seen[Service::Api]
}

#[test]
fn an_alarm_makes_standard_quick() {
    let alarm = Input::Alarm {
        region: RegionName::new("b"),
        service: Service::Api,
    };
    for (alarm, unhealthy) in [(None, Status::Healthy), (Some(alarm), Status::Unhealthy)] {
        let mut observer = Observer::new(setup(&["a", "b"], Preset::Standard), at(0));
        run(&mut observer, 0, 31_000, &["a", "b"], None);
        // It falls silent at 31 s; real traffic tells 2 s later. Three looks, 3 s apart, and a limit.
        run(&mut observer, 33_000, 33_000 + 6_000 + 2_100, &["a"], alarm);
        assert_eq!(seen(&observer, "b"), Some(unhealthy));
    }
}

#[test]
fn a_region_alone_goes_by_its_own_word() {
    let mut observer = Observer::new(setup(&["a"], Preset::Fast), at(0));
    let up = run(&mut observer, 0, 2_000, &["a"], None);
    let down = run(&mut observer, 2_000, 6_000, &[], None);
    let votes = |changes: &[Change]| changes.iter().map(|change| change.to).collect::<Vec<_>>();
    assert_eq!(
        votes(&up),
        [Status::Healthy; 2],
        "its own opinion, then the verdict"
    );
    assert_eq!(votes(&down), [Status::Unhealthy; 2]);
    assert!(observer.has_quorum());
}

#[test]
fn what_happens_in_maintenance_is_marked_and_not_held_against_it() {
    let mut with_window = setup(&["a"], Preset::Fast);
    with_window.maintenance.push(Maintenance {
        region: RegionName::new("a"),
        service: None,
        from: at(1_000).wall,
        until: at(9_000).wall,
        reason: "new disks".to_owned(),
    });
    let mut observer = Observer::new(with_window, at(0));
    run(&mut observer, 0, 2_000, &["a"], None);
    let region = RegionName::new("a");
    assert!(observer.region(&region, at(5_000).wall).maintenance);
    assert!(!observer.region(&region, at(9_000).wall).maintenance);
    let down = run(&mut observer, 2_000, 5_000, &[], None);
    assert!(down.len() == 2 && down.iter().all(|change| change.maintenance));
    // Three good answers, without the two seconds for which it would be held down.
    run(&mut observer, 5_000, 6_400, &["a"], None);
    assert_eq!(seen(&observer, "a"), Some(Status::Healthy));
}

#[test]
fn another_setup_keeps_what_is_known() {
    let mut observer = Observer::new(setup(&["a", "b"], Preset::Fast), at(0));
    run(&mut observer, 0, 2_000, &["a", "b"], None);
    observer.set_up(setup(&["a", "b", "c"], Preset::Fast), at(2_000));
    assert_eq!(seen(&observer, "b"), Some(Status::Healthy));
    assert_eq!(seen(&observer, "c"), Some(Status::Unknown));
    observer.set_up(setup(&["a", "c"], Preset::Fast), at(2_000));
    assert_eq!(seen(&observer, "b"), None);
}

fn report_of(observer: &str, count: u64) -> Reports {
    let own = Report {
        observer: RegionName::new(observer),
        number: ReportNumber {
            started: Micros(1),
            count,
        },
        hears: vec![RegionName::new("a")],
        in_touch: vec![RegionName::new("a")],
        opinions: vec![Opinion {
            region: RegionName::new("a"),
            service: Service::Api,
            status: Status::Unhealthy,
            response_ms: None,
        }],
    };
    Reports {
        own,
        relayed: Vec::new(),
    }
}

#[test]
fn reports_of_strangers_and_under_other_names_are_not_taken() {
    let mut observer = Observer::new(setup(&["a", "b", "c"], Preset::Fast), at(0));
    for (from, reports) in [
        ("x", report_of("x", 1)),
        ("b", report_of("c", 1)),
        ("a", report_of("a", 1)),
    ] {
        let from = RegionName::new(from);
        observer.step(at(1), Input::Reports { from, reports });
        assert_eq!(observer.all_reports().count(), 1);
    }
    let (from, reports) = (RegionName::new("b"), report_of("b", 1));
    observer.step(at(2), Input::Reports { from, reports });
    assert_eq!(observer.all_reports().count(), 2);
}

/// What was said once and is relayed again is no sign of life.
#[test]
fn an_old_report_keeps_nobody_in_touch() {
    let mut observer = Observer::new(setup(&["a", "b", "c"], Preset::Fast), at(0));
    for ms in (0..4_000).step_by(100) {
        let (from, reports) = (RegionName::new("b"), report_of("b", 7));
        observer.step(at(ms), Input::Reports { from, reports });
        let mut relaying = report_of("c", ms);
        relaying.relayed.push(report_of("b", 7).own);
        let from = RegionName::new("c");
        observer.step(
            at(ms),
            Input::Reports {
                from,
                reports: relaying,
            },
        );
    }
    assert!(observer.has_quorum(), "c is there");
    let later = at(4_000 + 1_800);
    observer.step(later, Input::Tick);
    assert!(!observer.has_quorum());
    let relaying = Reports {
        own: report_of("b", 6).own,
        relayed: vec![report_of("c", 1).own],
    };
    let from = RegionName::new("b");
    observer.step(
        later,
        Input::Reports {
            from,
            reports: relaying,
        },
    );
    assert!(!observer.has_quorum(), "older than what was known");
}

#[test]
fn a_restart_with_an_earlier_clock_is_heard() {
    let mut observer = Observer::new(setup(&["a", "b", "c"], Preset::Fast), at(0));
    let told = |started| {
        let mut reports = report_of("b", 1);
        reports.own.number.started = Micros(started);
        let from = RegionName::new("b");
        Input::Reports { from, reports }
    };
    observer.step(at(0), told(9));
    assert!(observer.has_quorum());
    observer.step(at(5_000), Input::Tick);
    assert!(!observer.has_quorum());
    observer.step(at(5_000), told(3));
    assert!(observer.has_quorum());
}

/// A service that only its own region observes.
#[test]
fn what_nobody_observes_any_more_is_unknown() {
    let (b, service) = (RegionName::new("b"), Service::Cache);
    let told = |count, status: Option<Status>| {
        let mut reports = report_of("b", count);
        reports.own.opinions = status
            .map(|status| Opinion {
                region: b.clone(),
                service,
                status,
                response_ms: None,
            })
            .into_iter()
            .collect();
        let from = b.clone();
        Input::Reports { from, reports }
    };
    let observer = || {
        let mut observer = Observer::new(setup(&["a", "b", "c"], Preset::Fast), at(0));
        observer.step(at(1), told(1, Some(Status::Unhealthy)));
        let mut heard = report_of("c", 1);
        heard.own.opinions.clear();
        let from = RegionName::new("c");
        let reports = heard;
        observer.step(at(1), Input::Reports { from, reports });
        observer
    };
    let verdict = |observer: &Observer| observer.region(&b, Micros(0)).verdict[service];
    let mut stopped = observer();
    assert_eq!(verdict(&stopped), Some(Status::Unhealthy));
    let changes = stopped.step(at(2), told(2, None));
    assert_eq!(verdict(&stopped), None, "it is observed no more");
    assert!(matches!(
        &changes[..],
        [Output::Changed(Change {
            to: Status::Unknown,
            ..
        })]
    ));
    let mut silent = observer();
    for ms in 3..8_000 {
        let mut reports = report_of("c", ms);
        reports.own.opinions.clear();
        let from = RegionName::new("c");
        silent.step(at(ms), Input::Reports { from, reports });
    }
    assert_eq!(verdict(&silent), None, "its observer is gone");
}
