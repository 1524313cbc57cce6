//! Rules of destinations that stand in for others.

use super::super::super::Parts;
use super::super::super::check::instead;
use super::super::super::problem::Problems;
use super::super::super::settings::Settings;
use super::super::super::tree::quoted;
use super::super::super::units::DurationText;

/// Reports what is wrong between a destination and its fallback.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    let mut destinations = parts.destinations.values();
    if destinations.all(|it| is_standby(&it.settings))
        && let Some(first) = parts.destinations.values().next()
    {
        let (at, path) = (
            first.settings.place_of("standby"),
            first.settings.path_of("standby"),
        );
        let message = "every destination is on standby, so that no record leaves";
        let suggestion = Some("leave it out of one".to_owned());
        problems.error(at, &path, message, suggestion);
    }
    for (name, component) in &parts.destinations {
        let settings = &component.settings;
        if let Some(fallback) = settings.text("fallback") {
            named(parts, (name, settings), fallback, problems);
            in_time(settings, problems);
        } else if settings.written("fallback_after").is_some() {
            let at = settings.place_of("fallback_after");
            let message = "has no effect without fallback";
            problems.warning(at, &settings.path_of("fallback_after"), message, None);
        }
        if let Some(dead_letter) = settings.table("dead_letter")
            && let Some(other) = dead_letter.text("destination")
        {
            exists(parts, name, (dead_letter, "destination", other), problems);
        }
        if is_standby(settings) {
            standby(settings, problems);
        }
    }
}

/// Warns of a destination on standby for nobody.
pub(in super::super) fn unused(parts: &Parts, problems: &mut Problems) {
    for (name, component) in &parts.destinations {
        let settings = &component.settings;
        let mut others = parts.destinations.values();
        let is_named = others.any(|other| {
            let letters = other.settings.table("dead_letter");
            let letters = letters.and_then(|letters| letters.text("destination"));
            other.settings.text("fallback") == Some(name) || letters == Some(name)
        });
        if is_standby(settings) && !is_named {
            let at = settings.place_of("standby");
            let message = "is on standby, but no other destination names it";
            let suggestion = Some(format!("write fallback = {} in one", quoted(name)));
            problems.warning(at, &settings.path_of("standby"), message, suggestion);
        }
    }
}

fn is_standby(settings: &Settings) -> bool {
    settings.bool("standby") == Some(true)
}

/// One step and no further: so there are no circles either.
fn named(
    parts: &Parts,
    (name, settings): (&str, &Settings),
    fallback: &str,
    problems: &mut Problems,
) {
    if exists(parts, name, (settings, "fallback", fallback), problems)
        && let Some(other) = parts.destinations.get(fallback)
        && let Some(next) = other.settings.text("fallback")
    {
        let (at, path) = (settings.place_of("fallback"), settings.path_of("fallback"));
        let (fallback, next) = (quoted(fallback), quoted(next));
        let message = format!("{fallback} has itself a fallback, {next}, which would not be used");
        let suggestion = Some("name one that has none".to_owned());
        problems.error(at, &path, message, suggestion);
    }
}

/// Whether a destination that `name` refers to under `key` is there, and another one.
fn exists(
    parts: &Parts,
    name: &str,
    (settings, key, other): (&Settings, &str, &str),
    problems: &mut Problems,
) -> bool {
    let (at, path) = (settings.place_of(key), settings.path_of(key));
    if other == name {
        let message = "names the destination itself";
        let suggestion = Some("write the name of another one, or leave it out".to_owned());
        problems.error(at, &path, message, suggestion);
        return false;
    }
    let is_there = parts.names.destinations.contains(other);
    if !is_there {
        let message = format!("there is no destination {}", quoted(other));
        let known = parts.names.destinations.iter().map(String::as_str);
        let known = known.filter(|known| *known != name);
        problems.error(at, &path, message, Some(instead(other, known)));
    }
    is_there
}

/// What is given up sooner never comes to the fallback.
fn in_time(settings: &Settings, problems: &mut Problems) {
    let retry = settings.table("retry");
    let give_up_after = retry.and_then(|retry| retry.duration("give_up_after"));
    if let Some(give_up_after) = give_up_after
        && let Some(after) = settings.duration("fallback_after")
        && give_up_after <= after
    {
        let (after, give_up_after) = (DurationText(after), DurationText(give_up_after));
        let message = format!(
            "is {after}, but after {give_up_after} (retry.give_up_after) records go to the dead \
             letter"
        );
        let suggestion = Some("write less, or a longer retry.give_up_after".to_owned());
        let at = match settings.written("fallback_after") {
            Some(_) => settings.place_of("fallback_after"),
            None => settings.place_of("fallback"),
        };
        problems.error(at, &settings.path_of("fallback_after"), message, suggestion);
    }
}

fn standby(settings: &Settings, problems: &mut Problems) {
    for key in ["from", "buffers", "fallback"] {
        if settings.written(key).is_some() {
            let at = settings.place_of(key);
            let message = "has no effect on a destination on standby";
            let suggestion = Some("leave it out, or standby".to_owned());
            problems.warning(at, &settings.path_of(key), message, suggestion);
        }
    }
}
