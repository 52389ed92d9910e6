#include "text_model.h"

#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "hub/resolve.h"

namespace mlxk {

namespace {
ErrorKind kind_of(const Decision& decision) {
  switch (decision.http_status) {
    case 400: return ErrorKind::invalid;
    case 404: return ErrorKind::not_found;
    case 507: return ErrorKind::memory;
    default: return ErrorKind::unsupported;
  }
}
}  // namespace

OpenedModel::OpenedModel(const std::string& spec, const RequestFacts& request, MakeBackend make_backend)
    : make_backend_(std::move(make_backend)), info_(probe_model(resolve_model(spec))) {
  const Decision decision = decide(info_, this_machine(), request);
  if (decision.kind == Decision::Kind::block) throw Error(kind_of(decision), decision.message);
  if (decision.kind == Decision::Kind::warn) fmt::print(stderr, "Warning: {}\n", decision.message);
  if (decision.route != Route::text) {
    throw Error(ErrorKind::unsupported, fmt::format("'{}' is not a text model: {}", info_.ref.name, info_.reason));
  }
  tokenizer_ = Tokenizer::load(info_.ref.path);
  template_ = ChatTemplate::load(info_.ref.path, *tokenizer_);
}

void OpenedModel::load() {
  if (handle_) return;
  const auto start = std::chrono::steady_clock::now();
  worker_ = std::make_unique<Worker>(make_backend_);
  handle_ = worker_->load_text(info_.ref.path);
  load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace mlxk
