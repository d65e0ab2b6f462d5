//! What monitoring scrapes of the name server.

use super::metrics::{Samples, counters};
use super::state::ApiState;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Nothing where the region answers no questions of DNS.
pub(super) fn encode(state: &ApiState, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(server) = &state.api().name_server else {
        return Ok(());
    };
    let counts = server.counts();
    let labelled = |label: &'static str, values: &[(&str, u64)]| -> Samples<u64> {
        let values = values.iter();
        values
            .map(|(value, count)| (vec![(label, (*value).to_owned())], *count))
            .collect()
    };
    let queries = labelled("transport", &[("udp", counts.udp), ("tcp", counts.tcp)]);
    counters(
        encoder,
        "meridian_dns_queries",
        "Questions of DNS",
        &queries,
    )?;
    let answers = labelled(
        "code",
        &[
            ("noerror", counts.noerror),
            ("nxdomain", counts.nxdomain),
            ("refused", counts.refused),
            ("formerr", counts.formerr),
            ("other", counts.other),
        ],
    );
    counters(
        encoder,
        "meridian_dns_answers",
        "Answers of DNS by their code",
        &answers,
    )?;
    let kept_back = labelled(
        "how",
        &[
            ("truncated", counts.truncated),
            ("dropped", counts.dropped),
            ("ignored", counts.ignored),
            ("unsent", counts.unsent),
        ],
    );
    counters(
        encoder,
        "meridian_dns_answers_kept_back",
        "Questions of DNS without a whole answer: truncated or dropped because their network gets too many, ignored because nobody may answer them, not taken by the system",
        &kept_back,
    )
}
