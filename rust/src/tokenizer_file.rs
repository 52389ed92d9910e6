//! Parses a tokenizer.json. The large parts of a BPE or Unigram model are read by a serde visitor: for 256k tokens it
//! is several times faster than the crate's parser, which builds untyped JSON values.

use crate::Failure;
use ahash::AHashMap;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use tokenizers::models::bpe::BpeBuilder;
use tokenizers::models::unigram::Unigram;
use tokenizers::ModelWrapper;

/// Maximum token id. Ids are rows of the embedding; a larger one is an error in the file.
pub const MAX_ID: u32 = 1 << 24;
/// Maximum bytes of a token in a Unigram model, which is looked up at every character.
const MAX_UNIGRAM_TOKEN: usize = 1024;

pub struct File {
    pub parts: Map<String, Value>, // everything except the model and the added tokens
    pub model: ModelParts,
    pub added: Vec<Value>,
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileVisitor;
        impl<'de> Visitor<'de> for FileVisitor {
            type Value = File;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a tokenizer object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
                let (mut parts, mut model, mut added) = (Map::new(), None, Vec::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "model" => model = Some(map.next_value()?),
                        "added_tokens" => added = map.next_value::<Option<Vec<Value>>>()?.unwrap_or_default(),
                        "truncation" | "padding" => drop(map.next_value::<IgnoredAny>()?),
                        _ => drop(parts.insert(key, map.next_value()?)),
                    }
                }
                let model = model.ok_or_else(|| A::Error::custom("no \"model\""))?;
                Ok(File { parts, model, added })
            }
        }
        deserializer.deserialize_map(FileVisitor)
    }
}

pub enum Vocab {
    Missing,
    Ids(AHashMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

impl Vocab {
    pub fn size(&self) -> Result<u32, Failure> {
        let size = match self {
            Vocab::Missing => 0,
            Vocab::Ids(map) => map.values().max().map_or(0, |id| u64::from(*id) + 1),
            Vocab::Scores(list) => list.len() as u64,
        };
        if size > u64::from(MAX_ID) {
            return Err(format!("token id {} is out of range", size - 1).into());
        }
        Ok(size as u32)
    }
}

impl Vocab {
    /// The bytes of the longest token.
    pub fn longest(&self) -> usize {
        match self {
            Vocab::Missing => 0,
            Vocab::Ids(map) => map.keys().map(String::len).max().unwrap_or(0),
            Vocab::Scores(list) => list.iter().map(|(token, _)| token.len()).max().unwrap_or(0),
        }
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut ids = AHashMap::new();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    ids.insert(token, id);
                }
                Ok(Vocab::Ids(ids))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocab, A::Error> {
                let mut scores = Vec::new();
                while let Some(entry) = seq.next_element::<(String, f64)>()? {
                    scores.push(entry);
                }
                Ok(Vocab::Scores(scores))
            }
        }
        deserializer.deserialize_any(VocabVisitor)
    }
}

/// `"a b"` or `["a", "b"]`.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Merge, E> {
                match line.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => Ok(Merge(a.into(), b.into())),
                    _ => Err(E::custom(format!("bad merge {line:?}"))),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                let (a, b) = (seq.next_element()?, seq.next_element()?);
                match (a, b, seq.next_element::<IgnoredAny>()?) {
                    (Some(a), Some(b), None) => Ok(Merge(a, b)),
                    _ => Err(A::Error::custom("a merge must have two parts")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

pub struct ModelParts {
    pub vocab: Vocab,
    merges: Option<Vec<Merge>>,
    pub rest: Map<String, Value>,
}

impl<'de> Deserialize<'de> for ModelParts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModelVisitor;
        impl<'de> Visitor<'de> for ModelVisitor {
            type Value = ModelParts;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a model object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelParts, A::Error> {
                let mut parts = ModelParts { vocab: Vocab::Missing, merges: None, rest: Map::new() };
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "vocab" => parts.vocab = map.next_value()?,
                        "merges" => parts.merges = Some(map.next_value()?),
                        _ => drop(parts.rest.insert(key, map.next_value()?)),
                    }
                }
                Ok(parts)
            }
        }
        deserializer.deserialize_map(ModelVisitor)
    }
}

impl ModelParts {
    fn flag(&self, name: &str) -> bool {
        self.rest.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.rest.get(name).and_then(Value::as_str).map(str::to_string)
    }

    pub fn build(self) -> Result<ModelWrapper, Failure> {
        let kind = self.text("type");
        // older files have no "type"
        match (kind.as_deref(), &self.vocab, &self.merges) {
            (Some("BPE") | None, Vocab::Ids(_), Some(_)) => self.build_bpe(),
            (Some("Unigram") | None, Vocab::Scores(_), _) => self.build_unigram(),
            (Some("WordPiece" | "WordLevel") | None, Vocab::Ids(_), None) => self.build_words(),
            (kind, ..) => Err(format!("model type {} does not match its vocabulary", kind.unwrap_or("(none)")).into()),
        }
    }

    fn build_bpe(self) -> Result<ModelWrapper, Failure> {
        let mut builder = BpeBuilder::new()
            .fuse_unk(self.flag("fuse_unk"))
            .byte_fallback(self.flag("byte_fallback"))
            .ignore_merges(self.flag("ignore_merges"));
        // dropout is ignored: it is for training and makes tokens random
        if let Some(unk) = self.text("unk_token") {
            builder = builder.unk_token(unk);
        }
        if let Some(prefix) = self.text("continuing_subword_prefix") {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.text("end_of_word_suffix") {
            builder = builder.end_of_word_suffix(suffix);
        }
        let Vocab::Ids(vocab) = self.vocab else { return Err("a BPE vocabulary must map tokens to ids".into()) };
        let merges = self.merges.unwrap_or_default().into_iter().map(|m| (m.0, m.1)).collect();
        let bpe = builder.vocab_and_merges(vocab, merges).build().map_err(|e| e.to_string())?;
        Ok(ModelWrapper::BPE(bpe))
    }

    fn build_unigram(self) -> Result<ModelWrapper, Failure> {
        let unk = self.rest.get("unk_id").and_then(Value::as_u64).map(|id| id as usize);
        let fallback = self.flag("byte_fallback");
        let Vocab::Scores(scores) = self.vocab else {
            return Err("a Unigram vocabulary must be a list of scores".into());
        };
        if let Some((token, _)) = scores.iter().find(|(token, _)| token.len() > MAX_UNIGRAM_TOKEN) {
            return Err(format!("a token has {} bytes; at most {MAX_UNIGRAM_TOKEN} are allowed", token.len()).into());
        }
        if let Some((token, _)) = scores.iter().find(|(_, score)| !score.is_finite()) {
            return Err(format!("the score of {token:?} is not finite").into());
        }
        Ok(ModelWrapper::Unigram(Unigram::from(scores, unk, fallback).map_err(|e| e.to_string())?))
    }

    fn build_words(mut self) -> Result<ModelWrapper, Failure> {
        let Vocab::Ids(vocab) = self.vocab else {
            return Err("a WordPiece or WordLevel vocabulary must map tokens to ids".into());
        };
        let vocab = vocab.into_iter().map(|(token, id)| (token, Value::from(id))).collect();
        self.rest.insert("vocab".into(), Value::Object(vocab));
        Ok(serde_json::from_value(Value::Object(self.rest))?)
    }
}
