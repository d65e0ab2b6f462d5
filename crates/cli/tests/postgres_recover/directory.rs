//! A region's data directory that is put back to what it was before.

use crate::system::{System, copy};

#[test]
fn a_data_directory_restored_from_an_older_copy_catches_up_with_its_server() {
    let mut system = System::start(3);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);
    system.down();
    let kept = system.path().join("kept");
    copy(&system.region_directory(0), &kept);
    system.up();
    system.sql(0, "UPDATE public.items SET what = 'later' WHERE id = 1");
    system.sql(1, "UPDATE public.items SET what = 'there' WHERE id = 2");
    system.all_have("1=later 2=there");
    system.settles(0);
    system.down();
    std::fs::remove_dir_all(system.region_directory(0)).unwrap();
    copy(&kept, &system.region_directory(0));
    system.sql(
        0,
        "INSERT INTO public.items VALUES (3, 'while nobody looked')",
    );
    system.up();
    system.all_have("1=later 2=there 3=while nobody looked");
    system.sql(0, "UPDATE public.items SET what = 'after' WHERE id = 2");
    system.all_have("1=later 2=after 3=while nobody looked");
}
