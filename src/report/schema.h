#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

enum class FieldType { text, number, integer, boolean, texts, object };

/// A field of schema 0.2.2, which also holds for records of 0.2.1, 0.2.0 and 0.1.0.
struct SchemaField {
  std::string_view path;  // "performance.tokens_per_sec"
  FieldType type;
  bool required = false;
  bool non_negative = false;
  std::span<const std::string_view> choices = {};  // of the text, or of each text; empty: any
};

/// Every field, groups before their fields.
std::span<const SchemaField> schema_fields();

/// What is wrong with a record, by the field's path; the path is empty when it is the record as a whole.
struct RecordProblem {
  std::string field, message;
};

/// Everything in which `record` does not hold to the schema.
std::vector<RecordProblem> find_problems(const Json& record);

}  // namespace mlxk
