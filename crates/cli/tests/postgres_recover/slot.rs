//! The slot is gone, and the server as it was.

use crate::support::eventually;
use crate::system::{PATIENCE, System};

#[test]
fn a_slot_that_is_dropped_under_way_is_made_again_and_nothing_is_lost() {
    let system = System::start(3);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    system.all_have("1=a 2=b 3=c");
    system.settles(0);
    // Nobody who comes in between finds a slot: the writes are with its end.
    let drop = "DO $$ BEGIN
        PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
        FOR i IN 1..500 LOOP
            EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE active);
            PERFORM pg_sleep(0.01);
        END LOOP;
        PERFORM pg_drop_replication_slot('meridian_shop');
        UPDATE public.items SET what = 'unseen' WHERE id = 1;
        DELETE FROM public.items WHERE id = 2;
        INSERT INTO public.items VALUES (4, 'unseen too');
    END $$";
    eventually("the slot is dropped", PATIENCE, || {
        system.root_sql(0, drop).ok()
    });
    system.sql(1, "UPDATE public.items SET what = 'there' WHERE id = 3");
    system.all_have("1=unseen 3=there 4=unseen too");
    system.sql(0, "DELETE FROM public.items WHERE id = 4");
    system.all_have("1=unseen 3=there");
}
