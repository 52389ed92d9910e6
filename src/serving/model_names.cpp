#include "serving/model_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/workspace.h"

namespace mlxk {

namespace {

constexpr size_t kMaxNameBytes = 512;   // of a client's name; org/name is at most 96 + 96
constexpr size_t kMaxShownBytes = 128;  // of the name in a message

/// Whether `spec` can be the name of a model at all, by its characters alone.
bool can_be_name(std::string_view spec) {
  if (spec.empty() || spec.size() > kMaxNameBytes) return false;
  if (spec.front() == '-' || spec.front() == '/' || spec.front() == '~' || spec.front() == '.') return false;
  const auto bad = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\' || c == '%'; };
  if (std::any_of(spec.begin(), spec.end(), bad)) return false;
  for (size_t start = 0; start <= spec.size();) {
    const size_t end = std::min(spec.find('/', start), spec.size());
    const std::string_view part = spec.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  fs::path result = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : result;
}

/// The name of a workspace below the home, links resolved; empty if it is not below the home.
std::string name_below_home(const fs::path& folder) {
  const auto home = workspace_home();
  if (!home) return {};
  const fs::path root = resolved(*home), inside = resolved(folder);
  if (inside == root || !is_within(inside, root)) return {};
  return inside.lexically_relative(root).string();
}

std::string one_line(std::string text) {
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at)) text.replace(at, 1, ", ");
  return text;
}

/// Whether no file of the workspace is a link that leads out of the home.
bool keeps_to_home(const fs::path& folder) {
  const auto home = workspace_home();
  if (!home) return false;
  const fs::path root = resolved(*home);
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it.depth() + 1 >= kMaxNesting) it.disable_recursion_pending();
    if (it->is_symlink(ignored) && !is_within(resolved(it->path()), root)) return false;
  }
  return true;
}

}  // namespace

void throw_unknown_model(std::string_view spec) {
  std::string shown(spec.substr(0, kMaxShownBytes));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  throw Error(ErrorKind::not_found, fmt::format("Model not found in cache: {}{}; GET /v1/models lists the models",
                                                shown, spec.size() > kMaxShownBytes ? "…" : ""));
}

ModelNames::ModelNames(std::string pinned) : pinned_(std::move(pinned)) {
  if (!pinned_.empty()) pinned_ref_ = resolve_model(pinned_);
}

ModelRef ModelNames::resolve(std::string_view spec) const {
  const bool pinned = spec == pinned_ || "./" + std::string(spec) == pinned_ || spec == id_of(pinned_ref_);
  if (has_pinned() && pinned) return pinned_ref_;
  if (!can_be_name(spec)) throw_unknown_model(spec);
  ModelRef ref;
  try {
    ref = resolve_model(spec);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::invalid) throw_unknown_model(spec);
    // Clients show only the message.
    if (error.kind() == ErrorKind::ambiguous)
      throw Error(error.kind(), fmt::format("{}: {}", error.what(), one_line(error.hint())));
    throw;
  }
  if (!may_list(ref)) throw_unknown_model(spec);
  return ref;
}

bool ModelNames::may_list(const ModelRef& ref) {
  return ref.cached || (!name_below_home(ref.path).empty() && keeps_to_home(ref.path));
}

std::string ModelNames::id_of(const ModelRef& ref) {
  if (ref.cached) return ref.name;
  const std::string name = name_below_home(ref.path);
  return name.empty() ? ref.path.string() : name;
}

std::string ModelNames::key_of(const ModelRef& ref) { return resolved(ref.path).string(); }

}  // namespace mlxk
