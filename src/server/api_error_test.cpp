#include "server/api_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <system_error>

#include "json/json.h"

namespace mlxk {
namespace {

std::string message_of(const std::exception& error) {
  return Json::parse(error_response(error, "req-1").body).at("error").at("message").get<std::string>();
}

TEST(ApiError, names_files_without_their_folders) {
  const std::pair<const char*, const char*> rows[] = {
      {"/srv/models/m/model.safetensors: tensor \"a\" is missing", "model.safetensors: tensor \"a\" is missing"},
      {"[/srv/models/m/tokenizer.json] broken", "[tokenizer.json] broken"},
      {"cannot read /srv/x/y/: no such file", "cannot read y: no such file"},
      {"There is no POST /v1/responses here.", "There is no POST /v1/responses here."},
      {"3/4 of a/b", "3/4 of a/b"},
      {"#/properties/a is no schema", "#/properties/a is no schema"},
      {"/properties/a/anyOf/0", "/properties/a/anyOf/0"}};
  for (const auto& [text, expected] : rows) EXPECT_EQ(message_of(Error(ErrorKind::bad_model, text)), expected);
}

TEST(ApiError, is_at_most_a_few_kilobytes_of_whole_characters) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "ä";
  const std::string message = message_of(Error(ErrorKind::bad_model, "x" + text));
  EXPECT_LE(message.size(), 2000U);
  EXPECT_GT(message.size(), 1990U);
  EXPECT_THAT(message, ::testing::EndsWith("ä"));
}

TEST(ApiError, says_nothing_of_what_is_not_ours) {
  EXPECT_EQ(message_of(std::runtime_error("/srv/secret")), "internal error");
}

TEST(ApiError, tells_when_memory_or_threads_ran_out) {
  const std::system_error no_thread(std::make_error_code(std::errc::resource_unavailable_try_again));
  EXPECT_EQ(error_response(no_thread, "req-1").status, 507);
  EXPECT_EQ(message_of(no_thread), "out of memory");
  EXPECT_EQ(error_response(std::bad_alloc(), "req-1").status, 507);
}

}  // namespace
}  // namespace mlxk
