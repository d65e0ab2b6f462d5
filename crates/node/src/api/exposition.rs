//! The two text formats of metrics. They differ in little: OpenMetrics names a counter without the
//! `_total` that its samples end in, and it ends with a mark.

/// What OpenMetrics calls itself.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What the text format of Prometheus calls itself.
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a scraper that sends this `Accept` reads OpenMetrics.
pub(super) fn takes_openmetrics(accept: Option<&str>) -> bool {
    let mut kinds = accept.unwrap_or_default().split(',');
    kinds.any(|kind| kind.trim().starts_with("application/openmetrics-text"))
}

/// A page of OpenMetrics in the text format of Prometheus.
pub(super) fn to_prometheus(page: &str) -> String {
    let counters: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut converted = String::with_capacity(page.len());
    for line in page.lines().filter(|line| *line != "# EOF") {
        match comment(line, &counters) {
            Some((keyword, name, rest)) => {
                converted.push_str(&format!("# {keyword} {name}_total {rest}"));
            }
            None => converted.push_str(line),
        }
        converted.push('\n');
    }
    converted
}

/// The parts of a comment about one of the counters.
fn comment<'a>(line: &'a str, counters: &[&str]) -> Option<(&'a str, &'a str, &'a str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    counters.contains(&name).then_some((keyword, name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples() {
        let page = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
                    # HELP c More.\n# TYPE c gauge\nc 3\n# EOF\n";
        let expected = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
                        # HELP c More.\n# TYPE c gauge\nc 3\n";
        assert_eq!(to_prometheus(page), expected);
    }

    #[test]
    fn openmetrics_goes_to_those_who_ask_for_it() {
        assert!(takes_openmetrics(Some(
            "text/plain, application/openmetrics-text;version=1.0.0;q=0.5"
        )));
        for other in [None, Some("*/*"), Some("text/plain;version=0.0.4")] {
            assert!(!takes_openmetrics(other));
        }
    }
}
