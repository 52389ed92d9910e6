#include "http/curl_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

namespace {

CurlLibrary open_library() {
#ifdef __APPLE__
  constexpr const char* kNames[] = {"libcurl.4.dylib"};
#else
  constexpr const char* kNames[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
#endif
  void* handle = nullptr;
  for (const char* name : kNames) {
    handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);  // never closed: it may keep threads of its own
    if (handle) break;
  }
  if (!handle) {
    throw Error(ErrorKind::unsupported, fmt::format("{} is not on this machine", kNames[0]),
                "install libcurl (Debian, Ubuntu: the package libcurl4)");
  }
  CurlLibrary library{};
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function)
      throw Error(ErrorKind::unsupported, fmt::format("libcurl has no {}; it must be 7.62 or newer", name));
  };
  find(library.global_init, "curl_global_init");
  find(library.easy_init, "curl_easy_init");
  find(library.easy_cleanup, "curl_easy_cleanup");
  find(library.easy_reset, "curl_easy_reset");
  find(library.easy_setopt, "curl_easy_setopt");
  find(library.easy_getinfo, "curl_easy_getinfo");
  find(library.easy_perform, "curl_easy_perform");
  find(library.easy_strerror, "curl_easy_strerror");
  find(library.slist_append, "curl_slist_append");
  find(library.slist_free_all, "curl_slist_free_all");
  find(library.url, "curl_url");
  find(library.url_cleanup, "curl_url_cleanup");
  find(library.url_set, "curl_url_set");
  find(library.url_get, "curl_url_get");
  find(library.free, "curl_free");
  if (library.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw Error(ErrorKind::internal, "libcurl does not start");
  return library;
}

}  // namespace

const CurlLibrary& curl_library() {
  static const CurlLibrary library = open_library();
  return library;
}

}  // namespace mlxk
