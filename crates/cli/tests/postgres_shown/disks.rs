//! A server whose disk is full, one whose certificate doesn't hold, and one that lacks a type.

use crate::support::disk::SmallDisk;
use crate::support::eventually;
use crate::support::local::run;
use crate::system::{PATIENCE, System};
use meridian_engine_postgres::local::{Cluster, Stop};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const SCHEMA: &str = "CREATE TABLE public.notes (id int PRIMARY KEY, what text)";

fn as_superuser(system: &System, region: usize, statements: &[&str]) {
    run(async {
        let client = system.clusters[region].connect("shop", "postgres").await;
        let client = client.unwrap();
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
    });
}

#[test]
fn a_server_whose_disk_is_full_is_waited_for() {
    let mut system = System::prepared(2, SCHEMA);
    let owner = std::fs::metadata(system.clusters[0].data()).unwrap();
    let Some(disk) = SmallDisk::mount_for(4, Some((owner.uid(), owner.gid()))) else {
        return;
    };
    let make = format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        disk.path().display()
    );
    let moves = ["TABLE public.notes", "INDEX public.notes_pkey"];
    let moves = moves.map(|what| format!("ALTER {what} SET TABLESPACE small"));
    as_superuser(&system, 0, &[&make, &moves[0], &moves[1]]);
    system.up();
    for region in 0..2 {
        system.wait_for_state(region, "running");
    }
    // Nothing that compresses: some 12 MB.
    let insert = "INSERT INTO public.notes SELECT g, \
                  (SELECT string_agg(md5(g::text || k), '') FROM generate_series(1, 32) k) \
                  FROM generate_series(1, 12000) g";
    system.sql(1, insert);
    let status = system.wait_for_trouble("connecting", "No space left on device");
    assert!(status["write_lag_seconds"].as_f64().unwrap() > 0.0);
    let count = "SELECT count(*)::text FROM public.notes";
    assert_eq!(system.ask(0, count), "0");
    disk.grow(64);
    system.wait_for(0, count, "12000");
    let status = system.wait_for_state(0, "running");
    assert_eq!(status["rows_parked"], 0, "{status}");
    // The server keeps files open in it.
    system.down();
    system.clusters[0].stop(Stop::Immediate);
}

/// A server's certificate by an authority that is made for it, and the key; gives the authority's.
fn certify(cluster: &Cluster, name: &str) -> String {
    let mut of_authority = CertificateParams::default();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(of_authority, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let of_server = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = of_server.signed_by(&key, &authority).unwrap();
    let data = cluster.data();
    give(&data, "server.crt", &certificate.pem());
    give(&data, "server.key", &key.serialize_pem());
    authority.pem()
}

/// Writes a file of a server's, which only that may read.
fn give(data: &Path, name: &str, text: &str) {
    let path = data.join(name);
    std::fs::write(&path, text).unwrap();
    let owner = std::fs::metadata(data).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).unwrap();
}

#[test]
fn a_certificate_that_does_not_hold_is_told_and_the_right_one_is_enough() {
    let mut system = System::prepared(1, SCHEMA);
    let authority = system.path().join("authority.pem");
    let stranger = certify(&system.clusters[0], "127.0.0.1");
    // The server has a certificate for another name, by an authority that nobody has heard of.
    let known = certify(&system.clusters[0], "elsewhere.example.com");
    std::fs::write(&authority, stranger).unwrap();
    system.admin("ALTER SYSTEM SET ssl = on");
    system.admin("SELECT pg_reload_conf()");
    eventually("it speaks TLS", PATIENCE, || {
        (system.ask(0, "SHOW ssl") == "on").then_some(())
    });
    let plain = system.servers[0].url.clone();
    system.servers[0].url = plain.replace("sslmode=disable", "sslmode=verify-full");
    system.write_topology("root-certificates = \"authority.pem\"");
    system.servers[0].url = plain;
    system.up();
    let status = system.wait_for_trouble("stopped", "certificate");
    assert!(!status["hint"].is_null(), "{status}");
    std::fs::write(&authority, known).unwrap();
    let status = system.wait_for_trouble("stopped", "not valid for name");
    assert!(!status["hint"].is_null(), "{status}");
    let right = certify(&system.clusters[0], "127.0.0.1");
    std::fs::write(&authority, right).unwrap();
    system.admin("SELECT pg_reload_conf()");
    let status = system.wait_for_state(0, "running");
    assert!(status["reason"].is_null(), "{status}");
}

#[test]
fn a_type_that_one_server_lacks_stops_its_region_until_it_is_there() {
    let system = System::start(2, SCHEMA);
    let add = "CREATE TYPE public.mood AS ENUM ('fine', 'odd'); \
               ALTER TABLE public.notes ADD COLUMN mood public.mood";
    system.sql(0, add);
    system.sql(0, "INSERT INTO public.notes VALUES (1, 'a', 'odd')");
    eventually("it stops with the column", PATIENCE, || {
        let status = system.status(1);
        let said = status["reason"].as_str().unwrap_or_default();
        (status["state"] == "stopped" && said.contains("mood")).then_some(())
    });
    system.sql(0, "INSERT INTO public.notes VALUES (2, 'b', 'fine')");
    system.sql(1, add);
    let moods = "SELECT string_agg(mood::text, ' ' ORDER BY id) FROM public.notes";
    system.wait_for(1, moods, "odd fine");
    system.wait_for_state(1, "running");
}
