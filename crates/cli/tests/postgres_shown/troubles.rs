//! What can be wrong with a server: each is said, mended by what the hint says, and nothing is lost.

use crate::support::local::run;
use crate::support::{eventually, text};
use crate::system::{PATIENCE, System};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::Capture;
use meridian_engine_postgres::local::Stop;
use meridian_engine_postgres::tag::TagKey;

const SCHEMA: &str = "CREATE TABLE public.notes (id int PRIMARY KEY, what text)";
const RELOAD: &str = "SELECT pg_reload_conf()";

/// Lets the superuser in, and everybody else by this rule.
fn rules(system: &System, rule: &str) {
    let text = format!("host all postgres 127.0.0.1/32 trust\n{rule}\n");
    std::fs::write(system.clusters[0].data().join("pg_hba.conf"), text).unwrap();
    system.admin(RELOAD);
    system.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'");
}

/// Writes as the superuser, whatever clerk may.
fn write(system: &System, id: usize) {
    let insert = format!("INSERT INTO public.notes VALUES ({id}, 'written')");
    run(async {
        let client = system.clusters[0]
            .connect("shop", "postgres")
            .await
            .unwrap();
        client.batch_execute(&insert).await.unwrap();
    });
}

/// All is well again, with what was written meanwhile.
fn is_well(system: &System, id: usize) {
    let status = system.wait_for_state(0, "running");
    assert!(status["reason"].is_null(), "{status}");
    system.wait_for_row("public.notes", &id.to_string());
}

#[test]
fn a_wrong_password_and_a_rule_against_the_user_are_told_and_the_right_one_is_enough() {
    let system = System::prepared(1, SCHEMA);
    system.admin("ALTER ROLE clerk PASSWORD 'right'");
    let password = system.path().join("password");
    std::fs::write(&password, "wrong").unwrap();
    system.write_topology("password-file = \"password\"");
    rules(&system, "host all clerk 127.0.0.1/32 scram-sha-256");
    let mut system = system;
    system.up();
    let status = system.wait_for_trouble("stopped", "password authentication failed");
    assert!(status["hint"].as_str().unwrap().contains("pg_hba.conf"));
    let shown = text(&system.meridian(&["status"]));
    let trouble = "dataset shop: capture from its PostgreSQL server is stopped: ";
    assert!(shown.contains(trouble), "{shown}");
    write(&system, 1);
    std::fs::write(&password, "right").unwrap();
    is_well(&system, 1);
    rules(&system, "host all clerk 127.0.0.1/32 reject");
    system.wait_for_trouble("stopped", "pg_hba.conf");
    write(&system, 2);
    assert!(system.status(0)["lag_seconds"].as_f64().unwrap() > 0.0);
    rules(&system, "host all clerk 127.0.0.1/32 trust");
    is_well(&system, 2);
}

#[test]
fn a_database_that_is_not_there_is_told_and_taken_when_it_comes() {
    let mut system = System::prepared(1, SCHEMA);
    write(&system, 1);
    system.admin("ALTER DATABASE shop RENAME TO away");
    system.up();
    let status = system.wait_for_trouble("stopped", "database \"shop\" does not exist");
    assert!(
        status["hint"]
            .as_str()
            .unwrap()
            .contains("create the database")
    );
    system.admin("ALTER DATABASE away RENAME TO shop");
    is_well(&system, 1);
}

#[test]
fn wal_that_tells_of_no_rows_is_said_with_what_to_do() {
    let mut system = System::prepared(1, SCHEMA);
    write(&system, 1);
    system.clusters[0].set_parameter("wal_level", "replica");
    system.clusters[0].restart(Stop::Fast).unwrap();
    system.up();
    let status = system.wait_for_trouble("stopped", "wal_level is replica");
    let hint = status["hint"].as_str().unwrap();
    assert!(hint.contains("ALTER SYSTEM SET wal_level"), "{status}");
    system.clusters[0].set_parameter("wal_level", "logical");
    system.clusters[0].restart(Stop::Fast).unwrap();
    is_well(&system, 1);
}

