//! Starts the regions, follows what happens to them, ends them.

use super::Options;
use super::event::{Event, Happened};
use super::lines::{Lines, death_text};
use super::poll::poll;
use super::prepare::Prepared;
use super::region::Keeper;
use super::state::State;
use super::view::View;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use crate::system::System;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
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
    } = prepared;
    let result = runtime.block_on(supervise(&system, &data_dir, options, format));
    System::remove(&data_dir);
    // A poll that still waits for its reply must not keep the process.
    runtime.shutdown_background();
    drop(lock);
    result
}

async fn supervise(
    system: &System,
    data_dir: &Path,
    options: &Options,
    format: Format,
) -> CliResult {
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::failure("listen for signals").because(&error))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let mut state = State::new(system);
    write_system(system, &state, data_dir);
    let is_live = format == Format::Text && io::stdout().is_terminal();
    let (quit, mut quits) = unbounded_channel();
    let mut screen = if is_live {
        Screen::View(Box::new(View::open(quit)?))
    } else {
        Screen::Lines(Lines::new(format))
    };
    if let Screen::Lines(lines) = &screen {
        lines.introduce(&state);
    }
    let (stop, stopping) = watch::channel(false);
    let every = if is_live { VIEW_EVERY } else { SUMMARY_EVERY };
    let mut events = start(system, options, &stopping, every);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while !state.is_over() {
        let ends = tokio::select! {
            event = events.recv() => {
                if let Some(event) = event {
                    follow(&event, &mut state, &mut screen, (system, data_dir));
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
        if ends && !*stop.borrow() {
            screen.stopping();
            stop.send_replace(true);
        }
    }
    let was_asked = *stop.borrow();
    // The terminal is itself again before anything is said.
    drop(screen);
    ended(&state, was_asked)
}

/// Starts what keeps each region running and what asks how it stands.
fn start(
    system: &System,
    options: &Options,
    stopping: &watch::Receiver<bool>,
    every: Duration,
) -> UnboundedReceiver<Event> {
    let (events, inbox): (UnboundedSender<Event>, _) = unbounded_channel();
    for (index, region) in system.regions.iter().enumerate() {
        let keeper = Keeper {
            index,
            region: region.clone(),
            topology: system.topology.clone(),
            wan: options.wan,
            restart: !options.no_restart,
            allow_faults: options.allow_faults,
            events: events.clone(),
        };
        tokio::spawn(keeper.keep(stopping.clone()));
        tokio::spawn(poll(index, region.api.clone(), every, events.clone()));
    }
    inbox
}

fn follow(event: &Event, state: &mut State, screen: &mut Screen, place: (&System, &Path)) {
    state.take(event, Instant::now());
    if !matches!(event.happened, Happened::Read(_)) {
        let (system, data_dir) = place;
        write_system(system, state, data_dir);
    }
    match screen {
        Screen::Lines(lines) => lines.event(event, state),
        Screen::View(view) => {
            if let Happened::Died(death) = &event.happened {
                let region = &state.regions[event.region];
                view.note(death_text(death, region));
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

    fn stopping(&mut self) {
        match self {
            Self::View(view) => view.note("stopping".to_owned()),
            Self::Lines(lines) => lines.stopping(),
        }
    }
}

/// Tells other verbs where the regions are. That it can't is no reason to stop the regions.
fn write_system(system: &System, state: &State, data_dir: &Path) {
    let regions = state.regions.iter().map(|state| state.region.clone());
    let now = System {
        regions: regions.collect(),
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
