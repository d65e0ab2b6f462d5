//! Which region this machine is in, where nobody says so.
//!
//! ```text
//! --region ─▶ MERIDIAN_REGION, AWS_REGION, AWS_DEFAULT_REGION ─▶ MERIDIAN_ZONE
//!          ─▶ instance metadata of AWS, Google Cloud and Azure, all asked at once
//!          ─▶ the topology's only region, or the only one whose link has an address of this machine
//! ```
//!
//! The first that names a region of the topology decides. What somebody set and the topology doesn't
//! know is an error and not passed over: a slip of the pen must not start another region. A cloud's
//! metadata may name its own region: then the topology's region at that place is meant.
//!
//! The three clouds answer at one address that only the machine itself can ask, each with a header that
//! a request made by mistake wouldn't have. Elsewhere nobody answers there, which costs [`PATIENCE`].

use crate::error::{CliError, CliResult};
use meridian_topology::{Address, Topology, did_you_mean};
use std::env;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// Where clouds answer their machines.
const METADATA: &str = "http://169.254.169.254";
/// How long that may take: detection is to take less than 100 ms.
const PATIENCE: Duration = Duration::from_millis(80);
/// No answer is longer than a name.
const ANSWER_BYTES_MAX: u64 = 1024;

/// What names a region, in the order in which it counts.
const NAMES: [&str; 3] = ["MERIDIAN_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"];
/// What names a zone of one: on Kubernetes the node's label `topology.kubernetes.io/zone`.
const ZONE: &str = "MERIDIAN_ZONE";

/// The region to serve.
pub fn region(given: Option<&str>, topology: &Topology) -> CliResult<String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(found) = in_environment(set, topology)? {
        return Ok(found);
    }
    if let Some(found) = ask(METADATA, PATIENCE).and_then(|name| matching(&name, topology)) {
        return Ok(found);
    }
    alone(topology).ok_or_else(|| {
        let names = topology.regions.iter().map(|region| region.name.as_str());
        CliError::usage("nothing says which region of the topology this machine is in").hint(
            format!(
                "give --region NAME, or set MERIDIAN_REGION: it has {}",
                names.collect::<Vec<_>>().join(", ")
            ),
        )
    })
}

/// What the environment says. What it says wrongly is an error if it is meant for Meridian.
fn in_environment(
    set: impl Fn(&str) -> Option<String>,
    topology: &Topology,
) -> CliResult<Option<String>> {
    for name in NAMES.into_iter().chain([ZONE]) {
        let Some(value) = set(name) else { continue };
        if let Some(found) = matching(&value, topology) {
            return Ok(Some(found));
        }
        if name.starts_with("MERIDIAN_") {
            let names = topology.regions.iter().map(|region| region.name.as_str());
            let hint = did_you_mean(&value, "regions", names);
            let reason = format!("{name} is {value:?}, which no region of the topology is");
            return Err(CliError::usage(reason).hint(hint));
        }
    }
    Ok(None)
}

/// The topology's region of this name, else the one at the place of this cloud region, else the one
/// that this zone belongs to.
fn matching(name: &str, topology: &Topology) -> Option<String> {
    let of = |name: &str| {
        let by_name = topology.region(name);
        let mut regions = topology.regions.iter();
        let found = by_name.or_else(|| regions.find(|it| it.place.cloud_region == Some(name)));
        found.map(|region| region.name.to_string())
    };
    of(name).or_else(|| of(region_of_zone(name)?))
}

/// `us-east-1a` (AWS), `europe-west1-b` (Google Cloud) and `westeurope-1` (Azure, as Kubernetes shows
/// it) without the zone.
fn region_of_zone(zone: &str) -> Option<&str> {
    if let Some((region, last)) = zone.rsplit_once('-')
        && last.len() == 1
        && (last.bytes().all(|byte| byte.is_ascii_lowercase()) || !region.contains('-'))
    {
        return Some(region);
    }
    let region = zone.strip_suffix(|last: char| last.is_ascii_lowercase())?;
    region
        .ends_with(|last: char| last.is_ascii_digit())
        .then_some(region)
}

