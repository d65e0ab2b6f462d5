//! A server that is put back to what it was before.

use crate::slot::{is_given, stock, waiting};
use crate::support::text;
use crate::system::{System, application, elsewhere, home};
use meridian_engine_postgres::local::Stop;

#[test]
fn a_server_restored_from_a_copy_of_its_files_is_brought_up_to_date() {
    let mut system = System::start(3);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);
    system.clusters[0].stop(Stop::Fast);
    let copy = system.file_copy(0);
    system.clusters[0].start().unwrap();
    system.sql(0, "UPDATE public.items SET what = 'lost' WHERE id = 1");
    system.sql(
        0,
        "INSERT INTO public.items SELECT g, 'more' FROM generate_series(10, 12) g",
    );
    system.sql(1, "DELETE FROM public.items WHERE id = 2");
    let all = "1=lost 10=more 11=more 12=more";
    system.all_have(all);
    system.kill_server(0);
    system.comes_back_on(0, copy);
    system.all_have(all);
    system.sql(0, "UPDATE public.items SET what = 'after' WHERE id = 1");
    system.all_have("1=after 10=more 11=more 12=more");
}

#[test]
fn a_server_restored_from_a_base_backup_whose_wal_has_grown_again_is_told_by_its_mark() {
    let mut system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);
    let backup = system.base_backup(0);
    system.sql(0, "UPDATE public.items SET what = 'lost' WHERE id = 1");
    system.all_have("1=lost 2=b");
    system.settles(0);
    system.kill_server(0);
    // The same timeline, as whoever starts a backup without recovery gets it; and its WAL ends far
    // behind what was captured.
    elsewhere(&backup, |cluster| {
        let grow = "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 4000000))";
        for _ in 0..9 {
            application(cluster, grow);
        }
    });
    system.comes_back_on(0, backup);
    system.all_have("1=lost 2=b");
    let postgres = system.stands(0, "it runs", |postgres| postgres["state"] == "running");
    assert_eq!(postgres["met"]["rows_to_write"], 1, "{postgres}");
}

#[test]
fn what_a_restored_server_writes_over_unseen_is_listed_as_a_conflict() {
    let mut system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a')");
    system.all_have("1=a");
    system.settles(0);
    let backup = system.base_backup(0);
    // What a sequence gives, and gives again after it went back.
    system.sql(0, "INSERT INTO public.items VALUES (65, 'first')");
    system.sql(0, "INSERT INTO public.items VALUES (97, 'same')");
    system.sql(1, "INSERT INTO public.items VALUES (34, 'there')");
    system.all_have("1=a 34=there 65=first 97=same");
    system.settles(0);
    system.kill_server(0);
    elsewhere(&backup, |cluster| {
        application(
            cluster,
            "INSERT INTO public.items VALUES (34, 'here'), (65, 'second'), (97, 'same'), (129, 'new')",
        );
    });
    system.comes_back_on(0, backup);
    system.all_have("1=a 34=here 65=second 97=same 129=new");
    // The other region's row is listed by what the write had seen, the own one for what it is.
    for region in 0..2 {
        system.lists(
            region,
            &[
                ("34", Some("there"), Some("here")),
                ("65", Some("first"), Some("second")),
            ],
        );
    }
}

#[test]
fn what_a_restored_server_writes_over_before_it_is_given_its_rows_is_listed_too() {
    let mut system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a')");
    system.all_have("1=a");
    system.settles(0);
    let backup = system.base_backup(0);
    system.sql(0, "INSERT INTO public.items VALUES (65, 'first')");
    system.all_have("1=a 65=first");
    system.settles(0);
    system.down();
    system.kill_server(0);
    system.comes_back_on(0, backup);
    crate::support::local::run(async {
        let client = system.clusters[0].connect("shop", "clerk").await.unwrap();
        // It can be read, but not written by others.
        let lock = "BEGIN; LOCK TABLE public.items IN SHARE ROW EXCLUSIVE MODE";
        client.batch_execute(lock).await.unwrap();
        system.up();
        system.stands(0, "rows were compared", |postgres| {
            postgres["state"] == "running" && postgres["met"]["rows_to_write"] == 1
        });
        let again = "INSERT INTO public.items VALUES (65, 'second'); COMMIT";
        client.batch_execute(again).await.unwrap();
    });
    system.all_have("1=a 65=second");
    for region in 0..2 {
        system.lists(region, &[("65", Some("first"), Some("second"))]);
    }
}

