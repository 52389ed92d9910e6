//! Decodes recordings (WAV, AIFF, FLAC, MP3, AAC, MP4, Ogg, Matroska) to mono at 16 kHz (or another rate), block by block. WAV is read by
//! `wave`, the other containers by symphonia. Opus is decoded by libopus, which the caller passes.

use std::ffi::c_void;
use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::packet::Packet;

use crate::mp4_delay::encoder_delay;
use crate::resample::{Resampler, RATE};
use crate::wave::{is_wave, Wave};
use crate::{guard, Failure, Text, OK};

/// `mlxk_bytes`: the input, read by functions of the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    context: *mut c_void,
    read: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> i64,
    seek: Option<unsafe extern "C" fn(*mut c_void, u64) -> i32>,
    size: i64,
}

/// `mlxk_opus`: functions of libopus, passed by the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Opus {
    context: *mut c_void,
    create: unsafe extern "C" fn(*mut c_void, i32, i32, i32, *const u8) -> *mut c_void,
    decode: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut f32, i32) -> i32,
    destroy: unsafe extern "C" fn(*mut c_void),
}

const READ_FAILED: &str = "reading failed";

struct Source {
    bytes: Bytes,
    position: u64,
}
// A recording, and with it the functions of the caller, is used by one thread at a time.
unsafe impl Send for Source {}
unsafe impl Sync for Source {}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = unsafe { (self.bytes.read)(self.bytes.context, into.as_mut_ptr(), into.len()) };
        let got = usize::try_from(got).map_err(|_| io::Error::other(READ_FAILED))?;
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let seek = self.bytes.seek.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => (self.bytes.size.max(0) as u64).checked_add_signed(by),
        };
        let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if unsafe { seek(self.bytes.context, target) } != OK {
            return Err(io::Error::other(READ_FAILED));
        }
        self.position = target;
        Ok(target)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        self.bytes.seek.is_some()
    }
    fn byte_len(&self) -> Option<u64> {
        u64::try_from(self.bytes.size).ok()
    }
}

/// A stream that cannot seek: the bytes that were read to detect the format, followed by the rest.
struct Pipe {
    start: io::Cursor<Vec<u8>>,
    rest: Source,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.start.read(into)? {
            0 => self.rest.read(into),
            got => Ok(got),
        }
    }
}

impl Seek for Pipe {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl MediaSource for Pipe {
    fn is_seekable(&self) -> bool {
        false
    }
    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// The input by format; both variants start at the beginning of the recording.
enum Kind {
    Wave(Box<dyn Read>),
    Other(Box<dyn MediaSource>),
}

fn stream(bytes: Bytes) -> io::Result<Kind> {
    let mut source = Source { bytes, position: 0 };
    let mut start = vec![];
    source.by_ref().take(12).read_to_end(&mut start)?;
    if is_wave(&start) {
        return Ok(Kind::Wave(Box::new(io::Cursor::new(start).chain(source))));
    }
    source_of(source, start).map(Kind::Other)
}

/// Buffers an MP4 that cannot seek in memory, because its index may be at the end of the file.
fn source_of(mut source: Source, mut start: Vec<u8>) -> io::Result<Box<dyn MediaSource>> {
    if source.is_seekable() {
        source.seek(SeekFrom::Start(0))?;
        return Ok(Box::new(source));
    }
    if start.get(4..8) == Some(b"ftyp") {
        source.read_to_end(&mut start)?;
        return Ok(Box::new(io::Cursor::new(start)));
    }
    Ok(Box::new(Pipe { start: io::Cursor::new(start), rest: source }))
}

/// Decodes an Opus stream with libopus, at 48 kHz.
struct OpusDecoder {
    opus: Opus,
    state: *mut c_void,
    channels: usize,
    pcm: Vec<f32>,
    skip: usize, // frames of pre-skip that are still to be dropped
    gain: f32,
}
unsafe impl Send for OpusDecoder {}

const OPUS_RATE: u32 = 48_000;
const OPUS_MAX_FRAMES: usize = 5_760; // frames in a packet

impl OpusDecoder {
    /// From the identification header (RFC 7845, 5.1).
    fn new(opus: Opus, head: &[u8]) -> Result<OpusDecoder, Failure> {
        let bad = || Failure::from("broken Opus header");
        if head.len() < 19 || &head[..8] != b"OpusHead" {
            return Err(bad());
        }
        let channels = head[9] as usize;
        let (streams, coupled, mapping) = match head[18] {
            0 if (1..=2).contains(&channels) => (1, channels as u8 - 1, vec![0, 1]),
            1 | 255 if channels > 0 && head.len() >= 21 + channels => {
                (head[19], head[20], head[21..21 + channels].to_vec())
            }
            0 | 1 | 255 => return Err(bad()),
            family => return Err(format!("Opus channel mapping family {family} is not supported").into()),
        };
        let state =
            unsafe { (opus.create)(opus.context, channels as i32, streams.into(), coupled.into(), mapping.as_ptr()) };
        if state.is_null() {
            return Err(bad());
        }
        Ok(OpusDecoder {
            opus,
            state,
            channels,
            pcm: vec![0.0; OPUS_MAX_FRAMES * channels],
            skip: u16::from_le_bytes([head[10], head[11]]).into(),
            gain: 10f32.powf(f32::from(i16::from_le_bytes([head[16], head[17]])) / (20.0 * 256.0)),
        })
    }