/// What the machine's cloud says, if it is in one.
fn ask(metadata: &str, patience: Duration) -> Option<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        // It is this machine's own; no proxy may answer for it.
        .proxy(None)
        .build()
        .into();
    let clouds: [fn(&ureq::Agent, &str) -> Option<String>; 3] = [aws, google, azure];
    thread::scope(|scope| {
        let asked = clouds.map(|cloud| {
            scope.spawn({
                let agent = &agent;
                move || cloud(agent, metadata)
            })
        });
        let answers = asked.map(|asked| asked.join().ok().flatten());
        answers.into_iter().flatten().next()
    })
}

/// Version 2 of the instance metadata service: a token first.
fn aws(agent: &ureq::Agent, metadata: &str) -> Option<String> {
    let token = agent
        .put(format!("{metadata}/latest/api/token"))
        .header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        .send_empty();
    let token = text(token)?;
    let place = format!("{metadata}/latest/meta-data/placement/region");
    text(
        agent
            .get(place)
            .header("X-aws-ec2-metadata-token", token)
            .call(),
    )
}

/// `projects/NUMBER/zones/ZONE`.
fn google(agent: &ureq::Agent, metadata: &str) -> Option<String> {
    let zone = format!("{metadata}/computeMetadata/v1/instance/zone");
    let zone = text(agent.get(zone).header("Metadata-Flavor", "Google").call())?;
    let (_, zone) = zone.rsplit_once("/zones/")?;
    Some(zone.to_owned())
}

fn azure(agent: &ureq::Agent, metadata: &str) -> Option<String> {
    let place = "metadata/instance/compute/location?api-version=2021-02-01&format=text";
    text(
        agent
            .get(format!("{metadata}/{place}"))
            .header("Metadata", "true")
            .call(),
    )
}

/// A short answer's text. Whatever else comes is from somebody who isn't that cloud.
fn text(reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<String> {
    let mut reply = reply.ok().filter(|reply| reply.status() == 200)?;
    let body = reply.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let text = body.read_to_string().ok()?;
    let text = text.trim();
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| text.to_owned())
}

