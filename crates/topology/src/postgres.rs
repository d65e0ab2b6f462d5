//! A dataset whose rows are in PostgreSQL: where each region's server is.

use crate::pattern::TablePattern;
use meridian_model::RegionName;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a dataset with `engine = "postgres"` has beside what every dataset has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Postgres {
    /// Tables that it leaves out of those that it names.
    pub exclude: Vec<TablePattern>,
    /// Each region's server. Out of a file, every region has one.
    pub servers: BTreeMap<RegionName, PostgresServer>,
}

/// A region's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresServer {
    /// `postgresql://USER@HOST:PORT/DATABASE`, without password.
    pub url: String,
    /// Where the password is, if one is needed.
    pub password: Option<Password>,
    /// The authorities that vouch for the server (PEM), if not the system's.
    pub root_certificates: Option<PathBuf>,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Environment(String),
}

/// The schemes that a server's URL can have.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// What is wrong with a server's URL: the reason, and what to do. Whoever connects looks closer.
pub(crate) fn url_fault(url: &str) -> Option<(&'static str, &'static str)> {
    const FORM: &str = "write it as postgresql://USER@HOST:PORT/DATABASE";
    let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Some(("`url` isn't a PostgreSQL URL", FORM));
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, host)) = server.rsplit_once('@') else {
        return Some(("`url` names no user", FORM));
    };
    let holds_password = user.contains(':')
        || query
            .split('&')
            .any(|parameter| parameter.starts_with("password="));
    if holds_password {
        return Some((
            "`url` holds a password, and this file is read in every region",
            "put it into a file or an environment variable: password-file or password-env",
        ));
    }
    if user.is_empty() || host.is_empty() || database.is_empty() {
        return Some(("`url` lacks the user, the host or the database", FORM));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "postgresql://meridian@db.example:5432/shop",
            "postgres://m@[::1]:5432/shop?sslmode=verify-full",
        ] {
            assert_eq!(url_fault(good), None, "{good}");
        }
        for (bad, word) in [
            ("mysql://a@b/c", "PostgreSQL"),
            ("postgresql://b/c", "user"),
            ("postgresql://a:secret@b/c", "password"),
            ("postgresql://a@b/c?password=secret", "password"),
            ("postgresql://a@b", "database"),
            ("postgresql://a@/c", "host"),
        ] {
            let (reason, _) = url_fault(bad).unwrap();
            assert!(reason.contains(word) && !reason.contains("secret"), "{bad}");
        }
    }
}
