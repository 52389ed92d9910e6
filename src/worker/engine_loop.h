#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "worker/backend.h"
#include "worker/fair_queue.h"
#include "worker/job.h"
#include "worker/limits.h"
#include "worker/mailbox.h"
#include "worker/status.h"
#include "worker/throughput_estimate.h"

namespace mlxk {

/// The state of the worker's thread: the backend, its models, and the requests on them, which it steps in turn. Only
/// that thread touches it.
class EngineLoop {
 public:
  EngineLoop(std::unique_ptr<Backend> backend, WorkerLimits limits, Mailbox& mailbox);

  Backend& backend() { return *backend_; }
  uint64_t add_model(std::unique_ptr<EngineModel> model);
  /// Whether a request runs or waits.
  bool busy() const;
  /// Unloads models and accepts requests as other threads asked.
  void take_mail();
  /// Takes mail, ends requests that were cancelled or are late, starts those that fit, and steps every model once.
  void iterate();
  /// Runs `task`, a load or conversion of `path`. With `others_go_on` the requests on other models get as much time as
  /// the task had, at each of its progress reports.
  void run_long(const std::filesystem::path& path, const ProgressSink& progress, bool others_go_on,
                const std::function<void(const ProgressSink&)>& task);
  /// Ends every request, Done with `cancelled`.
  void cancel_all();

 private:
  using Clock = Job::Clock;
  struct Running {
    Job job;
    std::unique_ptr<Sequence> sequence;
    Progress progress;
    Clock::time_point started;
    bool ended = false;
  };
  struct Model {
    std::unique_ptr<EngineModel> loaded;
    std::vector<Running> running;  // in the order of their starts; they refer to the model
    ThroughputEstimate throughput;
    CacheFacts cache;
    Clock::time_point cache_seen{};
    bool rested = false;  // nothing ran at cache_seen
  };

  Model& model_of(const Job& job);
  void arrive(Job job);
  void end_unwanted();
  void admit();
  bool start(Job job);
  void step(Model& model);
  void give(Model& model, Running& running, const Event& event);
  void refuse(const Job& job, const FailedEvent& failure);
  double wait_s(const Model& model, size_t ahead) const;
  double retry_after_s(const Job& job);
  void check_deadline(const Job& job, double wait);
  void publish();

  Mailbox& mailbox_;
  WorkerLimits limits_;
  std::unique_ptr<Backend> backend_;  // the models refer to it
  std::map<uint64_t, Model> models_;
  FairQueue waiting_;
  WorkerStatus status_;
  RateMeter tokens_;
  uint64_t last_id_ = 0;
};

}  // namespace mlxk