#[test]
fn what_a_restored_server_writes_over_is_listed_though_the_region_is_killed_before_it_has_its_rows()
{
    let mut system = System::start(2);
    // Where it is asked for, the region itself can write nothing.
    let keep_out = "CREATE FUNCTION public.keep_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('application_name') = 'meridian apply'
                AND current_setting('test.keep_out', true) = 'on' THEN
                RAISE 'not now' USING ERRCODE = 'lock_not_available';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER keep_out BEFORE INSERT OR UPDATE ON public.items
            FOR EACH ROW EXECUTE FUNCTION public.keep_out()";
    system.root_sql(0, keep_out).unwrap();
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a')");
    system.all_have("1=a");
    system.settles(0);
    let backup = system.base_backup(0);
    let lost = "INSERT INTO public.items VALUES (65, 'first'), (66, 'lost'), (67, 'first too')";
    system.sql(0, lost);
    system.all_have("1=a 65=first 66=lost 67=first too");
    system.settles(0);
    system.down();
    system.kill_server(0);
    system.comes_back_with(0, backup, &[("test.keep_out", "on")]);
    system.up();
    system.stands(0, "rows were compared", |postgres| {
        postgres["state"] == "running" && postgres["met"]["rows_to_write"] == 3
    });
    system.sql(0, "INSERT INTO public.items VALUES (65, 'second')");
    system.lists(0, &[("65", Some("first"), Some("second"))]);
    system.kill(0);
    // Of the first row the application has seen what stands, of the other one it hasn't.
    let more = "UPDATE public.items SET what = 'third' WHERE id = 65; \
                INSERT INTO public.items VALUES (67, 'second too')";
    system.sql(0, more);
    let let_in = "DROP TRIGGER keep_out ON public.items; DROP FUNCTION public.keep_out";
    system.root_sql(0, let_in).unwrap();
    system.revive();
    system.all_have("1=a 65=third 66=lost 67=second too");
    for region in 0..2 {
        system.lists(
            region,
            &[
                ("65", Some("first"), Some("second")),
                ("67", Some("first too"), Some("second too")),
            ],
        );
    }
}

#[test]
fn another_server_with_empty_tables_is_filled() {
    let mut system = System::start(2);
    system.sql(
        0,
        "INSERT INTO public.items SELECT g, 'row' FROM generate_series(1, 3) g",
    );
    system.all_have("1=row 2=row 3=row");
    system.kill_server(0);
    system.comes_back_on(0, home());
    crate::support::local::run(system.clusters[0].create_database_of("shop", "clerk")).unwrap();
    let schema = "CREATE TABLE public.items (id int PRIMARY KEY, what text NOT NULL)";
    system.sql(0, schema);
    system.prepare();
    system.all_have("1=row 2=row 3=row");
    system.sql(0, "DELETE FROM public.items WHERE id = 2");
    system.all_have("1=row 3=row");
}

#[test]
fn rows_that_a_restored_server_had_yet_to_be_given_then_are_not_taken_for_deleted() {
    let (mut system, runtime, writer) = waiting();
    let backup = system.base_backup(0);
    runtime.block_on(writer.batch_execute("ROLLBACK")).unwrap();
    let (some, all) = ("1=a 2=b", "1=a 2=b 3=c 4=d");
    is_given(&system, some, all);
    system.settles(0);
    system.kill_server(0);
    system.comes_back_on(0, backup);
    // Somebody may have written there meanwhile.
    let asks = system.stands(0, "it asks", |postgres| {
        let there = stock(&system, 1);
        assert_eq!(there.as_deref(), Some(all), "rows were deleted everywhere");
        postgres["state"] == "stopped"
    });
    assert_eq!(asks["differing"][0]["keys"], serde_json::json!(["3", "4"]));
    let said = system.attach(0, &["--take", "regions"]);
    assert!(said.status.success(), "{}", text(&said));
    is_given(&system, some, all);
}
