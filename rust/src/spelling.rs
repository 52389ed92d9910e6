//! The bytes of each token, by the notation of its vocabulary.

use crate::decode::{byte_level, byte_token};
use tokenizers::decoders::DecoderWrapper;

/// The notation of bytes in a vocabulary.
#[derive(Default)]
pub struct Spelling {
    pub byte_level: bool,
    byte_fallback: bool,
    pub space: Option<char>,
}

impl Spelling {
    pub fn read(&mut self, decoder: &DecoderWrapper) {
        let json = serde_json::to_value(decoder).unwrap_or_default();
        let first = |text: Option<&str>| text.and_then(|t| t.chars().next());
        match decoder {
            DecoderWrapper::ByteLevel(_) => self.byte_level = true,
            DecoderWrapper::ByteFallback(_) => self.byte_fallback = true,
            DecoderWrapper::Metaspace(_) => self.space = first(json["replacement"].as_str()),
            DecoderWrapper::Replace(_) if json["content"] == " " => {
                self.space = first(json["pattern"]["String"].as_str())
            }
            DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().for_each(|d| self.read(d)),
            _ => {}
        }
    }

    pub fn bytes(&self, token: &str) -> Vec<u8> {
        if self.byte_level {
            return byte_level(token);
        }
        if let Some(byte) = byte_token(token).filter(|_| self.byte_fallback) {
            return vec![byte];
        }
        match self.space {
            Some(space) => token.replace(space, " ").into_bytes(),
            None => token.as_bytes().to_vec(),
        }
    }
}
