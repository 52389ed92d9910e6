#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "chat/tool_calls.h"

namespace mlxk::testing {

/// "text|name{arguments}|text": adjacent parts of one kind joined, arguments checked to be JSON.
inline std::string show_calls(const std::vector<Part>& parts) {
  std::string out, arguments;
  bool text = false;
  int index = -1;
  const auto end_call = [&] {
    EXPECT_TRUE(arguments.empty() || Json::accept(arguments)) << arguments;
    out += arguments;
    arguments.clear();
  };
  for (const Part& part : parts) {
    if (part.kind != Part::Kind::tool_call) {
      end_call();
      if (!text) out += "|T:";
      out += part.text;
      text = true;
      continue;
    }
    text = false;
    if (!part.call.name.empty()) {
      end_call();
      EXPECT_EQ(part.call.index, index + 1);
      index = part.call.index;
      out += "|C:" + part.call.name;
    }
    EXPECT_EQ(part.call.index, index);
    arguments += part.call.arguments;
  }
  end_call();
  return out;
}

/// The result of the splitter for `text`; it must be the same for every split of the input.
inline std::string split_calls(const ToolFormat& format, const std::string& text, const ToolOptions& options) {
  const auto cut = [&](const auto& next) {
    ToolCallSplitter splitter(&format, options);
    std::vector<Part> all;
    const auto add = [&](std::vector<Part> parts) { all.insert(all.end(), parts.begin(), parts.end()); };
    for (size_t at = 0; at < text.size();) {
      const size_t length = next();
      add(splitter.push(text.substr(at, length)));
      at += length;
    }
    add(splitter.finish());
    return show_calls(all);
  };
  const std::string whole = cut([&] { return text.size(); });
  EXPECT_EQ(cut([] { return 1; }), whole) << "character by character";
  for (size_t first = 1; first < text.size(); ++first) {  // two pieces
    size_t round = 0;
    EXPECT_EQ(cut([&] { return round++ == 0 ? first : text.size(); }), whole) << "cut at " << first;
  }
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    EXPECT_EQ(cut([&] { return 1 + random() % 7; }), whole) << "another cut gives another result";
  }
  return whole;
}

}  // namespace mlxk::testing
