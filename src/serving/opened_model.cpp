#include "serving/opened_model.h"

#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "hub/resolve.h"
#include "serving/admission.h"
#include "serving/draft_model.h"

namespace mlxk {

OpenedModel::OpenedModel(const std::string& spec, const RequestFacts& request, MakeBackend make_backend,
                         LoadOptions options, const std::string& draft, bool images_may_come)
    : info_(probe_model(resolve_model(spec))), options_(std::move(options)) {
  RequestFacts facts = request;
  facts.has_images |= images_may_come && info_.needs_image;
  const Decision decision = admit_text(info_, this_machine(), facts);
  if (decision.kind == Decision::Kind::warn) log::warn(decision.message);
  if (!draft.empty()) options_.draft_dir = find_draft(draft, info_, this_machine(), request.context).ref.path;
  // Prompts of text alone need only the language model.
  const bool sees = request.has_images || (images_may_come && info_.vision.ok);
  const ModelKind kind = sees ? ModelKind::vision : request.has_audio ? ModelKind::audio : ModelKind::text;
  if (request.has_audio) audio_processor_ = open_audio_processor(info_.ref.path);
  if (sees) image_processor_ = open_image_processor(info_.ref.path);
  loading_.result = std::async(std::launch::async, [this, kind, make_backend = std::move(make_backend)] {
    return load(make_backend, kind, info_.ref.path, options_, loading_.unwanted);
  });
  tokenizer_ = Tokenizer::load(info_.ref.path);
  template_ = ChatTemplate::load(info_.ref.path, *tokenizer_);
}

OpenedModel::Loaded OpenedModel::load(const MakeBackend& make_backend, ModelKind kind, const std::filesystem::path& dir,
                                      const LoadOptions& options, const std::atomic<bool>& unwanted) {
  const auto start = std::chrono::steady_clock::now();
  auto worker = std::make_unique<Worker>(make_backend);
  auto handle = worker->load(
      kind, dir,
      [&unwanted](const std::string&, int64_t, int64_t) {
        if (unwanted) throw Error(ErrorKind::cancelled, "the model is no longer needed");
      },
      options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {std::move(worker), std::move(handle), seconds};
}

void OpenedModel::load() {
  if (handle_) return;
  while (loading_.result.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) check_stop();
  Loaded loaded = loading_.result.get();
  worker_ = std::move(loaded.worker);
  handle_ = std::move(loaded.handle);
  load_seconds_ = loaded.seconds;
  log_speculation(info_.ref.name, options_, handle_->facts());
}

}  // namespace mlxk
