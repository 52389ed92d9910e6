//! Streaming decode: every decoder of the crate as a stage that holds back as little text as possible. The concatenated
//! pieces are equal to the batch decode byte for byte, at constant cost per token.

use crate::Failure;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::Decoder;

/// A decoder of the chain and the tokens or bytes that it holds back.
enum Step {
    /// Each token independently; the flag: the first token is treated differently.
    PerToken(DecoderWrapper, bool),
    /// No decoder: tokens joined by spaces.
    Joined,
    ByteLevel(Vec<u8>),
    /// A run of byte tokens is text only as a whole: one wrong byte turns every byte of the run into U+FFFD.
    ByteFallback(Vec<u8>),
    /// One token is held, because the last one is treated differently.
    Bpe(DecoderWrapper, Option<String>),
    /// Repeated tokens are dropped.
    Ctc(DecoderWrapper, Option<String>),
}

/// A decoder after a Fuse, or after a decoder that joins all tokens: its input is text in pieces of any size.
enum Tail {
    /// Strips up to `start` leading characters. A Strip of trailing characters is a Whole.
    Strip { content: char, start: usize },
    /// A literal pattern; text that may be its beginning is held.
    Replace { pattern: String, content: String, held: String },
    /// A character map (Metaspace).
    Map(DecoderWrapper),
    /// Any other decoder runs at the end.
    Whole(DecoderWrapper, String),
}

pub struct Stage {
    steps: Vec<(Step, usize)>, // with the number of tokens so far
    tails: Vec<Tail>,
}

impl Stage {
    pub fn of(decoder: Option<&DecoderWrapper>) -> Stage {
        let mut stage = Stage { steps: vec![], tails: vec![] };
        match decoder {
            None => stage.steps.push((Step::Joined, 0)),
            Some(decoder) => drop(stage.add(decoder, false)),
        }
        stage
    }

    /// Appends `decoder`; returns whether its output is one text.
    fn add(&mut self, decoder: &DecoderWrapper, fused: bool) -> bool {
        if let DecoderWrapper::Sequence(sequence) = decoder {
            return sequence.get_decoders().iter().fold(fused, |fused, d| self.add(d, fused));
        }
        if fused {
            self.tails.extend(tail_of(decoder));
            return true;
        }
        let step = match decoder {
            DecoderWrapper::Fuse(_) => return true,
            DecoderWrapper::ByteLevel(_) => Step::ByteLevel(vec![]),
            DecoderWrapper::ByteFallback(_) => Step::ByteFallback(vec![]),
            DecoderWrapper::BPE(_) => Step::Bpe(decoder.clone(), None),
            DecoderWrapper::CTC(_) => Step::Ctc(decoder.clone(), None),
            DecoderWrapper::WordPiece(_) | DecoderWrapper::Metaspace(_) => Step::PerToken(decoder.clone(), true),
            _ => Step::PerToken(decoder.clone(), false),
        };
        self.steps.push((step, 0));
        matches!(decoder, DecoderWrapper::ByteLevel(_))
    }

    pub fn push(&mut self, token: String, out: &mut String) -> Result<(), Failure> {
        self.run(0, vec![token], out)
    }

    pub fn finish(&mut self, out: &mut String) -> Result<(), Failure> {
        for i in 0..self.steps.len() {
            let tokens = self.steps[i].0.finish()?;
            self.run(i + 1, tokens, out)?;
        }
        for i in 0..self.tails.len() {
            let text = self.tails[i].finish()?;
            self.run_tails(i + 1, text, out)?;
        }
        Ok(())
    }

    fn run(&mut self, from: usize, mut tokens: Vec<String>, out: &mut String) -> Result<(), Failure> {
        for (step, seen) in &mut self.steps[from..] {
            let mut next = Vec::with_capacity(tokens.len());
            for token in tokens {
                step.push(token, *seen == 0, &mut next)?;
                *seen += 1;
            }
            tokens = next;
        }
        self.run_tails(0, tokens.concat(), out)
    }

    fn run_tails(&mut self, from: usize, mut text: String, out: &mut String) -> Result<(), Failure> {
        for tail in &mut self.tails[from..] {
            if text.is_empty() {
                return Ok(());
            }
            text = tail.push(text)?;
        }
        out.push_str(&text);
        Ok(())
    }
}

fn apply(decoder: &DecoderWrapper, tokens: Vec<String>) -> Result<Vec<String>, Failure> {
    decoder.decode_chain(tokens).map_err(|e| e.to_string().into())
}

