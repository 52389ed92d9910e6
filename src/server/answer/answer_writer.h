#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "server/answer/answer_delta.h"
#include "transport/exchange.h"

namespace mlxk {

/// Writes an answer in one protocol, as a stream or as one document. One thread at a time.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  /// Returns status and headers of the answer, without a body.
  virtual HttpResponse head() const = 0;
  /// Begins a choice.
  virtual void open(int choice) = 0;
  virtual void add(int choice, AnswerDelta delta) = 0;
  virtual void close(int choice, AnswerFinish finish) = 0;
  /// Ends the answer; all choices are closed.
  virtual void end(const AnswerUsage& usage) = 0;
  /// Ends a stream with `error`, a document of the protocol's ErrorStyle.
  virtual void fail(std::string_view error) = 0;
  /// Writes a comment, which clients skip, to an idle stream.
  virtual void keep_alive() = 0;

  /// Takes the bytes written since the last call.
  std::string take() { return std::exchange(out_, {}); }
  bool empty() const { return out_.empty(); }

 protected:
  std::string out_;
};

}  // namespace mlxk
