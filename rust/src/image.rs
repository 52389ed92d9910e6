//! Decodes images (PNG, WebP, GIF, BMP, TIFF; of an animation the first frame) to rows of RGB like Pillow's
//! convert("RGB"): alpha and transparency are dropped, 16 bits are reduced to 8. The caller checks the size of an image
//! before it allocates the buffer.

use std::io::Cursor;
use std::time::Duration;

use crate::bmp::Bitmap;
use crate::memory::room;
use crate::watch::{StopCheck, Watch};
use crate::{bytes, guard, Failure, Text, FAILED};

/// CPU time limit for an image.
const TIME: Duration = Duration::from_secs(20);
/// Maximum bytes that a decoder may allocate in addition to its pixels.
const WORKING_MEMORY: usize = 64 << 20;
/// The photometric interpretation that the decoder does not support.
const TIFF_PALETTE: u16 = 3;

type Data = Cursor<&'static [u8]>; // owned by the caller, outlives the image

enum Decoder {
    Png(Box<png::Reader<Data>>),
    WebP(Box<image_webp::WebPDecoder<Data>>),
    Gif(Box<gif::Decoder<Data>>),
    Bmp(Bitmap<'static>),
    Tiff(Box<tiff::decoder::Decoder<Data>>),
}

pub struct Image {
    decoder: Decoder,
    width: usize,
    height: usize,
}

fn failed<T>(text: &str) -> Result<T, Failure> {
    Err(Failure(FAILED, text.into()))
}

fn open(data: &'static [u8]) -> Result<Image, Failure> {
    if data.starts_with(b"\x89PNG\r\n\x1a\n") {
        open_png(data)
    } else if data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP") {
        let mut decoder = image_webp::WebPDecoder::new(Cursor::new(data))?;
        decoder.set_memory_limit(WORKING_MEMORY);
        let (width, height) = decoder.dimensions();
        Ok(Image { decoder: Decoder::WebP(Box::new(decoder)), width: width as usize, height: height as usize })
    } else if data.starts_with(b"GIF8") {
        open_gif(data)
    } else if data.starts_with(b"BM") {
        let bitmap = Bitmap::new(data)?;
        let (width, height) = (bitmap.width, bitmap.height);
        Ok(Image { decoder: Decoder::Bmp(bitmap), width, height })
    } else if data.starts_with(b"II*\0") || data.starts_with(b"MM\0*") {
        let mut decoder = tiff::decoder::Decoder::new(Cursor::new(data))?;
        if decoder.find_tag_unsigned::<u16>(tiff::tags::Tag::PhotometricInterpretation)? == Some(TIFF_PALETTE) {
            return failed("a TIFF with a palette is not supported");
        }
        let (width, height) = decoder.dimensions()?;
        Ok(Image { decoder: Decoder::Tiff(Box::new(decoder)), width: width as usize, height: height as usize })
    } else {
        failed("this is not a PNG, WebP, GIF, BMP or TIFF image")
    }
}

fn open_png(data: &'static [u8]) -> Result<Image, Failure> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(data), png::Limits { bytes: WORKING_MEMORY });
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    Ok(Image { decoder: Decoder::Png(Box::new(reader)), width: width as usize, height: height as usize })
}

/// The canvas is the logical screen, extended if the first frame exceeds it.
fn open_gif(data: &'static [u8]) -> Result<Image, Failure> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.set_memory_limit(gif::MemoryLimit::Unlimited); // only buffers of the caller grow
    let mut decoder = options.read_info(Cursor::new(data))?;
    let screen = (decoder.width() as usize, decoder.height() as usize);
    let Some(frame) = decoder.next_frame_info()? else { return failed("the GIF contains no image") };
    let width = screen.0.max(frame.left as usize + frame.width as usize);
    let height = screen.1.max(frame.top as usize + frame.height as usize);
    Ok(Image { decoder: Decoder::Gif(Box::new(decoder)), width, height })
}

