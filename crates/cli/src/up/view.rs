//! The live view on a terminal.

use super::columns::{self, Column, wrapped};
use super::lines::troubles;
use super::state::{Phase, RegionState, State};
use crate::error::{CliError, CliResult};
use crate::output::thousands;
use crate::reading::{PeerReading, Reading, bytes_text, lag_text, remark};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Table};
use ratatui::{DefaultTerminal, Frame};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::thread;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// How many lines of what happened are kept.
const NOTE_LINES_MAX: usize = 100;

/// The terminal, taken over until this is dropped.
pub struct View {
    terminal: DefaultTerminal,
    notes: VecDeque<String>,
}

impl View {
    /// Takes the terminal over. `quit` hears of q and Ctrl-C.
    pub fn open(quit: UnboundedSender<()>) -> CliResult<Self> {
        let failed = |error: io::Error| {
            CliError::failure("take over the terminal")
                .because(&error)
                .hint("`meridian up | cat` prints lines instead")
        };
        let terminal = ratatui::try_init().map_err(failed)?;
        let view = Self {
            terminal,
            notes: VecDeque::new(),
        };
        thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || watch_keys(&quit))
            .map_err(failed)?;
        Ok(view)
    }

    /// Remembers something that happened.
    pub fn note(&mut self, text: String) {
        for line in text.lines() {
            self.notes.push_back(line.to_owned());
        }
        while self.notes.len() > NOTE_LINES_MAX {
            self.notes.pop_front();
        }
    }

    /// Shows how everything stands. A terminal that is gone shows nothing, and the regions go on.
    pub fn draw(&mut self, state: &State) {
        let (notes, now) = (&self.notes, Instant::now());
        let _ = self.terminal.draw(|frame| render(frame, state, notes, now));
    }
}

impl Drop for View {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// In raw mode Ctrl-C is a key like any other.
fn watch_keys(quit: &UnboundedSender<()>) {
    while let Ok(event) = event::read() {
        let Event::Key(key) = event else { continue };
        if is_end(key) && quit.send(()).is_err() {
            return;
        }
    }
}

fn is_end(key: KeyEvent) -> bool {
    let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') => !is_ctrl,
            KeyCode::Char('c') => is_ctrl,
            _ => false,
        }
}

