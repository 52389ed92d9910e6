//! Decodes Windows bitmaps: 1, 4, 8 bits with a palette (plain or run-length encoded), 16, 24, 32 bits (plain or with
//! masks).

use crate::memory::room;
use crate::{Failure, FAILED};

const PLAIN: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const MASKS: u32 = 3;
const MASKS_ALPHA: u32 = 6;

pub struct Bitmap<'a> {
    pub width: usize,
    pub height: usize,
    top_down: bool,
    bits: usize,
    compression: u32,
    palette: Vec<[u8; 3]>,
    masks: [u32; 3],
    pixels: &'a [u8],
}

fn failed<T>(text: &str) -> Result<T, Failure> {
    Err(Failure(FAILED, text.into()))
}

/// The little-endian number of `size` bytes at `at`; an error past the end.
fn number(data: &[u8], at: usize, size: usize) -> Result<u32, Failure> {
    let bytes = data.get(at..at + size).ok_or("the header ends early")?;
    Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | byte as u32))
}

impl<'a> Bitmap<'a> {
    pub fn new(data: &'a [u8]) -> Result<Bitmap<'a>, Failure> {
        let begin = number(data, 10, 4)? as usize;
        let header = number(data, 14, 4)? as usize;
        let old = header == 12; // OS/2 1.x
        if !old && !(40..=1024).contains(&header) {
            return failed(&format!("unknown BMP header of {header} bytes"));
        }
        let (width, height) = match old {
            true => (number(data, 18, 2)? as i32, number(data, 20, 2)? as i32),
            false => (number(data, 18, 4)? as i32, number(data, 22, 4)? as i32),
        };
        let at = if old { 24 } else { 28 };
        let bits = number(data, at, 2)? as usize;
        let compression = if old { PLAIN } else { number(data, 30, 4)? };
        if width <= 0 || height == 0 || height == i32::MIN {
            return failed(&format!("the header states a size of {width} x {height} pixels"));
        }
        let known = match compression {
            PLAIN => matches!(bits, 1 | 4 | 8 | 16 | 24 | 32),
            RLE8 => bits == 8,
            RLE4 => bits == 4,
            MASKS | MASKS_ALPHA => matches!(bits, 16 | 32),
            _ => false,
        };
        if !known {
            return failed(&format!("a BMP of {bits} bits per pixel with compression {compression} is not supported"));
        }
        let mut masks = if bits == 16 { [0x7c00, 0x3e0, 0x1f] } else { [0xff0000, 0xff00, 0xff] };
        let mut table = 14 + header;
        if matches!(compression, MASKS | MASKS_ALPHA) {
            for (i, mask) in masks.iter_mut().enumerate() {
                *mask = number(data, 54 + 4 * i, 4)?;
            }
            if header == 40 {
                table += if compression == MASKS { 12 } else { 16 };
            }
        }
        let mut palette = vec![];
        if bits <= 8 {
            let stated = if old { 0 } else { number(data, 46, 4)? as usize };
            let entry = if old { 3 } else { 4 };
            let room = begin.min(data.len()).saturating_sub(table) / entry;
            let count = if (1..=1 << bits).contains(&stated) { stated } else { 1 << bits };
            for i in 0..count.min(room) {
                let color = &data[table + i * entry..];
                palette.push([color[2], color[1], color[0]]);
            }
        }
        let pixels = data.get(begin..).ok_or("the pixels start past the end of the file")?;
        let (width, top_down, height) = (width as usize, height < 0, height.unsigned_abs() as usize);
        Ok(Bitmap { width, height, top_down, bits, compression, palette, masks, pixels })
    }

    fn color(&self, index: usize) -> [u8; 3] {
        self.palette.get(index).copied().unwrap_or([0; 3])
    }

    /// Decodes into `into`, [height, width, 3].
    pub fn read(&self, into: &mut [u8]) -> Result<(), Failure> {
        let stride = 3 * self.width;
        let indices =
            if self.compression == RLE8 || self.compression == RLE4 { Some(self.run_lengths()?) } else { None };
        let row_bytes = (self.width * self.bits).div_ceil(32) * 4;
        for y in 0..self.height {
            let line = if self.top_down { y } else { self.height - 1 - y };
            let to = &mut into[line * stride..(line + 1) * stride];
            if let Some(indices) = &indices {
                for (to, &index) in to.chunks_exact_mut(3).zip(&indices[y * self.width..]) {
                    to.copy_from_slice(&self.color(index as usize));
                }
                continue;
            }
            let begin = y.checked_mul(row_bytes).unwrap_or(usize::MAX);
            let needed = (self.width * self.bits).div_ceil(8); // the last row may lack its padding
            let row =
                begin.checked_add(needed).and_then(|end| self.pixels.get(begin..end)).ok_or("the image ends early")?;
            self.put_row(row, to);
        }
        Ok(())
    }

    fn put_row(&self, row: &[u8], into: &mut [u8]) {
        let pixels = into.chunks_exact_mut(3);
        match self.bits {
            24 => {
                pixels.zip(row.chunks_exact(3)).for_each(|(to, from)| to.copy_from_slice(&[from[2], from[1], from[0]]))
            }
            16 | 32 => {
                let parts = self.masks.map(|mask| (mask, mask.checked_shr(mask.trailing_zeros()).unwrap_or(0) as u64));
                for (to, from) in pixels.zip(row.chunks_exact(self.bits / 8)) {
                    let pixel = from.iter().rev().fold(0u32, |value, &byte| value << 8 | byte as u32);
                    for (to, (mask, max)) in to.iter_mut().zip(parts) {
                        let value = (pixel & mask).checked_shr(mask.trailing_zeros()).unwrap_or(0) as u64;
                        *to = if max == 0 { 0 } else { (value * 255 / max) as u8 };
                    }
                }
            }
            bits => {
                let mask = (1usize << bits) - 1;
                for (x, to) in pixels.enumerate() {
                    let index = row[x * bits / 8] as usize >> (8 - bits - x * bits % 8) & mask;
                    to.copy_from_slice(&self.color(index));
                }
            }
        }
    }

    /// The palette indices, with rows in the order of the file. Pixels that the runs skip are 0.
    fn run_lengths(&self) -> Result<Vec<u8>, Failure> {
        room(self.width * self.height)?;
        let mut indices = vec![0u8; self.width * self.height];
        let half = self.bits == 4;
        let (mut x, mut y, mut at) = (0, 0, 0);
        let mut put = |x: &mut usize, y: usize, index: u8| {
            if *x < self.width && y < self.height {
                indices[y * self.width + *x] = index;
            }
            *x += 1;
        };
        while y < self.height {
            let (count, value) = match self.pixels.get(at..at + 2) {
                Some(pair) => (pair[0] as usize, pair[1]),
                None => return failed("the image ends early"),
            };
            at += 2;
            match (count, value) {
                (0, 0) => (x, y) = (0, y + 1),
                (0, 1) => break,
                (0, 2) => {
                    let by = self.pixels.get(at..at + 2).ok_or("the image ends early")?;
                    (x, y, at) = (x + by[0] as usize, y + by[1] as usize, at + 2);
                }
                (0, count) => {
                    let count = count as usize;
                    let size = if half { count.div_ceil(2) } else { count };
                    let run = self.pixels.get(at..at + size).ok_or("the image ends early")?;
                    for i in 0..count {
                        put(&mut x, y, if half { run[i / 2] >> (4 * (1 - i % 2)) & 15 } else { run[i] });
                    }
                    at += size + size % 2;
                }
                (count, value) => {
                    for i in 0..count {
                        put(&mut x, y, if half { value >> (4 * (1 - i % 2)) & 15 } else { value });
                    }
                }
            }
        }
        Ok(indices)
    }
}
