//! Bounds the factor by which the parts of a tokenizer.json may lengthen a text, when the file is loaded.

use crate::Failure;
use serde_json::Value;

/// Maximum number of elementary steps of a part; a usual tokenizer has a handful.
const MAX_STEPS: usize = 64;
/// Maximum depth of nested JSON objects.
const MAX_DEPTH: usize = 16;
/// Maximum factor by which all steps together may lengthen a text.
const MAX_GROWTH: usize = 256;
/// Maximum bytes or ids that a step may add around each text, or put in place of a character.
const MAX_ADDED: usize = 256;
/// Maximum characters of a word in WordPiece, whose work is quadratic in them.
const MAX_WORD: u64 = 2000;

#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Normalizer,
    PreTokenizer,
    Decoder,
}

/// The elementary steps of a part, which may be null, a step, or a Sequence of parts.
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
        return Err(format!("{name} is too deeply nested").into());
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

/// The product of the growth of all steps; an error if it exceeds MAX_GROWTH.
pub fn growth(part: &Value, kind: Part) -> Result<usize, Failure> {
    let name = match kind {
        Part::Normalizer => "normalizer",
        Part::PreTokenizer => "pre_tokenizer",
        Part::Decoder => "decoder",
    };
    steps(part, name)?.iter().try_fold(1, |growth, step| {
        Some(growth * growth_of_step(step, kind)?)
            .filter(|growth| *growth <= MAX_GROWTH)
            .ok_or_else(|| format!("{name} can make a text more than {MAX_GROWTH} times as long").into())
    })
}

/// Checks that a post-processor contains the text once and adds few tokens.
pub fn check_processor(part: &Value) -> Result<(), Failure> {
    let mut added = 0;
    for step in steps(part, "post_processor")? {
        let Some(pieces) = step["single"].as_array() else { continue };
        let texts = pieces.iter().filter(|piece| piece.get("Sequence").is_some()).count();
        if texts != 1 {
            return Err(format!("post_processor contains the text {texts} times, not once").into());
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

/// Checks the fields of a model that determine its work or memory.
pub fn check_model(model: &serde_json::Map<String, Value>) -> Result<(), Failure> {
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let length = model.get(field).and_then(Value::as_str).map_or(0, str::len);
        if length > MAX_ADDED {
            return Err(format!("model: {field} has {length} bytes; at most {MAX_ADDED} are allowed").into());
        }
    }
    match model.get("max_input_chars_per_word").and_then(Value::as_u64) {
        Some(max) if max > MAX_WORD => Err(format!("model: max_input_chars_per_word is above {MAX_WORD}").into()),
        _ => Ok(()),
    }
}

/// The length of the longest replacement of a character map: a trie, followed by zero-terminated replacements.
fn longest_replacement(step: &Value) -> Result<usize, Failure> {
    let blob = base64(step["precompiled_charsmap"].as_str().unwrap_or_default());
    let Some((head, rest)) = blob.split_first_chunk::<4>() else { return Ok(1) };
    // The crate allocates the stated length without a check.
    let trie = u32::from_le_bytes(*head) as usize;
    let texts = rest.get(trie..).ok_or("precompiled_charsmap is truncated")?;
    match texts.split(|byte| *byte == 0).map(<[u8]>::len).max() {
        Some(longest) if longest > MAX_ADDED => {
            Err(format!("precompiled_charsmap has a replacement of {longest} bytes; at most {MAX_ADDED} are allowed")
                .into())
        }
        // The normal forms of Unicode have up to 18 characters for one, which counts as no growth, as for NFKC.
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
