//! `hydrant doctor`: looks at what the agent depends on, and says what to do about it.

mod brokers;
mod conf;
mod machine;

use std::process::ExitCode;

use pipeline::config::{Config, Problem, Severity};
use pipeline::doctor::{Finding, Level, Uses, judge_mosquitto, render};
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::clock::Clock;
use crate::{app, config_files, print};

/// Looks at everything; the exit status is 1 when something is a problem.
pub(crate) fn run(arguments: &DoctorArgs) -> ExitCode {
    let clock = Clock::start();
    let mut findings = Vec::new();
    match config_files::load(&arguments.config) {
        Ok((config, warnings)) => {
            findings.extend(configured(&config, &warnings));
            findings.extend(machine::examine(&config, &clock));
            findings.extend(brokers_and_conf(&config, arguments));
        }
        Err(problems) => findings.extend(problems.iter().map(of_configuration)),
    }
    let text = if arguments.json {
        format!("{:#}\n", as_json(&findings))
    } else {
        render(&findings)
    };
    let shown = print(&text);
    if findings
        .iter()
        .any(|finding| finding.level == Level::Problem)
    {
        ExitCode::FAILURE
    } else {
        shown
    }
}

fn configured(config: &Config, warnings: &[Problem]) -> Vec<Finding> {
    let what = format!(
        "right; sources: {}, destinations: {}",
        config.sources.len(),
        config.destinations.len()
    );
    let mut found = vec![Finding::ok("configuration", what)];
    found.extend(warnings.iter().map(of_configuration));
    found
}

fn of_configuration(problem: &Problem) -> Finding {
    let text = problem.to_string();
    match problem.severity {
        Severity::Error => Finding::problem(
            "configuration",
            text,
            "hydrant check says the same until it is right",
        ),
        Severity::Warning => Finding::warning("configuration", text, ""),
    }
}

/// The brokers, and what a configuration of mosquitto says of one of them.
fn brokers_and_conf(config: &Config, arguments: &DoctorArgs) -> Vec<Finding> {
    let mut found = Vec::new();
    let settings = arguments.mosquitto_conf.as_deref().map(conf::read);
    let window = match &settings {
        Some(Ok(settings)) => Some(conf::window(settings)),
        Some(Err(_)) | None => None,
    };
    let mut version = None;
    match app::runtime() {
        Ok(runtime) => {
            let (findings, told) = runtime.block_on(brokers::examine(config, window));
            found.extend(findings);
            version = told;
        }
        Err(error) => found.push(Finding::problem("brokers", error.to_string(), "")),
    }
    match settings {
        None => {}
        Some(Ok(settings)) => {
            found.extend(judge_mosquitto(&settings, version, uses(config)));
        }
        Some(Err(finding)) => found.push(finding),
    }
    found
}

fn uses(config: &Config) -> Uses {
    let mut uses = Uses::default();
    for (_, mqtt) in brokers::sources(config) {
        uses.qos0 |= mqtt.qos == pipeline::config::Qos::AtMostOnce;
        uses.v311 |= mqtt.version == pipeline::config::MqttVersion::V311;
    }
    uses
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let shown = findings.iter().map(|finding| {
        json!({
            "about": finding.about,
            "level": finding.level.word(),
            "what": finding.what,
            "hint": finding.hint,
        })
    });
    json!({
        "problems": count(Level::Problem),
        "warnings": count(Level::Warning),
        "findings": shown.collect::<Vec<_>>(),
    })
}
