//! Clocks that are wrong, up to ten seconds apart: who wins may be a surprise, who agrees is not.

use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text);";
const ALL: &str = "SELECT id || ':' || v FROM public.t ORDER BY id";

#[test]
fn clocks_apart() {
    let system = System::start(SCHEMA);
    system.sql(
        1,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    system.set_clock_off(0, 5_000);
    system.set_clock_off(2, -5_000);
    // What was seen is overwritten, whatever the clocks say.
    for (turn, region) in [0, 2, 1, 2, 0, 2].into_iter().enumerate() {
        let value = format!("turn {turn}");
        system.sql(
            region,
            &format!("UPDATE public.t SET v = '{value}' WHERE id = 1"),
        );
        for other in 0..3 {
            system.wait_for(other, "SELECT v FROM public.t WHERE id = 1", &value);
        }
    }
    // What wasn't seen is decided by the clocks: the fast one wins, though it wrote first.
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
    system.write(0, "UPDATE public.t SET v = 'fast' WHERE id IN (2, 3)");
    system.write(1, "UPDATE public.t SET v = 'right' WHERE id = 2");
    system.write(2, "DELETE FROM public.t WHERE id = 3");
    system.heal();
    system.expect(ALL, "1:turn 5\n2:fast\n3:fast");
    // And a slow one that has heard of it deletes it all the same.
    system.sql(2, "DELETE FROM public.t WHERE id = 3");
    system.expect(ALL, "1:turn 5\n2:fast");
}

#[test]
fn a_clock_that_jumps_back_while_its_region_is_away() {
    let mut system = System::start(SCHEMA);
    system.set_clock_off(0, 5_000);
    system.sql(0, "INSERT INTO public.t VALUES (1, 'ahead'), (2, 'ahead')");
    system.barrier();
    // The fault ends with the process: its clock is five seconds before what it has given out.
    system.kill(0);
    system.start_region(0);
    system.wait_running(0);
    system.sql(0, "UPDATE public.t SET v = 'after' WHERE id = 1");
    system.sql(1, "UPDATE public.t SET v = 'b' WHERE id = 2");
    system.expect(ALL, "1:after\n2:b");
}
