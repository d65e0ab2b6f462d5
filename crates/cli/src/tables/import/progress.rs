//! What a person sees of an import while it runs: a bar on a terminal, else a line now and then.

use crate::output::{talk, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// An import's progress.
pub struct Progress {
    bar: Option<ProgressBar>,
    bytes_total: u64,
    rows: u64,
    began: Instant,
    line_due: Instant,
}

impl Progress {
    /// Of a file of this size.
    pub fn new(bytes_total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{bar:32} {percent:>3} %  {msg}  {elapsed} gone, {eta} left",
            );
            ProgressBar::with_draw_target(Some(bytes_total), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self {
            bar,
            bytes_total,
            rows: 0,
            began: now,
            line_due: now + LINE_EVERY,
        }
    }

    /// More rows are in, and so far everything up to `offset`.
    pub fn advance(&mut self, rows: u64, offset: u64) {
        self.rows += rows;
        let now = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_message(self.text());
            bar.set_position(offset);
        } else if now >= self.line_due {
            self.line_due = now + LINE_EVERY;
            let percent = offset * 100 / self.bytes_total.max(1);
            talk(&format!("{percent} %, {}", self.text()));
        }
    }

    /// Says something in between.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| talk(text)),
            None => talk(text),
        }
    }

    /// Rows acknowledged in this run.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Rows a second since it began.
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds().max(0.001)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn text(&self) -> String {
        let rate = self.rows_per_second() as u64;
        format!("{} rows, {} rows/s", thousands(self.rows), thousands(rate))
    }
}
