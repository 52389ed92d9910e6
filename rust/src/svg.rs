//! Renders an SVG document to PNG with resvg. The documents are written by this program.

use crate::{bytes, guard, Failure, Text, FAILED};
use resvg::{tiny_skia, usvg};

const FONT: &[u8] = include_bytes!("../../assets/fonts/Roboto-Latin.ttf");
/// Maximum width and height in pixels.
const MAX_SIDE: f32 = 16384.0;

fn render(svg: &[u8], scale: f32) -> Result<Vec<u8>, Failure> {
    let text = std::str::from_utf8(svg)?;
    let mut options = usvg::Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(FONT.to_vec());
    if text.chars().any(|c| c >= '\u{180}' && !('\u{2010}'..'\u{2213}').contains(&c)) {
        fonts.load_system_fonts();
    }
    fonts.set_sans_serif_family("Roboto"); // load_system_fonts sets it too
    let tree = usvg::Tree::from_str(text, &options)?;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    if !(1.0..=MAX_SIDE).contains(&width) || !(1.0..=MAX_SIDE).contains(&height) {
        return Err(Failure(FAILED, format!("the image size is out of range: {width} × {height} pixels")));
    }
    let Some(mut pixels) = tiny_skia::Pixmap::new(width.ceil() as u32, height.ceil() as u32) else {
        return Err(Failure(FAILED, format!("not enough memory for {width} × {height} pixels")));
    };
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    Ok(pixels.encode_png()?)
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_svg_to_png(
    svg: *const u8,
    size: usize,
    scale: f32,
    png: *mut Text,
    error: *mut Text,
) -> i32 {
    guard(error, || {
        *png = Text::from_bytes(render(bytes(svg, size), scale)?);
        Ok(())
    })
}
