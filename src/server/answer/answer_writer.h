#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "server/answer/answer_delta.h"
#include "transport/exchange.h"

namespace mlxk {

/// Spells an answer as one protocol does, as a stream or as one document. One thread at a time.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  /// Status and headers of the answer, without a body.
  virtual HttpResponse head() const = 0;
  /// A choice begins.
  virtual void open(int choice) = 0;
  virtual void add(int choice, AnswerDelta delta) = 0;
  virtual void close(int choice, AnswerFinish finish) = 0;
  /// All choices are closed.
  virtual void end(const AnswerUsage& usage) = 0;
  /// A stream breaks off with `error`, a document of the protocol's ErrorStyle.
  virtual void fail(std::string_view error) = 0;
  /// A stream has nothing to say; clients skip what is written.
  virtual void keep_alive() = 0;

  /// The bytes written since the last call.
  std::string take() { return std::exchange(out_, {}); }
  bool empty() const { return out_.empty(); }

 protected:
  std::string out_;
};

}  // namespace mlxk
