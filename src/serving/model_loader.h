#pragma once

#include <memory>

#include "serving/served_model.h"
#include "worker/load_options.h"

namespace mlxk {

class Worker;

/// Loads a model for serving in two steps: whatever can fail without the weights fails before room is made for them.
class ModelLoader {
 public:
  virtual ~ModelLoader() = default;
  /// Loads the weights on the worker and waits for them; throws the backend's Error, and the exceptions of `progress`.
  /// Called once.
  virtual std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                                  const ProgressSink& progress) = 0;
};

/// Opens the model's other files (tokenizer, chat template); throws bad_model naming the file.
std::unique_ptr<ModelLoader> open_model(const ModelInfo& info);

}  // namespace mlxk