#[test]
fn a_slot_that_somebody_else_reads_is_waited_for() {
    let mut system = System::start(1, SCHEMA);
    system.down();
    let directory = tempfile::tempdir().unwrap();
    let key = TagKey::open(&directory.path().join("tag.key")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (slot, spool) = ("meridian_shop", directory.path().join("spool"));
    let other = runtime.block_on(async {
        eventually("the slot is free", PATIENCE, || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    Capture::start(&system.servers[0], slot, slot, Lsn(0), &key, &spool)
                        .await
                        .ok()
                })
            })
        })
    });
    system.up();
    let status = system.wait_for_trouble("connecting", "is read by somebody else (process ");
    assert!(
        status["hint"]
            .as_str()
            .unwrap()
            .contains("pg_stat_replication")
    );
    write(&system, 1);
    drop(other);
    drop(runtime);
    is_well(&system, 1);
}

#[test]
fn slots_and_connections_that_are_used_up_are_waited_for() {
    let mut system = System::prepared(1, SCHEMA);
    let others = "SELECT pg_create_physical_replication_slot('other_' || n)
                  FROM generate_series(1, current_setting('max_replication_slots')::int) n";
    system.admin(others);
    system.up();
    let status = system.wait_for_trouble("connecting", "all replication slots are in use");
    assert!(
        status["hint"].as_str().unwrap().contains("tried again"),
        "{status}"
    );
    write(&system, 1);
    system.admin("SELECT pg_drop_replication_slot('other_1')");
    is_well(&system, 1);
    system.admin("ALTER ROLE clerk CONNECTION LIMIT 1");
    system.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'");
    let status = system.wait_for_trouble("connecting", "too many connections");
    assert!(
        status["hint"].as_str().unwrap().contains("tried again"),
        "{status}"
    );
    write(&system, 2);
    system.admin("ALTER ROLE clerk CONNECTION LIMIT -1");
    is_well(&system, 2);
}