/// Converts pixels of `samples` bytes to RGB: gray (1, 2) or colour (3, 4). The second or fourth sample is alpha.
fn put_row(row: &[u8], samples: usize, into: &mut [u8]) {
    match samples {
        1 | 2 => into.chunks_exact_mut(3).zip(row.chunks_exact(samples)).for_each(|(to, from)| to.fill(from[0])),
        3 => into.copy_from_slice(&row[..into.len()]),
        _ => into.chunks_exact_mut(3).zip(row.chunks_exact(4)).for_each(|(to, from)| to.copy_from_slice(&from[..3])),
    }
}

/// Reduces big-endian samples of 16 bits to 8 like Pillow: the high byte, or for gray without alpha (`clamp`) the value
/// clamped to 255.
fn narrow(row: &[u8], clamp: bool, into: &mut Vec<u8>) {
    into.clear();
    into.extend(row.chunks_exact(2).map(|v| if !clamp || v[0] == 0 { v[clamp as usize] } else { 255 }));
}

fn read_png(reader: &mut png::Reader<Data>, width: usize, into: &mut [u8], watch: &Watch) -> Result<(), Failure> {
    let (colors, depth) = reader.output_color_type();
    let samples = colors.samples();
    let wide = depth == png::BitDepth::Sixteen;
    let clamp = reader.info().color_type == png::ColorType::Grayscale;
    let mut narrowed = vec![];
    if reader.info().interlaced {
        let size = reader.output_buffer_size().ok_or("the image is too large")?;
        room(size)?;
        let mut pixels = vec![0; size];
        reader.next_frame(&mut pixels)?;
        for (row, to) in pixels.chunks_exact(size / (into.len() / (3 * width))).zip(into.chunks_exact_mut(3 * width)) {
            watch.check()?;
            if wide {
                narrow(row, clamp, &mut narrowed);
            }
            put_row(if wide { &narrowed } else { row }, samples, to);
        }
        return Ok(());
    }
    for to in into.chunks_exact_mut(3 * width) {
        watch.check()?;
        if samples == 3 && !wide {
            reader.read_row(to)?;
            continue;
        }
        let Some(row) = reader.next_row()? else { return failed("the image ends early") };
        if wide {
            narrow(row.data(), clamp, &mut narrowed);
        }
        put_row(if wide { &narrowed } else { row.data() }, samples, to);
    }
    Ok(())
}

fn read_webp(decoder: &mut image_webp::WebPDecoder<Data>, into: &mut [u8]) -> Result<(), Failure> {
    let size = decoder.output_buffer_size().ok_or("the image is too large")?;
    if size == into.len() {
        decoder.read_image(into)?;
        return Ok(());
    }
    room(size)?;
    let mut pixels = vec![0; size];
    decoder.read_image(&mut pixels)?;
    put_row(&pixels, 4, into);
    Ok(())
}

fn read_gif(decoder: &mut gif::Decoder<Data>, width: usize, into: &mut [u8]) -> Result<(), Failure> {
    let Some(frame) = decoder.current_frame_info().cloned() else { return failed("the GIF contains no image") };
    let palette = frame.palette.clone().or_else(|| decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();
    let color = |index: u8| palette.get(3 * index as usize..3 * index as usize + 3).unwrap_or(&[0, 0, 0]);
    // The canvas around the frame has the transparent colour, or the first one if there is none.
    let free = color(frame.transparent.unwrap_or(0));
    into.chunks_exact_mut(3).for_each(|to| to.copy_from_slice(free));
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices)?;
    let columns = frame.width as usize;
    for (y, row) in indices.chunks_exact(columns.max(1)).take(frame.height as usize).enumerate() {
        let begin = 3 * ((frame.top as usize + y) * width + frame.left as usize);
        for (to, &index) in into[begin..begin + 3 * columns].chunks_exact_mut(3).zip(row) {
            to.copy_from_slice(color(index));
        }
    }
    Ok(())
}

