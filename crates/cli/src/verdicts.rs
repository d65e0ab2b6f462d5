//! What the regions say of each other, for `meridian status`.

use crate::output::table;
use serde::Deserialize;

/// The part of `/v1/health` that is shown. Read leniently, like everything of a region.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Health {
    region: String,
    has_quorum: bool,
    regions: Vec<RegionHealth>,
    observers: Vec<Observer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RegionHealth {
    region: String,
    verdict: String,
    maintenance: bool,
    services: Vec<Service>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    service: String,
    verdict: String,
    reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Observer {
    observer: String,
    opinions: Vec<Opinion>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Opinion {
    region: String,
    service: String,
    status: String,
}

/// One line for each region: the verdict, and how each observer sees it. Then what is amiss. Nothing
/// of regions that say nothing about it.
pub fn lines(said: &[Health]) -> Vec<String> {
    // Who has a quorum knows best.
    let best = said.iter().find(|it| it.has_quorum).or(said.first());
    let Some(best) = best.filter(|best| !best.regions.is_empty()) else {
        return Vec::new();
    };
    let rows: Vec<_> = best.regions.iter().map(|it| row(it, said)).collect();
    let mut lines = vec![table(&["region", "verdict", "seen by"], &rows)];
    for health in said.iter().filter(|it| !it.has_quorum) {
        lines.push(format!(
            "{}: too few observers are in touch to change verdicts; it goes by what it sees itself",
            health.region
        ));
    }
    for region in &best.regions {
        for service in region.services.iter().filter(|it| is_amiss(&it.verdict)) {
            let reason = service.reason.as_ref();
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            lines.push(format!(
                "{}: {} is {}{reason}",
                region.region, service.service, service.verdict
            ));
        }
    }
    lines
}

fn is_amiss(verdict: &str) -> bool {
    matches!(verdict, "degraded" | "unhealthy")
}

fn row(region: &RegionHealth, said: &[Health]) -> Vec<String> {
    let verdict = match region.maintenance {
        true => format!("{} (maintenance)", region.verdict),
        false => region.verdict.clone(),
    };
    let seen: Vec<_> = said
        .iter()
        .filter_map(|health| {
            // Each speaks for itself: the first of its reports is its own.
            let own = health
                .observers
                .iter()
                .find(|it| it.observer == health.region)?;
            let mut opinions = own.opinions.iter();
            let api = opinions.find(|it| it.region == region.region && it.service == "api")?;
            Some(format!("{} {}", health.region, api.status))
        })
        .collect();
    vec![region.region.clone(), verdict, seen.join("; ")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn verdicts_and_who_sees_whom() {
        let health = |own: &str, quorum: bool, b: &str| -> Health {
            let opinions = [("a", "healthy"), ("b", b)].map(
                |(region, status)| json!({"region": region, "service": "api", "status": status}),
            );
            serde_json::from_value(json!({
                "region": own, "has_quorum": quorum,
                "regions": [
                    {"region": "a", "verdict": "healthy", "services": []},
                    {"region": "b", "verdict": "degraded", "maintenance": true, "services": [
                        {"service": "cache", "verdict": "unhealthy", "reason": "no answer"}]},
                ],
                "observers": [{"observer": own, "opinions": opinions}],
                "more": 1,
            }))
            .unwrap()
        };
        let lines = lines(&[
            health("a", false, "unhealthy"),
            health("b", true, "healthy"),
        ]);
        let text = lines.join("\n");
        assert!(
            text.contains("b       degraded (maintenance)  a unhealthy; b healthy"),
            "{text}"
        );
        assert!(
            text.contains("\na: too few observers are in touch"),
            "{text}"
        );
        assert!(
            text.ends_with("\nb: cache is unhealthy: no answer"),
            "{text}"
        );
        assert!(super::lines(&[]).is_empty());
        assert!(
            super::lines(&[Health::default()]).is_empty(),
            "an earlier release"
        );
    }
}
