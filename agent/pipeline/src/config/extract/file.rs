//! A source that follows files.

use super::super::model::{
    Encoding, FileConfig, LineFormat, MultilineConfig, MultilineRule, StartAt, Watching,
};
use super::super::settings::Settings;
use super::owned;

/// The source as it is meant.
pub(super) fn file(settings: &Settings) -> Option<FileConfig> {
    Some(FileConfig {
        paths: settings.texts("paths"),
        exclude: settings.texts("exclude"),
        start_at: match settings.text("start_at")? {
            "beginning" => StartAt::Beginning,
            "end" => StartAt::End,
            _ => return None,
        },
        ignore_older: settings.duration("ignore_older"),
        open_files_max: settings.integer("open_files_max")?,
        watch: match settings.text("watch")? {
            "auto" => Watching::Auto,
            "poll" => Watching::Poll,
            _ => return None,
        },
        line_bytes_max: settings.size("line_bytes_max")?,
        poll_interval: settings.duration("poll_interval")?,
        encoding: match settings.text("encoding")? {
            "utf-8" => Encoding::Utf8,
            "utf-16le" => Encoding::Utf16Le,
            "utf-16be" => Encoding::Utf16Be,
            "utf-16" => Encoding::Utf16,
            "latin-1" => Encoding::Latin1,
            _ => return None,
        },
        format: match settings.text("format")? {
            "plain" => LineFormat::Plain,
            "cri" => LineFormat::Cri,
            "docker_json" => LineFormat::DockerJson,
            _ => return None,
        },
        multiline: match settings.written("multiline") {
            Some(_) => Some(multiline(settings.table("multiline")?)?),
            None => None,
        },
    })
}

fn multiline(table: &Settings) -> Option<MultilineConfig> {
    let rule = match (owned(table, "start"), owned(table, "continuation")) {
        (Some(pattern), _) => MultilineRule::Start(pattern),
        (None, Some(pattern)) => MultilineRule::Continuation(pattern),
        (None, None) => table
            .bool("indentation")?
            .then_some(MultilineRule::Indentation)?,
    };
    Some(MultilineConfig {
        rule,
        timeout: table.duration("timeout")?,
        bytes_max: table.size("bytes_max")?,
        lines_max: table.integer("lines_max")?,
    })
}
