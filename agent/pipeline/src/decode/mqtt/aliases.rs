//! Topic aliases: a number that stands for a topic, within one connection and one direction.

use std::collections::BTreeMap;

use super::Malformed;

/// A longer topic is not remembered: what a sender can make us keep is bounded.
const TOPIC_BYTES_MAX: usize = 1024;

/// What the sender said so far.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    maximum: u16,
    topics: BTreeMap<u16, Box<str>>,
}

impl Aliases {
    /// None yet; at most `maximum` will be taken.
    pub const fn new(maximum: u16) -> Self {
        Self {
            maximum,
            topics: BTreeMap::new(),
        }
    }

    /// The topic that is meant; a topic given with an alias is remembered.
    pub fn resolve<'a>(
        &'a mut self,
        topic: &'a str,
        alias: Option<u16>,
    ) -> Result<&'a str, Malformed> {
        let Some(alias) = alias else {
            return Ok(topic);
        };
        if alias > self.maximum || topic.len() > TOPIC_BYTES_MAX {
            return Err(Malformed::TopicAlias);
        }
        if !topic.is_empty() {
            self.topics.insert(alias, topic.into());
            return Ok(topic);
        }
        self.topics
            .get(&alias)
            .map(AsRef::as_ref)
            .ok_or(Malformed::TopicAlias)
    }
}
