//! How much longer the parts of a tokenizer.json may make a text: found out, and bounded, before any text comes.

use crate::Failure;
use serde_json::Value;

/// The elementary steps of a part; a tokenizer has a handful.
const MAX_STEPS: usize = 64;
/// Sequences within sequences.
const MAX_DEPTH: usize = 16;
/// How many times longer all steps together may make a text.
const MAX_GROWTH: usize = 256;
/// Bytes or ids that a step may put around each text, or in the place of a character.
const MAX_ADDED: usize = 256;
/// Characters of a word that WordPiece looks at; its work grows with their square.
const MAX_WORD: u64 = 2000;

#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Normalizer,
    PreTokenizer,
    Decoder,
}

/// The elementary steps of a part that may be null, a step, or a Sequence of such.
pub fn flatten(part: &Value) -> Vec<&Value> {
    let children = ["normalizers", "pretokenizers", "processors", "decoders"];
    match part["type"].as_str() {
        _ if part.is_null() => vec![],
        Some("Sequence") => {
            children.iter().filter_map(|name| part[*name].as_array()).flatten().flat_map(flatten).collect()
        }
        _ => vec![part],
    }
}

fn depth(part: &Value) -> usize {
    match part {
        Value::Array(list) => list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn steps(part: &Value, name: &str) -> Result<Vec<Value>, Failure> {
    if depth(part) > MAX_DEPTH {
        return Err(format!("{name} nests too deeply").into());
    }
    let steps = flatten(part);
    if steps.len() > MAX_STEPS {
        return Err(format!("{name} has {} steps; at most {MAX_STEPS} are allowed", steps.len()).into());
    }
    Ok(steps.into_iter().cloned().collect())
}

fn length(step: &Value, field: &str) -> Result<usize, Failure> {
    let length = step[field].as_str().map_or(0, str::len);
    if length > MAX_ADDED {
        let kind = step["type"].as_str().unwrap_or_default();
        return Err(format!("{kind}: {field} has {length} bytes; at most {MAX_ADDED} are allowed").into());
    }
    Ok(length)
}

fn growth_of_step(step: &Value, part: Part) -> Result<usize, Failure> {
    Ok(match (step["type"].as_str().unwrap_or_default(), part) {
        ("Replace", _) => {
            let content = length(step, "content")?;
            match step["pattern"]["String"].as_str() {
                Some(text) if !text.is_empty() => content.div_ceil(text.len()).max(1),
                _ => content + 1, // it may match anywhere
            }
        }
        ("Prepend", _) => length(step, "prepend").map(|_| 1)?,
        ("ByteLevel", Part::Normalizer | Part::PreTokenizer) => 2,
        ("Metaspace", Part::PreTokenizer) => length(step, "replacement")?.max(1),
        ("BPEDecoder", _) => length(step, "suffix").map(|_| 2)?,
        ("CTC", _) => length(step, "word_delimiter_token").map(|_| 2)?,
        ("WordPiece", _) => length(step, "prefix").map(|_| 2)?,
        ("Precompiled", _) => longest_replacement(step)?,
        _ => 1,
    })
}

/// The product of what the steps may do; an error where that is too much.
pub fn growth(part: &Value, kind: Part) -> Result<usize, Failure> {
    let name = match kind {
        Part::Normalizer => "normalizer",
        Part::PreTokenizer => "pre_tokenizer",
        Part::Decoder => "decoder",
    };
    steps(part, name)?.iter().try_fold(1, |growth, step| {
        Some(growth * growth_of_step(step, kind)?)
            .filter(|growth| *growth <= MAX_GROWTH)
            .ok_or_else(|| format!("{name} may make a text more than {MAX_GROWTH} times as long").into())
    })
}

/// Checks that a post-processor says a text once, and little around it.
pub fn check_processor(part: &Value) -> Result<(), Failure> {
    let mut added = 0;
    for step in steps(part, "post_processor")? {
        let Some(pieces) = step["single"].as_array() else { continue };
        let texts = pieces.iter().filter(|piece| piece.get("Sequence").is_some()).count();
        if texts != 1 {
            return Err(format!("post_processor says the text {texts} times").into());
        }
        for piece in pieces {
            let Some(id) = piece["SpecialToken"]["id"].as_str() else { continue };
            added += step["special_tokens"][id]["ids"].as_array().map_or(0, Vec::len);
        }
    }
    if added > MAX_ADDED {
        return Err(format!("post_processor adds {added} tokens; at most {MAX_ADDED} are allowed").into());
    }
    Ok(())
}

/// Checks the fields of a model whose work, or memory, grows with them.
pub fn check_model(model: &serde_json::Map<String, Value>) -> Result<(), Failure> {
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let length = model.get(field).and_then(Value::as_str).map_or(0, str::len);
        if length > MAX_ADDED {
            return Err(format!("model: {field} has {length} bytes; at most {MAX_ADDED} are allowed").into());
        }
    }
    match model.get("max_input_chars_per_word").and_then(Value::as_u64) {
        Some(most) if most > MAX_WORD => Err(format!("model: max_input_chars_per_word is above {MAX_WORD}").into()),
        _ => Ok(()),
    }
}

/// Of a character map: a trie, then the texts that it puts in a character's place, each ended by a zero.
fn longest_replacement(step: &Value) -> Result<usize, Failure> {
    let blob = base64(step["precompiled_charsmap"].as_str().unwrap_or_default());
    let Some((head, rest)) = blob.split_first_chunk::<4>() else { return Ok(1) };
    // The crate reserves memory for the length that the map states before it looks.
    let trie = u32::from_le_bytes(*head) as usize;
    let texts = rest.get(trie..).ok_or("precompiled_charsmap is truncated")?;
    match texts.split(|byte| *byte == 0).map(<[u8]>::len).max() {
        Some(longest) if longest > MAX_ADDED => {
            Err(format!("precompiled_charsmap has a text of {longest} bytes; at most {MAX_ADDED} are allowed").into())
        }
        // Unicode's own normal forms have 18 characters for one; that counts as no growth, as for NFKC.
        Some(longest) if longest > 64 => Ok(longest),
        _ => Ok(1),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().filter_map(digit).collect();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0u32, |bits, d| bits << 6 | u32::from(*d)) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len().max(1)]);
    }
    out
}
