//! Reads WAV as recorders, telephones and streams write it: RIFF, RIFX, RF64 and BW64 with PCM, floats, A-law or µ-law.
//! Impossible lengths are ignored. (Multimedia Programming Interface and Data Specifications 1.0; EBU Tech 3306;
//! WAVEFORMATEXTENSIBLE.)

use std::io::{self, Read};

use crate::audio::MAX_CHANNELS;
use crate::Failure;

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

// The bytes of a sub-format's GUID after the tag: KSDATAFORMAT_SUBTYPE_WAVEFORMATEX, and the one of ambisonics.
const SUBFORMATS: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];

const MAX_FORMAT_SIZE: u64 = 4096; // bytes of a fmt chunk
const MAX_CHUNKS: usize = 1000; // before the audio data
/// Minimum length that may mean "not known": a writer to a pipe cannot update its header. Streams write 0, or a number
/// near 2^32, 2^31 or 2^30.
const PLACEHOLDER: u64 = 0x3fff_0000;
const BLOCK: usize = 4096; // frames read at once

/// Whether `head`, the first 12 bytes of a file, is the header of a WAV.
pub fn is_wave(head: &[u8]) -> bool {
    head.len() >= 12 && matches!(&head[..4], b"RIFF" | b"RIFX" | b"RF64" | b"BW64") && &head[8..12] == b"WAVE"
}

#[derive(Clone, Copy)]
enum Sample {
    Integer,
    Float,
    Alaw,
    Mulaw,
}

#[derive(Clone, Copy)]
struct Format {
    sample: Sample,
    channels: usize,
    rate: u32,
    width: usize, // bytes of a sample, including padding
}

pub struct Wave {
    input: Box<dyn Read>,
    format: Format,
    big_endian: bool,
    left: u64,        // bytes of audio data; u64::MAX: to the end
    open_ended: bool, // an end of the file before `left` bytes is not an error
    seconds: f64,     // 0: not known
    block: Vec<u8>,
}

fn broken(what: &str) -> Failure {
    format!("broken WAV: {what}").into()
}

/// Reads until `into` is full or the input ends; returns the number of bytes.
fn read_full(input: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match input.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn skip(input: &mut dyn Read, bytes: u64) -> Result<bool, Failure> {
    Ok(io::copy(&mut input.take(bytes), &mut io::sink())? == bytes)
}

/// The fields of a header, in the byte order of the file.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at + size)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }
    fn short(&self, at: usize) -> Option<u16> {
        self.number(at, 2).map(|value| value as u16)
    }
}

fn codec_name(tag: u16) -> String {
    let name = match tag {
        0x02 => "Microsoft ADPCM",
        0x11 => "IMA ADPCM",
        0x31 => "GSM 6.10",
        0x40 | 0x45 | 0x64 | 0x65 => "G.721 to G.726 ADPCM",
        0x50 => "MPEG layer 1 or 2 in WAV",
        0x55 => "MP3 in WAV",
        0xff | 0x1600 | 0x1610 => "AAC in WAV",
        0x160..=0x163 => "Windows Media Audio",
        0x2000 => "Dolby Digital (AC-3)",
        0xf1ac => "FLAC in WAV",
        _ => return format!("WAV with format tag 0x{tag:04x}"),
    };
    name.to_string()
}

fn read_format(bytes: &[u8], big_endian: bool) -> Result<Format, Failure> {
    let fields = Fields { bytes, big_endian };
    let short = || broken(&format!("a format chunk of {} bytes is too short", bytes.len()));
    let mut tag = fields.short(0).ok_or_else(short)?;
    let channels = fields.short(2).ok_or_else(short)?;
    let rate = fields.number(4, 4).ok_or_else(short)? as u32;
    let align = usize::from(fields.short(12).ok_or_else(short)?);
    let bits = usize::from(fields.short(14).unwrap_or(0)); // the old WAVEFORMAT has none
    if tag == EXTENSIBLE {
        // The GUID of the sub-format decides; without it the samples are PCM.
        tag = match (fields.short(24), bytes.get(26..40)) {
            (Some(tag), Some(rest)) if big_endian || SUBFORMATS.iter().any(|known| known == rest) => tag,
            (_, Some(_)) => return Err("WAV with an unknown sub-format is not supported".into()),
            _ => PCM,
        };
    }
    if !(1..=MAX_CHANNELS).contains(&channels.into()) {
        return Err(format!("{channels} channels are not supported (1 to {MAX_CHANNELS})").into());
    }
    let per_sample = align / usize::from(channels);
    let padded = per_sample * usize::from(channels) == align && per_sample * 8 >= bits && per_sample <= 8;
    let width = if padded && per_sample > 0 { per_sample } else { bits.div_ceil(8) };
    let sample = match (tag, width) {
        (PCM, 1..=8) => Sample::Integer,
        (FLOAT, 4 | 8) => Sample::Float,
        (ALAW, 1) => Sample::Alaw,
        (MULAW, 1) => Sample::Mulaw,
        (PCM | FLOAT | ALAW | MULAW, _) => {
            return Err(broken(&format!("{bits} bits per sample in frames of {align} bytes")))
        }
        _ => return Err(format!("{} is not supported", codec_name(tag)).into()),
    };
    Ok(Format { sample, channels: channels.into(), rate, width })
}

/// ITU-T G.711.
fn alaw(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (i32::from(byte >> 4 & 7), i32::from(byte & 15));
    let size = if exponent == 0 { mantissa * 16 + 8 } else { (mantissa * 16 + 264) << (exponent - 1) };
    (if byte & 0x80 != 0 { size } else { -size }) as f32 / 32768.0
}

