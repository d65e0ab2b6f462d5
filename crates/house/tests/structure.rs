//! The workspace keeps the house rules.

use meridian_house::{PURE, ROOMS, allowed, code_paths, links, room};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().unwrap()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let told = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    told["packages"].as_array().unwrap().clone()
}

fn short(name: &Value) -> Option<&str> {
    name.as_str()?.strip_prefix("meridian-")
}

/// The pages of the repository: at its root, in `docs`, and beside the benchmarks and examples.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    collect(&root().join("docs"), &mut pages);
    collect(&root().join("bench"), &mut pages);
    collect(&root().join("examples"), &mut pages);
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

fn collect(directory: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

#[test]
fn every_crate_is_a_known_room() {
    let packages = packages();
    let found: BTreeSet<_> = packages
        .iter()
        .filter_map(|package| short(&package["name"]))
        .collect();
    let known: BTreeSet<_> = ROOMS.iter().map(|room| room.name).collect();
    assert_eq!(
        found, known,
        "keep crates/house/src/rooms.rs and ARCHITECTURE.md in step"
    );
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for package in packages() {
        let Some(from) = short(&package["name"]) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let Some(to) = short(&dependency["name"]) else {
                continue;
            };
            let in_tests = dependency["kind"] == "dev";
            if !allowed(from, to, in_tests) {
                wrong.push(format!("{from} depends on {to}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:#?}\nwhat may depend on what is in crates/house/src/rooms.rs"
    );
}

#[test]
fn pure_rooms_are_linted_as_such() {
    let rules = root().join("clippy-pure.toml").canonicalize().unwrap();
    for name in PURE {
        assert!(room(name).is_some(), "{name} is no room");
        let own = root().join("crates").join(name).join("clippy.toml");
        let own = own
            .canonicalize()
            .unwrap_or_else(|error| panic!("{}: {error}", own.display()));
        assert_eq!(own, rules);
    }
}

#[test]
fn the_architecture_names_every_room() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = code_paths(&page);
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let directory = manifest
            .parent()
            .unwrap()
            .strip_prefix(root())
            .unwrap()
            .to_owned();
        let is_named = named
            .iter()
            .any(|path| Path::new(path.trim_end_matches('/')) == directory);
        assert!(
            is_named,
            "ARCHITECTURE.md doesn't name `{}`",
            directory.display()
        );
    }
}

#[test]
fn pages_name_what_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let spans = code_paths(&text).into_iter().map(|path| root().join(path));
        let beside = page.parent().unwrap();
        let targets = links(&text).into_iter().map(|target| beside.join(target));
        for path in spans.chain(targets).filter(|path| !path.exists()) {
            missing.push(format!("{}: {}", page.display(), path.display()));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_book_lists_every_page() {
    let docs = root().join("docs");
    let contents = fs::read_to_string(docs.join("README.md")).unwrap();
    let listed: BTreeSet<_> = links(&contents)
        .into_iter()
        .map(|target| docs.join(target))
        .collect();
    let mut found = Vec::new();
    collect(&docs, &mut found);
    found.retain(|page| !page.ends_with("docs/README.md") && !listed.contains(page));
    assert!(
        found.is_empty(),
        "docs/README.md doesn't link to {found:#?}"
    );
}
