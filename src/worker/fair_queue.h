#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>

#include "worker/job.h"

namespace mlxk {

/// A queue of jobs: first in, first out within a scope, and round robin between scopes. One thread.
class FairQueue {
 public:
  size_t size() const;
  /// The number of jobs that wait for the model with the id `model`.
  size_t count(uint64_t model) const;
  /// The number of those that would be served before a new job of `scope`.
  size_t ahead_of_new(const std::string& scope, uint64_t model) const;

  void add(Job job);
  /// The first job in turn for which `can_run` is true; null: none.
  Job* next(const std::function<bool(const Job&)>& can_run);
  /// Removes the job that next() returned and puts its scope after the others.
  Job take(const Job* job);
  /// Removes the newest job of the scope with the most jobs; of several such scopes, of the one that is last in turn.
  Job shed();
  /// Removes every job for which `leaves` is true.
  void remove_if(const std::function<bool(Job&)>& leaves);

 private:
  struct Scope {
    std::string name;
    std::list<Job> jobs;  // not empty
  };
  static size_t count(const Scope& scope, uint64_t model);

  std::list<Scope> scopes_;  // the next in turn first
};

}  // namespace mlxk
