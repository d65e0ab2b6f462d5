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
    key("health", "[health]"),
    key("route", "[route.app]"),
    key("steering", "[steering]"),
    key("dns", "[dns]"),
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
    key("witness", "witness = true"),
    key("addresses", r#"addresses = ["203.0.113.7", "2001:db8::7"]"#),
    key("dns", r#"dns = "203.0.113.7:53""#),
    key("dns-listen", r#"dns-listen = ["0.0.0.0:53"]"#),
    key("capacity", "capacity = 500"),
    key("service", "[region.service.database]"),
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

pub(crate) const HEALTH: &[Key] = &[
    key("preset", r#"preset = "default""#),
    key("maintenance", "[[health.maintenance]]"),
];

pub(crate) const MAINTENANCE: &[Key] = &[
    key("region", r#"region = "eu-west-1""#),
    key("service", r#"service = "database""#),
    key("from", "from = 2026-12-01T02:00:00Z"),
    key("until", "until = 2026-12-01T04:00:00Z"),
    key("reason", r#"reason = "new disks""#),
];

const PROBE: Key = key("probe", r#"probe = "http""#);
const BY: Key = key("by", r#"by = "all""#);
const TIMEOUT: Key = key("timeout", r#"timeout = "500ms""#);
const URL: Key = key("url", r#"url = "http://127.0.0.1:8080/health""#);
const ADDRESS: Key = key("address", r#"address = "127.0.0.1:6379""#);
const PASSWORD_FILE: Key = key("password-file", r#"password-file = "secrets/cache""#);
const PASSWORD_ENV: Key = key("password-env", r#"password-env = "CACHE_PASSWORD""#);
const ROOTS: Key = key(
    "root-certificates",
    r#"root-certificates = "certs/roots.pem""#,
);

pub(crate) const PROBE_HTTP: &[Key] = &[
    PROBE,
    BY,
    TIMEOUT,
    URL,
    key("status", "status = [200, 204]"),
    key("body", r#"body = "ready""#),
    ROOTS,
    key("certificate-days-min", "certificate-days-min = 7"),
];

pub(crate) const PROBE_TCP: &[Key] = &[PROBE, BY, TIMEOUT, ADDRESS];

pub(crate) const PROBE_POSTGRES: &[Key] = &[
    PROBE,
    BY,
    TIMEOUT,
    key(
        "url",
        r#"url = "postgresql://meridian@db.example:5432/shop""#,
    ),
    PASSWORD_FILE,
    PASSWORD_ENV,
    ROOTS,
    key("read-only", "read-only = true"),
];

pub(crate) const PROBE_REDIS: &[Key] = &[
    PROBE,
    BY,
    TIMEOUT,
    ADDRESS,
    PASSWORD_FILE,
    PASSWORD_ENV,
    key("replica", "replica = true"),
];

pub(crate) const PROBE_DNS: &[Key] = &[
    PROBE,
    BY,
    TIMEOUT,
    ADDRESS,
    key("name", r#"name = "storage.example.com""#),
];

pub(crate) const PROBE_COMMAND: &[Key] = &[
    PROBE,
    BY,
    TIMEOUT,
    key(
        "command",
        r#"command = ["/usr/local/bin/check", "--quick"]"#,
    ),
];

/// For a table that doesn't say, or wrongly, what its probe is.
pub(crate) const PROBE_ANY: &[Key] = &[PROBE];

pub(crate) const ROUTE: &[Key] = &[
    key("policy", r#"policy = "latency""#),
    key("choice", "[[route.shop.choice]]"),
    key("needs", r#"needs = ["api", "database"]"#),
    key("useful", r#"useful = ["cache"]"#),
    key("values-max", "values-max = 8"),
    key("sticky", "sticky = true"),
    key("ramp", r#"ramp = { percents = [10, 25, 50], each = "5s" }"#),
    key("full-percent", "full-percent = 80"),
    key("ttl", r#"ttl = "5s""#),
    key("residency", "[[route.app.residency]]"),
    key(
        "residency-otherwise",
        r#"residency-otherwise = ["us-east-1"]"#,
    ),
];

pub(crate) const CHOICE: &[Key] = &[
    key("region", r#"region = "us-east-1""#),
    key("policy", r#"policy = "weighted""#),
    key("choice", "[[route.shop.choice.choice]]"),
    key("weight", "weight = 3"),
    key("bias", "bias = 20"),
    key("clients", r#"clients = ["europe", "CH"]"#),
];

pub(crate) const RESIDENCY: &[Key] = &[
    key("clients", r#"clients = ["europe"]"#),
    key("regions", r#"regions = ["eu-west-1"]"#),
];

pub(crate) const RAMP: &[Key] = &[
    key("percents", "percents = [10, 25, 50]"),
    key("each", r#"each = "5s""#),
];

pub(crate) const STEERING: &[Key] = &[key("leaving-percent-max", "leaving-percent-max = 50")];

pub(crate) const DNS: &[Key] = &[
    key("ttl", r#"ttl = "5s""#),
    key("records-ttl", r#"records-ttl = "300s""#),
    key("name-servers", r#"name-servers = ["ns1.example.com"]"#),
    key("hostmaster", r#"hostmaster = "dns@example.com""#),
    key("records", "[dns.records]"),
    key("dnssec-key-file", r#"dnssec-key-file = "secrets/zone.key""#),
    key("answers-per-second-max", "answers-per-second-max = 100"),
    key("limit-loopback", "limit-loopback = false"),
    key("client-subnet", "client-subnet = true"),
    key(
        "cookie-secret-file",
        r#"cookie-secret-file = "secrets/dns-cookie""#,
    ),
    key("threads", "threads = 1"),
];
