//! `meridian up --postgres`: servers that die, tables made under it, the first steps of the README, and
//! a machine without PostgreSQL.

mod support;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use support::local::{Local, PATIENCE, REGIONS};
use support::{eventually, free_base, meridian, text};

/// Kills a region's server; backends that are left end by themselves.
fn kill_server(system: &Local, region: usize) {
    let pid = system.server_process(region).expect("the server runs");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_server_that_dies_is_started_again_and_tables_made_under_way_replicate() {
    let system = Local::start(20_000, &[]);

    // No step is needed beside CREATE TABLE, whatever is written before it is noticed.
    for (region, name) in REGIONS.iter().enumerate() {
        system.sql(
            region,
            &format!(
                "CREATE TABLE made (id int PRIMARY KEY, by text);
                 INSERT INTO made VALUES ({region}, '{name}')"
            ),
        );
    }
    let made = "SELECT string_agg(by, ' ' ORDER BY id) FROM public.made";
    system.all_say(made, &REGIONS.join(" "));

    kill_server(&system, 1);
    system.sql(0, "INSERT INTO made VALUES (3, 'meanwhile')");
    let died = eventually("it is seen that the server died", PATIENCE, || {
        system.events("server-died").into_iter().next()
    });
    assert_eq!(died["region"], REGIONS[1], "{died}");
    assert!(died["restart_seconds"].as_f64().unwrap() <= 5.0, "{died}");
    eventually("it is started again", PATIENCE, || {
        (!system.events("server-started").is_empty()).then_some(())
    });
    system.sql(1, "INSERT INTO made VALUES (4, 'again')");
    system.all_say(made, &format!("{} meanwhile again", REGIONS.join(" ")));
    assert!(system.events("died").is_empty(), "no region died with it");

    // It keeps its rows in embedded tables, and there are none.
    let starting = system.events("starting");
    for region in starting[0]["regions"].as_array().unwrap() {
        assert_eq!(region["app"], serde_json::json!([]), "{region}");
    }

    the_first_steps_are_as_the_readme_says(&system);
    the_same_directory_is_refused_without_postgres(system);
}

fn the_same_directory_is_refused_without_postgres(mut system: Local) {
    system.stop();
    let base = free_base(21_000);
    // Whatever it says, it can't start.
    let _held = TcpListener::bind(("127.0.0.1", base)).unwrap();
    let output = system.output(&["up", "--base-port", &base.to_string()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("has dataset main with its rows in PostgreSQL servers"),
        "{said}"
    );
    assert!(said.contains("hint: start it with --postgres"), "{said}");
}

/// The commands of the README's block on PostgreSQL, as they stand there but for ports and paths.
fn the_first_steps_are_as_the_readme_says(system: &Local) {
    let directory = system.directory.path();
    std::os::unix::fs::symlink("data", directory.join(".meridian-postgres")).unwrap();
    let readme = include_str!("../../../README.md");
    let (_, after) = readme
        .split_once("`cargo run --release -- up --postgres --data-dir .meridian-postgres`")
        .unwrap();
    let block = after.split("```").nth(1).unwrap().trim();
    let steps: Vec<&str> = block.lines().collect();
    let (last, first) = steps.split_last().unwrap();
    assert!(
        block.contains("psql") && block.contains("schema apply"),
        "{block}"
    );
    let run = |line: &str| {
        let line = line.replace("target/release/meridian", env!("CARGO_BIN_EXE_meridian"));
        let line = (0..3).fold(line, |line, region| {
            let port = 7006 + 10 * region;
            let own = system.port(region).to_string();
            line.replace(&format!("-p {port}"), &format!("-p {own}"))
        });
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(directory);
        command.env("PGCONNECT_TIMEOUT", "10").output().unwrap()
    };
    for line in first {
        let output = run(line);
        assert!(output.status.success(), "{line}: {}", text(&output));
    }
    eventually("the last command shows the row", PATIENCE, || {
        text(&run(last)).contains("42 | tea").then_some(())
    });
}

#[test]
fn a_region_that_was_removed_is_added_again_with_its_server() {
    let system = Local::start(24_000, &[]);
    for region in 0..REGIONS.len() {
        system.sql(region, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    }
    let rows = "SELECT string_agg(id || v, ' ' ORDER BY id) FROM public.t";
    system.sql(0, "INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')");
    system.all_say(rows, "1a 2a 3a");
    let change = |verb: &str, arguments: &[&str]| {
        let output = system.output(&[&["regions", verb, REGIONS[2]], arguments].concat());
        assert!(
            output.status.success(),
            "{}\n{}",
            text(&output),
            system.said()
        );
    };

    change("remove", &["--timeout", "80"]);
    change("add", &["--timeout", "80"]);
    system.sql(2, "INSERT INTO t VALUES (4, 'b')");
    system.all_say(rows, "1a 2a 3a 4b");

    // What was written meanwhile is asked about: its server's rows are of a time when it counted.
    // The first time its process may have gone on: it was expected again before it had ended.
    let stopped = system.events("stopped").len();
    change("remove", &["--timeout", "80"]);
    eventually("nothing writes into its server", PATIENCE, || {
        (system.events("stopped").len() > stopped).then_some(())
    });
    system.sql(
        1,
        "UPDATE t SET v = 'c' WHERE id = 2; DELETE FROM t WHERE id = 3",
    );
    let mut add = system.command(&["regions", "add", REGIONS[2], "--timeout", "80"]);
    let add = add.stdout(Stdio::piped()).stderr(Stdio::piped());
    let add = add.spawn().unwrap();
    eventually("its server asks", PATIENCE, || {
        let output = system.output(&["postgres", "status"]);
        text(&output).contains("2 rows differ").then_some(())
    });
    let take = [
        "postgres", "attach", "--region", REGIONS[2], "--take", "regions",
    ];
    let taken = system.output(&take);
    assert!(taken.status.success(), "{}", text(&taken));
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success(), "{}", text(&added));
    system.all_say(rows, "1a 2c 4b");
    system.sql(2, "INSERT INTO t VALUES (5, 'd')");
    system.all_say(rows, "1a 2c 4b 5d");
}

#[test]
fn a_region_that_is_added_waits_for_the_tables_that_the_others_have_rows_of() {
    let system = Local::start(26_000, &[]);
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    for region in 0..REGIONS.len() {
        system.sql(region, table);
    }
    let rows = "SELECT string_agg(id || v, ' ' ORDER BY id) FROM public.t";
    system.sql(0, "INSERT INTO t VALUES (1, 'a')");
    system.all_say(rows, "1a");
    // One that no region has any more isn't waited for.
    for region in 0..REGIONS.len() {
        system.sql(region, "CREATE TABLE old (id int PRIMARY KEY)");
    }
    system.sql(0, "INSERT INTO old VALUES (1)");
    system.all_say("SELECT string_agg(id::text, ' ') FROM public.old", "1");
    for region in 0..REGIONS.len() {
        system.sql(region, "DROP TABLE old");
    }

    let newcomer = "eu-central-1";
    let mut add = system.command(&["regions", "add", newcomer, "--timeout", "80"]);
    let add = add.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut add = add.spawn().unwrap();
    let missing = "other regions replicate table public.t, this server doesn't";
    eventually("it says what its server lacks", PATIENCE, || {
        let output = system.output(&["postgres", "status"]);
        text(&output).contains(missing).then_some(())
    });
    assert!(add.try_wait().unwrap().is_none(), "it has not joined");

    system.sql(REGIONS.len(), table);
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success(), "{}", text(&added));
    eventually("its server has the row", PATIENCE, || {
        (system.ask(REGIONS.len(), rows) == "1a").then_some(())
    });

    // And of a table that came while it was no member.
    let output = system.output(&["regions", "remove", newcomer, "--timeout", "80"]);
    assert!(output.status.success(), "{}", text(&output));
    let another = "CREATE TABLE u (id int PRIMARY KEY, v text)";
    for region in 0..REGIONS.len() {
        system.sql(region, another);
    }
    system.sql(0, "INSERT INTO u VALUES (2, 'b')");
    let of_both =
        "SELECT string_agg(id || v, ' ') FROM (TABLE public.t UNION ALL TABLE public.u) t";
    system.all_say(of_both, "1a 2b");
    let mut add = system.command(&["regions", "add", newcomer, "--timeout", "80"]);
    let add = add.stdout(Stdio::piped()).stderr(Stdio::piped());
    let add = add.spawn().unwrap();
    eventually("it says what its server lacks", PATIENCE, || {
        let output = system.output(&["postgres", "status"]);
        text(&output)
            .contains("replicate table public.u")
            .then_some(())
    });
    system.sql(REGIONS.len(), another);
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success(), "{}", text(&added));
    eventually("its server has both rows", PATIENCE, || {
        (system.ask(REGIONS.len(), of_both) == "1a 2b").then_some(())
    });
}

#[test]
fn without_restart_a_server_that_dies_stays_down() {
    let system = Local::start(22_000, &["--no-restart"]);
    kill_server(&system, 0);
    let died = eventually("it is seen that the server died", PATIENCE, || {
        system.events("server-died").into_iter().next()
    });
    assert!(died["restart_seconds"].is_null(), "{died}");
    assert!(
        died["log"].as_str().unwrap().ends_with("server.log"),
        "{died}"
    );
    eventually("its region says so", PATIENCE, || {
        (system.standing(0)["state"] == "connecting").then_some(())
    });
    assert!(system.events("server-started").is_empty());
}

#[test]
fn a_machine_without_postgresql_is_told_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = directory.path().join("bin");
    std::fs::create_dir(&nothing).unwrap();
    // Where Debian keeps them can't be hidden: the variable names a place without any.
    let base = free_base(18_000).to_string();
    let output = meridian(directory.path())
        .args(["up", "--postgres", "--base-port", &base])
        .env("MERIDIAN_POSTGRES_BIN", &nothing)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("no PostgreSQL server found"), "{said}");
    assert!(
        said.contains("hint: install PostgreSQL 14 or later"),
        "{said}"
    );
    assert!(said.contains("apt-get install postgresql"), "{said}");
}
