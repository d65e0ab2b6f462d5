//! `up` where there is no terminal: a line for each event, and a summary now and then.

use super::event::{Death, Event, Happened};
use super::state::{RegionState, State};
use crate::output::{self, Format, table};
use crate::reading::{behind_text, bytes_text};
use crate::system::{System, SystemRegion};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Prints what happens. Where stdout is gone, the regions go on without it.
pub struct Lines {
    format: Format,
    /// What to try once all regions serve.
    tips: Vec<String>,
    has_served: bool,
}

impl Lines {
    pub fn new(format: Format, tips: Vec<String>) -> Self {
        Self {
            format,
            tips,
            has_served: false,
        }
    }

    /// Where the regions listen, at the start.
    pub fn introduce(&self, state: &State) {
        match self.format {
            Format::Json => self.print_json(&json!({
                "event": "starting",
                "regions": state.regions.iter().map(|state| &state.region).collect::<Vec<_>>(),
            })),
            Format::Text => self.print(&addresses(state)),
        }
    }

    /// What happened, with the state after it.
    pub fn event(&mut self, event: &Event, state: &State) {
        let Some(region) = state.regions.get(event.region) else {
            return;
        };
        match self.format {
            Format::Json => {
                if let Some(line) = event_json(&event.happened, region) {
                    self.print_json(&line);
                }
            }
            Format::Text => {
                if let Some(line) = event_text(&event.happened, region) {
                    self.print(&line);
                }
            }
        }
        if state.is_serving() && !self.has_served {
            self.has_served = true;
            match self.format {
                Format::Json => self.print_json(&json!({ "event": "serving" })),
                Format::Text => {
                    self.print("all regions serve; Ctrl-C stops them");
                    for tip in &self.tips {
                        self.print(&format!("  {tip}"));
                    }
                }
            }
        }
    }

    /// How everything stands.
    pub fn summary(&self, state: &State) {
        match self.format {
            Format::Json => {
                let regions = state.regions.iter().map(summary_json);
                let regions: Vec<_> = regions.collect();
                self.print_json(&json!({ "event": "summary", "regions": regions }));
            }
            Format::Text => self.print(&summary_text(state, Instant::now())),
        }
    }

    /// That the end begins.
    pub fn stopping(&self) {
        match self.format {
            Format::Json => self.print_json(&json!({ "event": "stopping" })),
            Format::Text => self.print("stopping"),
        }
    }

    fn print(&self, text: &str) {
        let _ = output::line(text);
    }

    fn print_json(&self, line: &Value) {
        let _ = output::json_line(line);
    }
}

/// The sample application of a region, as a client that followed a DNS answer reaches it.
fn app_url(region: &SystemRegion) -> Option<String> {
    region.app.last().map(|at| format!("http://{at}/"))
}

/// What a newcomer may try.
pub fn tips(system: &System) -> Vec<String> {
    let first = system.regions.iter().find(|region| !region.app.is_empty());
    let Some((region, url)) = first.and_then(|region| Some((region, app_url(region)?))) else {
        return Vec::new();
    };
    let mut tips = Vec::new();
    if let Some((host, port)) = region.dns.as_ref().and_then(|dns| dns.rsplit_once(':')) {
        tips.push(format!(
            "dig @{host} -p {port} app.global.{} +subnet=2.0.0.0/24 +short   where a client in Europe goes",
            system.zone
        ));
    }
    tips.push(format!(
        "curl {url}   what the sample application says there; curl -X POST {url} counts a visit"
    ));
    tips
}

fn addresses(state: &State) -> String {
    let rows = state.regions.iter().map(|state| {
        let region = &state.region;
        vec![
            region.name.clone(),
            region.api.clone(),
            region.link.clone(),
            region.dns.clone().unwrap_or_else(|| "-".to_owned()),
            app_url(region).unwrap_or_else(|| "-".to_owned()),
            region.data_dir.display().to_string(),
        ]
    });
    table(
        &["region", "api", "link", "dns", "app", "data"],
        &rows.collect::<Vec<_>>(),
    )
}

/// What happened, for people, where it is for them.
pub fn event_text(happened: &Happened, state: &RegionState) -> Option<String> {
    let name = &state.region.name;
    Some(match happened {
        Happened::Started { process_id } => format!("{name} started (process {process_id})"),
        Happened::Ready { after } => format!("{name} is ready after {:.1} s", after.as_secs_f64()),
        Happened::Died(death) => death_text(death, state),
        Happened::Stopped { was_killed: false } => format!("{name} stopped"),
        Happened::Stopped { was_killed: true } => {
            format!("{name} did not stop in 10 s and was killed")
        }
        Happened::Admitted { set_aside: None } => format!("{name} joins: {}", state.region.api),
        Happened::Admitted {
            set_aside: Some(path),
        } => format!(
            "{name} joins again: {}; its old data is set aside in {}",
            state.region.api,
            path.display()
        ),
        Happened::Left => format!(
            "{name} has left; its data stays in {}",
            state.region.data_dir.display()
        ),
        Happened::ServerDied {
            why,
            log,
            restart_after,
        } => {
            let why = why.as_ref().map(|why| format!(" ({why})"));
            format!(
                "{name}: its PostgreSQL server died{}; {}\n  log: {}",
                why.unwrap_or_default(),
                next_text(*restart_after),
                log.display()
            )
        }
        Happened::ServerStarted => format!("{name}: its PostgreSQL server runs again"),
        Happened::LeftOut { what, hint } => {
            let hint = hint.as_ref().map(|hint| format!("\n  hint: {hint}"));
            format!("{name}: not replicated: {what}{}", hint.unwrap_or_default())
        }
        Happened::Read(_) | Happened::Members(_) => return None,
    })
}

