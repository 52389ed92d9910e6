#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/part.h"
#include "chat/tools/text_feed.h"

namespace mlxk {

/// Takes the calls that a reader finds, as parts.
class CallSink {
 public:
  /// `single`: the first call alone is taken.
  CallSink(TextFeed& feed, bool single) : feed_(feed), single_(single) {}

  /// A call begins: what was read of it is markup from here on, never text.
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

/// Reads the calls of one section, from behind its opening marker. Must decide by the text alone, never by how it is
/// cut.
class CallReader {
 public:
  enum class State {
    more,    // more text is needed; at the text's end: the section is not complete
    done,    // the section has ended, the feed stands behind it
    broken,  // this is no call; the feed stands where that showed
  };
  virtual ~CallReader() = default;
  virtual State read(TextFeed& feed, CallSink& calls) = 0;
  /// The rest of the open call's arguments where its text broke off, so that they are JSON.
  virtual std::string closing() = 0;
};

}  // namespace mlxk
