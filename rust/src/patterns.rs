//! The regular expressions of a tokenizer.json. A Watch bounds the time of a search.

use crate::watch::Watch;
use crate::Failure;
use fancy_regex::Regex;
use serde_json::Value;
use tokenizers::pattern::Pattern;
use tokenizers::Offsets;

pub struct SearchPattern(Regex);

impl SearchPattern {
    /// From `{"String": …}` or `{"Regex": …}`.
    pub fn from_json(pattern: &Value) -> Result<SearchPattern, Failure> {
        match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
            (Some(text), _) => SearchPattern::new(&fancy_regex::escape(text)),
            (_, Some(regex)) => SearchPattern::new(regex),
            _ => Err("a pattern must be a String or a Regex".into()),
        }
    }

    pub fn new(regex: &str) -> Result<SearchPattern, Failure> {
        Ok(SearchPattern(Regex::new(regex)?))
    }

    /// Calls `part` for each piece of `text` in order: the matches (true) and the gaps between them (false).
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

    pub fn with_watch<'a>(&'a self, watch: &'a Watch) -> Watched<'a> {
        Watched { pattern: self, watch }
    }
}

/// A pattern and its watch, as a Pattern of the crate.
pub struct Watched<'a> {
    pattern: &'a SearchPattern,
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
