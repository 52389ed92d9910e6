#include "media/opus_library.h"

#include <dlfcn.h>

#include <string>
#include <type_traits>

#include "base/error.h"

namespace mlxk {

namespace {

OpusLibrary open_library() {
#ifdef __APPLE__
  constexpr const char* kName = "libopus.0.dylib";
#else
  constexpr const char* kName = "libopus.so.0";
#endif
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    throw Error(ErrorKind::unsupported, std::string("Opus needs ") + kName + ", which is not installed",
                "install libopus (Debian, Ubuntu: the package libopus0)");
  }
  OpusLibrary library{};
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function) throw Error(ErrorKind::unsupported, std::string("libopus has no ") + name);
  };
  find(library.create, "opus_multistream_decoder_create");
  find(library.decode, "opus_multistream_decode_float");
  find(library.destroy, "opus_multistream_decoder_destroy");
  return library;
}

}  // namespace

const OpusLibrary& opus_library() {
  static const OpusLibrary library = open_library();
  return library;
}

}  // namespace mlxk
