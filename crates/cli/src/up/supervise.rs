//! Starts the regions, follows what happens to them, ends them.

use super::Options;
use super::event::{Event, Happened};
use super::grow::Fleet;
use super::lines::{Lines, death_text, event_text, tips};
use super::prepare::Prepared;
use super::state::{Phase, State};
use super::view::View;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use crate::system::{System, SystemRegion};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

/// How often the live view is drawn and the regions are asked for it.
const VIEW_EVERY: Duration = Duration::from_millis(500);
/// How often a summary is printed where there is no terminal.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// Where what happens is shown.
enum Screen {
    View(Box<View>),
    Lines(Lines),
}

/// Runs a prepared system until it is stopped.
pub fn run(prepared: Prepared, options: &Options, format: Format) -> CliResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("start the threads").because(&error))?;
    let Prepared {
        system,
        data_dir,
        lock,
        given,
        roster,
        certificates,
        servers,
    } = prepared;
    let is_live = format == Format::Text && io::stdout().is_terminal();
    let every = if is_live { VIEW_EVERY } else { SUMMARY_EVERY };
    let (events, inbox) = unbounded_channel();
    let directories = (data_dir.clone(), certificates);
    let given = (given, roster);
    let mut fleet = Fleet::new(given, directories, options.base_port, (events, every));
    fleet.servers = servers;
    let (of_servers, servers_inbox) = unbounded_channel();
    if let Some(servers) = &mut fleet.servers {
        servers.keep_running(!options.no_restart, of_servers);
    }
    let inboxes = (inbox, servers_inbox);
    let supervised = supervise(system, fleet, inboxes, options, format);
    let result = runtime.block_on(supervised);
    System::remove(&data_dir);
    // A poll that still waits for its reply must not keep the process.
    runtime.shutdown_background();
    drop(lock);
    result
}

/// What happens to regions, and to their servers by the regions' names.
type Inboxes = (
    UnboundedReceiver<Event>,
    UnboundedReceiver<(String, Happened)>,
);

async fn supervise(
    mut system: System,
    mut fleet: Fleet,
    (mut events, mut of_servers): Inboxes,
    options: &Options,
    format: Format,
) -> CliResult {
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::failure("listen for signals").because(&error))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let mut state = State::new(&system);
    write_system(&system, &state, &fleet);
    let is_live = format == Format::Text && io::stdout().is_terminal();
    let (quit, mut quits) = unbounded_channel();
    let mut screen = if is_live {
        let mut view = View::open(quit)?;
        tips(&system).into_iter().for_each(|tip| view.note(tip));
        Screen::View(Box::new(view))
    } else {
        Screen::Lines(Lines::new(format, tips(&system)))
    };
    if let Screen::Lines(lines) = &screen {
        lines.introduce(&state);
    }
    for (index, region) in system.regions.iter().enumerate() {
        fleet.start(index, region, &system, options);
    }
    let mut was_asked = false;
    let mut ticks = interval(fleet.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while !state.is_over() {
        let ends = tokio::select! {
            event = events.recv() => {
                if let Some(event) = event {
                    if let Happened::Members(said) = &event.happened {
                        fleet.hear(event.region, said);
                    }
                    follow(&event, &mut state, &mut screen, (&system, &fleet));
                    // One that had left may be expected again before its process has ended.
                    let may_change = matches!(event.happened, Happened::Members(_) | Happened::Stopped { .. });
                    if may_change && !was_asked {
                        let mut up = Up { system: &mut system, fleet: &mut fleet, state: &mut state, options };
                        up.take_members(&mut screen);
                    }
                }
                false
            }
            Some((region, happened)) = of_servers.recv() => {
                let mut regions = state.regions.iter();
                if let Some(region) = regions.position(|it| it.region.name == region) {
                    let event = Event { region, happened };
                    follow(&event, &mut state, &mut screen, (&system, &fleet));
                }
                false
            }
            _ = ticks.tick() => {
                screen.tick(&state);
                false
            }
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            _ = hang_up.recv() => true,
            Some(()) = quits.recv() => true,
        };
        if ends && !was_asked {
            screen.stopping();
            fleet.stop_all();
            was_asked = true;
        }
    }
    // The terminal is itself again before anything is said.
    drop(screen);
    ended(&state, was_asked)
}

