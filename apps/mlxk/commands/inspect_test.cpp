// list, show and health from the command line to their output.
#include <gtest/gtest.h>

#include "base/error.h"
#include "cli/parser.h"
#include "hub/content_hash.h"
#include "hub/testing/fake_cache.h"
#include "hub/workspace.h"
#include "json/json.h"

namespace mlxk {
namespace {

class Inspect : public testing::FakeCache {
 protected:
  Inspect() {
    add_model("mlx-community/Llama-Instruct", testing::kHashA,
              R"({"model_type":"llama","quantization":{"bits":4,"group_size":64}})");
    add_model("org/unknown", testing::kHashB, R"({"model_type":"falcon_h9"})");
    fs::create_directories(hub_ / "models--org--partial/snapshots");
    add_workspace("mine");
    write_sentinel(workspaces_ / "mine", {{"managed", true}, {"source_repo", "org/x"}, {"operation", "clone"}});
    recalculate_content_hash(workspaces_ / "mine");
  }
  static std::string output_of(const std::vector<std::string>& words) {
    const CommandLine line = parse_command_line(words);
    ::testing::internal::CaptureStdout();
    int code = -1;
    try {
      code = line.command->run(line.args);
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    EXPECT_EQ(code, 0);
    return ::testing::internal::GetCapturedStdout();
  }
  static Json data_of(std::vector<std::string> words) {
    words.emplace_back("--json");
    const Json document = parse_json(output_of(words), "stdout");
    EXPECT_EQ(document["status"], "success");
    EXPECT_EQ(document["command"], words.front());
    EXPECT_EQ(document["error"], nullptr);
    return document["data"];
  }
};

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(Inspect, ListShowsWhatRunsAndAllOnDemand) {
  const std::string usable = output_of({"list"});
  EXPECT_TRUE(usable.starts_with("Name           | Hash    | Size  | Modified | Src   | Type\n")) << usable;
  EXPECT_TRUE(holds(usable, "\nmine           | ")) << usable;
  EXPECT_TRUE(holds(usable, "\nLlama-Instruct | aaaaaaa | ")) << usable;
  EXPECT_FALSE(holds(usable, "unknown")) << usable;
  const std::string all = output_of({"list", "--all", "--health"});
  EXPECT_TRUE(holds(all, "healthy*")) << all;
  EXPECT_TRUE(holds(all, "unhealthy")) << all;
  EXPECT_TRUE(holds(output_of({"list", "--verbose", "--health", "--all"}), "| Integrity | Runtime | Reason"));
}

TEST_F(Inspect, ListAsJsonIsNeverFilteredByHealth) {
  const Json data = data_of({"list"});
  EXPECT_EQ(data["count"], 4);
  EXPECT_EQ(data["models"][0]["display_name"], "mine");
  EXPECT_EQ(data["models"][0]["clean"], true);
  EXPECT_EQ(data_of({"list", "LLAMA"})["models"][0]["name"], "mlx-community/Llama-Instruct");
  EXPECT_EQ(data_of({"list", "nothing-like-it"})["count"], 0);
}

TEST_F(Inspect, HealthCountsAndASingleModelHasNoSummary) {
  EXPECT_TRUE(output_of({"health"}).starts_with("Summary: total 4, healthy 3, unhealthy 1\nhealthy   mine — "));
  EXPECT_EQ(output_of({"health", "Llama"}), "healthy   mlx-community/Llama-Instruct — Model is healthy\n");
  EXPECT_EQ(output_of({"health", "org/partial"}),
            "unhealthy org/partial — No snapshots found: a download was interrupted; `mlxk pull` continues it\n");
  EXPECT_EQ(data_of({"health", "absent"})["summary"]["total"], 0);
  EXPECT_THROW(output_of({"health", "org/"}), Error);
}

TEST_F(Inspect, HealthHidesACachedModelBehindItsWorkspace) {
  add_model("org/mine");
  EXPECT_EQ(data_of({"health"})["summary"]["total"], 4);
}

TEST_F(Inspect, ShowDescribesACachedModel) {
  const std::string text = output_of({"show", "Llama-Instruct"});
  EXPECT_TRUE(
      text.starts_with("Model: mlx-community/Llama-Instruct@aaaaaaa\nFramework: MLX\nType: chat\n"
                       "Capabilities: text-generation, chat\nTools: none\nQuantization: 4-bit (group_size=64)\n"))
      << text;
  EXPECT_TRUE(holds(text, "\nMetadata:\n  model_type: llama\n")) << text;
  EXPECT_TRUE(holds(output_of({"show", "Llama", "--files"}), "  - config.json (config, "));
  EXPECT_TRUE(holds(output_of({"show", "unknown"}),
                    "Health: healthy (files OK, runtime incompatible)\nReason: text model type"));
  const Json data = data_of({"show", "Llama", "--config"});
  EXPECT_EQ(data["config"]["model_type"], "llama");
  EXPECT_EQ(data["metadata"], nullptr);
  EXPECT_EQ(data["workspace_metadata"], nullptr);
  EXPECT_EQ(data["model"]["quantization"]["bits"], 4);
}

TEST_F(Inspect, ShowSaysHowAModelCallsTools) {
  EXPECT_EQ(data_of({"show", "unknown"})["tools"], "none");
  const auto with_template = [&](const std::string& source) {
    testing::write(workspaces_ / "mine/tokenizer_config.json", dump_json({{"chat_template", source}}));
    return data_of({"show", "mine"})["tools"].get<std::string>();
  };
  EXPECT_EQ(with_template("{{ messages[0].content }}"), "generic");
  EXPECT_EQ(with_template("<tool_call>{{ tool_call.name }}"), "native");
  EXPECT_TRUE(holds(output_of({"show", "mine"}), "\nTools: native\n"));
  // If the template does not tell, the vocabulary does.
  testing::write(workspaces_ / "mine/tokenizer.json", R"({"added_tokens":[{"content":"<|tool_call_start|>"},
      {"content":"<|tool_call_end|>"}]})");
  EXPECT_EQ(with_template("{{ messages[0].content }}"), "native");
}

TEST_F(Inspect, ShowHashesAManagedWorkspaceAnew) {
  testing::write(workspaces_ / "mine/new.txt", "x");
  EXPECT_TRUE(holds(output_of({"show", "mine"}), "  Clean: ✗\n"));
  const Json data = data_of({"show", "mine", "--recalc-hash"});
  EXPECT_EQ(data["hash_updated"], true);
  EXPECT_EQ(data["model"]["clean"], true);
  EXPECT_EQ(data["workspace_metadata"]["source_repo"], "org/x");
  EXPECT_THROW(output_of({"show", "Llama", "--recalc-hash"}), Error);
}

}  // namespace
}  // namespace mlxk
