//! Requests that can't be: each with the status and the name of the problem that answers it.

use super::raw::{Words, say};
use crate::system::System;
use serde_json::json;

/// What is sent, and what has to come back.
struct Case {
    what: String,
    words: Vec<u8>,
    status: u16,
    problem: &'static str,
}

const ROW: &str = "/v1/tables/rows/rows/bad";
const INCREMENT: &str = "/v1/tables/rows/rows/bad/increment";
const MEMBERS: &str = "/v1/tables/rows/rows/bad/members";
const TRANSACTIONS: &str = "/v1/transactions";

fn case(what: impl Into<String>, words: &Words, status: u16, problem: &'static str) -> Case {
    Case {
        what: what.into(),
        words: words.bytes(),
        status,
        problem,
    }
}

fn put(body: impl Into<Vec<u8>>) -> Words {
    Words::new("PUT", ROW).body(body)
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Words {
    Words::new("POST", path).body(body)
}

fn documents() -> Vec<Case> {
    let mut cases = Vec::new();
    for bad in [
        "",
        "{",
        "[1,]",
        "1 2",
        "nul",
        "NaN",
        "'a'",
        "\"\\ud800\"",
        "{\"a\":1",
    ] {
        cases.push(case(
            format!("document {bad:?}"),
            &put(bad),
            400,
            "malformed-json",
        ));
    }
    let binary = put(&b"\"\xff\xfe\""[..]);
    cases.push(case("no UTF-8", &binary, 400, "malformed-json"));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    cases.push(case("deep", &put(&*deep), 422, "nesting-too-deep"));
    let unclosed = put("{\"a\":".repeat(10_000));
    cases.push(case("deep and open", &unclosed, 422, "nesting-too-deep"));
    for path in [
        TRANSACTIONS,
        INCREMENT,
        MEMBERS,
        "/v1/faults",
        "/v1/regions",
    ] {
        let what = format!("deep at {path}");
        let status = post(path, &*deep);
        cases.push(case(what, &status, 422, "nesting-too-deep"));
        let array = post(path, "[]");
        cases.push(case(format!("array at {path}"), &array, 422, "bad-body"));
        let half = post(path, "{");
        cases.push(case(
            format!("half at {path}"),
            &half,
            400,
            "malformed-json",
        ));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let spaces = vec![b' '; 20_000_000];
    let operation = |key: usize| json!({"op": "put", "table": "rows", "key": key.to_string(), "document": "x".repeat(1 << 20)});
    let five: Vec<_> = (0..5).map(operation).collect();
    let five = json!({"operations": five}).to_string();
    let many = vec![json!({"op": "delete", "table": "rows", "key": "k"}); 10_001];
    let many = json!({"operations": many}).to_string();
    vec![
        case(
            "a document too large",
            &put(large(1 << 20)),
            413,
            "too-large",
        ),
        case("20 MB", &put(spaces.clone()), 413, "too-large"),
        case(
            "20 MB in a chunk",
            &put(spaces.clone()).chunked(),
            413,
            "too-large",
        ),
        case(
            "20 MB of operations",
            &post(TRANSACTIONS, spaces.clone()),
            413,
            "too-large",
        ),
        case(
            "20 MB of a region",
            &post("/v1/regions", spaces.clone()),
            413,
            "too-large",
        ),
        case(
            "20 MB of a fault",
            &post("/v1/faults", spaces),
            413,
            "too-large",
        ),
        case(
            "a transaction too large",
            &post(TRANSACTIONS, five),
            413,
            "too-large",
        ),
        case(
            "too many operations",
            &post(TRANSACTIONS, many),
            413,
            "too-large",
        ),
    ]
}

fn names() -> Vec<Case> {
    let row = |table: &str, key: &str| format!("/v1/tables/{table}/rows/{key}");
    let mut cases = Vec::new();
    for method in ["GET", "PUT", "DELETE"] {
        let at = |path: &str| Words::new(method, path).body("1");
        for key in ["%FF", "%C3", "%ed%a0%80", "%zz", "a%4", "%"] {
            let words = at(&row("rows", key));
            cases.push(case(format!("{method} key {key}"), &words, 400, "bad-path"));
        }
        let long = at(&row("rows", &"k".repeat(1025)));
        cases.push(case(format!("{method} long key"), &long, 422, "bad-key"));
        for table in ["a%20b", "%C3%A9", "a%2Fb", "a%00b", "%2E", &"t".repeat(129)] {
            let words = at(&row(table, "k"));
            let what = format!("{method} table {table}");
            cases.push(case(what, &words, 422, "bad-table"));
        }
        let unknown = at(&row("nobodys", "k"));
        let what = format!("{method} in a table that no dataset takes");
        cases.push(case(what, &unknown, 404, "table-not-served"));
    }
    for (path, status, problem) in [
        ("/v1/tables/nobodys/rows", 404, "table-not-served"),
        ("/v1/tables/nobodys/checksum", 404, "table-not-served"),
        ("/v1/tables/rows/rows/none", 404, "row-not-found"),
        ("/v1/tables/rows", 404, "unknown-path"),
        ("/v1/healthy", 404, "unknown-path"),
        ("/", 404, "unknown-path"),
        ("/v1/dead-letters/x", 404, "dead-letter-not-found"),
        ("/v1/dead-letters/%FF", 400, "bad-path"),
        ("/v1/aside/x", 404, "aside-not-found"),
        ("/v1/aside/%FF", 400, "bad-path"),
        (
            "/v1/datasets/none/backup?position=0",
            404,
            "dataset-not-served",
        ),
        ("/v1/datasets/main/backup", 400, "bad-query"),
        ("/v1/tables/rows/rows?limit=0", 400, "bad-query"),
        ("/v1/tables/rows/rows?limit=x", 400, "bad-query"),
        ("/v1/tables/rows/rows?limit=1&limit=2", 400, "bad-query"),
        ("/v1/tables/rows/rows?after=%FF", 400, "bad-query"),
        ("/v1/tables/rows/rows?colour=red", 400, "bad-query"),
        ("/v1/conflicts?after=x", 400, "bad-query"),
        ("/v1/dead-letters?after=x", 400, "bad-query"),
        ("/v1/aside?state=x", 400, "bad-query"),
        ("/v1/integrity/comparisons?id=x", 400, "bad-query"),
    ] {
        cases.push(case(path, &Words::new("GET", path), status, problem));
    }
    for (method, path) in [
        ("POST", ROW),
        ("GET", TRANSACTIONS),
        ("PATCH", "/readyz"),
        ("TRACE", "/v1/status"),
        ("BREW", "/v1/tables"),
    ] {
        let words = Words::new(method, path);
        let what = format!("{method} {path}");
        cases.push(case(what, &words, 405, "method-not-allowed"));
    }
    cases
}

fn headers() -> Vec<Case> {
    let get = || Words::new("GET", ROW);
    let long = "k".repeat(256);
    let mut cases = vec![
        case("no token", &put("1").without_token(), 401, "unauthorized"),
        case(
            "no token, 20 MB",
            &put(vec![b' '; 20_000_000]).without_token(),
            401,
            "unauthorized",
        ),
        case(
            "a causal read without token",
            &get().header("Meridian-Consistency", "causal"),
            400,
            "session-required",
        ),
        case(
            "two keys",
            &put("1")
                .header("Idempotency-Key", "a")
                .header("Idempotency-Key", "b"),
            400,
            "bad-header",
        ),
        case(
            "an empty key",
            &put("1").header("Idempotency-Key", ""),
            422,
            "bad-idempotency-key",
        ),
        case(
            "a long key",
            &put("1").header("Idempotency-Key", &long),
            422,
            "bad-idempotency-key",
        ),
        case(
            "one that must be there",
            &put("1").header("If-Match", "*"),
            412,
            "precondition-failed",
        ),
    ];
    for token in [
        "wrong",
        "",
        "wrong again, and much longer than the right one",
    ] {
        let words = put("1").without_token();
        let words = words.header("Authorization", &format!("Bearer {token}"));
        cases.push(case(
            format!("token {token:?}"),
            &words,
            401,
            "unauthorized",
        ));
    }
    let basic = put("1")
        .without_token()
        .header("Authorization", "Basic YTpi");
    cases.push(case("another scheme", &basic, 401, "unauthorized"));
    for session in ["x", "zz", "01", "01ff", &"0".repeat(200_000 / 8)] {
        let words = get().header("Meridian-Session", session);
        let what = format!("a session of {} bytes", session.len());
        cases.push(case(what, &words, 400, "bad-session"));
    }
    for (name, value) in [
        ("Meridian-Consistency", "total"),
        ("Meridian-Timeout", "soon"),
        ("Meridian-Timeout", "61s"),
    ] {
        let words = get().header(name, value);
        cases.push(case(format!("{name}: {value}"), &words, 400, "bad-header"));
    }
    for value in ["version", "\"a", "", "\"a\" \"b\""] {
        let words = put("1").header("If-Match", value);
        cases.push(case(
            format!("If-Match: {value}"),
            &words,
            400,
            "bad-header",
        ));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut refused = |path: &str, body: &str, status: u16, problem: &'static str| {
        let what = format!("{body} at {path}");
        cases.push(case(what, &post(path, body), status, problem));
    };
    for body in [
        "{}",
        r#"{"field":"n"}"#,
        r#"{"field":"n","by":1.5}"#,
        r#"{"field":1,"by":1}"#,
    ] {
        refused(INCREMENT, body, 422, "bad-body");
    }
    refused(INCREMENT, r#"{"field":"n","by":1,"x":2}"#, 422, "bad-body");
    let text = "/v1/tables/rows/rows/a-text/increment";
    refused(text, r#"{"field":"n","by":1}"#, 422, "not-an-object");
    let object = "/v1/tables/rows/rows/an-object/increment";
    refused(object, r#"{"field":"s","by":1}"#, 422, "not-an-integer");
    let most = r#"{"field":"n","by":9223372036854775807}"#;
    refused(object, most, 422, "out-of-range");
    let set = "/v1/tables/rows/rows/an-object/members";
    refused(set, r#"{"field":"n","add":[1]}"#, 422, "not-a-set");
    refused(set, r#"{"field":"x"}"#, 422, "bad-body");
    refused(
        set,
        r#"{"field":"x","add":[1],"remove":[1]}"#,
        422,
        "bad-body",
    );

    refused(
        TRANSACTIONS,
        r#"{"operations":[]}"#,
        422,
        "empty-transaction",
    );
    for operation in [
        json!({"op": "upsert", "table": "rows", "key": "k"}),
        json!({"op": "put", "table": "rows", "key": "k"}),
        json!({"op": "delete", "table": "rows"}),
        json!({"op": "delete", "table": "rows", "key": "k", "by": 1, "colour": 1}),
        json!("delete"),
    ] {
        let good = json!({"op": "put", "table": "rows", "key": "half-done", "document": 1});
        let body = json!({"operations": [good, operation]}).to_string();
        refused(TRANSACTIONS, &body, 422, "bad-body");
    }
    let good = json!({"op": "put", "table": "rows", "key": "half-done", "document": 1});
    for (operation, status, problem) in [
        (
            json!({"op": "delete", "table": "nobodys", "key": "k"}),
            404,
            "table-not-served",
        ),
        (
            json!({"op": "delete", "table": "other", "key": "k"}),
            422,
            "several-datasets",
        ),
        (
            json!({"op": "delete", "table": "rows", "key": ""}),
            422,
            "bad-key",
        ),
        (
            json!({"op": "increment", "table": "rows", "key": "a-text", "field": "n", "by": 1}),
            422,
            "not-an-object",
        ),
    ] {
        let body = json!({"operations": [good, operation]}).to_string();
        refused(TRANSACTIONS, &body, status, problem);
    }

    for body in [
        r#"{"for":"1s"}"#,
        r#"{"kind":"earthquake","for":"1s"}"#,
        r#"{"kind":"full-disk"}"#,
        r#"{"kind":"partition","peer":"mars","for":"1s"}"#,
        r#"{"kind":"loss","peer":"b","share":2,"for":"1s"}"#,
        r#"{"kind":"crash","for":"1s"}"#,
    ] {
        refused("/v1/faults", body, 422, "bad-fault");
    }
    for (body, status, problem) in [
        (r#"{"name":"A B"}"#, 422, "bad-body"),
        (r#"{"name":"d"}"#, 404, "unknown-region"),
        (r#"{"name":"d","api":"127.0.0.1:1"}"#, 422, "bad-body"),
        (
            r#"{"name":"d","api":"here","link":"there"}"#,
            422,
            "bad-body",
        ),
        (
            r#"["d","127.0.0.1:1","127.0.0.1:2",null,null]"#,
            422,
            "bad-body",
        ),
        // A name that a member has already, at addresses of its own.
        (
            r#"{"name":"b","api":"127.0.0.1:1","link":"127.0.0.1:2"}"#,
            409,
            "already-member",
        ),
    ] {
        refused("/v1/regions", body, status, problem);
    }
    let evict = "/v1/regions/b/evict";
    refused(
        evict,
        r#"{"decided_by":"majority","confirm":"c"}"#,
        422,
        "bad-body",
    );
    refused(
        evict,
        r#"{"decided_by":"nobody","confirm":"b"}"#,
        422,
        "bad-body",
    );
    let unknown = "/v1/regions/d/evict";
    refused(
        unknown,
        r#"{"decided_by":"majority","confirm":"d"}"#,
        404,
        "unknown-region",
    );
    refused(
        "/v1/integrity/comparisons",
        r#"{"tables":["nobodys"]}"#,
        404,
        "table-not-served",
    );
    refused(
        "/v1/integrity/comparisons",
        r#"{"prefer":"b"}"#,
        422,
        "bad-body",
    );
    refused(
        "/v1/dead-letters/5-07/retry",
        "",
        404,
        "dead-letter-not-found",
    );
    refused("/v1/aside/x/resubmit", "", 404, "aside-not-found");
    for (path, status, problem) in [
        ("/v1/regions/d", 404, "unknown-region"),
        ("/v1/regions/%FF", 400, "bad-path"),
        ("/v1/faults/none", 404, "fault-not-found"),
        ("/v1/faults/%FF", 400, "bad-path"),
        ("/v1/aside/x", 404, "aside-not-found"),
    ] {
        let words = Words::new("DELETE", path);
        cases.push(case(format!("DELETE {path}"), &words, status, problem));
    }
    cases
}

/// Sends every one to every region, at the same time.
pub fn throw(system: &System) {
    for (key, document) in [
        ("a-text", r#""text""#),
        ("an-object", r#"{"s":"text","n":1}"#),
    ] {
        assert!(system.put(0, key, document).status < 300);
        system.wait_row(key, &[0, 1, 2]);
    }
    let cases: Vec<_> = [documents(), sizes(), names(), headers(), bodies()]
        .into_iter()
        .flatten()
        .collect();
    std::thread::scope(|scope| {
        for region in 0..3 {
            let (cases, api) = (&cases, system.api(region));
            scope.spawn(move || {
                for Case {
                    what,
                    words,
                    status,
                    problem,
                } in cases
                {
                    say(api, words).problem(what, *status, problem);
                }
                a_key_again_with_another_body(api, region);
            });
        }
    });
    for region in 0..3 {
        for key in ["bad", "half-done"] {
            let row = system.client(region).row(key).expect("an answer");
            assert_eq!(row.status, 404, "something of a refused request happened");
        }
    }
}

fn a_key_again_with_another_body(api: std::net::SocketAddr, region: usize) {
    let path = format!("/v1/tables/rows/rows/again-{region}");
    let send = |body: &str| {
        let words = Words::new("PUT", &path).header("Idempotency-Key", &path);
        say(api, &words.body(body).bytes())
    };
    assert_eq!(send("1").status, 201);
    let replayed = send("1");
    assert_eq!(replayed.status, 200, "{replayed:?}");
    assert!(
        replayed.head.contains("idempotency-replayed: true"),
        "{replayed:?}"
    );
    send("2").problem("another body", 422, "idempotency-key-reused");
    let row = say(api, &Words::new("GET", &path).bytes());
    assert_eq!(row.body, "1", "{row:?}");
}
