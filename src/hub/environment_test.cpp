#include "hub/environment.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "hub/hub_settings.h"
#include "hub/resolve.h"
#include "hub/testing/fake_cache.h"

namespace mlxk {
namespace {

/// Unsets every variable with the places of the Hugging Face tools' files and tokens; HOME is /home/me.
class Environment : public ::testing::Test {
 protected:
  Environment() {
    for (size_t i = 0; i < kNames.size(); ++i) {
      if (const char* value = std::getenv(kNames[i])) saved_[i] = value;
      unsetenv(kNames[i]);
    }
    set("HOME", "/home/me");
  }
  ~Environment() override {
    for (size_t i = 0; i < kNames.size(); ++i) {
      if (saved_[i]) {
        setenv(kNames[i], saved_[i]->c_str(), 1);
      } else {
        unsetenv(kNames[i]);
      }
    }
  }
  static void set(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }

 private:
  static constexpr std::array kNames = {"HOME",
                                        "HF_HOME",
                                        "HF_HUB_CACHE",
                                        "HF_TOKEN",
                                        "XDG_CACHE_HOME",
                                        "HUGGINGFACE_HUB_CACHE",
                                        "HF_TOKEN_PATH",
                                        "BASE",
                                        "HUGGING_FACE_HUB_TOKEN",
                                        "HUGGINGFACE_HUB_TOKEN",
                                        "HF_HUB_DISABLE_IMPLICIT_TOKEN"};
  std::array<std::optional<std::string>, kNames.size()> saved_;
};

// The expected values are those of huggingface_hub 2.4.0 (constants.py, utils/_auth.py).
TEST_F(Environment, TheCacheIsWhereHuggingfaceHubHasIt) {
  EXPECT_EQ(hub_cache_dir(), "/home/me/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(hub_cache_dir(), "/xdg/huggingface/hub");
  set("HF_HOME", "/hf");
  EXPECT_EQ(hub_cache_dir(), "/hf/hub");
  set("HUGGINGFACE_HUB_CACHE", "/legacy");
  EXPECT_EQ(hub_cache_dir(), "/legacy");
  set("HF_HUB_CACHE", "/new/");
  EXPECT_EQ(hub_cache_dir(), "/new/");
  set("HF_HUB_CACHE", "");
  EXPECT_EQ(hub_cache_dir(), "/legacy") << "empty is unset";
}

TEST_F(Environment, PathsAreExpandedAsPythonDoes) {
  set("BASE", "/base");
  const std::pair<const char*, const char*> rows[] = {{"~", "/home/me"},
                                                      {"~/x", "/home/me/x"},
                                                      {"$BASE/x", "/base/x"},
                                                      {"${BASE}/x", "/base/x"},
                                                      {"/a/${BASE}b$BASE", "/a//baseb/base"},
                                                      {"$BASEMENT/x", "$BASEMENT/x"},
                                                      {"${NOPE}/x", "${NOPE}/x"},
                                                      {"/x~", "/x~"},
                                                      {"$", "$"},
                                                      {"${BASE", "${BASE"},
                                                      {"$$BASE", "$/base"},
                                                      {"~nobody-of-that-name/x", "~nobody-of-that-name/x"}};
  for (const auto& [text, expected] : rows) EXPECT_EQ(expand_path(text), expected) << text;
  set("BASE", "$HOME");
  EXPECT_EQ(expand_path("$BASE/x"), "$HOME/x") << "a value is not expanded again";
  set("HOME", "/");
  EXPECT_EQ(expand_path("~/x"), "/x");
}

TEST_F(Environment, TheTokenIsWhereHuggingfaceHubHasIt) {
  std::string name = (fs::temp_directory_path() / "mlxk-test-XXXXXX").string();
  const fs::path root = mkdtemp(name.data());
  set("HF_HOME", root.string());
  EXPECT_EQ(hub_settings().token, "");
  testing::write(root / "token", " of-home\n");
  EXPECT_EQ(hub_settings().token, "of-home");
  testing::write(root / "elsewhere", "of-path\r\n");
  set("BASE", root.string());
  set("HF_TOKEN_PATH", "$BASE/elsewhere");
  EXPECT_EQ(hub_settings().token, "of-path");
  set("HUGGINGFACE_HUB_TOKEN", "oldest");
  EXPECT_EQ(hub_settings().token, "oldest");
  set("HUGGING_FACE_HUB_TOKEN", "older");
  EXPECT_EQ(hub_settings().token, "older");
  set("HF_TOKEN", "hf_\nx ");
  EXPECT_EQ(hub_settings().token, "hf_x");
  set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes");
  EXPECT_EQ(hub_settings().token, "");
  unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
  set("HF_TOKEN", "a\x01b");
  EXPECT_THROW(hub_settings(), Error);
  fs::remove_all(root);
}

}  // namespace
}  // namespace mlxk
