//! Runs a text through the parts of a tokenizer.json: normalizer, pre-tokenizer, model, post-processor. They are
//! supplied by models and may be hostile. All but the model are therefore run by steps implemented here, with limits on
//! what they may add.

use crate::patterns::SearchPattern;
use crate::watch::{StopCheck, Watch};
use crate::{memory, Failure, TOO_LONG};
use serde_json::Value;
use std::cell::RefCell;
use std::time::Duration;
use tokenizers::pattern::Invert;
use tokenizers::{
    AddedVocabulary, Model, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential,
    OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, SplitDelimiterBehavior,
};

/// Time limit for a text, in addition to the time for its length.
const TIME: Duration = Duration::from_secs(2);
const BYTES_PER_SECOND: usize = 256 << 10;
/// Maximum bytes of a text that is split piece by piece. A context of a million tokens is about 5 MB.
const MAX_TEXT: usize = 16 << 20;
/// Maximum bytes of a piece, and of a text that is split as a whole: see WHOLE_MEMORY.
const MAX_PIECE: usize = 4 << 20;
/// Bytes of memory for each byte of a text: split piece by piece, and as a whole.
const PIECES_MEMORY: usize = 48;
const WHOLE_MEMORY: usize = 320;
/// Maximum bytes of a normalized text.
const MAX_NORMALIZED: usize = 32 << 20;

/// GPT-2's pattern, which ByteLevel applies if `use_regex` is set.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

enum NormalizeStep {
    Plain(NormalizerWrapper),
    Replace(SearchPattern, String),
}

/// The steps of a normalizer.
#[derive(Default)]
pub struct Normalize(Vec<NormalizeStep>);

impl Normalize {
    pub fn from_json(json: &Value) -> Result<Normalize, Failure> {
        let steps = crate::growth::flatten(json).into_iter().map(|step| match step["type"].as_str() {
            Some("Replace") => {
                let content = step["content"].as_str().ok_or("Replace without content")?;
                Ok(NormalizeStep::Replace(SearchPattern::from_json(&step["pattern"])?, content.into()))
            }
            _ => Ok(NormalizeStep::Plain(serde_json::from_value(step.clone())?)),
        });
        Ok(Normalize(steps.collect::<Result<_, Failure>>()?))
    }

    fn run(&self, text: &mut NormalizedString, watch: &Watch) -> tokenizers::Result<()> {
        for step in &self.0 {
            watch.check()?;
            match step {
                NormalizeStep::Plain(step) => step.normalize(text)?,
                NormalizeStep::Replace(pattern, content) => text.replace(pattern.with_watch(watch), content)?,
            }
        }
        Ok(())
    }
}

/// Normalizes the content of an added token.
impl Normalizer for Normalize {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.run(text, &watch_over(text.len_original(), StopCheck::never()))
    }
}

/// A normalizer that keeps its first failure, because the crate ignores failures.
struct WatchedNormalize<'a> {
    steps: &'a Normalize,
    watch: &'a Watch,
    failure: RefCell<Option<String>>,
}

// Safety: the trait requires Sync, but a text is normalized by a single thread.
unsafe impl Sync for WatchedNormalize<'_> {}

impl Normalizer for WatchedNormalize<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        let done = self.steps.run(text, self.watch);
        if let Err(error) = &done {
            self.failure.borrow_mut().get_or_insert(error.to_string());
        }
        done
    }
}

enum SplitStep {
    Plain(PreTokenizerWrapper),
    Split { pattern: SearchPattern, behavior: SplitDelimiterBehavior, invert: bool },
}

/// Splits a text at the matches of a pattern. Matches and the gaps between them are kept as pieces or dropped.
struct Cut {
    pattern: SearchPattern,
    matches: bool, // whether matches are kept
    gaps: bool,    // whether gaps are kept
}

/// How a text is split for the model.
enum Cutting {
    /// Piece by piece; each piece is split further by the next step. The flag: bytes are then mapped to characters.
    Pieces(Vec<Cut>, bool),
    /// As a whole, by the crate.
    Whole(Vec<SplitStep>),
}

/// The steps of a pre-tokenizer.
pub struct Pretokenize(Cutting);

impl Pretokenize {
    pub fn from_json(json: &Value) -> Result<Pretokenize, Failure> {
        let steps = crate::growth::flatten(json);
        if let Some((cuts, byte_level)) = cuts_of(&steps)? {
            return Ok(Pretokenize(Cutting::Pieces(cuts, byte_level)));
        }
        let steps = steps.into_iter().map(|step| match step["type"].as_str() {
            Some("Split") => Ok(SplitStep::Split {
                pattern: SearchPattern::from_json(&step["pattern"])?,
                behavior: serde_json::from_value(step["behavior"].clone())?,
                invert: step["invert"].as_bool().unwrap_or(false),
            }),
            _ => Ok(SplitStep::Plain(serde_json::from_value(step.clone())?)),
        });
        Ok(Pretokenize(Cutting::Whole(steps.collect::<Result<_, Failure>>()?)))
    }
}

