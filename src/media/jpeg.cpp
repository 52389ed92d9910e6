#include "media/jpeg.h"

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <ctime>
#include <exception>

#include "base/error.h"
#include "base/stop.h"
#include "media/limits.h"

namespace mlxk {

namespace {

constexpr int kMaxScans = 500;                               // of a progressive JPEG
constexpr uint64_t kCoefficientBytes = uint64_t{512} << 20;  // that one may keep
constexpr double kSeconds = 20;                              // of the processor

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// libjpeg's callbacks; its errors jump to `escape`, past frames that own nothing.
struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX] = "";
  std::exception_ptr stopped;
  double end = thread_seconds() + kSeconds;
  bool ended = false, cut_off = false;

  ~Decoder() { jpeg_destroy_decompress(&info); }
};

Decoder& decoder_of(void* client_data) { return *static_cast<Decoder*>(client_data); }

[[noreturn]] void fail(Decoder& decoder, const char* message) {
  std::snprintf(decoder.message, sizeof decoder.message, "%s", message);
  std::longjmp(decoder.escape, 1);
}

void on_error(j_common_ptr info) {
  Decoder& decoder = decoder_of(info->client_data);
  (*info->err->format_message)(info, decoder.message);
  std::longjmp(decoder.escape, 1);
}

/// Warnings: libjpeg continues, and so does Pillow, but invented pixels are not an image.
void on_message(j_common_ptr info, int level) {
  Decoder& decoder = decoder_of(info->client_data);
  if (level < 0 && decoder.ended) decoder.cut_off = true;
}

void on_progress(j_common_ptr info) {
  Decoder& decoder = decoder_of(info->client_data);
  if (decoder.info.input_scan_number > kMaxScans) fail(decoder, "it has more than 500 scans");
  if (thread_seconds() > decoder.end) fail(decoder, "it takes too long");
  try {
    check_stop();
  } catch (...) {
    decoder.stopped = std::current_exception();
  }
  if (decoder.stopped) std::longjmp(decoder.escape, 1);
}

/// All bytes are in memory; after them comes the end marker that a truncated file lacks.
boolean on_empty(j_decompress_ptr info) {
  static const JOCTET kEnd[] = {0xff, JPEG_EOI};
  Decoder& decoder = decoder_of(info->client_data);
  if (info->input_scan_number == 0 || jpeg_has_multiple_scans(info)) decoder.cut_off = true;
  decoder.ended = true;
  info->src->next_input_byte = kEnd;
  info->src->bytes_in_buffer = sizeof kEnd;
  return TRUE;
}

void on_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  auto& source = *info->src;
  if (static_cast<size_t>(count) >= source.bytes_in_buffer) {
    on_empty(info);
    return;
  }
  source.next_input_byte += count;
  source.bytes_in_buffer -= static_cast<size_t>(count);
}

void set_up(Decoder& decoder, std::span<const uint8_t> bytes) {
  decoder.info.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = on_error;
  decoder.errors.emit_message = on_message;
  decoder.errors.output_message = [](j_common_ptr) {};
  decoder.info.client_data = &decoder;
  decoder.source.next_input_byte = bytes.data();
  decoder.source.bytes_in_buffer = bytes.size();
  decoder.source.init_source = [](j_decompress_ptr) {};
  decoder.source.fill_input_buffer = on_empty;
  decoder.source.skip_input_data = on_skip;
  decoder.source.resync_to_restart = jpeg_resync_to_restart;
  decoder.source.term_source = [](j_decompress_ptr) {};
  decoder.progress.progress_monitor = on_progress;
}

/// Bytes of coefficients that a JPEG with several scans keeps.
uint64_t coefficient_bytes(const jpeg_decompress_struct& info) {
  uint64_t bytes = 0;
  for (int i = 0; i < info.num_components; ++i) {
    const auto& part = info.comp_info[i];
    bytes += uint64_t{part.width_in_blocks} * part.height_in_blocks * DCTSIZE2 * sizeof(JCOEF);
  }
  return bytes;
}

/// Converts inverted ink and black to RGB, rounded as in Pillow.
void cmyk_to_rgb(const uint8_t* from, uint8_t* to, int width) {
  for (int x = 0; x < width; ++x, from += 4, to += 3) {
    const int rest = from[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - from[c]) * rest + 128;
      to[c] = static_cast<uint8_t>(std::max(0, rest - (((product >> 8) + product) >> 8)));
    }
  }
}

/// False after an error; `image` and `inks` (a row of CMYK) belong to the caller, outside the jumps.
bool decode(Decoder& decoder, Image& image, std::vector<uint8_t>& inks, std::exception_ptr& thrown) {
  auto& info = decoder.info;
  if (setjmp(decoder.escape)) return false;
  jpeg_create_decompress(&info);
  info.src = &decoder.source;
  info.progress = &decoder.progress;
  jpeg_read_header(&info, TRUE);
  try {
    check_image_size(info.image_width, info.image_height);
    const bool several = info.progressive_mode || jpeg_has_multiple_scans(&info);
    if (several && coefficient_bytes(info) > kCoefficientBytes)
      throw Error(ErrorKind::invalid, fmt::format("{} x {} pixels in several scans take too much memory",
                                                  info.image_width, info.image_height));
    image.width = static_cast<int>(info.image_width);
    image.height = static_cast<int>(info.image_height);
    image.rgb.resize(size_t{info.image_width} * info.image_height * 3);
    if (info.num_components == 4) inks.resize(size_t{info.image_width} * 4);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (thrown) return false;
  info.out_color_space = inks.empty() ? JCS_RGB : JCS_CMYK;
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    const size_t y = info.output_scanline;
    uint8_t* row = image.rgb.data() + y * static_cast<size_t>(image.width) * 3;
    JSAMPROW into = inks.empty() ? row : inks.data();
    if (jpeg_read_scanlines(&info, &into, 1) != 1) fail(decoder, "it gives no more rows");
    if (!inks.empty()) cmyk_to_rgb(inks.data(), row, image.width);
    if (decoder.cut_off) fail(decoder, "it is cut off");
  }
  return true;
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes) {
  Decoder decoder;
  set_up(decoder, bytes);
  Image image;
  std::vector<uint8_t> inks;
  std::exception_ptr thrown;
  if (decode(decoder, image, inks, thrown)) return image;
  if (thrown) std::rethrow_exception(thrown);
  if (decoder.stopped) std::rethrow_exception(decoder.stopped);
  const std::string text = decoder.cut_off ? "it is cut off" : decoder.message;
  throw Error(ErrorKind::invalid, "the JPEG cannot be read: " + text);
}

}  // namespace mlxk
