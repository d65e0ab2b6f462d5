//! `meridian serve`: one region, in production or as a child of `meridian up`.

use crate::config::{check_zone, load, rendered};
use crate::detect;
use crate::error::{CliError, CliResult};
use clap::{Args, ValueEnum};
use meridian_health::Preset;
use meridian_node::{Serve, ServeError, WIRE_VERSION_MAX, WIRE_VERSION_MIN, Wan};
use meridian_topology::Address;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// `meridian serve`
#[derive(Debug, Args)]
#[command(
    after_help = "Ends cleanly on SIGTERM or Ctrl-C. What it says goes to stderr; the environment variable MERIDIAN_LOG chooses how much of it (default: info; for example: warn,meridian_link=debug).\n\nExample:\n  meridian serve --region eu-west-1 --config /etc/meridian.toml --data-dir /var/lib/meridian"
)]
pub struct Options {
    /// The region to run [default: what MERIDIAN_REGION, AWS_REGION or AWS_DEFAULT_REGION says, or
    /// the zone in MERIDIAN_ZONE, or the machine's cloud; else the only one that it can be]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The topology file, the same in every region
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the region keeps its data [default: what the topology says]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Join a system that runs: an empty data directory is filled from the other regions (see
    /// `meridian regions add`). A directory with data goes on as what it is
    #[arg(long)]
    join: bool,
    /// How what it says is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Speak no later wire version than this with other regions, while some of them still run an
    /// earlier release
    #[arg(long, value_name = "N", default_value_t = WIRE_VERSION_MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(i64::from(WIRE_VERSION_MIN)..=i64::from(WIRE_VERSION_MAX)))]
    wire_version_max: u16,
    /// How soon a region is known to be down [default: what the topology says]
    #[arg(long, value_enum, value_name = "PRESET")]
    health: Option<PresetChoice>,
    /// Take faults over the API, for drills
    #[arg(long)]
    allow_faults: bool,
    /// A database that says where clients are, in MaxMind's format; a small built-in table unless
    /// given
    #[arg(long, value_name = "FILE")]
    geo: Option<PathBuf>,
    /// Delays the links, as `up` asks for
    #[arg(long, value_enum, default_value_t, hide = true)]
    wan: WanChoice,
    /// Runs the sample application at this address too, as `up` asks for
    #[arg(long, value_name = "ADDRESS", hide = true)]
    sample_app: Vec<SocketAddr>,
    /// Ends when stdin is closed, so that no region outlives its `up`
    #[arg(long, hide = true)]
    watch_stdin: bool,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line an event, for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether links are delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WanChoice {
    /// Not at all.
    #[default]
    None,
    /// By the published round trips between the regions' places.
    Real,
}

/// How the regions observe each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetChoice {
    /// Every 30 s, and at once when requests fail.
    Standard,
    /// Every 5 s.
    Moderate,
    /// Every second.
    Default,
    /// Every 500 ms.
    Fast,
}

impl From<PresetChoice> for Preset {
    fn from(choice: PresetChoice) -> Self {
        match choice {
            PresetChoice::Standard => Self::Standard,
            PresetChoice::Moderate => Self::Moderate,
            PresetChoice::Default => Self::Default,
            PresetChoice::Fast => Self::Fast,
        }
    }
}

impl From<WanChoice> for Wan {
    fn from(choice: WanChoice) -> Self {
        match choice {
            WanChoice::None => Self::None,
            WanChoice::Real => Self::Real,
        }
    }
}

pub fn run(options: Options) -> CliResult {
    start_log(options.log_format)?;
    let mut topology = load(&options.config)?;
    if let Some(preset) = options.health {
        topology.health.preset = preset.into();
    }
    let region = detect::region(options.region.as_deref(), &topology)?;
    topology.for_serve(&region).map_err(rendered)?;
    topology.check_files(Some(&region)).map_err(rendered)?;
    let own = topology.region(&region);
    if own.is_some_and(|region| region.dns.is_some()) {
        check_zone(&topology)?;
    }
    let data_dir = options
        .data_dir
        .or_else(|| own.and_then(|region| region.data_dir.clone()))
        .ok_or_else(|| {
            CliError::usage(format!("region {region} has no data directory"))
                .hint("give --data-dir DIR, or `data-dir` in the region's part of the topology")
        })?;
    let serve = Serve {
        topology,
        topology_file: Some(options.config),
        region,
        data_dir,
        wan: options.wan.into(),
        wire_version_max: options.wire_version_max,
        allow_faults: options.allow_faults,
        join: options.join,
        geo: options.geo,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("start the threads").because(&error))?;
    let result = runtime.block_on(async {
        let shutdown = shutdown(options.watch_stdin)?;
        let app = sample_app(&options.sample_app, &serve).await?;
        tokio::select! {
            served = meridian_node::serve(serve, shutdown) => served.map_err(failed),
            () = app => Ok(()),
        }
    });
    // A read of stdin that still waits must not keep the process.
    runtime.shutdown_background();
    result
}

/// The sample application beside the region, for as long as it is polled; it never ends.
async fn sample_app(
    addresses: &[SocketAddr],
    serve: &Serve,
) -> CliResult<impl Future<Output = ()> + use<>> {
    let listeners = meridian_app::bind(addresses).await.map_err(|error| {
        CliError::failure("run the sample application")
            .because(&error)
            .hint(
                "something else may use the port: see `ss -ltnp`, or give `up` another --base-port",
            )
    })?;
    let own = serve.topology.region(&serve.region);
    let api = own
        .and_then(|region| region.api.as_ref())
        .and_then(|api| match api.listen {
            Address::Ip(address) => Some(address),
            Address::Name { .. } => None,
        });
    let region = serve.region.clone();
    Ok(async move {
        if let Some(api) = api.filter(|_| !listeners.is_empty()) {
            let settings = meridian_app::Settings { region, api };
            meridian_app::serve(listeners, settings).await;
        }
        std::future::pending().await
    })
}

fn failed(error: ServeError) -> CliError {
    let hint = error.hint();
    let failed = CliError::failure("serve the region").because(&error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn start_log(format: LogFormat) -> CliResult {
    let filter = match std::env::var("MERIDIAN_LOG") {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            CliError::usage(format!("MERIDIAN_LOG={filter:?} is no filter"))
                .because(&error)
                .hint("for example MERIDIAN_LOG=info or MERIDIAN_LOG=warn,meridian_link=debug")
        })?,
        // The storage engine tells its every step at this level, which is nobody's business.
        Err(_) => EnvFilter::new("info,fjall=warn,lsm_tree=warn"),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Ends on SIGTERM, on Ctrl-C, and when stdin closes if that is watched.
fn shutdown(watch_stdin: bool) -> CliResult<impl Future<Output = ()>> {
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::failure("listen for signals").because(&error))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        let stdin_closes = async {
            if !watch_stdin {
                return std::future::pending().await;
            }
            let mut stdin = tokio::io::stdin();
            let mut nothing = [0; 64];
            // Whatever is written to it is no word to us; its end or failure is.
            while stdin.read(&mut nothing).await.is_ok_and(|count| count > 0) {}
        };
        let why = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "Ctrl-C",
            () = stdin_closes => "the process that started this one is gone",
        };
        tracing::info!(why, "shutting down");
    })
}
