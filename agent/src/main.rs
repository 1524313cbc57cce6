//! Hydrant: collects MQTT, files and syslog into a ring on disk and forwards them.
//!
//! This file turns what was typed into a call and its result into an exit status; nothing else.

mod activation;
mod app;
mod check;
mod cli;
mod clock;
mod config_files;
mod confine;
mod control;
mod deliver;
mod demo;
mod doctor;
mod file_storage;
mod intake;
mod metrics;
mod names;
mod overview;
mod reactor;
mod read_only_file;
mod replay;
mod ring_file;
mod ring_tool;
mod show;
mod source;
mod stamp;
mod store;
mod telemetry;
mod time_daemons;
mod tls;
mod transport;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

/// `EX_USAGE` of sysexits.h: wrong usage or configuration.
pub(crate) const EXIT_USAGE: u8 = 64;

/// `EX_IOERR` of sysexits.h: the disk under the ring failed.
pub(crate) const EXIT_STORAGE: u8 = 74;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // A closed terminal is no reason to do anything else.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Run(arguments) => app::run(&arguments.config),
        Command::Check(arguments) => check::run(&arguments.config),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Status(arguments) => app::status(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Ring(command) => ring_tool::run(&command),
        Command::Schema => {
            let schema = pipeline::config::schema();
            print(&format!("{schema:#}\n"))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hydrant", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Writes to standard output; a reader that has gone away is no error.
pub(crate) fn print(text: &str) -> ExitCode {
    match io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error and gives the exit status `code`.
pub(crate) fn fail(text: &str, code: u8) -> ExitCode {
    // There is nowhere else to say it.
    drop(writeln!(io::stderr(), "{text}"));
    ExitCode::from(code)
}
