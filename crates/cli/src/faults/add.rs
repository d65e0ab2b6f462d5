//! `meridian faults add`

use crate::error::CliResult;
use crate::output::{self, Format};
use crate::target::Target;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

/// `meridian faults add`
#[derive(Debug, Args)]
#[command(
    after_help = "The fault is in one region: that of --region, else the first. What is sent to a peer is delayed or lost there; what comes from it is not. Prints the fault's id. With --output json the region's reply, and which region it is.\n\nExamples:\n  meridian faults add partition --region eu-west-1 --peer us-east-1 --direction inbound --for 10s\n  meridian faults add latency --region eu-west-1 --peer us-east-1 --added-ms 80 --jitter-ms 20 --for 1m\n  meridian faults add clock-offset --region eu-west-1 --offset-ms=-5000 --for 30s\n  meridian faults add crash --region eu-west-1"
)]
pub struct Options {
    /// What goes wrong
    #[arg(value_enum, value_name = "KIND")]
    kind: Kind,
    /// How long it lasts, up to 1h; every kind but crash needs it
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// partition, latency, loss: the peer; may be repeated
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// partition: which way, as the region sees it [default: both]
    #[arg(long, value_enum, value_name = "WAY")]
    direction: Option<Direction>,
    /// latency, slow-disk: how many milliseconds more
    #[arg(long, value_name = "MS")]
    added_ms: Option<f64>,
    /// latency: up to how many milliseconds more still, drawn for each message
    #[arg(long, value_name = "MS")]
    jitter_ms: Option<f64>,
    /// loss: which share of the messages, above 0 up to 1
    #[arg(long, value_name = "SHARE")]
    share: Option<f64>,
    /// clock-offset: by how many milliseconds the clock is fast, or slow where it is negative
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    offset_ms: Option<i64>,
    #[command(flatten)]
    target: Target,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Nothing passes between the region and the peers
    Partition,
    /// What the region sends to the peers takes longer
    Latency,
    /// Some of what the region sends to the peers is lost
    Loss,
    /// Each write and sync of the region's logs takes longer
    SlowDisk,
    /// The region's logs can write nothing, for want of room
    FullDisk,
    /// The region's wall clock is wrong
    ClockOffset,
    /// The region's process ends at once, as by SIGKILL
    Crash,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    /// Nothing comes in
    Inbound,
    /// Nothing gets out
    Outbound,
    /// Neither
    Both,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let body = options.body().to_string();
    let mut reply: Value = api.send("POST", "/v1/faults", body.as_bytes())?.json()?;
    if format == Format::Json {
        reply["region"] = api.name().into();
        return output::json(&reply);
    }
    let text = |name: &str| reply[name].as_str().unwrap_or("-");
    if let Some(id) = reply["id"].as_str() {
        output::line(id)?;
        output::talk(&format!(
            "{}: {}, until {}",
            api.name(),
            text("what"),
            text("until")
        ));
    } else {
        output::talk(&format!("{}: {}", api.name(), text("what")));
    }
    Ok(())
}

impl Options {
    fn body(&self) -> Value {
        let members = [
            ("kind", Some(name(self.kind).into())),
            ("for", self.lasts.clone().map(Value::from)),
            ("peers", (!self.peer.is_empty()).then(|| json!(self.peer))),
            ("direction", self.direction.map(|way| name(way).into())),
            ("added_ms", self.added_ms.map(Value::from)),
            ("jitter_ms", self.jitter_ms.map(Value::from)),
            ("share", self.share.map(Value::from)),
            ("offset_ms", self.offset_ms.map(Value::from)),
        ];
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

/// A choice as the API calls it, which is as the command line does.
fn name(choice: impl ValueEnum) -> String {
    let value = choice.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Verb};
    use clap::Parser;

    #[test]
    fn what_is_given_is_sent_and_nothing_else() {
        let line = "meridian faults add clock-offset --offset-ms -5000 --for 30s";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Verb::Faults(crate::faults::Verb::Add(options)) = arguments.verb else {
            panic!("another verb");
        };
        assert_eq!(
            options.body(),
            json!({"kind": "clock-offset", "for": "30s", "offset_ms": -5000})
        );
        let line = "meridian faults add partition --peer a --peer b --direction inbound --for 1s";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Verb::Faults(crate::faults::Verb::Add(options)) = arguments.verb else {
            panic!("another verb");
        };
        assert_eq!(
            options.body(),
            json!({"kind": "partition", "for": "1s", "peers": ["a", "b"], "direction": "inbound"})
        );
    }
}
