//! Constrained decoding: the tokens of a vocabulary that a grammar (JSON schema, regex, lark) allows next.

use crate::tokenizer::{Handle, Tok};
use crate::{bytes, catch, guard, memory, Failure, Text, FAILED, TOO_COMPLEX};
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::ffi::{c_char, CStr};
use std::sync::Arc;

/// Memory of a large grammar, as bounded by llguidance's limits.
const MEMORY: usize = 64 << 20;

/// Maximum parser items at one position (optional properties of a schema, alternatives of a rule), and in the step of
/// one token (about 50 ms).
const MAX_ROW_ITEMS: usize = 20_000;
const MAX_STEP_ITEMS: usize = 500_000;
/// First tokens that are tried when a grammar is compiled.
const MAX_TRIED: usize = 4;

/// The vocabulary as a trie over bytes.
struct Vocabulary {
    trie: TokTrie,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }
    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.trie.greedy_tokenize(text)
    }
    // Greedy tokenization is not the tokenization of the model: never force tokens from it.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

pub struct GrammarEnv {
    factory: ParserFactory,
}

impl GrammarEnv {
    fn new(tok: &Tok, eos: &[TokenId]) -> Result<GrammarEnv, Failure> {
        let spelling = tok.spelling();
        if tok.inner.get_decoder().is_none() {
            return Err("grammars need a tokenizer with a decoder".into());
        }
        if !spelling.byte_level && spelling.space.is_none() {
            return Err("grammars need a byte-level or SentencePiece vocabulary".into());
        }
        let size = tok.vocab_size();
        if eos.is_empty() || eos.iter().any(|id| *id >= size) {
            return Err(format!("eos ids {eos:?} are not valid in a vocabulary of {size} tokens").into());
        }
        let added = tok.inner.get_added_vocabulary().get_added_tokens_decoder();
        let words: Vec<Vec<u8>> = (0..size)
            .map(|id| match added.get(&id) {
                Some(token) if token.special => [&[TokTrie::SPECIAL_TOKEN_MARKER], token.content.as_bytes()].concat(),
                _ => tok.token_bytes(id),
            })
            .collect();
        let info = TokRxInfo::new(size, eos[0]);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(eos);
        let env: TokEnv = Arc::new(Vocabulary { trie });
        let mut factory = ParserFactory::new_simple(&env).map_err(|e| e.to_string())?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.max_items_in_row = MAX_ROW_ITEMS;
        limits.step_max_items = MAX_STEP_ITEMS;
        Ok(GrammarEnv { factory })
    }
}

/// `{"grammars": [{"name", and one of "lark", "json_schema", "regex"}, …]}`
fn grammars(text: &str) -> Result<TopLevelGrammar, Failure> {
    let mut all: Value = serde_json::from_str(text)?;
    let list = all["grammars"].as_array_mut().ok_or("grammars must be a list")?;
    let grammars = list.iter_mut().map(|entry| {
        let name = entry["name"].as_str().map(String::from);
        let grammar = match (entry["lark"].as_str(), entry["regex"].as_str()) {
            (Some(lark), _) => GrammarWithLexer::from_lark(lark.to_string()),
            (_, Some(regex)) => GrammarWithLexer::from_regex(regex),
            _ => GrammarWithLexer::from_json_schema(entry["json_schema"].take()),
        };
        GrammarWithLexer { name, ..grammar }
    });
    Ok(TopLevelGrammar { grammars: grammars.collect(), max_tokens: None })
}

fn compile(env: &GrammarEnv, kind: &str, source: &[u8]) -> Result<Matcher, Failure> {
    memory::room(MEMORY)?;
    let text = std::str::from_utf8(source)?;
    let grammar = match kind {
        "json_schema" => TopLevelGrammar::from_json_schema(serde_json::from_str(text)?),
        "regex" => TopLevelGrammar::from_regex(text),
        "lark" => TopLevelGrammar::from_lark(text.to_string()),
        // Several grammars; the first one refers to the others by name.
        "grammars" => grammars(text)?,
        _ => return Err(format!("unknown grammar kind {kind:?}").into()),
    };
    let mut matcher = Matcher::new(env.factory.create_parser(grammar));
    // The first mask detects a grammar that no text matches. It is computed once and shared by all clones.
    let first = matcher.compute_mask_or_eos();
    match matcher.get_error().or(first.as_ref().err().map(|e| e.to_string())) {
        Some(error) if error.contains("NoExtensionBias") => Err("no text matches it".into()),
        Some(error) => Err(to_failure(&error)),
        None => {
            check_beginnings(&matcher, first.iter().flat_map(|mask| mask.iter()).collect())?;
            Ok(matcher)
        }
    }
}

