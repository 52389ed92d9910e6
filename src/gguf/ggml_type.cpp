#include "gguf/ggml_type.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

namespace {
constexpr GgmlTypeInfo kTypes[] = {
    {0, "F32", 1, 4, 0, 0},          {1, "F16", 1, 2, 0, 0},         {2, "Q4_0", 32, 18, 32, 4},
    {3, "Q4_1", 32, 20, 32, 4},      {6, "Q5_0", 32, 22, 32, 5},     {7, "Q5_1", 32, 24, 32, 5},
    {8, "Q8_0", 32, 34, 32, 8},      {9, "Q8_1", 32, 40, 0, 0},      {10, "Q2_K", 256, 84, 16, 2},
    {11, "Q3_K", 256, 110, 16, 3},   {12, "Q4_K", 256, 144, 32, 4},  {13, "Q5_K", 256, 176, 32, 5},
    {14, "Q6_K", 256, 210, 16, 6},   {15, "Q8_K", 256, 292, 0, 0},   {16, "IQ2_XXS", 256, 66, 0, 0},
    {17, "IQ2_XS", 256, 74, 0, 0},   {18, "IQ3_XXS", 256, 98, 0, 0}, {19, "IQ1_S", 256, 50, 0, 0},
    {20, "IQ4_NL", 32, 18, 32, 8},   {21, "IQ3_S", 256, 110, 0, 0},  {22, "IQ2_S", 256, 82, 0, 0},
    {23, "IQ4_XS", 256, 136, 32, 8}, {24, "I8", 1, 1, 0, 0},         {25, "I16", 1, 2, 0, 0},
    {26, "I32", 1, 4, 0, 0},         {27, "I64", 1, 8, 0, 0},        {28, "F64", 1, 8, 0, 0},
    {29, "IQ1_M", 256, 56, 0, 0},    {30, "BF16", 1, 2, 0, 0},       {34, "TQ1_0", 256, 54, 0, 0},
    {35, "TQ2_0", 256, 66, 0, 0},    {39, "MXFP4", 32, 17, 32, 5},   {40, "NVFP4", 64, 36, 0, 0},
    {41, "Q1_0", 128, 18, 0, 0},
};
}  // namespace

const GgmlTypeInfo* find_ggml_type(uint32_t number) {
  for (const auto& row : kTypes) {
    if (row.number == number) return &row;
  }
  return nullptr;
}

const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  const auto* row = find_ggml_type(static_cast<uint32_t>(type));
  if (!row)
    throw Error(ErrorKind::internal, fmt::format("[gguf] type {} is not in the table", static_cast<uint32_t>(type)));
  return *row;
}

bool is_readable(GgmlType type) {
  return type == GgmlType::f32 || type == GgmlType::f16 || type == GgmlType::bf16 || ggml_type_info(type).group > 0;
}

}  // namespace mlxk