/// The cuts of `steps` and whether the last step is ByteLevel; None if a step cannot process each piece independently.
fn cuts_of(steps: &[&Value]) -> Result<Option<(Vec<Cut>, bool)>, Failure> {
    let mut cuts = vec![];
    for (i, step) in steps.iter().enumerate() {
        let flag = |name: &str, absent| step[name].as_bool().unwrap_or(absent);
        match (step["type"].as_str(), step["behavior"].as_str()) {
            (Some("Split"), Some("Isolated")) => {
                cuts.push(Cut { pattern: SearchPattern::from_json(&step["pattern"])?, matches: true, gaps: true })
            }
            (Some("Split"), Some("Removed")) => {
                let (pattern, invert) = (SearchPattern::from_json(&step["pattern"])?, flag("invert", false));
                cuts.push(Cut { pattern, matches: invert, gaps: !invert })
            }
            (Some("Digits"), _) => {
                let pattern = if flag("individual_digits", false) { r"\p{N}" } else { r"\p{N}+" };
                cuts.push(Cut { pattern: SearchPattern::new(pattern)?, matches: true, gaps: true })
            }
            (Some("ByteLevel"), _) if i + 1 == steps.len() && !flag("add_prefix_space", true) => {
                if flag("use_regex", true) {
                    cuts.push(Cut { pattern: SearchPattern::new(GPT2)?, matches: true, gaps: true });
                }
                return Ok(Some((cuts, true)));
            }
            _ => return Ok(None),
        }
    }
    Ok(Some((cuts, false)))
}

fn watch_over(bytes: usize, stop: StopCheck) -> Watch {
    Watch::new(TIME + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64), stop)
}

fn too_long(bytes: usize, max: usize, what: &str) -> Failure {
    Failure(TOO_LONG, format!("{what} has {bytes} bytes; this tokenizer accepts at most {max} at once"))
}

/// Collects the ids of the pieces of a text.
struct Ids<'a> {
    model: &'a ModelWrapper,
    watch: &'a Watch,
    max_tokens: usize,
    ids: Vec<u32>,
    spelled: String,
}

impl Ids<'_> {
    fn push(&mut self, tokens: Vec<tokenizers::Token>) -> Result<(), Failure> {
        self.ids.extend(tokens.iter().map(|token| token.id));
        if self.ids.len() > self.max_tokens {
            return Err(Failure(TOO_LONG, format!("the text has more than {} tokens", self.max_tokens)));
        }
        Ok(())
    }

    fn add(&mut self, piece: &str, byte_level: bool) -> Result<(), Failure> {
        self.watch.check()?;
        if piece.len() > MAX_PIECE {
            return Err(too_long(piece.len(), MAX_PIECE, "a word"));
        }
        if !byte_level {
            return self.push(self.model.tokenize(piece)?);
        }
        self.spelled.clear();
        self.spelled.extend(piece.bytes().map(crate::decode::byte_level_char));
        self.push(self.model.tokenize(&self.spelled)?)
    }

    fn cut(&mut self, text: &str, cuts: &[Cut], byte_level: bool) -> Result<(), Failure> {
        let Some((cut, rest)) = cuts.split_first() else { return self.add(text, byte_level) };
        let watch = self.watch;
        cut.pattern.for_each(text, watch, |(start, end), found| {
            if start == end || !(if found { cut.matches } else { cut.gaps }) {
                return Ok(());
            }
            self.cut(&text[start..end], rest, byte_level)
        })
    }
}

/// The parts of a tokenizer that encode a text.
pub struct Pipeline<'a> {
    pub added: &'a AddedVocabulary,
    pub normalize: Option<&'a Normalize>,
    pub pretokenize: &'a Pretokenize,
    pub model: &'a ModelWrapper,
    pub growth: usize, // maximum factor by which a text may grow
}

impl Pipeline<'_> {
    /// The ids of `text`; TOO_LONG if there are more than `max_tokens`.
    pub fn encode(&self, text: &str, max_tokens: usize, stop: StopCheck) -> Result<Vec<u32>, Failure> {
        let Pretokenize(cutting) = self.pretokenize;
        let pieces = matches!(cutting, Cutting::Pieces(cuts, _) if !cuts.is_empty());
        let limit = if pieces { MAX_TEXT } else { MAX_PIECE }.min(MAX_NORMALIZED / self.growth);
        if text.len() > limit {
            return Err(too_long(text.len(), limit, "the text"));
        }
        memory::room(text.len() * self.growth * if pieces { PIECES_MEMORY } else { WHOLE_MEMORY })?;
        let watch = watch_over(text.len(), stop);
        let normalize =
            self.normalize.map(|steps| WatchedNormalize { steps, watch: &watch, failure: RefCell::new(None) });
        let mut text = self.added.extract_and_normalize(normalize.as_ref(), text);
        watch.result()?;
        if let Some(error) = normalize.and_then(|normalize| normalize.failure.into_inner()) {
            return Err(error.into());
        }
        let mut ids = Ids { model: self.model, watch: &watch, max_tokens, ids: vec![], spelled: String::new() };
        match cutting {
            Cutting::Pieces(cuts, byte_level) => {
                for (piece, _, tokens) in text.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                    match tokens {
                        Some(tokens) => ids.push(tokens.clone())?,
                        None => ids.cut(piece, cuts, *byte_level)?,
                    }
                }
            }
            Cutting::Whole(steps) => {
                steps.iter().try_for_each(|step| split(&mut text, step, &watch))?;
                for (piece, _, tokens) in text.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                    match tokens {
                        Some(tokens) => ids.push(tokens.clone())?,
                        None => ids.add(piece, false)?,
                    }
                }
            }
        }
        Ok(ids.ids)
    }
}

fn split(text: &mut PreTokenizedString, step: &SplitStep, watch: &Watch) -> Result<(), Failure> {
    watch.check()?;
    let done = match step {
        SplitStep::Plain(step) => step.pre_tokenize(text),
        SplitStep::Split { pattern, behavior, invert: true } => {
            text.split(|_, piece| piece.split(Invert(pattern.with_watch(watch)), *behavior))
        }
        SplitStep::Split { pattern, behavior, .. } => {
            text.split(|_, piece| piece.split(pattern.with_watch(watch), *behavior))
        }
    };
    watch.result()?;
    Ok(done?)
}
