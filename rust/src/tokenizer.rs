//! The tokenizer of a tokenizer.json: encode, decode, vocabulary.

use crate::decode::Stage;
use crate::growth::{self, Part};
use crate::pipeline::{Normalize, Pipeline, Pretokenize};
use crate::spelling::Spelling;
use crate::tokenizer_file::{File, MAX_ID};
use crate::watch::StopCheck;
use crate::{bytes, catch, guard, memory, Failure, Text, TOO_LONG};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokenizers::{
    AddedToken, DecoderWrapper, Encoding, Model, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper, Token,
    TokenizerImpl,
};

type Inner = TokenizerImpl<ModelWrapper, Normalize, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

pub struct Tok {
    pub inner: Inner, // without a pre-tokenizer
    pretokenizer: Value,
    pretokenize: Pretokenize,
    growth: (usize, usize),       // of the normalizer and the pre-tokenizer
    around: (Vec<u32>, Vec<u32>), // ids that the post-processor adds before and after a text
    spelling: OnceLock<Spelling>,
    model_vocab: u32,     // the largest id of the model, plus one
    longest_token: usize, // in bytes, as written in the vocabulary
}

// Placeholders for the texts in the template of the post-processor: -1 and -2 in the C ABI.
const TEXT: u32 = u32::MAX;
const SECOND: u32 = u32::MAX - 1;

/// The mlxk_tokenizer of the C ABI.
pub struct Handle(pub Arc<Tok>);

impl Tok {
    fn from_json(json: &[u8]) -> Result<Tok, Failure> {
        memory::room(16 * json.len())?;
        let File { mut parts, model, added } = serde_json::from_slice(json)?;
        let mut part = |name: &str| parts.remove(name).unwrap_or_default();
        let (normalizer, decoder) = (part("normalizer"), part("decoder"));
        growth::check_model(&model.rest)?;
        growth::growth(&decoder, Part::Decoder)?;
        let model_vocab = model.vocab.size()?;
        let longest_token = model.vocab.longest();
        let mut tok = Tok {
            growth: (growth::growth(&normalizer, Part::Normalizer)?, 1),
            inner: TokenizerImpl::new(model.build()?),
            pretokenizer: Value::Null,
            pretokenize: Pretokenize::from_json(&Value::Null)?,
            around: Default::default(),
            spelling: OnceLock::new(),
            model_vocab,
            longest_token,
        };
        let normalize = Some(Normalize::from_json(&normalizer)?).filter(|_| !normalizer.is_null());
        tok.inner.with_normalizer(normalize).map_err(|e| e.to_string())?;
        tok.inner.with_decoder(serde_json::from_value::<Option<DecoderWrapper>>(decoder)?);
        tok.set_pretokenizer(part("pre_tokenizer"))?;
        tok.set_post_processor(serde_json::from_value(part("post_processor"))?)?;
        let tokens = added.into_iter().map(added_token).collect::<Result<Vec<_>, _>>()?;
        tok.add_tokens(tokens)?;
        if tok.vocab_size() > MAX_ID {
            return Err(format!("token id {} is out of range", tok.vocab_size() - 1).into());
        }
        Ok(tok)
    }

    fn add_tokens(&mut self, tokens: Vec<AddedToken>) -> Result<(), Failure> {
        let longest = tokens.iter().map(|token| token.content.len()).max().unwrap_or(0);
        self.longest_token = self.longest_token.max(longest);
        self.inner.add_tokens(tokens).map_err(|e| e.to_string())?;
        Ok(())
    }

    fn set_pretokenizer(&mut self, part: Value) -> Result<(), Failure> {
        self.growth.1 = growth::growth(&part, Part::PreTokenizer)?;
        self.pretokenize = Pretokenize::from_json(&part)?;
        self.pretokenizer = part;
        Ok(())
    }

