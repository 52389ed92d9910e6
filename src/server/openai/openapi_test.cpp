#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "base/testing/test_paths.h"
#include "server/openai/audio_params.h"
#include "server/openai/documents.h"
#include "server/openai/embedding_params.h"
#include "server/openai/fields.h"
#include "server/openai/score_params.h"

namespace mlxk {
namespace {

void collect_refs(const Json& value, std::set<std::string>& refs) {
  if (value.is_object() && value.contains("$ref")) refs.insert(value["$ref"]);
  if (!value.is_structured()) return;
  for (const Json& item : value) collect_refs(item, refs);
}

TEST(OpenApi, RefersToWhatIsThereAndUsesAllOfIt) {
  std::set<std::string> refs, schemas;
  collect_refs(openapi_document(), refs);
  for (const auto& [name, schema] : openapi_document()["components"]["schemas"].items()) {
    schemas.insert("#/components/schemas/" + name);
  }
  EXPECT_EQ(refs, schemas);
}

TEST(OpenApi, ShowsTheSchemasThatCheckRequests) {
  const Json& schemas = openapi_document()["components"]["schemas"];
  EXPECT_EQ(schemas["ChatCompletionRequest"], chat_schema());
  EXPECT_EQ(schemas["ChatCompletionRequest"]["properties"]["temperature"]["maximum"], 2);
  EXPECT_EQ(schemas["ChatCompletionRequest"]["properties"]["functions"]["x-mlxk-use"], "refused");
  EXPECT_EQ(schemas["CompletionRequest"]["properties"]["logprobs"]["maximum"], 20);
}

// docs/server-api.md has one row for each field: | `name` | type and range | default | use | meaning |
TEST(ServerApiPage, HasARowForEveryField) {
  const std::string page = read_file(std::string(test_tree::kSourceDir) + "/docs/server-api.md");
  const auto expect_row = [&](const auto& field, const char* section) {
    const char* use = field.use == FieldUse::honoured  ? "honoured"
                      : field.use == FieldUse::refused ? "refused"
                                                       : "without effect";
    const size_t row = page.find("\n| `" + field.name + "` | ", page.find(section));
    ASSERT_NE(row, std::string::npos) << field.name;
    const std::string line = page.substr(row + 1, page.find('\n', row + 1) - row - 1);
    EXPECT_NE(line.find(std::string("| ") + use + " |"), std::string::npos) << line;
  };
  for (const auto& field : answer_fields()) expect_row(field, "\nChat and completion:");
  for (const auto& field : compat_fields()) expect_row(field, "\nFields of vLLM, llama.cpp");
  for (const auto& field : chat_fields()) expect_row(field, "\nChat only:");
  for (const auto& field : completion_fields()) expect_row(field, "\nCompletion only:");
  for (const auto& field : audio_fields()) expect_row(field, "\nRecordings only");
  for (const auto& field : embedding_fields()) expect_row(field, "\nEmbeddings only:");
  for (const auto& field : tei_embed_fields()) expect_row(field, "\n`POST /embed` only");
  for (const auto& field : tei_sparse_fields()) expect_row(field, "\n`POST /embed` only");
  for (const auto& field : rerank_fields()) expect_row(field, "\nReranking only:");
  for (const auto& field : classify_fields()) expect_row(field, "\nClassification only:");
}

}  // namespace
}  // namespace mlxk
