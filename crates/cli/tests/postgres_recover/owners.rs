//! Who owns what Meridian keeps in a server.

use crate::support::text;
use crate::system::System;

#[test]
fn a_migration_that_could_not_be_prepared_is_not_begun() {
    let system = System::start(2);
    let hand_over = "ALTER PUBLICATION meridian_shop OWNER TO postgres";
    system.root_sql(1, hand_over).unwrap();
    let apply = |name: &str, sql: &str| {
        std::fs::write(system.path().join(name), sql).unwrap();
        system.meridian(&["schema", "apply", name, "--config", "meridian.toml"])
    };
    let table = "CREATE TABLE public.more (id int PRIMARY KEY)";
    let said = apply("0001_more.sql", table);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    let owned = "publication meridian_shop belongs to postgres";
    assert!(text(&said).contains(owned), "{}", text(&said));
    assert!(text(&said).contains("eu-west-1"), "{}", text(&said));
    let is_there = "SELECT (to_regclass('public.more') IS NOT NULL)::text";
    for region in 0..2 {
        assert_eq!(system.ask(region, is_there).as_deref(), Some("false"));
    }
    // What leaves the publication as it is needs no leave of its owner.
    let said = apply("0002_index.sql", "CREATE INDEX ON public.items (what)");
    assert!(said.status.success(), "{}", text(&said));

    let hand_back = "ALTER PUBLICATION meridian_shop OWNER TO clerk";
    system.root_sql(1, hand_back).unwrap();
    let said = apply("0001_more.sql", table);
    assert!(said.status.success(), "{}", text(&said));
    system.sql(0, "INSERT INTO public.more VALUES (1)");
    crate::support::eventually("it replicates", crate::system::PATIENCE, || {
        let count = "SELECT count(*)::text FROM public.more";
        (system.ask(1, count).as_deref() == Some("1")).then_some(())
    });
}