    /// Sets the post-processor and finds the ids that it adds around every text.
    fn set_post_processor(&mut self, part: Option<PostProcessorWrapper>) -> Result<(), Failure> {
        growth::check_processor(&serde_json::to_value(&part)?)?;
        self.inner.with_post_processor(part);
        let ids = self.frame(false)?.0;
        let mut parts = ids.split(|id| *id == TEXT);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(before), Some(after), None) => self.around = (before.to_vec(), after.to_vec()),
            _ => return Err("post_processor must contain the text once".into()),
        }
        Ok(())
    }

    /// The ids around a text, or around a pair of texts, and the type of each token. TEXT and SECOND are the texts.
    fn frame(&self, pair: bool) -> Result<(Vec<u32>, Vec<u32>), Failure> {
        let one = |id| Encoding::from_tokens(vec![Token::new(id, String::new(), (0, 0))], 0);
        let second = pair.then(|| one(SECOND));
        let all = self.inner.post_process(one(TEXT), second, true).map_err(|e| e.to_string())?;
        Ok((all.get_ids().to_vec(), all.get_type_ids().to_vec()))
    }

    /// The ids of `text`; TOO_LONG if there are more than `max_tokens`.
    fn encode(&self, text: &str, special: bool, max_tokens: usize, stop: StopCheck) -> Result<Vec<u32>, Failure> {
        if text.len() / self.longest_token.max(1) > max_tokens {
            let text = format!("{} bytes do not fit into {max_tokens} tokens", text.len());
            return Err(Failure(TOO_LONG, text));
        }
        let pipeline = Pipeline {
            added: self.inner.get_added_vocabulary(),
            normalize: self.inner.get_normalizer(),
            pretokenize: &self.pretokenize,
            model: self.inner.get_model(),
            growth: self.growth.0 * self.growth.1,
        };
        let ids = pipeline.encode(text, max_tokens, stop)?;
        let (before, after) = &self.around;
        Ok(if special { [before.as_slice(), &ids, after].concat() } else { ids })
    }

    /// Adds each of `tokens` that already has, or would get, the id it states.
    fn add(&mut self, tokens: Vec<Value>) -> Result<(), Failure> {
        for token in tokens {
            let id = token["id"].as_u64().unwrap_or(u64::MAX);
            let token = added_token(token)?;
            let known = self.inner.token_to_id(&token.content).map(u64::from);
            if known == Some(id) || (known.is_none() && id == u64::from(self.next_id())) {
                self.add_tokens(vec![token])?;
            }
        }
        Ok(())
    }

    /// The id that the crate assigns to the next new token.
    fn next_id(&self) -> u32 {
        let size = self.inner.get_model().get_vocab_size() as u32;
        let largest = self.inner.get_added_vocabulary().get_added_tokens_decoder().keys().max().copied();
        largest.map_or(size, |id| if id >= size { id + 1 } else { size })
    }

    pub fn vocab_size(&self) -> u32 {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder().keys().max().copied();
        self.model_vocab.max(added.map_or(0, |id| id + 1))
    }

    /// The token as decode() passes it to the decoder.
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

    /// The bytes of the token anywhere but at the beginning of a text; empty if `id` is outside the vocabulary.
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

/// Whether a token is text of prompts and answers, although its file calls it special: places in an image, `<loc_17>`,
/// and the marks of a polygon of them (Florence-2).
fn is_place(content: &str) -> bool {
    let number = content.strip_prefix("<loc_").and_then(|rest| rest.strip_suffix('>'));
    let numbered = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    numbered || content == "<poly>" || content == "</poly>"
}

fn added_token(value: Value) -> Result<AddedToken, Failure> {
    let content = value["content"].as_str().ok_or_else(|| "added token without content".to_string())?;
    let flag = |name: &str| value[name].as_bool();
    let special = flag("special").unwrap_or(false);
    Ok(AddedToken::from(content.to_string(), special && !is_place(content))
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special)))
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
    guard(error, || exclusive(handle)?.set_pretokenizer(serde_json::from_slice(bytes(json, size))?))
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_set_post_processor(
    handle: *mut Handle,
    json: *const u8,
    size: usize,
    error: *mut Text,
) -> i32 {
    guard(error, || exclusive(handle)?.set_post_processor(serde_json::from_slice(bytes(json, size))?))
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_pre_tokenizer(handle: *const Handle, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        *out = Text::from_string(tok(handle).pretokenizer.to_string());
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
    max_tokens: usize,
    check: StopCheck,
    ids: *mut *mut i32,
    count: *mut usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let text = String::from_utf8_lossy(bytes(text, size));
        let found = tok(handle).encode(&text, add_special_tokens != 0, max_tokens, check)?;
        let boxed: Box<[i32]> = found.into_iter().map(|id| id as i32).collect();
        *count = boxed.len();
        *ids = Box::into_raw(boxed) as *mut i32;
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_tokenizer_frame(
    handle: *const Handle,
    pair: i32,
    ids: *mut *mut i32,
    types: *mut *mut i32,
    count: *mut usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let (found, kinds) = tok(handle).frame(pair != 0)?;
        if found.len() != kinds.len() {
            return Err("post_processor returns different numbers of tokens and types".into());
        }
        let boxed = |numbers: Vec<u32>| -> *mut i32 {
            let boxed: Box<[i32]> = numbers.into_iter().map(|id| id as i32).collect();
            Box::into_raw(boxed) as *mut i32
        };
        *count = found.len();
        *ids = boxed(found);
        *types = boxed(kinds);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_lower_case(text: *const u8, size: usize, out: *mut Text, error: *mut Text) -> i32 {
    guard(error, || {
        *out = Text::from_string(String::from_utf8_lossy(bytes(text, size)).to_lowercase());
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
        // a negative id becomes an id outside every vocabulary and is skipped like any unknown id
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

/// A streaming decode.
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