#[test]
fn a_server_that_is_restarted_or_killed_is_gone_on_with() {
    let mut system = System::start(1, SCHEMA);
    write(&system, 1);
    is_well(&system, 1);
    system.clusters[0].stop(Stop::Fast);
    system.wait_for_trouble("connecting", "");
    system.clusters[0].start().unwrap();
    write(&system, 2);
    is_well(&system, 2);
    let pid = rustix::process::Pid::from_raw(system.clusters[0].pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    system.wait_for_trouble("connecting", "");
    system.clusters[0].stop(Stop::Immediate);
    // The backends of one that was killed end by themselves, in their time.
    eventually("it starts", PATIENCE, || system.clusters[0].start().ok());
    write(&system, 3);
    is_well(&system, 3);
    is_well(&system, 2);
}

#[test]
fn a_table_without_a_key_is_left_out_though_somebody_publishes_it() {
    let system = System::start(1, SCHEMA);
    system.sql(0, "CREATE TABLE public.heap (what text)");
    let mut command = crate::support::meridian(system.path());
    let prepared = command.args(["postgres", "prepare"]).output().unwrap();
    assert_eq!(prepared.status.code(), Some(1));
    assert!(
        text(&prepared).contains("public.heap"),
        "{}",
        text(&prepared)
    );
    system.sql(0, "ALTER PUBLICATION meridian_shop ADD TABLE public.heap");
    system.sql(0, "INSERT INTO public.heap VALUES ('one'), ('two')");
    write(&system, 1);
    is_well(&system, 1);
    let tables = system.meridian(&["tables", "list"]);
    assert!(!text(&tables).contains("heap"), "{}", text(&tables));
}

/// Waits until the region runs and notices this, or nothing.
fn wait_for_notice(system: &System, words: Option<&str>) {
    eventually(&format!("{words:?} is noticed"), PATIENCE, || {
        let status = system.status(0);
        let notices = status["notices"].as_array().cloned().unwrap_or_default();
        let is_said = match words {
            Some(words) => notices
                .iter()
                .any(|it| it.as_str().is_some_and(|it| it.contains(words))),
            None => notices.is_empty(),
        };
        (is_said && status["state"] == "running").then_some(())
    });
}

#[test]
fn a_publication_that_leaves_something_out_stops_its_region_until_it_is_whole() {
    let system = System::start(2, SCHEMA);
    write(&system, 1);
    is_well(&system, 1);
    let first = "SELECT max(what) FROM public.notes WHERE id = 1";
    system.wait_for(1, first, "written");
    let version = system.ask(0, "SELECT current_setting('server_version_num')");
    let has_filters = version.parse::<u32>().unwrap() >= 150_000;
    let alter = [
        "SET (publish = 'insert, delete, truncate')",
        "SET TABLE public.notes WHERE (id > 1)",
    ];
    let alter = &alter[..if has_filters { 2 } else { 1 }];
    for (id, alter) in alter.iter().enumerate() {
        system.sql(0, &format!("ALTER PUBLICATION meridian_shop {alter}"));
        system.wait_for_trouble("stopped", "leaves out");
        let unseen = format!("UPDATE public.notes SET what = 'unseen {id}' WHERE id = 1");
        system.sql(0, &unseen);
        system.prepare();
        write(&system, id + 2);
        is_well(&system, id + 2);
        system.wait_for(1, first, &format!("unseen {id}"));
    }
}

#[test]
fn what_has_changed_since_a_server_was_prepared_is_noticed_while_all_goes_on() {
    let system = System::start(1, SCHEMA);
    write(&system, 1);
    is_well(&system, 1);
    wait_for_notice(&system, None);
    system.sql(
        0,
        "CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN NEW.what := now()::text; RETURN NEW; END'; \
         CREATE TRIGGER stamps BEFORE INSERT OR UPDATE ON public.notes \
         FOR EACH ROW EXECUTE FUNCTION public.stamp()",
    );
    wait_for_notice(&system, Some("trigger stamps"));
    let shown = system.meridian(&["postgres", "status"]);
    assert!(text(&shown).contains("trigger stamps"), "{}", text(&shown));
    write(&system, 2);
    is_well(&system, 2);
    system.sql(0, "DROP TRIGGER stamps ON public.notes");
    wait_for_notice(&system, None);
    let out = "ALTER PUBLICATION meridian_shop DROP TABLE public.notes";
    system.sql(0, out);
    wait_for_notice(&system, Some("public.notes: it replicated"));
    system.prepare();
    wait_for_notice(&system, None);
    write(&system, 3);
    is_well(&system, 3);
}

#[test]
fn a_replica_identity_that_says_too_little_stops_with_the_reason() {
    let schema = "CREATE TABLE public.notes (id int PRIMARY KEY, what text);
                  ALTER TABLE public.notes ALTER what SET STORAGE EXTERNAL";
    let system = System::start(1, schema);
    write(&system, 1);
    is_well(&system, 1);
    // Less than all is enough as long as nothing is left out.
    system.sql(0, "ALTER TABLE public.notes REPLICA IDENTITY DEFAULT");
    system.sql(
        0,
        "UPDATE public.notes SET what = repeat('x', 9000) WHERE id = 1",
    );
    write(&system, 2);
    is_well(&system, 2);
    system.sql(0, "ALTER TABLE public.notes ADD n int");
    is_well(&system, 2);
    system.sql(0, "UPDATE public.notes SET n = 1 WHERE id = 1");
    let status = system.wait_for_trouble("stopped", "doesn't say what column what was");
    let hint = status["hint"].as_str().unwrap();
    assert!(hint.contains("`meridian postgres detach`"), "{hint}");
    let done = |arguments: &[&str]| {
        let said =
            system.meridian(&[&["postgres"], arguments, &["--region", "us-east-1"]].concat());
        assert!(said.status.success(), "{}", text(&said));
    };
    done(&["detach"]);
    system.prepare();
    done(&["attach", "--take", "server"]);
    is_well(&system, 2);
    system.sql(0, "UPDATE public.notes SET n = 2 WHERE id = 1");
    eventually("it is captured", PATIENCE, || {
        let got = text(&system.meridian(&["tables", "get", "public.notes", "1"]));
        got.contains(r#""n":"2""#).then_some(())
    });
}

#[test]
fn a_server_that_speaks_no_tls_is_told_where_tls_is_asked_for() {
    let mut system = System::prepared(1, SCHEMA);
    let plain = system.servers[0].url.clone();
    system.servers[0].url = plain.replace("sslmode=disable", "sslmode=verify-full");
    system.write_topology("");
    system.servers[0].url = plain;
    system.up();
    let status = system.wait_for_trouble("stopped", "TLS");
    assert!(
        status["hint"]
            .as_str()
            .unwrap()
            .contains("root-certificates")
    );
    write(&system, 1);
    system.down();
    system.write_topology("");
    system.up();
    is_well(&system, 1);
}

#[test]
fn read_only_by_default_is_for_the_applications() {
    let system = System::start(2, SCHEMA);
    system.admin("ALTER DATABASE shop SET default_transaction_read_only = on");
    system.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'");
    system.sql(1, "INSERT INTO public.notes VALUES (5, 'from afar')");
    system.wait_for(0, "SELECT count(*)::text FROM public.notes", "1");
    system.wait_for_state(0, "running");
}