fn next_text(restart_after: Option<Duration>) -> String {
    match restart_after {
        Some(wait) => format!("restarting in {:.1} s", wait.as_secs_f64()),
        None => "it stays down".to_owned(),
    }
}

/// A death, and why where the region said it: one that had served leaves that to its log.
pub fn death_text(death: &Death, state: &RegionState) -> String {
    let next = next_text(death.restart_after);
    let name = &state.region.name;
    let mut text = format!("{name} died ({}); {next}", death.status);
    if !death.was_ready {
        for line in &death.last_lines {
            text.push_str("\n  | ");
            text.push_str(line);
        }
    }
    text.push_str(&format!("\n  log: {}", state.region.log.display()));
    text
}

fn event_json(happened: &Happened, state: &RegionState) -> Option<Value> {
    let name = &state.region.name;
    Some(match happened {
        Happened::Started { process_id } => {
            json!({ "event": "started", "region": name, "process_id": process_id })
        }
        Happened::Ready { after } => {
            json!({ "event": "ready", "region": name, "seconds": after.as_secs_f64() })
        }
        Happened::Died(death) => json!({
            "event": "died",
            "region": name,
            "status": death.status,
            "was_ready": death.was_ready,
            "last_lines": death.last_lines,
            "restart_seconds": death.restart_after.map(|wait| wait.as_secs_f64()),
            "log": state.region.log,
        }),
        Happened::Stopped { was_killed } => {
            json!({ "event": "stopped", "region": name, "was_killed": was_killed })
        }
        Happened::Admitted { set_aside } => {
            json!({ "event": "joins", "region": state.region, "set_aside": set_aside })
        }
        Happened::Left => json!({ "event": "left", "region": name }),
        Happened::ServerDied {
            why,
            log,
            restart_after,
        } => json!({
            "event": "server-died",
            "region": name,
            "why": why,
            "restart_seconds": restart_after.map(|wait| wait.as_secs_f64()),
            "log": log,
        }),
        Happened::ServerStarted => json!({ "event": "server-started", "region": name }),
        Happened::LeftOut { what, hint } => {
            json!({ "event": "left-out", "region": name, "what": what, "hint": hint })
        }
        Happened::Read(_) | Happened::Members(_) => return None,
    })
}

fn summary_text(state: &State, now: Instant) -> String {
    let rows = state.regions.iter().map(|state| {
        let reading = state.reading.as_ref();
        vec![
            state.region.name.clone(),
            state.phase.text(now),
            number(state.writes_per_second.map(|rate| format!("{rate:.0}"))),
            number(reading.and_then(|it| it.conflicts).map(|it| it.to_string())),
            number(reading.and_then(|it| it.log_bytes).map(bytes_text)),
            reading.map(|it| behind_text(&it.peers)).unwrap_or_default(),
        ]
    });
    let mut text = table(
        &["region", "state", "writes/s", "conflicts", "log", "behind"],
        &rows.collect::<Vec<_>>(),
    );
    for (name, trouble) in troubles(state) {
        text.push_str(&format!("\n{name}: {trouble}"));
    }
    text
}

/// The datasets that take no writes, with their regions.
pub fn troubles(state: &State) -> impl Iterator<Item = (&str, &str)> {
    state.regions.iter().flat_map(|state| {
        let troubles = state.reading.iter().flat_map(|it| &it.troubles);
        troubles.map(|trouble| (state.region.name.as_str(), trouble.as_str()))
    })
}

fn number(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn summary_json(state: &RegionState) -> Value {
    json!({
        "region": state.region.name,
        "state": state.phase.text(Instant::now()),
        "process_id": state.region.process_id,
        "restarts": state.restarts,
        "writes_per_second": state.writes_per_second,
        "reading": state.reading,
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;

    #[test]
    fn a_death_at_start_shows_what_the_region_said() {
        let mut death = Death {
            status: "exit status: 1".to_owned(),
            was_ready: false,
            last_lines: vec!["error: disk".to_owned()],
            restart_after: Some(Duration::from_millis(400)),
        };
        let state = state();
        assert_eq!(
            death_text(&death, &state.regions[0]),
            "us-east-1 died (exit status: 1); restarting in 0.4 s\n  | error: disk\n  log: us-east-1/log.txt"
        );
        death.was_ready = true;
        death.restart_after = None;
        assert_eq!(
            death_text(&death, &state.regions[0]),
            "us-east-1 died (exit status: 1); it stays down\n  log: us-east-1/log.txt"
        );
    }

    #[test]
    fn a_summary_without_readings_has_no_numbers() {
        assert_eq!(
            summary_text(&state(), Instant::now()),
            "region     state     writes/s  conflicts  log  behind\n\
             us-east-1  starting  -         -          -\n\
             eu-west-1  starting  -         -          -"
        );
    }
}
