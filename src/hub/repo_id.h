#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// A repository of the hub and its revision.
struct RepoSpec {
  std::string name;      // "org/name", or "name" alone
  std::string revision;  // branch, tag or commit; empty: main
};

/// Parses `spec` = name[@revision]; throws invalid if the hub cannot have a repository or revision of that name.
RepoSpec parse_repo_spec(std::string_view spec);

/// Throws invalid unless `name` can be a repository: [org/]name of at most 96 letters, digits, "-", "_" and ".".
void check_repo_name(std::string_view name);

/// Whether `text` is a whole commit hash.
bool is_commit_hash(std::string_view text);

/// Whether `text` consists of hexadecimal digits, at least one.
bool is_hex(std::string_view text);

}  // namespace mlxk
