//! A region that reached one peer only and is then gone for good: the survivors agree, its last
//! transactions included. And a delete stays deleted.

use crate::system::System;

#[test]
fn a_dead_regions_last_transactions_reach_everybody_through_the_one_it_reached() {
    let mut system = System::start(&["a", "b", "c"], "");
    system.put(0, "before", "1");
    system.wait_converged(&[0, 1, 2]);
    // From now on c hears nothing of a, and not of b either: only b hears a.
    system.part(2, 0);
    system.part(2, 1);
    for step in 0..50 {
        assert_eq!(
            system.put(0, &format!("last-{step}"), "\"words\"").status,
            201
        );
    }
    system.until("b holds them", || {
        system
            .client(1)
            .row("last-49")
            .is_ok_and(|reply| reply.status == 200)
    });
    assert_eq!(
        system.client(2).row("last-49").expect("an answer").status,
        404
    );
    system.kill(0);
    std::fs::remove_dir_all(system.data_dir(0)).expect("gone for good");
    system.heal();
    system.wait_converged(&[1, 2]);
    assert_eq!(
        system.client(2).row("last-49").expect("an answer").body,
        "\"words\""
    );
}

#[test]
fn a_delete_stays_deleted_when_an_older_update_arrives_later_by_another_way() {
    let system = System::start(&["a", "b", "c"], "");
    system.put(0, "row", "1");
    system.wait_converged(&[0, 1, 2]);
    // a's update reaches nobody yet; b, which hasn't seen it, deletes the row later.
    system.part(0, 1);
    system.part(0, 2);
    assert_eq!(system.put(0, "row", "2").status, 200);
    assert_eq!(
        system.client(1).delete("row").expect("an answer").status,
        204
    );
    system.until("c has the delete", || {
        system
            .client(2)
            .row("row")
            .is_ok_and(|reply| reply.status == 404)
    });
    // a hears only c, and c only a: the update arrives after the delete, by another way.
    system.heal();
    system.part(0, 1);
    system.wait_converged(&[0, 1, 2]);
    for region in 0..3 {
        assert_eq!(
            system.client(region).row("row").expect("an answer").status,
            404
        );
    }
}
