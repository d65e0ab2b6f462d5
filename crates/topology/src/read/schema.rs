//! Every key of the file, with an example that the hints quote.

/// A key that a table may have.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
}

const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

pub(crate) const ROOT: &[Key] = &[
    key("zone", r#"zone = "meridian.test""#),
    key("region", "[[region]]"),
    key("dataset", "[[dataset]]"),
    key("clock", "[clock]"),
    key("tls", "[tls]"),
    key("api", "[api]"),
];

pub(crate) const REGION: &[Key] = &[
    key("name", r#"name = "us-east-1""#),
    key(
        "location",
        "location = { latitude = 48.9, longitude = 2.4 }",
    ),
    key("api", r#"api = "127.0.0.1:7000""#),
    key("api-listen", r#"api-listen = "0.0.0.0:7000""#),
    key("link", r#"link = "127.0.0.1:7001""#),
    key("link-listen", r#"link-listen = "0.0.0.0:7001""#),
    key("data-dir", r#"data-dir = "/var/lib/meridian""#),
];

pub(crate) const LOCATION: &[Key] = &[
    key("latitude", "latitude = 48.9"),
    key("longitude", "longitude = 2.4"),
];

pub(crate) const DATASET: &[Key] = &[
    key("name", r#"name = "main""#),
    key("engine", r#"engine = "embedded""#),
    key("strategy", r#"strategy = "last-writer-wins""#),
    key("tables", r#"tables = ["orders", "inv_*"]"#),
    key("table", "[dataset.table.orders]"),
    key("limits", "[dataset.limits]"),
    key("consistency", r#"consistency = "session""#),
    key("acknowledgement", r#"acknowledgement = "one-remote""#),
    key(
        "acknowledgement-timeout",
        r#"acknowledgement-timeout = "2s""#,
    ),
    key("writes", r#"writes = "home""#),
    key("home", r#"home = "us-east-1""#),
    key("read-replicas", r#"read-replicas = ["eu-west-1"]"#),
    key("dead-letters", r#"dead-letters = "set-aside""#),
    key("compare-every", r#"compare-every = "1h""#),
    key(
        "compare-rows-per-second-max",
        "compare-rows-per-second-max = 50000",
    ),
    key("postgres", "[dataset.postgres]"),
];

pub(crate) const POSTGRES: &[Key] = &[
    key("exclude", r#"exclude = ["public.audit_*"]"#),
    key("region", "[dataset.postgres.region.us-east-1]"),
];

pub(crate) const POSTGRES_SERVER: &[Key] = &[
    key(
        "url",
        r#"url = "postgresql://meridian@db.example:5432/shop""#,
    ),
    key("password-file", r#"password-file = "secrets/us-east-1""#),
    key("password-env", r#"password-env = "MERIDIAN_PASSWORD""#),
    key(
        "root-certificates",
        r#"root-certificates = "certs/rds.pem""#,
    ),
];

pub(crate) const TABLE: &[Key] = &[
    key("strategy", r#"strategy = "last-writer-wins""#),
    key("counters", r#"counters = ["balance"]"#),
];

pub(crate) const LIMITS: &[Key] = &[
    key("document-bytes-max", r#"document-bytes-max = "1MiB""#),
    key("transaction-bytes-max", r#"transaction-bytes-max = "4MiB""#),
    key("key-bytes-max", "key-bytes-max = 1024"),
    key("log-bytes-max", r#"log-bytes-max = "4GiB""#),
    key("log-reserve-bytes", r#"log-reserve-bytes = "256MiB""#),
    key("conflicts-max", "conflicts-max = 100000"),
    key("log-retention", r#"log-retention = "0s""#),
    key("evict-after", r#"evict-after = "72h""#),
];

pub(crate) const CLOCK: &[Key] = &[key("drift-max", r#"drift-max = "500ms""#)];

pub(crate) const TLS: &[Key] = &[
    key("authority", r#"authority = "certs/authority.pem""#),
    key("certificate", r#"certificate = "certs/{region}.pem""#),
    key("key", r#"key = "certs/{region}.key""#),
];

pub(crate) const API: &[Key] = &[key("token-file", r#"token-file = "token""#)];
