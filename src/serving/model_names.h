#pragma once

#include <string>
#include <string_view>

#include "hub/resolve.h"

namespace mlxk {

/// The names that a server's clients may use: those of cached models, of workspaces under MLXK_WORKSPACE_HOME, and the
/// exact spelling of the pinned model.
class ModelNames {
 public:
  /// Resolves `pinned`, the value of --model; empty: none. Throws not_found, ambiguous, invalid.
  explicit ModelNames(std::string pinned);

  /// Resolves a client's `spec`. Throws not_found for every path but the pinned one (without a look at the file
  /// system), for impossible and unknown names, and for a workspace whose links lead out of the home; ambiguous listing
  /// the matches.
  ModelRef resolve(std::string_view spec) const;
  /// Whether clients may use a model of the listing.
  static bool may_list(const ModelRef& ref);
  /// The id in /v1/models: "org/name", a workspace's name below the home, or an absolute path.
  static std::string id_of(const ModelRef& ref);
  /// One key for all spellings of a model: its folder, links resolved.
  static std::string key_of(const ModelRef& ref);

  bool has_pinned() const { return !pinned_.empty(); }
  const ModelRef& pinned() const { return pinned_ref_; }

 private:
  std::string pinned_;
  ModelRef pinned_ref_;
};

/// Throws the one error for an unknown name (not_found).
[[noreturn]] void throw_unknown_model(std::string_view spec);

}  // namespace mlxk
