#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>

#include "worker/job.h"

namespace mlxk {

/// Jobs that wait: first come, first served within a scope, and the scopes in turn. One thread.
class FairQueue {
 public:
  size_t size() const;
  /// How many wait for the model of that id.
  size_t count(uint64_t model) const;
  /// How many of those would have their turn before a new one of `scope`.
  size_t ahead_of_new(const std::string& scope, uint64_t model) const;

  void add(Job job);
  /// The job whose turn it is among those that `can_run` holds for; null: none.
  Job* next(const std::function<bool(const Job&)>& can_run);
  /// Removes the job that next() gave and puts its scope behind the others.
  Job take(const Job* job);
  /// Removes the job that came last of the scope that has most; of several such, of the one whose turn is last.
  Job shed();
  /// Removes every job that `leaves` is true for.
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
