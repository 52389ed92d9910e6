#pragma once

#include <memory>

#include "serving/served_model.h"

namespace mlxk {

/// Reads one model for serving in two steps: what can fail without weights fails before room is made for them.
class ModelLoader {
 public:
  virtual ~ModelLoader() = default;
  /// Loads the weights on the worker and waits for them; throws the backend's Error, and what `progress` throws. Called
  /// once.
  virtual std::shared_ptr<const ServedModel> read(Worker& worker, const LoadOptions& options,
                                                  const ProgressSink& progress) = 0;
};

/// Opens what belongs to a model beside its weights (tokenizer, chat template); throws bad_model naming the file.
std::unique_ptr<ModelLoader> open_model(const ModelInfo& info);

}  // namespace mlxk
