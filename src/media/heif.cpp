// libheif's C interface as of 1.11, declared here: no header of it is needed to build.
#include "media/heif.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "base/error.h"
#include "media/limits.h"

namespace mlxk {

namespace {

struct HeifError {
  int code, subcode;
  const char* message;
};
constexpr int kUnsupportedFiletype = 3, kUnsupportedFeature = 4, kNoDecoder = 11;  // values of `code`
constexpr int kColorspaceRgb = 1, kInterleavedRgb = 10, kInterleavedChannel = 10;

struct HeifLibrary {
  void* (*context_alloc)();
  void (*context_free)(void* context);
  void (*set_size_limit)(void* context, int side);
  HeifError (*read)(void* context, const void* bytes, size_t size, const void* options);
  HeifError (*primary)(void* context, void** handle);
  void (*handle_release)(const void* handle);
  int (*width)(const void* handle);
  int (*height)(const void* handle);
  HeifError (*decode)(const void* handle, void** image, int colorspace, int chroma, const void* options);
  void (*image_release)(const void* image);
  const uint8_t* (*plane)(const void* image, int channel, int* stride);
  int (*plane_width)(const void* image, int channel);
  int (*plane_height)(const void* image, int channel);
  int (*block_ids)(const void* handle, const char* type, uint32_t* ids, int count);
  size_t (*block_size)(const void* handle, uint32_t id);
  HeifError (*block)(const void* handle, uint32_t id, void* into);
};

HeifLibrary open_heif_library() {
#ifdef __APPLE__
  constexpr const char* kName = "libheif.1.dylib";
#else
  constexpr const char* kName = "libheif.so.1";
#endif
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);  // never closed: it has plugins
  if (!handle) {
    throw Error(ErrorKind::unsupported, fmt::format("HEIC needs {}, which is not installed", kName),
                "install libheif (Debian, Ubuntu: the package libheif1), or convert the image to JPEG");
  }
  HeifLibrary library{};
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function) throw Error(ErrorKind::unsupported, std::string("libheif has no ") + name);
  };
  find(library.context_alloc, "heif_context_alloc");
  find(library.context_free, "heif_context_free");
  find(library.set_size_limit, "heif_context_set_maximum_image_size_limit");
  find(library.read, "heif_context_read_from_memory_without_copy");
  find(library.primary, "heif_context_get_primary_image_handle");
  find(library.handle_release, "heif_image_handle_release");
  find(library.width, "heif_image_handle_get_width");
  find(library.height, "heif_image_handle_get_height");
  find(library.decode, "heif_decode_image");
  find(library.image_release, "heif_image_release");
  find(library.plane, "heif_image_get_plane_readonly");
  find(library.plane_width, "heif_image_get_width");
  find(library.plane_height, "heif_image_get_height");
  find(library.block_ids, "heif_image_handle_get_list_of_metadata_block_IDs");
  find(library.block_size, "heif_image_handle_get_metadata_size");
  find(library.block, "heif_image_handle_get_metadata");
  return library;
}

const HeifLibrary& heif_library() {
  static const HeifLibrary library = open_heif_library();
  return library;
}

void check(const HeifError& error) {
  if (error.code == 0) return;
  const bool unsupported =
      error.code == kUnsupportedFiletype || error.code == kUnsupportedFeature || error.code == kNoDecoder;
  throw Error(unsupported ? ErrorKind::unsupported : ErrorKind::invalid,
              fmt::format("the HEIC cannot be read: {}", error.message ? error.message : "libheif does not say why"));
}

/// The EXIF data of an image, after the number that gives their offset in the block.
ImageMetadata metadata_of(const HeifLibrary& library, const void* handle) {
  constexpr size_t kMax = size_t{1} << 20;
  uint32_t id = 0;
  if (library.block_ids(handle, "Exif", &id, 1) < 1) return {};
  const size_t size = library.block_size(handle, id);
  if (size < 4 || size > kMax) return {};
  std::vector<uint8_t> block(size);
  if (library.block(handle, id, block.data()).code != 0) return {};
  const size_t skipped = (size_t{block[0]} << 24 | size_t{block[1]} << 16 | size_t{block[2]} << 8 | block[3]) + 4;
  if (skipped >= size) return {};
  return parse_exif(std::span(block).subspan(skipped)).metadata;
}

}  // namespace

bool is_heif(std::span<const uint8_t> bytes) {
  if (bytes.size() < 12 || std::memcmp(bytes.data() + 4, "ftyp", 4) != 0) return false;
  const std::string_view brand(reinterpret_cast<const char*>(bytes.data()) + 8, 4);
  for (const std::string_view known : {"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "avif", "avis"})
    if (brand == known) return true;
  return false;
}

DecodedImage decode_heif(std::span<const uint8_t> bytes) {
  const HeifLibrary& library = heif_library();
  const std::unique_ptr<void, void (*)(void*)> context(library.context_alloc(), library.context_free);
  if (!context) throw Error(ErrorKind::memory, "libheif is out of memory");
  library.set_size_limit(context.get(), kImageSide);
  check(library.read(context.get(), bytes.data(), bytes.size(), nullptr));
  void* raw = nullptr;
  check(library.primary(context.get(), &raw));
  const std::unique_ptr<const void, void (*)(const void*)> handle(raw, library.handle_release);
  const int width = library.width(handle.get()), height = library.height(handle.get());
  check_image_size(static_cast<uint64_t>(std::max(width, 0)), static_cast<uint64_t>(std::max(height, 0)));
  DecodedImage result;
  result.metadata = metadata_of(library, handle.get());
  raw = nullptr;
  check(library.decode(handle.get(), &raw, kColorspaceRgb, kInterleavedRgb, nullptr));
  const std::unique_ptr<const void, void (*)(const void*)> pixels(raw, library.image_release);
  int stride = 0;
  const uint8_t* plane = library.plane(pixels.get(), kInterleavedChannel, &stride);
  auto& image = result.image;
  image.width = library.plane_width(pixels.get(), kInterleavedChannel);
  image.height = library.plane_height(pixels.get(), kInterleavedChannel);
  const auto row = static_cast<size_t>(std::max(image.width, 0)) * 3;
  if (!plane || image.height <= 0 || row == 0 || static_cast<size_t>(std::max(stride, 0)) < row)
    throw Error(ErrorKind::invalid, "the HEIC cannot be read: libheif gives no pixels");
  image.rgb.resize(row * static_cast<size_t>(image.height));
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y)
    std::memcpy(image.rgb.data() + y * row, plane + y * static_cast<size_t>(stride), row);
  return result;
}

}  // namespace mlxk