/// Tries some first tokens, so that limits exceeded after them are reported here and not during generation.
fn check_beginnings(matcher: &Matcher, allowed: Vec<TokenId>) -> Result<(), Failure> {
    for token in allowed.iter().step_by(allowed.len().div_ceil(MAX_TRIED).max(1)) {
        let mut tried = matcher.deep_clone();
        let done = tried.try_consume_tokens(&[*token]).and_then(|_| tried.compute_mask_or_eos());
        if let Some(error) = done.err().map(|e| to_failure(&e.to_string())).filter(|failure| failure.0 == TOO_COMPLEX) {
            return Err(error);
        }
    }
    Ok(())
}

/// Converts an error of llguidance, without its "non-verbose" note. Exceeded limits are recognized by their wording
/// only.
fn to_failure(error: &str) -> Failure {
    let error = error.trim_end_matches("<non-verbose/>").trim_end();
    let limits = ["max is", "limit", "too big", "Too many", "too many", "too complex", "precomputation failed"];
    if limits.iter().any(|words| error.contains(words)) {
        return Failure(TOO_COMPLEX, format!("too complex: {error}"));
    }
    Failure(FAILED, error.into())
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_env_new(
    handle: *const Handle,
    eos: *const i32,
    count: usize,
    out: *mut *mut GrammarEnv,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let eos = if count == 0 { &[] } else { std::slice::from_raw_parts(eos, count) };
        let eos: Vec<TokenId> = eos.iter().map(|id| *id as u32).collect();
        *out = Box::into_raw(Box::new(GrammarEnv::new(&(&*handle).0, &eos)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_env_free(env: *mut GrammarEnv) {
    if !env.is_null() {
        let _ = catch(|| drop(Box::from_raw(env)));
    }
}

/// The tokens that start with `text` and continue after it; if `anywhere`, the tokens that contain `text` and continue
/// after it.
fn tokens_beyond(trie: &TokTrie, text: &[u8], anywhere: bool) -> Vec<TokenId> {
    let mut found = vec![];
    if anywhere {
        found.extend((0..trie.vocab_size() as TokenId).filter(|id| {
            let token = trie.token(*id);
            token.len() > text.len() && token[..token.len() - 1].windows(text.len()).any(|part| part == text)
        }));
    } else if let Some(node) = trie.child_at_bytes(trie.root(), text) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            for child in trie.node_children(node) {
                found.extend(child.token_id());
                open.push(child);
            }
        }
    }
    found
}

/// `out`: the ids, four bytes each in native byte order.
#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_env_beyond(
    env: *const GrammarEnv,
    text: *const u8,
    size: usize,
    anywhere: i32,
    out: *mut Text,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let env = &*env;
        let ids = tokens_beyond(env.factory.tok_env().tok_trie(), bytes(text, size), anywhere != 0);
        *out = Text::from_bytes(ids.iter().flat_map(|id| id.to_ne_bytes()).collect());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_new(
    env: *const GrammarEnv,
    kind: *const c_char,
    source: *const u8,
    size: usize,
    out: *mut *mut Matcher,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let matcher = compile(&*env, CStr::from_ptr(kind).to_str()?, bytes(source, size))?;
        *out = Box::into_raw(Box::new(matcher));
        Ok(())
    })
}

/// An independent copy in its current state, including the cache of the lexer.
#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_clone(matcher: *const Matcher, out: *mut *mut Matcher, error: *mut Text) -> i32 {
    guard(error, || {
        *out = Box::into_raw(Box::new((*matcher).deep_clone()));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_free(matcher: *mut Matcher) {
    if !matcher.is_null() {
        let _ = catch(|| drop(Box::from_raw(matcher)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_mask(
    matcher: *mut Matcher,
    words: *mut u32,
    count: usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let mask = (*matcher).compute_mask_or_eos().map_err(|e| to_failure(&e.to_string()))?;
        let words = std::slice::from_raw_parts_mut(words, count);
        words.fill(0);
        let used = count.min(mask.as_slice().len());
        words[..used].copy_from_slice(&mask.as_slice()[..used]);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_grammar_accept(matcher: *mut Matcher, id: i32, error: *mut Text) -> i32 {
    guard(error, || match (*matcher).try_consume_tokens(&[id as u32]) {
        Ok(1) => Ok(()),
        Ok(_) => Err(format!("token {id} breaks the grammar").into()),
        Err(e) => Err(to_failure(&e.to_string())),
    })
}
