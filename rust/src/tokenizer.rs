//! tokenizer.json → encode, decode, vocabulary. The large parts of a BPE or Unigram model are read by a visitor of our
//! own: the crate's way through untyped JSON values takes several times as long for 256k tokens.

use crate::decode::Stage;
use crate::spelling::Spelling;
use crate::{bytes, catch, guard, Failure, Text};
use ahash::AHashMap;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokenizers::models::bpe::BpeBuilder;
use tokenizers::models::unigram::Unigram;
use tokenizers::{AddedToken, Model, ModelWrapper, Tokenizer};

/// Ids are row numbers of an embedding; beyond this a file lies.
const MAX_ID: u32 = 1 << 24;

pub struct Tok {
    pub inner: Tokenizer,
    spelling: OnceLock<Spelling>,
    model_vocab: u32, // one more than the model's largest id
}

/// A handle as C sees it.
pub struct Handle(pub Arc<Tok>);

impl Tok {
    fn from_json(json: &[u8]) -> Result<Tok, Failure> {
        let File { mut parts, model, added } = serde_json::from_slice(json)?;
        check_charsmaps(parts.get("normalizer"))?;
        let model_vocab = model.vocab.size()?;
        let model = model.build()?;
        // Everything else goes the crate's own way, around an empty model.
        parts.insert("model".into(), serde_json::json!({"type": "BPE", "vocab": {}, "merges": []}));
        let mut inner: Tokenizer = serde_json::from_value(Value::Object(parts))?;
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        inner.with_model(model);
        let mut tok = Tok { inner, spelling: OnceLock::new(), model_vocab };
        let tokens = added.into_iter().map(added_token).collect::<Result<Vec<_>, _>>()?;
        tok.inner.add_tokens(tokens).map_err(|e| e.to_string())?;
        if tok.vocab_size() > MAX_ID {
            return Err(format!("token id {} is out of range", tok.vocab_size() - 1).into());
        }
        Ok(tok)
    }

    /// Adds those of `tokens` that get, or have, the id they state.
    fn add(&mut self, tokens: Vec<Value>) -> Result<(), Failure> {
        for token in tokens {
            let id = token["id"].as_u64().unwrap_or(u64::MAX);
            let token = added_token(token)?;
            let known = self.inner.token_to_id(&token.content).map(u64::from);
            if known == Some(id) || (known.is_none() && id == u64::from(self.next_id())) {
                self.inner.add_tokens([token]).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// The id that the crate gives to the next new token.
    fn next_id(&self) -> u32 {
        let size = self.inner.get_model().get_vocab_size() as u32;
        let largest = self.inner.get_added_vocabulary().get_added_tokens_decoder().keys().max().copied();
        largest.map_or(size, |id| if id >= size { id + 1 } else { size })
    }

    pub fn vocab_size(&self) -> u32 {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder().keys().max().copied();
        self.model_vocab.max(added.map_or(0, |id| id + 1))
    }

    /// The token as decode() feeds it to the decoder.
    pub fn raw_token(&self, id: u32) -> Option<String> {
        self.inner.get_added_vocabulary().simple_id_to_token(id).or_else(|| self.inner.get_model().id_to_token(id))
    }

    pub fn spelling(&self) -> &Spelling {
        self.spelling.get_or_init(|| {
            let mut spelling = Spelling::default();
            if let Some(decoder) = self.inner.get_decoder() {
                spelling.read(decoder);
            }
            spelling
        })
    }

    /// What the token stands for, in any place but the first of a text; empty past the table.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        match self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id) {
            Some(token) => token.content.as_bytes().to_vec(),
            None => self.raw_token(id).map_or(vec![], |token| self.spelling().bytes(&token)),
        }
    }

    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.get_added_tokens_decoder().get(&id).is_some_and(|token| added.is_special_token(&token.content))
    }
}

/// The crate reserves memory for the length that a character map states before it looks.
fn check_charsmaps(part: Option<&Value>) -> Result<(), Failure> {
    match part {
        Some(Value::Array(list)) => list.iter().try_for_each(|v| check_charsmaps(Some(v))),
        Some(Value::Object(map)) => match map.get("precompiled_charsmap").and_then(Value::as_str) {
            Some(text) if charsmap_length(text) > text.len() => Err("precompiled_charsmap is truncated".into()),
            _ => map.values().try_for_each(|v| check_charsmaps(Some(v))),
        },
        _ => Ok(()),
    }
}