fn mulaw(byte: u8) -> f32 {
    let byte = !byte;
    let size = ((i32::from(byte & 15) * 8 + 132) << (byte >> 4 & 7)) - 132;
    (if byte & 0x80 != 0 { -size } else { size }) as f32 / 32768.0
}

impl Wave {
    /// Reads the header up to the audio data. `input` is at the beginning; `size`: the size of the file, if known.
    pub fn open(mut input: Box<dyn Read>, size: Option<u64>) -> Result<Wave, Failure> {
        let mut head = [0; 12];
        read_full(&mut *input, &mut head)?;
        let big_endian = &head[..4] == b"RIFX";
        let large = matches!(&head[..4], b"RF64" | b"BW64");
        let mut format = None;
        let mut large_size = None; // RF64: size of the audio data
        let mut at = 12;
        let mut odd = false; // the previous chunk has an odd length
        for _ in 0..MAX_CHUNKS {
            let mut head = [0; 8];
            // A chunk of odd length is followed by a zero, which some writers omit. No chunk name starts with a zero.
            let mut begin = 0;
            if odd && read_full(&mut *input, &mut head[..1])? == 1 {
                begin = usize::from(head[0] != 0);
                at += 1 - begin as u64;
            }
            if begin + read_full(&mut *input, &mut head[begin..])? < 8 {
                return Err(match format {
                    Some(_) => "it contains no audio".into(),
                    None => broken("it ends before its format chunk"),
                });
            }
            let length = Fields { bytes: &head[4..], big_endian }.number(0, 4).unwrap_or(0);
            at += 8;
            odd = length % 2 == 1;
            if &head[..4] == b"data" {
                let format = format.ok_or_else(|| broken("the audio data precedes the format chunk"))?;
                let length = large_size.filter(|_| length == 0xffff_ffff).unwrap_or(length);
                return Ok(Wave::of(input, format, big_endian, length, size.map(|size| size.saturating_sub(at))));
            }
            at = at.saturating_add(length);
            let kept = match &head[..4] {
                b"fmt " => length.min(MAX_FORMAT_SIZE),
                b"ds64" if large => length.min(28),
                _ => 0,
            };
            let mut bytes = vec![0; kept as usize];
            let whole = read_full(&mut *input, &mut bytes)? == bytes.len() && skip(&mut *input, length - kept)?;
            if !whole {
                return Err(match format {
                    Some(_) => "cut off before the audio data".into(),
                    None => broken("it ends before its format chunk"),
                });
            }
            match &head[..4] {
                b"fmt " => format = Some(read_format(&bytes, big_endian)?),
                b"ds64" if large => large_size = Fields { bytes: &bytes, big_endian }.number(8, 8),
                _ => {}
            }
        }
        Err(broken(&format!("more than {MAX_CHUNKS} chunks before the audio data")))
    }

    /// `length`: the size of the audio data in the header; `rest`: the size of the file after the header.
    fn of(input: Box<dyn Read>, format: Format, big_endian: bool, length: u64, rest: Option<u64>) -> Wave {
        let placeholder = length == 0 || (length >= PLACEHOLDER && rest.is_none_or(|rest| length > rest));
        let known = if placeholder { rest } else { Some(length) };
        let bytes_per_second = format.width as f64 * format.channels as f64 * f64::from(format.rate);
        Wave {
            input,
            format,
            big_endian,
            left: if placeholder { u64::MAX } else { length },
            open_ended: placeholder,
            seconds: known.map_or(0.0, |bytes| if format.rate > 0 { bytes as f64 / bytes_per_second } else { 0.0 }),
            block: vec![],
        }
    }

    pub fn seconds(&self) -> f64 {
        self.seconds
    }
    pub fn rate(&self) -> u32 {
        self.format.rate
    }
    pub fn channels(&self) -> usize {
        self.format.channels
    }

    /// Reads the next frames, interleaved, into `sound`; none at the end. Ok(false): the file ends too early.
    pub fn read(&mut self, sound: &mut Vec<f32>) -> Result<bool, Failure> {
        sound.clear();
        let frame = self.format.width * self.format.channels;
        let wanted = ((BLOCK * frame) as u64).min(self.left);
        self.block.resize(wanted as usize, 0);
        let got = read_full(&mut *self.input, &mut self.block)?;
        if !self.open_ended {
            self.left -= got as u64;
        }
        let whole = self.open_ended || got == self.block.len() || self.left < frame as u64;
        self.block.truncate(got - got % frame);
        self.convert(sound);
        Ok(whole || !sound.is_empty())
    }

    fn convert(&self, sound: &mut Vec<f32>) {
        let width = self.format.width;
        let mut ordered = [0; 8];
        sound.extend(self.block.chunks_exact(width).map(|bytes| {
            // Little-endian, in the upper bytes: a narrow sample is at the top of its container.
            let space = &mut ordered[8 - width..];
            space.copy_from_slice(bytes);
            if self.big_endian {
                space.reverse();
            }
            match self.format.sample {
                Sample::Integer if width == 1 => (f32::from(bytes[0]) - 128.0) / 128.0,
                Sample::Integer => {
                    ordered[..8 - width].fill(0);
                    (i64::from_le_bytes(ordered) as f64 / 9_223_372_036_854_775_808.0) as f32
                }
                Sample::Float if width == 4 => f32::from_bits((u64::from_le_bytes(ordered) >> 32) as u32),
                Sample::Float => f64::from_le_bytes(ordered) as f32,
                Sample::Alaw => alaw(bytes[0]),
                Sample::Mulaw => mulaw(bytes[0]),
            }
        }));
    }
}