/// The only region that it can be: there is no other, or its link alone is at this machine.
fn alone(topology: &Topology) -> Option<String> {
    let is_here = |address: &Address| match address {
        // Only an address of this machine can be listened on.
        Address::Ip(at) => !at.ip().is_unspecified() && TcpListener::bind((at.ip(), 0)).is_ok(),
        Address::Name { .. } => false,
    };
    let mut here = topology.regions.iter().filter(|region| {
        let link = region.link.as_ref();
        topology.regions.len() == 1
            || link.is_some_and(|link| is_here(&link.address) || is_here(&link.listen))
    });
    match (here.next(), here.next()) {
        (Some(only), None) => Some(only.name.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;

    /// Longer than a busy machine takes.
    const LONG: Duration = Duration::from_secs(20);

    fn topology(links: [&str; 3]) -> Topology {
        let regions = [
            ("us-east-1", "us-east-1"),
            ("paris", "eu-west-3"),
            ("be", "europe-west1"),
        ];
        let regions: String = regions
            .iter()
            .zip(links)
            .map(|((name, place), link)| {
                format!("[[region]]\nname = {name:?}\nlocation = {place:?}\nlink = {link:?}\n")
            })
            .collect();
        let text = format!(
            "zone = \"a.test\"\n{regions}[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n[tls]\nauthority = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n"
        );
        Topology::parse(&text, Path::new("m.toml")).unwrap()
    }

    /// Addresses of a block that nobody is given (RFC 1112 §4), and so no machine that runs this test.
    fn elsewhere() -> Topology {
        topology(["240.0.0.1:1", "240.0.0.2:1", "240.0.0.3:1"])
    }

    #[test]
    fn a_name_a_place_and_a_zone_name_a_region() {
        let topology = elsewhere();
        for (said, region) in [
            ("us-east-1", Some("us-east-1")),
            ("paris", Some("paris")),
            ("eu-west-3", Some("paris")),
            ("us-east-1a", Some("us-east-1")),
            ("eu-west-3c", Some("paris")),
            ("europe-west1-b", Some("be")),
            ("us-west-2", None),
            ("us-east-12", None),
            ("paris-x", Some("paris")),
            ("", None),
        ] {
            assert_eq!(matching(said, &topology).as_deref(), region, "{said}");
        }
    }

    #[test]
    fn the_environment_counts_in_order_and_slips_are_told() {
        let topology = elsewhere();
        let with = |pairs: &'static [(&'static str, &'static str)]| {
            let set = |name: &str| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            in_environment(set, &topology)
        };
        assert_eq!(with(&[]).unwrap(), None);
        let both = with(&[("AWS_REGION", "us-east-1"), ("MERIDIAN_REGION", "paris")]);
        assert_eq!(both.unwrap().as_deref(), Some("paris"));
        // The cloud's own may be another than where Meridian runs.
        assert_eq!(with(&[("AWS_REGION", "us-west-2")]).unwrap(), None);
        let zone = with(&[
            ("AWS_REGION", "us-west-2"),
            ("MERIDIAN_ZONE", "europe-west1-c"),
        ]);
        assert_eq!(zone.unwrap().as_deref(), Some("be"));
        let slip = with(&[("MERIDIAN_REGION", "pariss")])
            .unwrap_err()
            .to_string();
        assert!(slip.contains("did you mean \"paris\"?"), "{slip}");
    }

    /// Answers requests that have this line and this header with a text, others with 404. It lives as
    /// long as the test's process.
    fn cloud(answers: &'static [(&'static str, &'static str, &'static str)]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request: Vec<String> = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let has =
                    |header: &str| request.iter().any(|line| line.eq_ignore_ascii_case(header));
                let answer = answers.iter().find(|(line, header, _)| {
                    request.first().is_some_and(|first| first.starts_with(line)) && has(header)
                });
                let (status, body) = answer.map_or(("404 Not Found", ""), |it| ("200 OK", it.2));
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn aws_is_asked_with_a_token() {
        let metadata = cloud(&[
            (
                "PUT /latest/api/token ",
                "x-aws-ec2-metadata-token-ttl-seconds: 60",
                "secret",
            ),
            (
                "GET /latest/meta-data/placement/region ",
                "x-aws-ec2-metadata-token: secret",
                "eu-west-3",
            ),
        ]);
        assert_eq!(ask(&metadata, LONG).as_deref(), Some("eu-west-3"));
        let without_tokens = cloud(&[(
            "GET /latest/meta-data/placement/region ",
            "x-aws-ec2-metadata-token: secret",
            "eu-west-3",
        )]);
        assert_eq!(ask(&without_tokens, LONG), None);
    }

    #[test]
    fn google_and_azure_are_asked_with_their_headers() {
        let google = cloud(&[(
            "GET /computeMetadata/v1/instance/zone ",
            "metadata-flavor: Google",
            "projects/1234/zones/europe-west1-d\n",
        )]);
        let zone = ask(&google, LONG).unwrap();
        assert_eq!(matching(&zone, &elsewhere()).as_deref(), Some("be"));
        let azure = cloud(&[(
            "GET /metadata/instance/compute/location?api-version=2021-02-01&format=text ",
            "metadata: true",
            "westeurope",
        )]);
        assert_eq!(ask(&azure, LONG).as_deref(), Some("westeurope"));
    }

    #[test]
    fn nobody_and_nonsense_name_nothing() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(ask(&format!("http://{nobody}"), LONG), None);
        let page = cloud(&[(
            "GET /metadata/instance/compute/location",
            "metadata: true",
            "<html>log in first</html>",
        )]);
        assert_eq!(ask(&page, LONG), None);
    }

    #[test]
    fn the_only_region_at_this_machine_is_it() {
        assert_eq!(alone(&elsewhere()), None);
        let one = topology(["240.0.0.1:1", "127.0.0.1:1", "240.0.0.3:1"]);
        assert_eq!(alone(&one).as_deref(), Some("paris"));
        let two = topology(["127.0.0.1:2", "127.0.0.1:1", "240.0.0.3:1"]);
        assert_eq!(alone(&two), None);
        let mut single = elsewhere();
        single.regions.truncate(1);
        assert_eq!(alone(&single).as_deref(), Some("us-east-1"));
    }
}
