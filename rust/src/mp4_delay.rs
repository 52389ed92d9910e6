//! The encoder delay of an MP4: the edit list of the audio track (ISO 14496-12, 8.6.6) starts after it. Symphonia does
//! not expose the edit list.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

const MAX_BOXES: usize = 256; // per level
const MAX_DELAY: f64 = 1.0; // seconds; a longer edit was made by a user and is not an encoder delay

/// The boxes of one level: kind and range of the content.
fn boxes(source: &mut (impl Read + Seek + ?Sized), within: Range<u64>) -> io::Result<Vec<([u8; 4], Range<u64>)>> {
    let mut found = vec![];
    let mut at = within.start;
    while at + 8 <= within.end && found.len() < MAX_BOXES {
        let mut head = [0; 16];
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut head[..8])?;
        let kind = [head[4], head[5], head[6], head[7]];
        let (begin, size) = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => (8, within.end - at),
            1 => {
                source.read_exact(&mut head[8..])?;
                (16, u64::from_be_bytes(head[8..].try_into().unwrap_or_default()))
            }
            size => (8, size.into()),
        };
        let Some(end) = at.checked_add(size).filter(|&end| size >= begin && end <= within.end) else { break };
        found.push((kind, at + begin..end));
        at = end;
    }
    Ok(found)
}

fn first(boxes: &[([u8; 4], Range<u64>)], kind: &[u8; 4]) -> io::Result<Range<u64>> {
    let found = boxes.iter().find(|(other, _)| other == kind);
    found.map(|(_, range)| range.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The first `N` bytes of a box, padded with zeros.
fn start<const N: usize>(source: &mut (impl Read + Seek + ?Sized), of: Range<u64>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let count = (of.end - of.start).min(N as u64) as usize;
    source.seek(SeekFrom::Start(of.start))?;
    source.read_exact(&mut bytes[..count])?;
    Ok(bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn delay_of(source: &mut (impl Read + Seek + ?Sized), size: u64) -> io::Result<f64> {
    let file = boxes(source, 0..size)?;
    let movie = boxes(source, first(&file, b"moov")?)?;
    for (kind, track) in movie {
        if &kind != b"trak" {
            continue;
        }
        let track = boxes(source, track)?;
        let media = boxes(source, first(&track, b"mdia")?)?;
        let handler: [u8; 12] = start(source, first(&media, b"hdlr")?)?;
        if &handler[8..] != b"soun" {
            continue;
        }
        let header: [u8; 24] = start(source, first(&media, b"mdhd")?)?;
        let timescale = word(&header, if header[0] == 1 { 20 } else { 12 });
        let edits = boxes(source, first(&track, b"edts")?)?;
        let edit: [u8; 24] = start(source, first(&edits, b"elst")?)?;
        let begin = match edit[0] {
            1 => i64::from(word(&edit, 16) as i32) << 32 | i64::from(word(&edit, 20)),
            _ => i64::from(word(&edit, 12) as i32),
        };
        let seconds = begin as f64 / f64::from(timescale.max(1));
        return Ok(if word(&edit, 4) > 0 && (0.0..=MAX_DELAY).contains(&seconds) { seconds } else { 0.0 });
    }
    Ok(0.0)
}

/// The encoder delay of an MP4 in seconds; 0 if not stated. Rewinds `source`.
pub fn encoder_delay(source: &mut (impl Read + Seek + ?Sized), size: u64) -> io::Result<f64> {
    let delay = match start::<8>(source, 0..size) {
        Ok(head) if &head[4..] == b"ftyp" => delay_of(source, size).unwrap_or(0.0),
        _ => 0.0,
    };
    source.seek(SeekFrom::Start(0))?;
    Ok(delay)
}
