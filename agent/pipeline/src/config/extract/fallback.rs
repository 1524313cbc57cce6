//! Destinations that take the records of others.

use std::collections::BTreeMap;

use super::super::Parts;
use super::super::model::{
    DestinationConfig, DestinationKind, FallbackConfig, LetterDestinationConfig,
};
use super::super::settings::Settings;
use crate::dead_letter::sender as letter_sender;

/// Gives each destination the fallback that it names.
pub(super) fn attach(
    parts: &Parts,
    destinations: &mut BTreeMap<String, DestinationConfig>,
) -> Option<()> {
    for (name, component) in &parts.destinations {
        if let Some(fallback) = component.settings.text("fallback")
            && let DestinationKind::Directory(directory) = &mut destinations.get_mut(fallback)?.kind
        {
            directory.writers.push(name.clone());
        }
        if let Some(other) = letters_to(&component.settings)
            && let DestinationKind::Directory(directory) = &mut destinations.get_mut(other)?.kind
        {
            directory.writers.push(letter_sender(name));
        }
    }
    for (name, component) in &parts.destinations {
        let settings = &component.settings;
        let Some(fallback) = settings.text("fallback") else {
            continue;
        };
        let way = destinations
            .get(name)?
            .by_way_of(destinations.get(fallback)?);
        destinations.get_mut(name)?.fallback = Some(Box::new(FallbackConfig {
            name: fallback.to_owned(),
            after: settings.duration("fallback_after")?,
            way,
        }));
    }
    for (name, component) in &parts.destinations {
        let Some(other) = letters_to(&component.settings) else {
            continue;
        };
        let way = destinations
            .get(name)?
            .letters_by_way_of(destinations.get(other)?);
        let name_of_other = other.to_owned();
        destinations.get_mut(name)?.dead_letter.destination =
            Some(Box::new(LetterDestinationConfig {
                name: name_of_other,
                way,
            }));
    }
    Some(())
}

fn letters_to(settings: &Settings) -> Option<&str> {
    settings.table("dead_letter")?.text("destination")
}
