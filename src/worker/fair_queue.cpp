#include "worker/fair_queue.h"

#include <algorithm>

#include "worker/worker.h"

namespace mlxk {

size_t FairQueue::size() const {
  size_t all = 0;
  for (const Scope& scope : scopes_) all += scope.jobs.size();
  return all;
}

size_t FairQueue::count(const Scope& scope, uint64_t model) {
  return static_cast<size_t>(
      std::count_if(scope.jobs.begin(), scope.jobs.end(), [&](const Job& job) { return job.model->id() == model; }));
}

size_t FairQueue::count(uint64_t model) const {
  size_t all = 0;
  for (const Scope& scope : scopes_) all += count(scope, model);
  return all;
}

size_t FairQueue::ahead_of_new(const std::string& name, uint64_t model) const {
  size_t rounds = 0, ahead = 0;  // before the new job's turn
  for (const Scope& scope : scopes_) {
    if (scope.name == name) rounds = count(scope, model);
  }
  for (const Scope& scope : scopes_) ahead += std::min(count(scope, model), scope.name == name ? rounds : rounds + 1);
  return ahead;
}

void FairQueue::add(Job job) {
  auto scope = std::find_if(scopes_.begin(), scopes_.end(), [&](const Scope& one) { return one.name == job.scope; });
  if (scope == scopes_.end()) scope = scopes_.insert(scopes_.end(), Scope{job.scope, {}});
  scope->jobs.push_back(std::move(job));
}

Job* FairQueue::next(const std::function<bool(const Job&)>& can_run) {
  for (Scope& scope : scopes_) {
    const auto job = std::find_if(scope.jobs.begin(), scope.jobs.end(), can_run);
    if (job != scope.jobs.end()) return &*job;
  }
  return nullptr;
}

Job FairQueue::take(const Job* wanted) {
  const auto scope =
      std::find_if(scopes_.begin(), scopes_.end(), [&](const Scope& one) { return one.name == wanted->scope; });
  const auto place =
      std::find_if(scope->jobs.begin(), scope->jobs.end(), [&](const Job& job) { return &job == wanted; });
  Job job = std::move(*place);
  scope->jobs.erase(place);
  scopes_.splice(scopes_.end(), scopes_, scope);
  if (scope->jobs.empty()) scopes_.erase(scope);
  return job;
}

Job FairQueue::shed() {
  auto most = scopes_.begin();
  for (auto scope = scopes_.begin(); scope != scopes_.end(); ++scope) {
    if (scope->jobs.size() >= most->jobs.size()) most = scope;
  }
  Job job = std::move(most->jobs.back());
  most->jobs.pop_back();
  if (most->jobs.empty()) scopes_.erase(most);
  return job;
}

void FairQueue::remove_if(const std::function<bool(Job&)>& leaves) {
  for (Scope& scope : scopes_) scope.jobs.remove_if(leaves);
  scopes_.remove_if([](const Scope& scope) { return scope.jobs.empty(); });
}

}  // namespace mlxk
