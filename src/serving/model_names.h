#pragma once

#include <string>
#include <string_view>

#include "hub/resolve.h"

namespace mlxk {

/// The names that a server's clients may say: those of cached models and of workspaces under MLXK_WORKSPACE_HOME, and
/// exactly the one that the operator pinned.
class ModelNames {
 public:
  /// `pinned`: what --model said, empty for none. Resolves it; throws not_found, ambiguous, invalid.
  explicit ModelNames(std::string pinned);

  /// The model that a client means. not_found for every path but the pinned one (without a look at the file system),
  /// for what no model can be called, for a workspace whose links lead out of the home, and for what is not there;
  /// ambiguous listing the matches.
  ModelRef resolve(std::string_view spec) const;
  /// Whether a model of the listing can be asked for.
  static bool may_list(const ModelRef& ref);
  /// What /v1/models calls it: "org/name", a workspace's name below the home, or its absolute path.
  static std::string id_of(const ModelRef& ref);
  /// What is the same for every spelling of one model: its folder, links resolved.
  static std::string key_of(const ModelRef& ref);

  bool has_pinned() const { return !pinned_.empty(); }
  const ModelRef& pinned() const { return pinned_ref_; }

 private:
  std::string pinned_;
  ModelRef pinned_ref_;
};

/// The one refusal of a name.
[[noreturn]] void throw_unknown_model(std::string_view spec);

}  // namespace mlxk
