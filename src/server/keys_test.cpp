#include "server/keys.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/log.h"

namespace mlxk {
namespace {

std::string refusal(std::string_view text) {
  KeyRing keys;
  try {
    keys.add_lines(text, "keys");
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Keys, ALineIsAKeyItsNameAndItsScopes) {
  KeyRing keys;
  keys.add_lines("# ours\n\nplain-key-1\nbob:bobs-key-22\r\n ops : operators-key : admin, inference \n", "keys");
  ASSERT_EQ(keys.size(), 3u);
  const ApiKey* bob = keys.find("bobs-key-22");
  ASSERT_NE(bob, nullptr);
  EXPECT_EQ(bob->id, "bob");
  EXPECT_TRUE(bob->allows(Scope::inference));
  EXPECT_FALSE(bob->allows(Scope::admin));
  EXPECT_TRUE(keys.find("operators-key")->allows(Scope::admin));
  const ApiKey* plain = keys.find("plain-key-1");
  ASSERT_NE(plain, nullptr);
  EXPECT_EQ(plain->id.find("plain"), std::string::npos) << plain->id;
  for (const char* wrong : {"", "bob", "plain-key-", "plain-key-11", "bob:bobs-key-22"})
    EXPECT_EQ(keys.find(wrong), nullptr);
}

TEST(Keys, ABadLineIsNamedWithoutItsKey) {
  EXPECT_EQ(refusal("good-key-1\nbob:short"), "keys:2: a key must have 8 to 512 characters, got 5");
  for (const char* text : {"a:secret-key-1:root", "a:secret-key-1:", ":secret-key-1", "a:secret-key-1:b:c",
                           "secret key-1", "a:secret-key-1\na:secret-key-2", "a:secret-key-1\nb:secret-key-1"}) {
    const std::string message = refusal(text);
    EXPECT_NE(message, "") << text;
    EXPECT_EQ(message.find("secret"), std::string::npos) << message;
  }
}

TEST(Keys, AKeyIsHiddenFromLogs) {
  KeyRing keys;
  keys.add_lines("a:hush-hush-key", "keys");
  EXPECT_EQ(log::redact("got hush-hush-key"), "got [REDACTED_KEY]");
}

}  // namespace
}  // namespace mlxk