    /// The decoded frames of `packet` without pre-skip and end trim; None if it cannot be decoded.
    fn decode(&mut self, packet: &Packet) -> Option<&[f32]> {
        let data = &packet.data;
        let made = unsafe {
            (self.opus.decode)(self.state, data.as_ptr(), data.len(), self.pcm.as_mut_ptr(), OPUS_MAX_FRAMES as i32)
        };
        let made = usize::try_from(made).ok()?.min(OPUS_MAX_FRAMES);
        let trimmed = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let end = made.saturating_sub(trimmed);
        let begin = self.skip.min(end);
        self.skip -= self.skip.min(made);
        let sound = &mut self.pcm[begin * self.channels..end * self.channels];
        if self.gain != 1.0 {
            sound.iter_mut().for_each(|x| *x *= self.gain);
        }
        Some(sound)
    }
}

impl Drop for OpusDecoder {
    fn drop(&mut self) {
        unsafe { (self.opus.destroy)(self.state) }
    }
}

enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusDecoder),
}

fn codec_name(codec: AudioCodecId) -> String {
    let name = match codec {
        CODEC_ID_AC3 | CODEC_ID_EAC3 | CODEC_ID_AC4 => "Dolby Digital (AC-3)",
        CODEC_ID_ADPCM_MS | CODEC_ID_ADPCM_IMA_WAV | CODEC_ID_ADPCM_IMA_QT => "ADPCM",
        CODEC_ID_ADPCM_G722 | CODEC_ID_ADPCM_G726 | CODEC_ID_ADPCM_G726LE => "G.722 or G.726",
        CODEC_ID_ALAC => "ALAC",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_MP1 | CODEC_ID_MP2 => "MPEG layer 1 or 2",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_WMA => "Windows Media Audio",
        _ => return format!("codec {codec}"),
    };
    name.to_string()
}

/// The name of an AAC profile that the decoder does not support, by the object type in the AudioSpecificConfig
/// (ISO 14496-3, 1.6.2.1).
fn unsupported_aac(params: &AudioCodecParameters) -> Option<String> {
    let config = params.extra_data.as_deref()?;
    let bits = u32::from(*config.first()?) << 8 | u32::from(*config.get(1)?);
    let object = match bits >> 11 {
        31 => 32 + (bits >> 5 & 63),
        object => object,
    };
    match object {
        2 => None,
        5 => Some("HE-AAC".into()),
        29 => Some("HE-AAC v2".into()),
        42 => Some("xHE-AAC".into()),
        23 | 39 => Some("low-delay AAC".into()),
        other => Some(format!("AAC object type {other}")),
    }
}

fn make_decoder(params: &AudioCodecParameters, opus: Opus) -> Result<Decoder, Failure> {
    if params.codec == CODEC_ID_OPUS {
        return Ok(Decoder::Opus(OpusDecoder::new(opus, params.extra_data.as_deref().unwrap_or_default())?));
    }
    let refused = |name: String| Failure::from(format!("{name} is not supported"));
    if params.codec == CODEC_ID_AAC {
        if let Some(name) = unsupported_aac(params) {
            return Err(refused(name));
        }
    }
    if symphonia::default::get_codecs().get_audio_decoder(params.codec).is_none() {
        return Err(refused(codec_name(params.codec)));
    }
    let decoder = symphonia::default::get_codecs().make_audio_decoder(params, &Default::default());
    Ok(Decoder::Symphonia(decoder.map_err(|e| match e {
        Error::Unsupported(what) => refused(what.to_string()),
        e => to_failure(e),
    })?))
}

/// Converts an error of symphonia.
fn to_failure(error: Error) -> Failure {
    match error {
        Error::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => "cut off before the audio data".into(),
        Error::DecodeError(what) => format!("broken: {what}").into(),
        e => e.to_string().into(),
    }
}

pub const MAX_CHANNELS: usize = 64;
const MAX_BAD_PACKETS: usize = 16; // in a row

