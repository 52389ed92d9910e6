#include "hub/repo_id.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace mlxk {

namespace {

constexpr size_t kMaxName = 96, kMaxRevision = 255;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::invalid, fmt::format("Invalid model name: {}", what));
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

void check_part(std::string_view name, std::string_view part) {
  for (const char c : part) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain) refuse(fmt::format("'{}' holds more than letters, digits, '-', '_' and '.'", name));
  }
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  if (edge(part.front()) || edge(part.back()) || part.find("..") != part.npos || part.find("--") != part.npos) {
    refuse(fmt::format("'{}' has '-' or '.' at an end, or twice in a row", name));
  }
}

void check_revision(std::string_view revision) {
  const auto refuse_revision = [&](const char* what) {
    throw Error(ErrorKind::invalid, fmt::format("Invalid revision: '{}' {}", revision, what));
  };
  if (revision.size() > kMaxRevision) refuse_revision("is too long");
  if (std::any_of(revision.begin(), revision.end(), is_control)) refuse_revision("holds a control character");
  if (revision.front() == '-' || revision.front() == '/' || revision.back() == '/')
    refuse_revision("is no branch, tag or commit");
  if (revision.find("..") != revision.npos || revision.find("//") != revision.npos || revision.find("./") == 0 ||
      revision.find("/./") != revision.npos || revision == "." || revision.find('\\') != revision.npos) {
    refuse_revision("is no branch, tag or commit");
  }
}

}  // namespace

bool is_hex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
}

bool is_commit_hash(std::string_view text) { return text.size() == 40 && is_hex(text); }

void check_repo_name(std::string_view name) {
  if (name.empty()) refuse("empty");
  if (std::any_of(name.begin(), name.end(), is_control)) refuse("holds a control character");
  if (name.size() > kMaxName || name.front() == '/' || name.back() == '/' || name.find("//") != name.npos) {
    refuse("must be <= 96 chars and not contain leading/trailing or double slashes");
  }
  const size_t slash = name.find('/');
  if (slash != name.rfind('/')) refuse(fmt::format("'{}' has more than one slash", name));
  check_part(name, name.substr(0, slash));
  if (slash != name.npos) check_part(name, name.substr(slash + 1));
}

RepoSpec parse_repo_spec(std::string_view spec) {
  const size_t at = spec.rfind('@');
  RepoSpec parsed{std::string(spec.substr(0, at)), at == spec.npos ? "" : std::string(spec.substr(at + 1))};
  check_repo_name(parsed.name);
  if (at == spec.npos) return parsed;
  if (parsed.revision.empty()) refuse(fmt::format("'{}' lacks a revision", spec));
  check_revision(parsed.revision);
  return parsed;
}

}  // namespace mlxk
