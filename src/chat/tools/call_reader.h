#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/part.h"
#include "chat/tools/text_feed.h"

namespace mlxk {

/// Receives the calls that a reader finds, as parts.
class CallSink {
 public:
  /// `single`: only the first call is taken.
  CallSink(TextFeed& feed, bool single) : feed_(feed), single_(single) {}

  /// Begins a call: the markup read so far is never text.
  void begin(std::string name);
  /// More of its arguments' JSON text.
  void arguments(std::string_view json);
  void end();
  bool open() const { return open_; }
  /// Calls begun and taken.
  int calls() const { return calls_; }
  /// Whether no more calls are wanted.
  bool full() const { return single_ && calls_ > 0 && !open_; }
  std::vector<Part> take();

 private:
  TextFeed& feed_;
  bool single_;
  bool open_ = false;
  bool ignored_ = false;  // the open call
  int calls_ = 0;
  std::vector<Part> parts_;
};

/// Reads the calls of one section, starting after its opening marker. The result must depend on the text alone, never
/// on how it is split.
class CallReader {
 public:
  enum class State {
    more,    // more text is needed; at the text's end: the section is not complete
    done,    // the section has ended, the feed stands behind it
    broken,  // this is not a call; the feed is at the place where that became clear
  };
  virtual ~CallReader() = default;
  virtual State read(TextFeed& feed, CallSink& calls) = 0;
  /// The text that completes the open call's arguments to valid JSON after they broke off.
  virtual std::string closing() = 0;
};

}  // namespace mlxk