/// The audio track that is being decoded.
struct Playing {
    track: u32,
    decoder: Decoder,
    stated: Option<u64>, // expected number of frames
    open_ended: bool,    // an unexpected end of the file is not an error
    seconds: f64,        // 0: not known
    delay: f64,          // seconds dropped at the beginning
}

impl Playing {
    fn begin(format: &dyn FormatReader, opus: Opus) -> Result<Playing, Failure> {
        let track = format.default_track(TrackType::Audio).ok_or("it contains no audio")?;
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err("it contains no audio".into());
        };
        let container = format.format_info().short_name;
        let counted = matches!(container, "aiff" | "flac");
        // These formats cannot tell an end from a truncation. A Matroska file that is shorter than its stated size is
        // refused when it is opened.
        let loose = matches!(container, "mp3" | "aac" | "matroska");
        let seconds = match (track.num_frames, params.sample_rate, track.time_base, track.duration) {
            (_, _, Some(base), Some(duration)) => {
                duration.get() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
            }
            (Some(frames), Some(rate), ..) if rate > 0 => frames as f64 / f64::from(rate),
            _ => 0.0,
        };
        Ok(Playing {
            track: track.id,
            decoder: make_decoder(params, opus)?,
            stated: track.num_frames.filter(|_| counted),
            open_ended: loose,
            seconds,
            delay: 0.0,
        })
    }
}

/// A recording in a container that symphonia reads.
struct Container {
    format: Box<dyn FormatReader>,
    playing: Playing,
}

enum Input {
    Wave(Wave),
    Container(Container),
}

impl Container {
    fn open(mut source: Box<dyn MediaSource>, opus: Opus) -> Result<Container, Failure> {
        let delay = match source.byte_len() {
            Some(size) if source.is_seekable() => {
                encoder_delay(&mut *source, size).map_err(|e| to_failure(e.into()))?
            }
            _ => 0.0,
        };
        let stream = MediaSourceStream::new(source, Default::default());
        let probed =
            symphonia::default::get_probe().probe(&Hint::new(), stream, Default::default(), Default::default());
        let format = probed.map_err(|e| match e {
            Error::Unsupported(what) if what.starts_with("core") => {
                "unknown audio format (supported: WAV, AIFF, FLAC, MP3, AAC, MP4, Ogg, Matroska)".into()
            }
            Error::Unsupported(what) if what.contains("missing") => format!("broken or cut off: {what}").into(),
            e => to_failure(e),
        })?;
        let mut playing = Playing::begin(&*format, opus)?;
        playing.delay = if matches!(playing.decoder, Decoder::Symphonia(_)) { delay } else { 0.0 };
        Ok(Container { format, playing })
    }
}

pub struct Recording {
    input: Input,
    opus: Opus,
    rate: u32,                    // of the samples returned
    resampler: Option<Resampler>, // created with the first samples
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    ready: Vec<f32>,
    taken: usize, // samples of `ready` already returned
    frames: u64,
    bad: usize, // consecutive packets that could not be decoded
    ended: bool,
}

impl Recording {
    fn open(bytes: Bytes, opus: Opus) -> Result<Recording, Failure> {
        let input = match stream(bytes).map_err(|e| to_failure(e.into()))? {
            Kind::Wave(input) => Input::Wave(Wave::open(input, u64::try_from(bytes.size).ok())?),
            Kind::Other(source) => Input::Container(Container::open(source, opus)?),
        };
        Ok(Recording {
            input,
            opus,
            rate: RATE,
            resampler: None,
            interleaved: vec![],
            mono: vec![],
            ready: vec![],
            taken: 0,
            frames: 0,
            bad: 0,
            ended: false,
        })
    }

