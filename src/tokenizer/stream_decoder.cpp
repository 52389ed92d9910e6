#include "tokenizer/rust_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

struct StreamDecoder::State {
  std::shared_ptr<const Tokenizer> tokenizer;
  RustPtr<mlxk_stream, mlxk_stream_free> stream;
  const std::string& place() const { return rust_tokenizer(*tokenizer).place(); }
};

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : state_(std::make_unique<State>()) {
  state_->stream.reset(mlxk_stream_new(rust_tokenizer(*tokenizer).handle(), skip_special_tokens));
  state_->tokenizer = std::move(tokenizer);
  if (!state_->stream) throw Error(ErrorKind::bad_model, "[" + state_->place() + "] the decoder is broken");
}

StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  RustText text, error;
  const int status = mlxk_stream_push(state_->stream.get(), id, text.out(), error.out());
  check_rust(status, error, ErrorKind::bad_model, state_->place());
  return text.str();
}

std::string StreamDecoder::finish() {
  RustText text, error;
  const int status = mlxk_stream_finish(state_->stream.get(), text.out(), error.out());
  check_rust(status, error, ErrorKind::bad_model, state_->place());
  return text.str();
}

}  // namespace mlxk
