//! Resamples mono audio of any rate to 16 kHz or another rate, block by block.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use crate::{guard, Failure, Text};

pub const RATE: u32 = 16_000;
const MIN_RATE: u32 = 1_000;
const MAX_RATE: u32 = 768_000;

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

/// The filter is a windowed sinc, applied by FFT.
pub struct Resampler {
    rate: u32,
    target: u32,
    filter: Option<Fft<f32>>, // None: the rates are the same
    waiting: Vec<f32>,
    block: Vec<f32>,
    late: usize, // output frames of the filter's delay that are still to be dropped
    taken: u64,
    given: u64,
}

impl Resampler {
    pub fn new(rate: u32, target: u32) -> Result<Resampler, Failure> {
        for rate in [rate, target] {
            if !(MIN_RATE..=MAX_RATE).contains(&rate) {
                return Err(format!("a sample rate of {rate} Hz is not supported ({MIN_RATE} to {MAX_RATE})").into());
            }
        }
        let mut resampler =
            Resampler { rate, target, filter: None, waiting: vec![], block: vec![], late: 0, taken: 0, given: 0 };
        if rate != target {
            // Blocks and the filter have 50 ms, rounded up to a length that is whole at both rates, and even, so that
            // the centre is a sample.
            let (rate, target) = (rate as usize, target as usize);
            let unit = 2 * rate / gcd(rate, target);
            let block = unit * (rate / 20).div_ceil(unit);
            let window = WindowFunction::BlackmanHarris2;
            let filter = Fft::new_custom(rate, target, block, 1, 1, window, FixedSync::Both)?;
            resampler.late = filter.output_delay();
            resampler.block = vec![0.0; filter.output_frames_max()];
            resampler.filter = Some(filter);
        }
        Ok(resampler)
    }

    pub fn rate(&self) -> u32 {
        self.rate
    }

    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), Failure> {
        self.taken += samples.len() as u64;
        let Some(filter) = &self.filter else {
            out.extend_from_slice(samples);
            return Ok(());
        };
        let chunk = filter.input_frames_next();
        self.waiting.extend_from_slice(samples);
        let mut done = 0;
        while self.waiting.len() - done >= chunk {
            self.step(done, chunk, out)?;
            done += chunk;
        }
        self.waiting.drain(..done);
        Ok(())
    }

    /// Flushes the filter, up to the length of the audio.
    pub fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), Failure> {
        if self.filter.is_none() {
            return Ok(());
        }
        let wanted = (u128::from(self.taken) * u128::from(self.target)).div_ceil(u128::from(self.rate)) as u64;
        let mut left = self.waiting.len();
        while self.given < wanted {
            self.step(0, left, out)?;
            left = 0;
        }
        out.truncate(out.len() - (self.given - wanted) as usize);
        Ok(())
    }

    /// Filters one block: `count` waiting samples, padded with silence.
    fn step(&mut self, from: usize, count: usize, out: &mut Vec<f32>) -> Result<(), Failure> {
        let Some(filter) = &mut self.filter else { return Ok(()) };
        let frames = self.block.len();
        let input = InterleavedSlice::new(&self.waiting[from..from + count], 1, count)?;
        let mut output = InterleavedSlice::new_mut(&mut self.block, 1, frames)?;
        let indexing = Indexing::new().partial_len(count);
        let (_, made) = filter.process_into_buffer(&input, &mut output, Some(&indexing))?;
        let late = self.late.min(made);
        self.late -= late;
        self.given += (made - late) as u64;
        out.extend_from_slice(&self.block[late..made]);
        Ok(())
    }
}

/// A resampler of sound that arrives over time, with the samples that were not fetched yet.
pub struct LiveResampler {
    resampler: Resampler,
    ready: Vec<f32>,
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_resampler_open(
    rate: u32,
    target: u32,
    out: *mut *mut LiveResampler,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        *out = Box::into_raw(Box::new(LiveResampler { resampler: Resampler::new(rate, target)?, ready: vec![] }));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_resampler_push(
    live: *mut LiveResampler,
    samples: *const f32,
    size: usize,
    ready: *mut usize,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        let live = &mut *live;
        if size > 0 {
            live.resampler.push(std::slice::from_raw_parts(samples, size), &mut live.ready)?;
        }
        *ready = live.ready.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_resampler_finish(live: *mut LiveResampler, ready: *mut usize, error: *mut Text) -> i32 {
    guard(error, || {
        let live = &mut *live;
        live.resampler.finish(&mut live.ready)?;
        *ready = live.ready.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_resampler_fetch(live: *mut LiveResampler, into: *mut f32) {
    let live = &mut *live;
    std::ptr::copy_nonoverlapping(live.ready.as_ptr(), into, live.ready.len());
    live.ready.clear();
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_resampler_free(live: *mut LiveResampler) {
    if !live.is_null() {
        let _ = crate::catch(|| drop(Box::from_raw(live)));
    }
}
