//! What the run showed.

use crate::record::Counts;
use crate::servers::Digest;
use crate::verify::Verified;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, thousands};
use std::fmt;
use std::time::Duration;

/// A region at the end.
#[derive(Clone, Debug)]
pub struct RegionReport {
    /// Its name.
    pub name: &'static str,
    /// What its clients wrote.
    pub counts: Counts,
    /// The conflicts that it has resolved.
    pub conflicts: u64,
}

/// The whole report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Rows copied.
    pub loaded: u64,
    /// What took how long.
    pub phases: Vec<(&'static str, Duration)>,
    /// The regions.
    pub regions: Vec<RegionReport>,
    /// The tables, the same in every server.
    pub digests: Vec<Digest>,
    /// Rows parked when clients had written.
    pub parked: u64,
    /// Rows parked after airlines opened again.
    pub parked_after: u64,
    /// How many did.
    pub reopened: u64,
    /// What was found right.
    pub verified: Verified,
    /// The machine.
    pub machine: Machine,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "loaded     {} rows of five tables into us-east-1 by COPY\n",
            thousands(self.loaded)
        )?;
        let mut phases = Table::new(["phase", "seconds"]);
        for (phase, time) in &self.phases {
            phases.row([(*phase).to_owned(), format!("{:.1}", time.as_secs_f64())]);
        }
        writeln!(f, "{phases}")?;
        writeln!(f, "{}", self.writes())?;
        let mut tables = Table::new(["in all three servers", "rows", "md5"]);
        for digest in &self.digests {
            let rows = thousands(digest.rows.unsigned_abs());
            tables.row([digest.table.to_owned(), rows, digest.md5.clone()]);
        }
        writeln!(f, "{tables}")?;
        writeln!(
            f,
            "parked     {} flights whose airline another region had closed; \
             {} airlines opened again: {} parked",
            self.parked, self.reopened, self.parked_after
        )?;
        let verified = self.verified;
        writeln!(
            f,
            "verified   {} flights hold some region's last write ({} were written in several, {} are\n           \
             deleted); {} planes have new numbers, {} of them more than one, their flights with them;\n           \
             {} seats are the sum of all bookings; nothing else has changed",
            thousands(verified.flights),
            thousands(verified.contested),
            thousands(verified.deleted),
            thousands(verified.planes),
            thousands(verified.planes_contested),
            thousands(verified.seats.unsigned_abs())
        )?;
        writeln!(f, "machine    {}", self.machine)
    }
}

impl Report {
    fn writes(&self) -> Table {
        let mut table = Table::new([
            "transactions in",
            "updates",
            "inserts",
            "deletes",
            "planes",
            "bookings",
            "no row",
            "again",
            "conflicts",
        ]);
        for region in &self.regions {
            let counts = region.counts;
            let figures = [
                counts.updated,
                counts.inserted,
                counts.deleted,
                counts.renamed,
                counts.booked,
                counts.idle,
                counts.again,
                region.conflicts,
            ];
            let name = std::iter::once(region.name.to_owned());
            table.row(name.chain(figures.map(thousands)));
        }
        table
    }
}
