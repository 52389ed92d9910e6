#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "worker/worker.h"

namespace mlxk {

/// Requests alike, all submitted at once; each goes on until the last to start has generated as many tokens as wanted.
struct BenchPoint {
  int batch = 1;
  int64_t prompt = 512, generate = 128;  // tokens of each request; generate is at least 2
};

/// What one run of a point gave.
struct BenchRun {
  double prefill = 0;        // tokens/s of all requests, until every one has its first token
  double decode = 0;         // tokens/s of all requests from then on, while all of them run
  double first_token_s = 0;  // median over the requests, each from the start of the run
};

/// The middle value and how far the values lie apart.
struct Figure {
  double median = 0;
  double spread = 0;  // (largest - smallest) / median
};

/// Of at least one value.
Figure figure_of(std::vector<double> values);

/// Runs `point` once, greedily and without end tokens, with prompts of pseudo-random ids that are the same each time.
/// Throws the engine's Error, or cancelled once stop_wanted() says so (asked some twenty times a second).
BenchRun run_point(Worker& worker, const std::shared_ptr<const ModelHandle>& model, const BenchPoint& point,
                   const std::function<bool()>& stop_wanted);

}  // namespace mlxk
