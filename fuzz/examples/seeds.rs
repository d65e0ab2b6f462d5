//! Writes the first inputs of every fuzz target, made by the product's own encoders, into `corpus`.
//!
//! `cargo +nightly run --example seeds`, in the directory `fuzz`.

use bytes::BytesMut;
use meridian_fuzz::{body, log_of};
use meridian_health::{Opinion, ReportNumber, Reports, Service, Status};
use meridian_link::certs::Authority;
use meridian_merge::{Base, KeptIncrement, Row};
use meridian_model::{
    Body, Change, Conflict, ConflictKind, ConflictingWrite, Entry, Envelope, Hlc, IdempotencyKey,
    Mark, Marks, Message, Micros, Operation, OriginId, Refusal, RegionName, Report, ReportedMark,
    Sequence, SessionId, Transaction, Version,
};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

type Seeds = Vec<Vec<u8>>;

fn main() -> Result<(), Box<dyn Error>> {
    let all: [(&str, Seeds); 19] = [
        ("health_reports", health_reports()),
        ("link_preamble", meridian_link::fuzz::preambles()),
        ("link_frames", frames()?),
        ("link_identity", identities()?),
        ("model_envelope", envelopes()),
        (
            "model_body",
            bodies().iter().map(|body| body.encode().to_vec()).collect(),
        ),
        ("replicate_road", roads()?),
        ("tables_key", keys()),
        ("tables_value", values()),
        ("log_damaged", damages()),
        ("log_sealed", sealed()),
        ("api_document", documents()),
        ("api_transaction", transactions()),
        (
            "api_increment",
            texts(&[
                "{\"field\":\"n\",\"by\":-3}",
                "{\"by\":1e2,\"field\":\"\\u00e9\"}",
            ]),
        ),
        (
            "api_preconditions",
            texts(&["*", "\"77-fe\", W/\"1-2\"\n\"b,c\"", "\"a\" \"b\""]),
        ),
        ("api_session", sessions()?),
        ("api_target", targets()),
        ("postgres_stream", meridian_engine_postgres::fuzz::streams()),
        ("topology", topologies()),
    ];
    for (target, seeds) in all {
        let directory = Path::new("corpus").join(target);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn frames() -> Result<Seeds, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for message in [&b""[..], b"short", &[7; 2000], &b"abcdefgh".repeat(200)] {
        // The first byte of an input says in what pieces it arrives, and is the frame's too.
        let mut wire = BytesMut::new();
        meridian_link::frame::encode(message, &mut wire)?;
        meridian_link::frame::encode(b"next", &mut wire)?;
        seeds.push(wire.to_vec());
    }
    Ok(seeds)
}

fn identities() -> Result<Seeds, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::create(SystemTime::now())?;
    authority.write(directory.path())?;
    let paths = authority
        .issue("eu-west-1", SystemTime::now())?
        .write(directory.path())?;
    let mut seed = fs::read(&paths.certificate)?;
    for path in [&paths.key, &paths.authority] {
        seed.push(0);
        seed.extend(fs::read(path)?);
    }
    Ok(vec![seed])
}

fn version() -> Version {
    Version {
        hlc: Hlc::from_raw(0x0123_4567_89ab),
        origin: OriginId(7),
    }
}

fn bodies() -> Vec<Body> {
    let report = Report {
        positions: vec![(
            OriginId(1),
            ReportedMark {
                held: Sequence(300),
                applied: Hlc::from_raw(70_000),
            },
        )],
    };
    let several = Transaction {
        dependencies: [(OriginId(1), Hlc::from_raw(2))].into_iter().collect(),
        changes: vec![
            Change {
                table: "t".into(),
                key: "k".into(),
                operation: Operation::Increment {
                    by: vec![("n".into(), -1), ("m".into(), i64::MAX)],
                },
            },
            Change {
                table: "t".into(),
                key: "\0é".into(),
                operation: Operation::Delete,
            },
        ],
        idempotency: Some(IdempotencyKey {
            key: "once".into(),
            fingerprint: u64::MAX,
        }),
    };
    vec![
        Body::Open {
            region: RegionName::new("eu-west-1"),
        },
        body(300),
        Body::Report(report),
        Body::Transaction(several),
    ]
}

fn entries() -> Vec<Entry> {
    let mut mark = Mark::default();
    let entries = bodies().into_iter().zip(1..);
    entries
        .map(|(body, number)| {
            let entry = Entry::following(mark, OriginId(7), Hlc::from_raw(number), &body);
            mark = entry.mark();
            entry
        })
        .collect()
}

fn health_reports() -> Seeds {
    let report = |observer: &str, count| meridian_health::Report {
        observer: RegionName::new(observer),
        number: ReportNumber {
            started: Micros(1_700_000_000_000_000),
            count,
        },
        hears: vec![RegionName::new("eu-west-1")],
        in_touch: vec![RegionName::new("eu-west-1")],
        opinions: vec![Opinion {
            region: RegionName::new("eu-west-1"),
            service: Service::Database,
            status: Status::Degraded,
            response_ms: Some(70),
        }],
    };
    let alone = Reports {
        own: report("us-east-1", 1),
        relayed: Vec::new(),
    };
    let relaying = Reports {
        own: report("us-east-1", 300),
        relayed: vec![report("ap-northeast-1", 2)],
    };
    vec![alone.encode(), relaying.encode()]
}

