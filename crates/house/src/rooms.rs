//! The rooms, from the ground up.
//!
//! A room may depend on rooms that stand before it in the list, and of these only on the ones that
//! it names: so dependencies point one way, and a new one is a decision that shows in a diff here.

/// A crate of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its package's name without `meridian-`.
    pub name: &'static str,
    /// The rooms that it may be built with.
    pub on: &'static [&'static str],
}

const fn at(name: &'static str, on: &'static [&'static str]) -> Room {
    Room { name, on }
}

/// Every room, in an order in which each stands on earlier ones.
pub const ROOMS: &[Room] = &[
    at("model", &[]),
    at("link", &[]),
    at("house", &[]),
    at("dns", &[]),
    at("app", &[]),
    at("merge", &["model"]),
    at("log", &["model"]),
    at("check", &["model"]),
    at("health", &["model"]),
    at("topology", &["model", "health"]),
    at("steer", &["model", "topology", "health"]),
    at("replicate", &["model", "log"]),
    at("engine-kv", &["model", "merge", "replicate"]),
    at("engine-postgres", &["model", "topology"]),
    at(
        "sim",
        &[
            "model",
            "log",
            "check",
            "health",
            "topology",
            "steer",
            "replicate",
            "engine-kv",
            "engine-postgres",
        ],
    ),
    at("backup", &["model", "replicate", "engine-kv"]),
    at(
        "node",
        &[
            "model",
            "link",
            "log",
            "health",
            "topology",
            "health",
            "steer",
            "dns",
            "replicate",
            "engine-kv",
            "engine-postgres",
            "backup",
        ],
    ),
    at(
        "cli",
        &[
            "model",
            "link",
            "health",
            "topology",
            "engine-kv",
            "engine-postgres",
            "backup",
            "node",
            "app",
        ],
    ),
    at(
        "bench",
        &["model", "topology", "steer", "dns", "engine-postgres"],
    ),
    at("flights", &["model", "bench"]),
    at("nycflights", &["bench"]),
];

/// The rooms on which no tests stand: what they hold is run, not built on.
const TOPS: &[&str] = &["house", "sim", "cli", "bench", "flights"];

/// The rooms that read no clock, draw no randomness of their own and never wait.
pub const PURE: &[&str] = &[
    "model",
    "merge",
    "log",
    "topology",
    "check",
    "replicate",
    "engine-kv",
    "sim",
    "health",
    "steer",
];

/// The room of this name.
#[must_use]
pub fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// Whether one room may depend on another. The tests of a room may use any other, even one that
/// stands on it (cargo builds tests last), but not the binaries' rooms.
#[must_use]
pub fn allowed(from: &str, to: &str, in_tests: bool) -> bool {
    let place = |name: &str| ROOMS.iter().position(|room| room.name == name);
    let (Some(from), Some(to_place)) = (place(from), place(to)) else {
        return false;
    };
    if in_tests {
        return !TOPS.contains(&to);
    }
    to_place < from && ROOMS[from].on.contains(&to)
}

/// What the list itself gets wrong: rooms that name later ones, or none at all.
#[must_use]
pub fn undeclared() -> Vec<(&'static str, &'static str)> {
    let edges = ROOMS
        .iter()
        .flat_map(|room| room.on.iter().map(|on| (room.name, *on)));
    edges
        .filter(|(from, to)| !allowed(from, to, false))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_stands_on_itself() {
        assert_eq!(undeclared(), []);
    }

    #[test]
    fn upwards_and_sideways_are_not_allowed() {
        assert!(allowed("merge", "model", false));
        assert!(!allowed("model", "merge", false));
        assert!(!allowed("merge", "log", false));
        assert!(!allowed("node", "sim", false));
        assert!(!allowed("merge", "merge", false));
        assert!(!allowed("merge", "attic", true));
    }

    #[test]
    fn tests_may_use_every_room_but_the_binaries() {
        assert!(!allowed("replicate", "engine-kv", false));
        assert!(allowed("replicate", "engine-kv", true));
        assert!(!allowed("replicate", "sim", true));
    }
}
