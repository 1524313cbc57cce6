//! Destinations that take the records of others.

use std::collections::BTreeMap;

use super::super::Parts;
use super::super::model::{DestinationConfig, DestinationKind, FallbackConfig};

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
    Some(())
}
