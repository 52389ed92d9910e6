#pragma once

#include <string_view>

#include "json/json.h"

namespace mlxk {

/// The functions of a request's tools.
class ToolTable {
 public:
  explicit ToolTable(Json tools) : tools_(std::move(tools)) {}

  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// The schema of a function's arguments; null if there is none.
  const Json* parameters(std::string_view function) const;
  /// The schema of a function's parameter; null if there is none.
  const Json* parameter(std::string_view function, std::string_view name) const;

 private:
  const Json* find(std::string_view name) const;  // the function
  Json tools_;
};

}  // namespace mlxk