/// The length that begins a character map: 32 bits, little-endian, in base64.
fn charsmap_length(base64: &str) -> usize {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let bits = base64.bytes().take(6).fold(0u64, |bits, c| bits << 6 | u64::from(digit(c)));
    ((bits >> 4) as u32).swap_bytes() as usize
}

fn added_token(value: Value) -> Result<AddedToken, Failure> {
    let content = value["content"].as_str().ok_or_else(|| "added token without content".to_string())?;
    let flag = |name: &str| value[name].as_bool();
    let special = flag("special").unwrap_or(false);
    Ok(AddedToken::from(content.to_string(), special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special)))
}

/// A tokenizer.json taken apart.
struct File {
    parts: Map<String, Value>, // all but the model and the added tokens
    model: ModelParts,
    added: Vec<Value>,
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

enum Vocab {
    Missing,
    Ids(AHashMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

impl Vocab {
    fn size(&self) -> Result<u32, Failure> {
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
                    _ => Err(A::Error::custom("a merge has two parts")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct ModelParts {
    vocab: Vocab,
    merges: Option<Vec<Merge>>,
    rest: Map<String, Value>,
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

    fn build(self) -> Result<ModelWrapper, Failure> {
        let kind = self.text("type");
        // files older than the "type" key have none
        match (kind.as_deref(), &self.vocab, &self.merges) {
            (Some("BPE") | None, Vocab::Ids(_), Some(_)) => self.build_bpe(),
            (Some("Unigram") | None, Vocab::Scores(_), _) => self.build_unigram(),
            (Some("WordPiece" | "WordLevel") | None, Vocab::Ids(_), None) => self.build_words(),
            (kind, ..) => Err(format!("model type {} without a fitting vocabulary", kind.unwrap_or("(none)")).into()),
        }
    }

    fn build_bpe(self) -> Result<ModelWrapper, Failure> {
        let mut builder = BpeBuilder::new()
            .fuse_unk(self.flag("fuse_unk"))
            .byte_fallback(self.flag("byte_fallback"))
            .ignore_merges(self.flag("ignore_merges"));
        // dropout is a training aid; tokens must not depend on chance
        if let Some(unk) = self.text("unk_token") {
            builder = builder.unk_token(unk);
        }
        if let Some(prefix) = self.text("continuing_subword_prefix") {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.text("end_of_word_suffix") {
            builder = builder.end_of_word_suffix(suffix);
        }
        let Vocab::Ids(vocab) = self.vocab else { return Err("BPE needs ids".into()) };
        let merges = self.merges.unwrap_or_default().into_iter().map(|m| (m.0, m.1)).collect();
        let bpe = builder.vocab_and_merges(vocab, merges).build().map_err(|e| e.to_string())?;
        Ok(ModelWrapper::BPE(bpe))
    }

    fn build_unigram(self) -> Result<ModelWrapper, Failure> {
        let unk = self.rest.get("unk_id").and_then(Value::as_u64).map(|id| id as usize);
        let fallback = self.flag("byte_fallback");
        let Vocab::Scores(scores) = self.vocab else { return Err("Unigram needs scores".into()) };
        if let Some((token, _)) = scores.iter().find(|(_, score)| !score.is_finite()) {
            return Err(format!("the score of {token:?} is not finite").into());
        }
        Ok(ModelWrapper::Unigram(Unigram::from(scores, unk, fallback).map_err(|e| e.to_string())?))
    }

    fn build_words(mut self) -> Result<ModelWrapper, Failure> {
        let Vocab::Ids(vocab) = self.vocab else { return Err("words need ids".into()) };
        let vocab = vocab.into_iter().map(|(token, id)| (token, Value::from(id))).collect();
        self.rest.insert("vocab".into(), Value::Object(vocab));
        Ok(serde_json::from_value(Value::Object(self.rest))?)
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_from_json(
    json: *const u8,
    size: usize,
    out: *mut *mut Handle,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let tok = Tok::from_json(bytes(json, size))?;
        *out = Box::into_raw(Box::new(Handle(Arc::new(tok))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_free(handle: *mut Handle) {
    if !handle.is_null() {
        let _ = catch(|| drop(Box::from_raw(handle)));
    }
}

unsafe fn tok<'a>(handle: *const Handle) -> &'a Tok {
    &(&*handle).0
}

unsafe fn exclusive<'a>(handle: *mut Handle) -> Result<&'a mut Tok, Failure> {
    Arc::get_mut(&mut (&mut *handle).0).ok_or_else(|| "the tokenizer is already in use".to_string().into())
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_add_tokens(
    handle: *mut Handle,
    tokens: *const u8,
    size: usize,
    error: *mut Text,
) -> i32 {
    guard(error, || exclusive(handle)?.add(serde_json::from_slice(bytes(tokens, size))?))
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_set_pre_tokenizer(
    handle: *mut Handle,
    json: *const u8,
    size: usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let part: tokenizers::PreTokenizerWrapper = serde_json::from_slice(bytes(json, size))?;
        exclusive(handle)?.inner.with_pre_tokenizer(Some(part));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_set_post_processor(
    handle: *mut Handle,
    json: *const u8,
    size: usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let part: tokenizers::PostProcessorWrapper = serde_json::from_slice(bytes(json, size))?;
        exclusive(handle)?.inner.with_post_processor(Some(part));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_pre_tokenizer(handle: *const Handle, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        *out = Text::from_string(serde_json::to_string(&tok(handle).inner.get_pre_tokenizer())?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_post_processor(handle: *const Handle, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        *out = Text::from_string(serde_json::to_string(&tok(handle).inner.get_post_processor())?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_encode(
    handle: *const Handle,
    text: *const u8,
    size: usize,
    add_special_tokens: i32,
    ids: *mut *mut i32,
    count: *mut usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let text = String::from_utf8_lossy(bytes(text, size));
        let encoding =
            tok(handle).inner.encode_fast(text.as_ref(), add_special_tokens != 0).map_err(|e| e.to_string())?;
        let boxed: Box<[i32]> = encoding.get_ids().iter().map(|id| *id as i32).collect();
        *count = boxed.len();
        *ids = Box::into_raw(boxed) as *mut i32;
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_ids_free(ids: *mut i32, count: usize) {
    if !ids.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids, count)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_decode(
    handle: *const Handle,
    ids: *const i32,
    count: usize,
    skip_special_tokens: i32,
    out: *mut Text,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let ids = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        // a negative id becomes one past any vocabulary: skipped like every unknown id
        let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
        let text = tok(handle).inner.decode(&ids, skip_special_tokens != 0).map_err(|e| e.to_string())?;
        *out = Text::from_string(text);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_token_to_id(handle: *const Handle, token: *const u8, size: usize) -> i64 {
    let find = || std::str::from_utf8(bytes(token, size)).ok().and_then(|t| tok(handle).inner.token_to_id(t));
    catch(find).ok().flatten().map_or(-1, i64::from)
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_id_to_token(handle: *const Handle, id: i32, out: *mut Text) -> i32 {
    match catch(|| tok(handle).inner.id_to_token(id as u32)) {
        Ok(Some(token)) => {
            *out = Text::from_string(token);
            1
        }
        _ => 0,
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_token_bytes(handle: *const Handle, id: i32, out: *mut Text) {
    *out = Text::from_bytes(catch(|| tok(handle).token_bytes(id as u32)).unwrap_or_default());
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_vocab_size(handle: *const Handle) -> i32 {
    catch(|| tok(handle).vocab_size() as i32).unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_is_special(handle: *const Handle, id: i32) -> i32 {
    catch(|| i32::from(tok(handle).is_special(id as u32))).unwrap_or(0)
}

/// A running decode.
pub struct Stream {
    tok: Arc<Tok>,
    skip_special_tokens: bool,
    stage: Stage,
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_stream_new(handle: *const Handle, skip_special_tokens: i32) -> *mut Stream {
    catch(|| {
        let tok = (&*handle).0.clone();
        let stage = Stage::of(tok.inner.get_decoder());
        Box::into_raw(Box::new(Stream { tok, skip_special_tokens: skip_special_tokens != 0, stage }))
    })
    .unwrap_or(std::ptr::null_mut())
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_stream_free(stream: *mut Stream) {
    if !stream.is_null() {
        let _ = catch(|| drop(Box::from_raw(stream)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_stream_push(stream: *mut Stream, id: i32, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        let stream = &mut *stream;
        let mut text = String::new();
        if let Some(token) = stream.tok.raw_token(id as u32) {
            let special = stream.tok.inner.get_added_vocabulary().is_special_token(&token);
            if !(stream.skip_special_tokens && special) {
                stream.stage.push(token, &mut text)?;
            }
        }
        *out = Text::from_string(text);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_stream_finish(stream: *mut Stream, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        let mut text = String::new();
        (*stream).stage.finish(&mut text)?;
        *out = Text::from_string(text);
        Ok(())
    })
}
