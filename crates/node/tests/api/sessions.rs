//! What a client has seen, it sees again.

use crate::world::World;

const ROW: &str = "/v1/tables/t/rows/k";

#[tokio::test]
async fn a_token_goes_round() {
    let world = World::new();
    let put = world.ask(&format!("PUT {ROW}"), "1").await;
    let token = put.header("meridian-session");
    let got = world.ask_with(&format!("GET {ROW}"), [("meridian-session", token)], "").await;
    assert_eq!(got.status, 200);
    let later = got.header("meridian-session");
    for line in ["GET /v1/tables", "GET /v1/tables/t/checksum", "GET /v1/conflicts"] {
        let reply = world.ask_with(line, [("meridian-session", later)], "").await;
        assert_eq!(reply.status, 200, "{line}: {reply:?}");
        assert!(reply.headers.contains_key("meridian-session"), "{line}");
    }
    for bad in ["x", "00", &token[2..]] {
        let reply = world.ask_with(&format!("GET {ROW}"), [("meridian-session", bad)], "").await;
        reply.is_problem(400, "bad-session");
    }
}

#[tokio::test]
async fn a_region_that_has_not_seen_as_much_says_so() {
    let (here, elsewhere) = (World::new(), World::new());
    let put = elsewhere.ask(&format!("PUT {ROW}"), "1").await;
    let token = [("meridian-session", put.header("meridian-session"))];
    // From here on the deadline passes as soon as there is nothing else to do.
    tokio::time::pause();
    let got = here.ask_with(&format!("GET {ROW}"), token, "").await;
    got.is_problem(503, "session-not-reached");
    assert_eq!(got.header("retry-after"), "1");
}
