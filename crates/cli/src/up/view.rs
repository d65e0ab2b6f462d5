//! The live view on a terminal.

use super::lines::troubles;
use super::state::{Phase, RegionState, State};
use crate::error::{CliError, CliResult};
use crate::output::thousands;
use crate::reading::{PeerReading, bytes_text, lag_text, remark};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use std::collections::VecDeque;
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
    frame.render_widget(regions_table(state, now), regions);
    frame.render_widget(lags_table(state), lags);
    let room = usize::from(log.height.saturating_sub(2));
    let troubles = troubles(state).map(|(name, trouble)| format!("{name}: {trouble}"));
    let said: Vec<_> = notes.iter().cloned().chain(troubles).collect();
    let lines = said.iter().skip(said.len().saturating_sub(room));
    let lines: Vec<_> = lines.map(|line| Line::from(line.as_str())).collect();
    let events = Paragraph::new(lines).block(Block::bordered().title(" events "));
    frame.render_widget(events, log);
    frame.render_widget(Paragraph::new(" q or Ctrl-C stops all regions"), foot);
}

fn head(cells: &[&'static str]) -> Row<'static> {
    Row::new(cells.to_vec()).style(Style::new().add_modifier(Modifier::BOLD))
}

fn regions_table(state: &State, now: Instant) -> Table<'static> {
    let rows = state.regions.iter().map(|state| region_row(state, now));
    let widths = [
        Constraint::Length(16),
        Constraint::Length(16),
        Constraint::Min(16),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    Table::new(rows, widths)
        .header(head(&[
            "region",
            "state",
            "api",
            "pid",
            "writes/s",
            "conflicts",
            "log",
            "restarts",
        ]))
        .block(Block::bordered().title(" regions "))
}

fn region_row(state: &RegionState, now: Instant) -> Row<'static> {
    let colour = match state.phase {
        Phase::Ready => Color::Green,
        Phase::Starting | Phase::Stopped | Phase::Gone | Phase::Silent => Color::Yellow,
        Phase::Down { .. } | Phase::Dead => Color::Red,
    };
    let reading = state.reading.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    Row::new([
        Cell::from(state.region.name.clone()),
        Cell::from(state.phase.text(now)).style(Style::new().fg(colour)),
        Cell::from(state.region.api.trim_start_matches("http://").to_owned()),
        Cell::from(or_dash(state.region.process_id.map(|id| id.to_string()))),
        Cell::from(or_dash(
            state.writes_per_second.map(|rate| thousands(rate as u64)),
        )),
        Cell::from(or_dash(reading.and_then(|it| it.conflicts).map(thousands))),
        Cell::from(or_dash(reading.and_then(|it| it.log_bytes).map(bytes_text))),
        Cell::from(state.restarts.to_string()),
    ])
}

fn peers(state: &RegionState) -> &[PeerReading] {
    state.reading.as_ref().map_or(&[], |it| &it.peers)
}

fn lags_table(state: &State) -> Table<'static> {
    let rows = state.regions.iter().flat_map(|state| {
        peers(state).iter().map(|peer| {
            Row::new([
                Cell::from(state.region.name.clone()),
                Cell::from(peer.region.clone()),
                Cell::from(peer.dataset.clone()),
                Cell::from(lag_text(peer)),
                Cell::from(peer.state.clone()),
                Cell::from(remark(peer)),
            ])
        })
    });
    let widths = [
        Constraint::Length(16),
        Constraint::Length(16),
        Constraint::Length(12),
        Constraint::Length(26),
        Constraint::Length(14),
        Constraint::Min(10),
    ];
    Table::new(rows, widths)
        .header(head(&[
            "region", "behind", "dataset", "by", "stream", "remark",
        ]))
        .block(Block::bordered().title(" replication "))
}

#[cfg(test)]
mod tests {
    use super::super::event::{Event, Happened};
    use super::super::state::tests::state;
    use super::*;
    use crate::reading::Reading;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    fn screen(state: &State, notes: &VecDeque<String>, now: Instant) -> String {
        let mut terminal = Terminal::new(TestBackend::new(140, 16)).unwrap();
        let frame = terminal
            .draw(|frame| render(frame, state, notes, now))
            .unwrap();
        let cells = frame.buffer.content.chunks(140);
        let line = |cells: &[ratatui::buffer::Cell]| -> String {
            cells.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        cells.map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn shows_regions_lags_and_events() {
        let (mut state, now) = (state(), Instant::now());
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
        let shown = screen(&state, &VecDeque::from(["it happened".to_owned()]), now);
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
