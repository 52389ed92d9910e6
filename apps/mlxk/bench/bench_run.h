#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "worker/worker.h"

namespace mlxk {

/// Identical requests, all submitted at once; each continues until the last to start has generated the requested number
/// of tokens.
struct BenchPoint {
  int batch = 1;
  int64_t prompt = 512, generate = 128;  // tokens of each request; generate is at least 2
};

/// The result of one run of a point.
struct BenchRun {
  double prefill = 0;        // tokens/s of all requests, until every one has its first token
  double decode = 0;         // tokens/s of all requests from then on, while all of them run
  double first_token_s = 0;  // median over the requests, each from the start of the run
};

/// The median and the spread of values.
struct Figure {
  double median = 0;
  double spread = 0;  // (largest - smallest) / median
};

/// For at least one value.
Figure figure_of(std::vector<double> values);

/// Runs `point` once, greedily and without end tokens, with prompts of pseudo-random ids that are the same each time.
/// Throws the engine's Error, or cancelled once stop_wanted() returns true (called some twenty times a second).
BenchRun run_point(Worker& worker, const std::shared_ptr<const ModelHandle>& model, const BenchPoint& point,
                   const std::function<bool()>& stop_wanted);

}  // namespace mlxk