    fn read(&mut self, into: &mut [f32]) -> Result<usize, Failure> {
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
        let count = into.len().min(self.ready.len() - self.taken);
        into[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }

    /// Decodes the next packet, or handles the end.
    fn advance(&mut self) -> Result<(), Failure> {
        let container = match &mut self.input {
            Input::Container(container) => container,
            Input::Wave(wave) => {
                let (rate, channels) = (wave.rate(), wave.channels());
                return match wave.read(&mut self.interleaved)? {
                    false => Err(self.cut_off()),
                    true if self.interleaved.is_empty() => self.end(),
                    true => self.take(rate, channels, 0.0),
                };
            }
        };
        match container.format.next_packet() {
            Ok(Some(packet)) if packet.track_id == container.playing.track => self.decode(&packet),
            Ok(Some(_)) => Ok(()),
            Ok(None) => self.end(),
            Err(Error::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                if container.playing.open_ended {
                    self.end()
                } else {
                    Err(self.cut_off())
                }
            }
            // Another recording follows in the same file.
            Err(Error::ResetRequired) => {
                container.playing = Playing::begin(&*container.format, self.opus)?;
                Ok(())
            }
            Err(e) => Err(to_failure(e)),
        }
    }

    /// The duration in the header, in seconds; 0: not known.
    fn seconds(&self) -> f64 {
        match &self.input {
            Input::Wave(wave) => wave.seconds(),
            Input::Container(container) => container.playing.seconds,
        }
    }

    fn cut_off(&self) -> Failure {
        let after = match &self.resampler {
            Some(resampler) => format!(" after {:.2} s", self.frames as f64 / f64::from(resampler.rate())),
            None => String::new(),
        };
        let seconds = self.seconds();
        let stated = if seconds > 0.0 { format!(" of {seconds:.2} s") } else { String::new() };
        format!("cut off{after}{stated}").into()
    }

    fn end(&mut self) -> Result<(), Failure> {
        if let Input::Container(container) = &self.input {
            if container.playing.stated.is_some_and(|stated| self.frames < stated) {
                return Err(self.cut_off());
            }
        }
        self.ended = true;
        match &mut self.resampler {
            Some(resampler) => resampler.finish(&mut self.ready)?,
            None => return Err("it contains no audio".into()),
        }
        Ok(())
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), Failure> {
        let Input::Container(Container { playing, .. }) = &mut self.input else {
            return Ok(());
        };
        let delay = playing.delay;
        let decoded = match &mut playing.decoder {
            Decoder::Opus(opus) => {
                let channels = opus.channels;
                opus.decode(packet).map(|sound| {
                    self.interleaved.clear();
                    self.interleaved.extend_from_slice(sound);
                    (OPUS_RATE, channels)
                })
            }
            Decoder::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(sound) => {
                    sound.copy_to_vec_interleaved(&mut self.interleaved);
                    Some((sound.spec().rate(), sound.spec().channels().count()))
                }
                Err(Error::Unsupported(what)) => return Err(format!("{what} is not supported").into()),
                Err(_) => None,
            },
        };
        let Some((rate, channels)) = decoded else {
            self.bad += 1;
            return if self.bad > MAX_BAD_PACKETS { Err("broken: the audio cannot be decoded".into()) } else { Ok(()) };
        };
        self.bad = 0;
        self.take(rate, channels, delay)
    }

    /// Resamples the decoded frames in `interleaved`, without the first `delay` seconds of the recording.
    fn take(&mut self, rate: u32, channels: usize, delay: f64) -> Result<(), Failure> {
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(format!("{channels} channels are not supported (1 to {MAX_CHANNELS})").into());
        }
        self.mix(channels)?;
        let early = ((delay * f64::from(rate)).round() as u64).saturating_sub(self.frames);
        self.frames += self.mono.len() as u64;
        self.mono.drain(..(early as usize).min(self.mono.len()));
        if self.mono.is_empty() {
            return Ok(());
        }
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate) {
            if let Some(mut before) = self.resampler.replace(Resampler::new(rate, self.rate)?) {
                before.finish(&mut self.ready)?;
            }
        }
        match &mut self.resampler {
            Some(resampler) => resampler.push(&self.mono, &mut self.ready),
            None => Ok(()),
        }
    }

    /// Mixes down to mono: the mean of the channels, clamped to full scale.
    fn mix(&mut self, channels: usize) -> Result<(), Failure> {
        self.mono.clear();
        let scale = 1.0 / channels as f32;
        self.mono.extend(self.interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale));
        for (i, x) in self.mono.iter_mut().enumerate() {
            if !x.is_finite() {
                return Err(format!("sample {} is {x}, which is not finite", self.frames + i as u64).into());
            }
            *x = x.clamp(-1.0, 1.0);
        }
        Ok(())
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_audio_open(
    bytes: *const Bytes,
    opus: *const Opus,
    out: *mut *mut Recording,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        *out = Box::into_raw(Box::new(Recording::open(*bytes, *opus)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_audio_read(
    recording: *mut Recording,
    into: *mut f32,
    size: usize,
    got: *mut usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        *got = if size == 0 { 0 } else { (*recording).read(std::slice::from_raw_parts_mut(into, size))? };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_audio_set_rate(recording: *mut Recording, rate: u32) {
    (*recording).rate = rate;
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_audio_seconds(recording: *const Recording) -> f64 {
    (*recording).seconds()
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_audio_free(recording: *mut Recording) {
    if !recording.is_null() {
        let _ = crate::catch(|| drop(Box::from_raw(recording)));
    }
}
