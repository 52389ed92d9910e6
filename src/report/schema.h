#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

enum class FieldType { text, number, integer, boolean, texts, object };

/// A field of schema 0.2.2, which also applies to records of 0.2.1, 0.2.0 and 0.1.0.
struct SchemaField {
  std::string_view path;  // "performance.tokens_per_sec"
  FieldType type;
  bool required = false;
  bool non_negative = false;
  std::span<const std::string_view> choices = {};  // allowed texts; empty: any
};

/// All fields; each group precedes its fields.
std::span<const SchemaField> schema_fields();

/// A problem with a field of a record; `field` is its path, empty for the whole record.
struct RecordProblem {
  std::string field, message;
};

/// All violations of the schema in `record`.
std::vector<RecordProblem> find_problems(const Json& record);

}  // namespace mlxk