impl Step {
    fn push(&mut self, token: String, first: bool, out: &mut Vec<String>) -> Result<(), Failure> {
        match self {
            Step::PerToken(decoder, true) if !first => {
                out.extend(apply(decoder, vec![String::new(), token])?.into_iter().skip(1))
            }
            Step::PerToken(decoder, _) => out.extend(apply(decoder, vec![token])?),
            Step::Joined => out.push(if first { token } else { format!(" {token}") }),
            Step::ByteLevel(held) => {
                held.extend(byte_level(&token));
                out.push(take_valid(held));
            }
            Step::ByteFallback(run) => match byte_token(&token) {
                Some(byte) => run.push(byte),
                None => {
                    end_run(run, out);
                    out.push(token);
                }
            },
            Step::Bpe(decoder, held) => {
                if let Some(previous) = held.replace(token) {
                    out.extend(apply(decoder, vec![previous, String::new()])?.into_iter().take(1));
                }
            }
            Step::Ctc(decoder, previous) => {
                if previous.as_ref() != Some(&token) {
                    out.extend(apply(decoder, vec![token.clone()])?);
                    *previous = Some(token);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<String>, Failure> {
        let mut out = vec![];
        match self {
            Step::ByteLevel(held) if !held.is_empty() => {
                out.push(String::from_utf8_lossy(held).into_owned());
                held.clear();
            }
            Step::ByteFallback(run) => end_run(run, &mut out),
            Step::Bpe(decoder, held) => {
                if let Some(last) = held.take() {
                    out = apply(decoder, vec![last])?;
                }
            }
            _ => {}
        }
        Ok(out)
    }
}

/// The bytes of a byte-level token; a token with a character outside the alphabet is used as it is.
pub fn byte_level(token: &str) -> Vec<u8> {
    token.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's byte alphabet: printable Latin-1 characters map to themselves, the 68 other bytes to U+0100 onwards.
fn byte_of(c: char) -> Option<u8> {
    let printable = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = c as u32;
    if code < 0x100 {
        return printable(code).then_some(code as u8);
    }
    match code - 0x100 {
        n @ 0..=0x20 => Some(n as u8),
        n @ 0x21..=0x42 => Some((0x7f + (n - 0x21)) as u8),
        0x43 => Some(0xad),
        _ => None,
    }
}

/// The inverse of byte_of().
pub fn byte_level_char(byte: u8) -> char {
    let code = u32::from(byte);
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0..=0x20 => 0x100 + code,
        0x7f..=0xa0 => 0x121 + code - 0x7f,
        0xad => 0x143,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

pub fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() == 2 {
        u8::from_str_radix(hex, 16).ok()
    } else {
        None
    }
}

fn end_run(run: &mut Vec<u8>, out: &mut Vec<String>) {
    if run.is_empty() {
        return;
    }
    let bytes = std::mem::take(run);
    let count = bytes.len();
    out.extend(match String::from_utf8(bytes) {
        Ok(text) => vec![text],
        Err(_) => vec!["\u{fffd}".to_string(); count],
    });
}

/// Removes all complete characters from `held`; invalid bytes become U+FFFD as in from_utf8_lossy.
fn take_valid(held: &mut Vec<u8>) -> String {
    let mut out = String::new();
    loop {
        match std::str::from_utf8(held) {
            Ok(text) => {
                out.push_str(text);
                held.clear();
                return out;
            }
            Err(e) => {
                let valid = e.valid_up_to();
                out.push_str(&String::from_utf8_lossy(&held[..valid]));
                match e.error_len() {
                    Some(bad) => {
                        out.push('\u{fffd}');
                        held.drain(..valid + bad);
                    }
                    None => {
                        held.drain(..valid);
                        return out;
                    }
                }
            }
        }
    }
}

fn tail_of(decoder: &DecoderWrapper) -> Option<Tail> {
    Some(match decoder {
        DecoderWrapper::Fuse(_) => return None,
        DecoderWrapper::Strip(s) if s.stop == 0 => Tail::Strip { content: s.content, start: s.start },
        DecoderWrapper::Metaspace(_) => Tail::Map(decoder.clone()),
        DecoderWrapper::Replace(replace) => {
            let json = serde_json::to_value(replace).unwrap_or_default();
            match json["pattern"]["String"].as_str() {
                Some(pattern) if !pattern.is_empty() => Tail::Replace {
                    pattern: pattern.to_string(),
                    content: replace.content.clone(),
                    held: String::new(),
                },
                _ => Tail::Whole(decoder.clone(), String::new()),
            }
        }
        _ => Tail::Whole(decoder.clone(), String::new()),
    })
}

impl Tail {
    fn push(&mut self, mut text: String) -> Result<String, Failure> {
        match self {
            Tail::Strip { content, start } => {
                while *start > 0 && text.starts_with(*content) {
                    text.remove(0);
                    *start -= 1;
                }
                if !text.is_empty() {
                    *start = 0;
                }
                Ok(text)
            }
            Tail::Replace { pattern, content, held } => {
                held.push_str(&text);
                let mut out = String::new();
                let mut from = 0;
                while let Some(at) = held[from..].find(pattern.as_str()) {
                    out.push_str(&held[from..from + at]);
                    out.push_str(content);
                    from += at + pattern.len();
                }
                let keep = overlap(&held[from..], pattern);
                out.push_str(&held[from..held.len() - keep]);
                held.drain(..held.len() - keep);
                Ok(out)
            }
            Tail::Map(decoder) => Ok(apply(decoder, vec![text])?.concat()),
            Tail::Whole(_, all) => {
                all.push_str(&text);
                Ok(String::new())
            }
        }
    }

    fn finish(&mut self) -> Result<String, Failure> {
        match self {
            Tail::Replace { held, .. } => Ok(std::mem::take(held)),
            Tail::Whole(decoder, all) => Ok(apply(decoder, vec![std::mem::take(all)])?.concat()),
            _ => Ok(String::new()),
        }
    }
}

/// The length of the longest suffix of `text` that is a proper prefix of `pattern`.
fn overlap(text: &str, pattern: &str) -> usize {
    let max = text.len().min(pattern.len() - 1);
    (1..=max)
        .rev()
        .find(|n| {
            text.is_char_boundary(text.len() - n) && pattern.as_bytes().starts_with(&text.as_bytes()[text.len() - n..])
        })
        .unwrap_or(0)
}