fn render(frame: &mut Frame<'_>, state: &State, notes: &VecDeque<String>, now: Instant) {
    let height = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX);
    let peers: usize = state.regions.iter().map(|it| peers(it).len()).sum();
    let [regions, lags, log, foot] = Layout::vertical([
        Constraint::Length(height(state.regions.len() + 3)),
        Constraint::Length(height(peers + 3)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(regions_table(state, now, regions.width), regions);
    frame.render_widget(lags_table(state, lags.width), lags);
    let room = usize::from(log.height.saturating_sub(2));
    let troubles = troubles(state).map(|(name, trouble)| format!("{name}: {trouble}"));
    let said = notes.iter().cloned().chain(troubles);
    let width = log.width.saturating_sub(2);
    let said: Vec<_> = said.flat_map(|text| wrapped(&text, width)).collect();
    let lines = said.iter().skip(said.len().saturating_sub(room));
    let lines: Vec<_> = lines.map(|line| Line::from(line.as_str())).collect();
    let events = Paragraph::new(lines).block(Block::bordered().title(" events "));
    frame.render_widget(events, log);
    frame.render_widget(Paragraph::new(" q or Ctrl-C stops all regions"), foot);
}

fn regions_table(state: &State, now: Instant, width: u16) -> Table<'static> {
    let column = |head, rank, cell: &dyn Fn(&RegionState) -> String| {
        Column::new(head, rank, state.regions.iter().map(cell))
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let reading = |state: &RegionState, read: &dyn Fn(&Reading) -> Option<String>| {
        or_dash(state.reading.as_ref().and_then(read))
    };
    let has_restarted = state.regions.iter().any(|it| it.restarts > 0);
    let colours = state.regions.iter().map(|it| colour(it.phase));
    let columns = vec![
        column("region", 0, &|it| it.region.name.clone()),
        column("state", 0, &|it| it.phase.text(now)).styled(colours),
        column("api", 2, &|it| {
            it.region.api.trim_start_matches("http://").to_owned()
        }),
        column("pid", 5, &|it| {
            or_dash(it.region.process_id.map(|id| id.to_string()))
        }),
        column("writes/s", 0, &|it| {
            or_dash(it.writes_per_second.map(|rate| thousands(rate as u64)))
        }),
        column("conflicts", 0, &|it| {
            reading(it, &|it| it.conflicts.map(thousands))
        }),
        column("log", 3, &|it| {
            reading(it, &|it| it.log_bytes.map(bytes_text))
        }),
        column("restarts", if has_restarted { 1 } else { 4 }, &|it| {
            it.restarts.to_string()
        }),
    ];
    columns::table(" regions ", columns, width)
}

fn colour(phase: Phase) -> Style {
    Style::new().fg(match phase {
        Phase::Ready => Color::Green,
        Phase::Starting | Phase::Stopped | Phase::Gone | Phase::Silent => Color::Yellow,
        Phase::Down { .. } | Phase::Dead => Color::Red,
    })
}

fn peers(state: &RegionState) -> &[PeerReading] {
    state.reading.as_ref().map_or(&[], |it| &it.peers)
}

fn lags_table(state: &State, width: u16) -> Table<'static> {
    let streams = || {
        let regions = state.regions.iter();
        regions.flat_map(|region| peers(region).iter().map(move |peer| (region, peer)))
    };
    let column = |head, rank, cell: &dyn Fn(&PeerReading) -> String| {
        Column::new(head, rank, streams().map(|(_, peer)| cell(peer)))
    };
    let datasets: BTreeSet<_> = streams().map(|(_, peer)| &peer.dataset).collect();
    let names = streams().map(|(region, _)| region.region.name.clone());
    let columns = vec![
        Column::new("region", 0, names),
        column("behind", 0, &|peer| peer.region.clone()),
        column("dataset", if datasets.len() > 1 { 1 } else { 3 }, &|peer| {
            peer.dataset.clone()
        }),
        column("by", 0, &lag_text),
        column("stream", 0, &|peer| peer.state.clone()),
        column("remark", 2, &remark).free_text(),
    ];
    columns::table(" replication ", columns, width)
}

#[cfg(test)]
mod tests {
    use super::super::event::{Event, Happened};
    use super::super::state::tests::state;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    fn screen(state: &State, notes: &VecDeque<String>, now: Instant, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 16)).unwrap();
        let frame = terminal
            .draw(|frame| render(frame, state, notes, now))
            .unwrap();
        let cells = frame.buffer.content.chunks(usize::from(width));
        let line = |cells: &[ratatui::buffer::Cell]| -> String {
            cells.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        cells.map(line).collect::<Vec<_>>().join("\n")
    }

    /// A region that serves, a little behind another.
    fn running(now: Instant) -> State {
        let mut state = state();
        let after = Duration::from_secs(1);
        let reading = Reading {
            writes_total: Some(7),
            conflicts: Some(1234),
            log_bytes: Some(5 << 20),
            peers: vec![PeerReading {
                region: "eu-west-1".to_owned(),
                dataset: "main".to_owned(),
                state: "live".to_owned(),
                lag_seconds: Some(0.25),
                lag_transactions: Some(3),
                ..PeerReading::default()
            }],
            ..Reading::default()
        };
        for happened in [
            Happened::Started { process_id: 4711 },
            Happened::Ready { after },
            Happened::Read(Some(Box::new(reading))),
        ] {
            let event = Event {
                region: 0,
                happened,
            };
            state.take(&event, now);
        }
        state
    }

    #[test]
    fn a_narrow_terminal_shows_whole_what_matters() {
        let now = Instant::now();
        let mut state = running(now);
        let down = Phase::Down {
            until: now + Duration::from_secs(5),
        };
        state.regions[0].phase = down;
        let said = "us-east-1: a long sentence that tells what happened and what to do about it";
        let shown = screen(&state, &VecDeque::from([said.to_owned()]), now, 70);
        for text in [
            "us-east-1",
            "down, starts in 5.0 s",
            "1,234",
            "eu-west-1",
            "0.25 s, 3 transactions",
            "live",
            "│about it",
        ] {
            assert!(shown.contains(text), "{text}\n{shown}");
        }
        assert!(!shown.contains("pid"), "{shown}");
    }

    #[test]
    fn shows_regions_lags_and_events() {
        let now = Instant::now();
        let state = running(now);
        let notes = VecDeque::from(["it happened".to_owned()]);
        let shown = screen(&state, &notes, now, 140);
        for text in [
            "us-east-1",
            "ready",
            "4711",
            "1,234",
            "5.0 MiB",
            "0.25 s, 3 transactions",
            "it happened",
        ] {
            assert!(shown.contains(text), "{text}\n{shown}");
        }
    }

    #[test]
    fn a_tiny_terminal_is_no_panic() {
        let mut terminal = Terminal::new(TestBackend::new(5, 2)).unwrap();
        let state = state();
        let drawn = terminal.draw(|frame| render(frame, &state, &VecDeque::new(), Instant::now()));
        assert!(drawn.is_ok());
    }
}
