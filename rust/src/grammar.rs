//! Grammars (JSON schema, regex, lark) over a tokenizer's vocabulary: which tokens may come next.

use crate::tokenizer::{Handle, Tok};
use crate::{bytes, catch, guard, memory, Failure, Text, FAILED, TOO_COMPLEX};
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::ffi::{c_char, CStr};
use std::sync::Arc;

/// What a large grammar takes; llguidance's own limits bound it.
const MEMORY: usize = 64 << 20;

/// Rules that may go on at one place, which a schema's optional properties and a rule's alternatives are, and what may
/// be tried for one token: some 50 ms.
const MAX_ROW: usize = 20_000;
const MAX_ITEMS: usize = 500_000;
/// First tokens that a grammar is tried with when it is compiled.
const TRIED: usize = 4;

/// The vocabulary as a trie of bytes.
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
    // Greedy pieces are not the model's own: never force tokens from them.
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
            return Err(format!("eos ids {eos:?} do not fit a vocabulary of {size}").into());
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
        limits.max_items_in_row = MAX_ROW;
        limits.step_max_items = MAX_ITEMS;
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
        // Several, where the first refers to others by name.
        "grammars" => grammars(text)?,
        _ => return Err(format!("unknown kind of grammar {kind:?}").into()),
    };
    let mut matcher = Matcher::new(env.factory.create_parser(grammar));
    // The first mask shows a grammar without any text, and what it takes is paid once for all answers.
    let first = matcher.compute_mask_or_eos();
    match matcher.get_error().or(first.as_ref().err().map(|e| e.to_string())) {
        Some(error) if error.contains("NoExtensionBias") => Err("no text fulfils it".into()),
        Some(error) => Err(said(&error)),
        None => {
            check_beginnings(&matcher, first.iter().flat_map(|mask| mask.iter()).collect())?;
            Ok(matcher)
        }
    }
}

/// Limits show behind the first token, too: better here than in the answer.
fn check_beginnings(matcher: &Matcher, allowed: Vec<TokenId>) -> Result<(), Failure> {
    for token in allowed.iter().step_by(allowed.len().div_ceil(TRIED).max(1)) {
        let mut tried = matcher.deep_clone();
        let done = tried.try_consume_tokens(&[*token]).and_then(|_| tried.compute_mask_or_eos());
        if let Some(error) = done.err().map(|e| said(&e.to_string())).filter(|failure| failure.0 == TOO_COMPLEX) {
            return Err(error);
        }
    }
    Ok(())
}

/// llguidance's message without the note that it could say more; its limits are told apart by their words alone.
fn said(error: &str) -> Failure {
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

/// The tokens that begin with `text` and go on, or that have it anywhere inside and go on.
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

/// The ids, four bytes each in the machine's order.
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

/// An answer of its own, as it was when compiled, with what the lexer has learnt since.
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
        let mask = (*matcher).compute_mask_or_eos().map_err(|e| said(&e.to_string()))?;
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
        Err(e) => Err(said(&e.to_string())),
    })
}
