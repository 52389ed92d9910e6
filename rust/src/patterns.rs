//! The regular expressions of a tokenizer.json, searched under a watch.

use crate::watch::Watch;
use crate::Failure;
use fancy_regex::Regex;
use serde_json::Value;
use tokenizers::pattern::Pattern;
use tokenizers::Offsets;

pub struct Searched(Regex);

impl Searched {
    /// From `{"String": …}` or `{"Regex": …}`.
    pub fn from_json(pattern: &Value) -> Result<Searched, Failure> {
        match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
            (Some(text), _) => Searched::new(&fancy_regex::escape(text)),
            (_, Some(regex)) => Searched::new(regex),
            _ => Err("a pattern must be a String or a Regex".into()),
        }
    }

    pub fn new(regex: &str) -> Result<Searched, Failure> {
        Ok(Searched(Regex::new(regex)?))
    }

    /// Calls `part` for each piece of `text` in order: the matches (true) and what lies between them.
    pub fn for_each<E: From<String>>(
        &self,
        text: &str,
        watch: &Watch,
        mut part: impl FnMut(Offsets, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = 0;
        for found in self.0.find_iter(text) {
            watch.check()?;
            let found = found.map_err(|e| e.to_string())?;
            if last != found.start() {
                part((last, found.start()), false)?;
            }
            part((found.start(), found.end()), true)?;
            last = found.end();
        }
        if last != text.len() || text.is_empty() {
            part((last, text.len()), false)?;
        }
        Ok(())
    }

    pub fn under<'a>(&'a self, watch: &'a Watch) -> Watched<'a> {
        Watched { pattern: self, watch }
    }
}

/// A pattern with its watch, for the crate.
pub struct Watched<'a> {
    pattern: &'a Searched,
    watch: &'a Watch,
}

impl Pattern for Watched<'_> {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        let mut parts = vec![];
        self.pattern.for_each::<tokenizers::Error>(inside, self.watch, |offsets, found| {
            parts.push((offsets, found));
            Ok(())
        })?;
        Ok(parts)
    }
}