fn envelopes() -> Seeds {
    let session = SessionId(5);
    let marks: Marks = entries()
        .iter()
        .map(|entry| (entry.origin, entry.mark()))
        .collect();
    let messages = [
        Message::Subscribe {
            session,
            region: RegionName::new("eu-west-1"),
            origin: OriginId(7),
            marks: marks.clone(),
        },
        Message::Accept {
            session,
            origin: OriginId(8),
            marks,
        },
        Message::Refuse {
            session,
            reason: Refusal::Fork {
                origin: OriginId(7),
                sequence: 9,
            },
        },
        Message::Entries {
            session,
            index: 3,
            sent_at: Micros(1_700_000_000_000_000),
            remaining: 4,
            entries: entries(),
        },
        Message::Ack {
            session,
            next: 4,
            held: vec![(OriginId(7), Sequence(4))],
        },
    ];
    let encode = |message| {
        let dataset = "main".to_owned();
        Envelope { dataset, message }.encode().to_vec()
    };
    messages.into_iter().map(encode).collect()
}

fn roads() -> Result<Seeds, Box<dyn Error>> {
    // Members by region, reports by reporter and origin.
    let members = [("a", OriginId(1)), ("b", OriginId(2))];
    let mark = ReportedMark {
        held: Sequence(3),
        applied: Hlc::from_raw(4),
    };
    let marks = [(OriginId(2), mark)];
    let reports = [(OriginId(1), marks.as_slice())];
    let one = postcard::to_stdvec(&(members.as_slice(), reports.as_slice()))?;
    Ok(vec![
        one,
        postcard::to_stdvec(&meridian_replicate::Road::default())?,
    ])
}

fn keys() -> Seeds {
    let number = |number: u64| number.to_be_bytes();
    vec![
        b"rtable\0key".to_vec(),
        [b"q", &number(7)[..], &number(9), b"ttable\0key"].concat(),
        [b"q", &number(7)[..], &number(9), b"itable\0\0"].concat(),
        [b"c", &number(9)[..], &[0, 0, 0, 4]].concat(),
        [b"x", &number(9)[..], b"once"].concat(),
    ]
}

fn values() -> Seeds {
    let base = Base {
        version: version(),
        document: Some("{\"a\":1.50}".into()),
    };
    let row = Row {
        version: version(),
        base: Some(base),
        sums: vec![("a".into(), -(1 << 70))],
        counted: true,
    };
    let side = |document: Option<&str>| ConflictingWrite {
        version: version(),
        document: document.map(str::to_owned),
    };
    let conflict = Conflict {
        table: "t".into(),
        key: "k".into(),
        kind: ConflictKind::of(Some("1"), None),
        winner: side(Some("1")),
        loser: side(None),
        resolved_at: Micros(5),
    };
    let increment = KeptIncrement {
        version: version(),
        by: vec![("n".into(), -5)],
    };
    use meridian_engine_kv::fuzz::encoded;
    vec![
        encoded(&row),
        encoded(&conflict),
        encoded(&increment),
        encoded(&7u64),
    ]
}

fn damages() -> Seeds {
    let (_, names) = log_of(12);
    let one = |file: usize, what, offset: u16, value| {
        let [low, high] = offset.to_le_bytes();
        vec![u8::try_from(file).unwrap_or(0), what, low, high, value, 3]
    };
    let last = names.len() - 1;
    vec![
        Vec::new(),
        one(last, 0, 100, 0),
        one(last, 1, 200, 0),
        one(0, 2, 0, 0),
        one(0, 3, 300, 9),
        one(0, 4, 150, 0xff),
    ]
}

fn sealed() -> Seeds {
    let mut payload = Vec::new();
    for entry in entries() {
        for number in [
            entry.origin.0,
            entry.sequence.0,
            entry.hlc.raw(),
            entry.history.0,
        ] {
            payload.extend(number.to_le_bytes());
        }
        payload.extend(u32::try_from(entry.body.len()).unwrap_or(0).to_le_bytes());
        payload.extend_from_slice(&entry.body);
    }
    let length = u16::try_from(payload.len()).unwrap_or(0).to_le_bytes();
    vec![[&[4][..], &length, &payload].concat()]
}

fn documents() -> Seeds {
    texts(&[
        " {\"a\":[1,2.50,-0,1e400,null,true],\"\\u00e9\\ud83d\\ude00\":{}} ",
        "\"\\ud800\"",
        "[[[[[[[[]]]]]]]]",
        "007",
    ])
}

fn transactions() -> Seeds {
    texts(&[
        "{\"operations\":[{\"op\":\"put\",\"table\":\"t\",\"key\":\"k\",\"document\":{\"a\":1}},\
         {\"op\":\"delete\",\"table\":\"t\",\"key\":\"l\"},\
         {\"op\":\"increment\",\"table\":\"t\",\"key\":\"m\",\"field\":\"n\",\"by\":-1}]}",
        "{\"operations\":[]}",
        "{\"operations\":[{\"op\":\"put\",\"table\":\"t\",\"key\":\"k\",\"document\":null}]}",
    ])
}

fn sessions() -> Result<Seeds, Box<dyn Error>> {
    let vector = [(OriginId(7), Hlc::from_raw(1 << 60))];
    let seen = [("main", vector.as_slice())];
    let bytes = postcard::to_extend(seen.as_slice(), vec![1])?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(vec![hex.into_bytes()])
}

fn targets() -> Seeds {
    texts(&[
        "/v1/tables/t/rows/a%2Fb%00%C3%A9",
        "/v1/tables/t%20/rows?after=a+b%2B&limit=1000",
        "/v1/tables/t/rows/k?limit=1&limit=2",
        "http://host/v1/tables/t/rows/k%",
    ])
}

fn topologies() -> Seeds {
    let template = meridian_topology::init_template();
    let bare: String = template
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    vec![bare.into_bytes()]
}
