//! What may be typed after `hydrant`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use pipeline::config::DEFAULT_BUFFER;
use pipeline::time::WallClock;

/// Where the configuration is read from when nobody says otherwise.
pub(crate) const CONFIG_DEFAULT: &str = "/etc/hydrant/hydrant.toml";

const AFTER_HELP: &str = "\
Try it without any set-up:
  hydrant demo --feed

Set it up:
  1. write /etc/hydrant/hydrant.toml, for example
       [sources.app]
       type = \"file\"
       paths = [\"/var/log/app/*.log\"]

       [destinations.collector]
       type = \"http\"
       url = \"https://collector.example/ingest\"
  2. hydrant check
  3. hydrant run        (or: systemctl start hydrant)
  4. hydrant status

Exit status: 0 done; 64 wrong usage or configuration; 74 the ring's disk failed; 1 anything else.";

/// Collects MQTT, files and syslog into a ring on disk and forwards them to Amazon Data Firehose
/// or any HTTP endpoint. What is acknowledged is on disk; what is on disk is delivered or counted.
#[derive(Debug, Parser)]
#[command(name = "hydrant", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent in the foreground, as the service does
    Run(ConfigArgs),
    /// Check a configuration: every error at once, with file and line
    Check(ConfigArgs),
    /// Show the main job on this machine: listeners, a ring and a receiver on loopback
    Demo(DemoArgs),
    /// Look at what the agent depends on (brokers, clock, certificates, disk) and say what to do
    Doctor(DoctorArgs),
    /// Ask a running agent how it stands
    Status(StatusArgs),
    /// Have delivered records delivered once more, as far as the ring still holds them
    Replay(ReplayArgs),
    /// Look into a ring, also beside its agent or in a copy; nothing is changed
    #[command(subcommand)]
    Ring(RingCommand),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which configuration.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// Configuration file; files in hydrant.d/ beside it are added in the order of their names
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
}

/// How `demo` is done.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Feed it with records of a small plant instead of waiting for yours
    #[arg(long)]
    pub(crate) feed: bool,
    /// End after so many seconds instead of on Ctrl-C
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
}

/// What `doctor` looks at.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Configuration file of the agent; it may run meanwhile
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
    /// Configuration of a mosquitto on this machine, whose settings are looked at as well
    #[arg(long, value_name = "FILE")]
    pub(crate) mosquitto_conf: Option<PathBuf>,
    /// One JSON document for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// How `status` is shown.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Configuration file of the agent that is asked
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
    /// Its control socket, instead of the one the configuration names
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// One JSON document for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `replay` sends.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag that is typed"
)]
pub(crate) struct ReplayArgs {
    /// Name of the destination that is to get them
    #[arg(short, long, value_name = "NAME")]
    pub(crate) destination: String,
    /// Records received then or later: RFC 3339 such as 2026-11-20T10:00, in UTC unless it says
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<WallClock>,
    /// Records received before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<WallClock>,
    /// Records from this number in the ring on
    #[arg(long, value_name = "N")]
    pub(crate) from_seq: Option<u64>,
    /// Records before this number in the ring
    #[arg(long, value_name = "N")]
    pub(crate) to_seq: Option<u64>,
    /// Only from this buffer, where the destination takes from several
    #[arg(long, value_name = "NAME")]
    pub(crate) buffer: Option<String>,
    /// Everything that the ring still holds and that was delivered
    #[arg(long, conflicts_with_all = ["since", "until", "from_seq", "to_seq"])]
    pub(crate) all: bool,
    /// What it refused and the ring still holds, by the files in its dead letter folder
    #[arg(long, conflicts_with_all = ["since", "until", "from_seq", "to_seq", "all"])]
    pub(crate) dead_letter: bool,
    /// End the replays to this destination that are under way
    #[arg(
        long,
        conflicts_with_all = ["since", "until", "from_seq", "to_seq", "all", "dead_letter"]
    )]
    pub(crate) stop: bool,
    /// Send them from here while no agent runs, instead of asking a running one
    #[arg(long, conflicts_with = "socket")]
    pub(crate) offline: bool,
    /// Configuration file of the agent
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
    /// Its control socket, instead of the one the configuration names
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Answer with one JSON document for programs
    #[arg(long)]
    pub(crate) json: bool,
}

fn time(text: &str) -> Result<WallClock, String> {
    text.parse()
        .map_err(|error: pipeline::time::TimeError| error.to_string())
}

/// What is done with a ring.
#[derive(Debug, Subcommand)]
pub(crate) enum RingCommand {
    /// Show what it holds, how fast it grows and how far back it reaches
    Info(RingInfoArgs),
    /// Read all of it and print what is damaged; exit status 1 when something is
    Verify(RingPlace),
    /// Print its records as lines of JSON that lose nothing; exit status 1 when some are damaged
    Export(Box<RingExportArgs>),
}

/// Which ring.
#[derive(Args, Debug)]
pub(crate) struct RingPlace {
    /// File of the ring; without it, that of a buffer in the state directory of the configuration
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Name of the buffer of the configuration
    #[arg(long, value_name = "NAME", default_value = DEFAULT_BUFFER)]
    pub(crate) buffer: String,
    /// Configuration file that names the ring and, if it is encrypted, its key
    #[arg(short, long, value_name = "CONFIG", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
    /// File with the key of an encrypted ring, instead of the one the configuration names; give it
    /// again for each earlier key
    #[arg(long = "key-file", value_name = "PATH")]
    pub(crate) key_files: Vec<PathBuf>,
}

/// How a ring is described.
#[derive(Args, Debug)]
pub(crate) struct RingInfoArgs {
    /// Which ring.
    #[command(flatten)]
    pub(crate) place: RingPlace,
    /// One JSON document for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which records of a ring are printed, and where to.
#[derive(Args, Debug)]
pub(crate) struct RingExportArgs {
    /// Which ring.
    #[command(flatten)]
    pub(crate) place: RingPlace,
    /// Only records received at this time or later, like 2026-11-20T10:00 (UTC) or
    /// 2026-11-20T11:00:30+01:00
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<WallClock>,
    /// Only records received before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<WallClock>,
    /// Only records from this number in the ring on
    #[arg(long, value_name = "N")]
    pub(crate) from_seq: Option<u64>,
    /// Only records before this number in the ring
    #[arg(long, value_name = "N")]
    pub(crate) to_seq: Option<u64>,
    /// Only records of this source; give it again for more
    #[arg(long = "source", value_name = "NAME")]
    pub(crate) sources: Vec<String>,
    /// A new file to write to, instead of standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
}