/// An `up` at work.
struct Up<'a> {
    system: &'a mut System,
    fleet: &'a mut Fleet,
    state: &'a mut State,
    options: &'a Options,
}

impl Up<'_> {
    /// Starts the regions that are new among the members, and stops those that have left.
    fn take_members(&mut self, screen: &mut Screen) {
        let regions = &self.state.regions;
        let is_ending = |name: &str| {
            let mut running = regions.iter().filter(|it| !it.phase.is_final());
            running.any(|it| it.region.name == name)
        };
        match self.fleet.admit(is_ending) {
            Ok(admitted) => {
                for region in admitted {
                    self.start(region, screen);
                }
            }
            Err(error) => screen.note(&format!("a region can't be started: {error}")),
        }
        for index in 0..self.state.regions.len() {
            let state = &self.state.regions[index];
            let name = state.region.name.clone();
            if state.phase.is_final() || !self.fleet.has_left(index, &name) {
                continue;
            }
            self.tell(index, Happened::Left, screen);
            if let Err(error) = self.fleet.stop(index, &name) {
                screen.note(&error.to_string());
            }
        }
    }

    fn start(&mut self, region: SystemRegion, screen: &mut Screen) {
        let index = self.state.admit(region.clone());
        let is_back = region.data_dir.join("datasets").exists();
        let set_aside = is_back.then(|| region.data_dir.join("set-aside"));
        self.tell(index, Happened::Admitted { set_aside }, screen);
        self.fleet.start(index, &region, self.system, self.options);
    }

    fn tell(&mut self, region: usize, happened: Happened, screen: &mut Screen) {
        let event = Event { region, happened };
        follow(&event, self.state, screen, (self.system, self.fleet));
    }
}

fn follow(event: &Event, state: &mut State, screen: &mut Screen, place: (&System, &Fleet)) {
    state.take(event, Instant::now());
    if !matches!(event.happened, Happened::Read(_)) {
        let (system, fleet) = place;
        write_system(system, state, fleet);
    }
    match screen {
        Screen::Lines(lines) => lines.event(event, state),
        Screen::View(view) => {
            if let Happened::Died(death) = &event.happened {
                let region = &state.regions[event.region];
                view.note(death_text(death, region));
            }
            let region = state.regions.get(event.region);
            let is_noted = matches!(
                event.happened,
                Happened::Admitted { .. }
                    | Happened::Left
                    | Happened::ServerDied { .. }
                    | Happened::ServerStarted
                    | Happened::LeftOut { .. }
            );
            if let (true, Some(region)) = (is_noted, region) {
                view.note(event_text(&event.happened, region).unwrap_or_default());
            }
            view.draw(state);
        }
    }
}

impl Screen {
    fn tick(&mut self, state: &State) {
        match self {
            Self::View(view) => view.draw(state),
            Self::Lines(lines) => lines.summary(state),
        }
    }

    /// Says something that a person should know.
    fn note(&mut self, text: &str) {
        match self {
            Self::View(view) => view.note(text.to_owned()),
            Self::Lines(_) => output::talk(text),
        }
    }

    fn stopping(&mut self) {
        match self {
            Self::View(view) => view.note("stopping".to_owned()),
            Self::Lines(lines) => lines.stopping(),
        }
    }
}

/// Tells other verbs where the regions are. That it can't is no reason to stop the regions.
fn write_system(system: &System, state: &State, fleet: &Fleet) {
    let here = state.regions.iter().filter(|it| it.phase != Phase::Gone);
    let data_dir = &fleet.data_dir;
    let now = System {
        regions: here.map(|state| state.region.clone()).collect(),
        next: fleet.roster.next(fleet.base_port),
        former: fleet.roster.former(fleet.base_port),
        ..system.clone()
    };
    if let Err(error) = now.write(data_dir) {
        output::talk(&format!(
            "warning: write {}: {error}; other verbs will not find this system",
            data_dir.join("system.json").display()
        ));
    }
}

fn ended(state: &State, was_asked: bool) -> CliResult {
    if was_asked {
        return Ok(());
    }
    let dead = state.regions.iter().filter_map(|region| {
        let death = region.last_death.as_ref()?;
        Some(death_text(death, region))
    });
    let dead: Vec<_> = dead.collect();
    Err(
        CliError::failure(format!("no region runs any more\n{}", dead.join("\n")))
            .hint("without --no-restart, regions that die are started again"),
    )
}