/// Converts CMYK to RGB like Pillow: each of R, G, B is the light that remains after its ink and black.
fn put_cmyk(row: &[u8], samples: usize, into: &mut [u8]) {
    for (to, from) in into.chunks_exact_mut(3).zip(row.chunks_exact(samples)) {
        let rest = 255 - from[3] as u32;
        for c in 0..3 {
            let product = from[c] as u32 * rest + 128;
            to[c] = rest.saturating_sub(((product >> 8) + product) >> 8) as u8;
        }
    }
}

fn read_tiff(image: &mut tiff::decoder::Decoder<Data>, width: usize, into: &mut [u8]) -> Result<(), Failure> {
    use tiff::decoder::DecodingResult;
    use tiff::ColorType::*;
    let color = image.colortype()?;
    let bits = color.bit_depth() as usize;
    let samples = color.num_samples() as usize;
    let size = (width * samples * bits).div_ceil(8) * (into.len() / (3 * width));
    if !matches!(bits, 1 | 2 | 4 | 8 | 16) || samples > 8 {
        return failed(&format!("a TIFF with {samples} samples of {bits} bits per pixel is not supported"));
    }
    room(2 * size)?;
    let pixels = match image.read_image()? {
        DecodingResult::U8(values) => values,
        DecodingResult::U16(values) => values.iter().flat_map(|v| v.to_be_bytes()).collect(),
        _ => return failed("a TIFF with samples that are not integers is not supported"),
    };
    if pixels.len() < size {
        return failed("the image ends early");
    }
    let mut narrowed = vec![];
    for (mut row, to) in pixels.chunks_exact((width * samples * bits).div_ceil(8)).zip(into.chunks_exact_mut(3 * width))
    {
        if bits == 16 {
            narrow(row, samples == 1, &mut narrowed);
            row = &narrowed;
        } else if bits < 8 {
            let scale = 255 / ((1 << bits) - 1);
            let mask = (1u8 << bits) - 1;
            narrowed.clear();
            narrowed
                .extend((0..width * samples).map(|i| (row[i * bits / 8] >> (8 - bits - i * bits % 8) & mask) * scale));
            row = &narrowed;
        }
        match color {
            Gray(_) | GrayA(_) | RGB(_) | RGBA(_) => put_row(row, samples, to),
            CMYK(_) | CMYKA(_) => put_cmyk(row, samples, to),
            Multiband { num_samples: 1 | 2, .. } => put_row(row, samples, to),
            _ => return failed("the color type of this TIFF is not supported"),
        }
    }
    Ok(())
}

/// `data` must live as long as the image.
#[no_mangle]
pub unsafe extern "C" fn mlxk_image_open(
    data: *const u8,
    size: usize,
    out: *mut *mut Image,
    width: *mut u64,
    height: *mut u64,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        room(WORKING_MEMORY)?;
        let image = open(bytes(data, size))?;
        *width = image.width as u64;
        *height = image.height as u64;
        *out = Box::into_raw(Box::new(image));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_image_read(
    image: *mut Image,
    into: *mut u8,
    size: usize,
    stop: StopCheck,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let Image { decoder, width, height } = &mut *image;
        if *width == 0 || *height == 0 || size != 3 * *width * *height {
            return failed("the image has no pixels");
        }
        let into = std::slice::from_raw_parts_mut(into, size);
        let watch = Watch::new(TIME, stop);
        let read = match decoder {
            Decoder::Png(reader) => read_png(reader, *width, into, &watch),
            Decoder::WebP(webp) => read_webp(webp, into),
            Decoder::Gif(gif) => read_gif(gif, *width, into),
            Decoder::Bmp(bitmap) => bitmap.read(into),
            Decoder::Tiff(tiff) => {
                let mut limits = tiff::decoder::Limits::default();
                limits.decoding_buffer_size = size.saturating_mul(8);
                limits.intermediate_buffer_size = size.saturating_mul(8).max(WORKING_MEMORY);
                let mut opened = tiff::decoder::Decoder::new(Cursor::new(*tiff.inner().get_ref()))?.with_limits(limits);
                read_tiff(&mut opened, *width, into)
            }
        };
        watch.result()?;
        read
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_image_free(image: *mut Image) {
    if !image.is_null() {
        drop(Box::from_raw(image));
    }
}
