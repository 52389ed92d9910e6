#include "serving/model_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/log.h"
#include "serving/admission.h"
#include "serving/draft_model.h"
#include "serving/memory_room.h"
#include "serving/model_loader.h"
#include "serving/model_names.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kListedFor{2};  // a listing reads the headers of every model's files
constexpr size_t kMaxSpellings = 64;
constexpr double kRetryAfter = 5;

/// A model from its first request until its weights are freed. Guarded by the pool's mutex, except for the model.
struct Slot {
  enum class Phase { loading, ready, leaving } phase = Phase::loading;
  std::string key;
  ModelInfo info;
  bool pinned = false;
  std::set<std::string> spellings;  // used by clients; still valid once the files are deleted
  std::shared_ptr<const ServedModel> model;
  std::exception_ptr failure;  // of the load
  int users = 0;               // holders, and those that wait for the load
  Clock::time_point used = Clock::now();

  const std::string& name() const { return info.ref.name; }
};
using SlotPtr = std::shared_ptr<Slot>;
using Lock = std::unique_lock<std::mutex>;

}  // namespace

class ModelPool::Impl : public std::enable_shared_from_this<ModelPool::Impl> {
 public:
  Impl(Worker& worker, PoolOptions options) : worker_(worker), options_(std::move(options)), names_(options_.pinned) {
    if (!names_.has_pinned()) return;
    const ModelInfo pinned = probe(names_.pinned());
    admit_served(pinned, options_.machine(), {});
    if (!options_.draft.empty()) draft_ = find_draft(options_.draft, pinned, options_.machine(), Context::server);
  }

  void open() {
    janitor_ = std::thread([this] { tidy(); });
  }

  void stop() {
    const Lock lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }

  void close() {
    stop();
    janitor_.join();
    const Lock lock(mutex_);
    std::erase_if(slots_, [](const SlotPtr& slot) { return slot->users == 0; });
  }

  std::shared_ptr<const ServedModel> acquire(const std::string& spec, const std::optional<RequestFacts>& request) {
    const Found found = find(spec);
    {
      const Lock lock(mutex_);
      const SlotPtr slot = slot_of(found.key);
      if (slot && slot->phase == Slot::Phase::ready) return lend(slot, spec, request);
    }
    ModelInfo info = probe(found.ref);
    const Decision decision = admit_served(info, options_.machine(), request);
    const auto deadline = Clock::now() + options_.room_wait;
    Lock lock(mutex_);
    while (true) {
      SlotPtr slot = slot_of(found.key);
      if (!slot) {
        if (decision.kind == Decision::Kind::warn) log::warn(decision.message);
        slot = add(found.key, std::move(info));
        load(lock, slot, deadline);
        return lend(slot, spec, request);
      }
      if (slot->phase == Slot::Phase::ready) return lend(slot, spec, request);
      if (slot->phase == Slot::Phase::leaving) {  // it is loaded again once it is gone
        wait(lock, deadline, slot);
        continue;
      }
      ++slot->users;
      changed_.wait(lock, [&] { return slot->phase != Slot::Phase::loading || slot->failure; });
      --slot->users;
      changed_.notify_all();  // it may have been marked as leaving meanwhile
      if (slot->failure) std::rethrow_exception(slot->failure);
    }
  }

  std::shared_ptr<const ServedModel> acquire_loaded(const std::string& spec,
                                                    const std::optional<RequestFacts>& request) {
    const Found found = find(spec);
    const Lock lock(mutex_);
    const SlotPtr slot = slot_of(found.key);
    return slot && slot->phase == Slot::Phase::ready ? lend(slot, spec, request) : nullptr;
  }

  std::vector<ModelPool::Loaded> loaded() {
    std::vector<ModelPool::Loaded> all;
    const Lock lock(mutex_);
    for (const SlotPtr& slot : slots_) {
      if (slot->model) all.push_back({slot->name(), slot->model->handle()->id(), weights_in(*slot)});
    }
    return all;
  }

  std::string pinned() const { return names_.has_pinned() ? ModelNames::id_of(names_.pinned()) : std::string(); }

  bool ready() {
    if (!names_.has_pinned()) return true;
    const Lock lock(mutex_);
    return std::any_of(slots_.begin(), slots_.end(), [](const SlotPtr& slot) { return slot->pinned && slot->model; });
  }

  ModelInfo describe(const std::string& spec) {
    const Found found = find(spec);
    {
      const Lock lock(mutex_);
      if (const SlotPtr slot = slot_of(found.key)) return slot->info;
    }
    return probe(found.ref);
  }

  void unload(const std::string& spec) {
    const Found found = find(spec);
    const Lock lock(mutex_);
    const SlotPtr slot = slot_of(found.key);
    if (!slot) throw Error(ErrorKind::not_found, fmt::format("Model '{}' is not loaded", ModelNames::id_of(found.ref)));
    if (slot->pinned) throw Error(ErrorKind::denied, fmt::format("Model '{}' is pinned by --model", slot->name()));
    if (slot->phase == Slot::Phase::loading) {
      throw RetryLater(fmt::format("Model '{}' is being loaded", slot->name()), kRetryAfter);
    }
    slot->phase = Slot::Phase::leaving;
    changed_.notify_all();
  }

  std::vector<Entry> list() {
    const auto found = runnable_models();
    std::vector<Entry> entries;
    const auto add_entry = [&](const ModelInfo& info, const std::string& key) {
      const SlotPtr slot = slot_of(key);
      entries.push_back({info, info.ref.name, slot && slot->phase == Slot::Phase::ready, is_pinned(key)});
    };
    const Lock lock(mutex_);
    std::set<std::string> seen;
    for (const auto& [key, info] : *found) {
      if (seen.insert(key).second) add_entry(info, key);
    }
    for (const SlotPtr& slot : slots_) {  // a loaded model is served even if its files are deleted
      if (seen.insert(slot->key).second) add_entry(slot->info, slot->key);
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(!a.pinned, std::cref(a.id).get()) < std::pair(!b.pinned, std::cref(b.id).get());
    });
    return entries;
  }

 private:
  struct Found {
    ModelRef ref;
    std::string key;
  };
  using Listing = std::vector<std::pair<std::string, ModelInfo>>;

  /// Messages go to clients: they name the model's id, never its folder.
  static ModelInfo probe(const ModelRef& ref) {
    ModelInfo info = probe_model(ref);
    info.ref.name = ModelNames::id_of(ref);
    return info;
  }

  bool is_pinned(const std::string& key) const {
    return names_.has_pinned() && key == ModelNames::key_of(names_.pinned());
  }

  SlotPtr slot_of(const std::string& key) const {
    const auto it = std::find_if(slots_.begin(), slots_.end(), [&](const SlotPtr& slot) { return slot->key == key; });
    return it == slots_.end() ? nullptr : *it;
  }

  /// The loaded model that clients know by this spelling and whose files are gone.
  std::optional<Found> find_deleted(const std::string& spec) {
    const Lock lock(mutex_);
    for (const SlotPtr& slot : slots_) {
      std::error_code error;
      if (slot->phase == Slot::Phase::ready && slot->spellings.contains(spec) &&
          !std::filesystem::exists(slot->info.ref.path / "config.json", error)) {
        return Found{slot->info.ref, slot->key};
      }
    }
    return std::nullopt;
  }

  Found find(const std::string& spec) {
    if (const auto deleted = find_deleted(spec)) return *deleted;
    ModelRef ref = options_.any_name && names_.has_pinned() ? names_.pinned() : names_.resolve(spec);
    std::string key = ModelNames::key_of(ref);
    return {std::move(ref), std::move(key)};
  }

  SlotPtr add(const std::string& key, ModelInfo info) {
    auto slot = std::make_shared<Slot>();
    slot->key = key;
    slot->info = std::move(info);
    slot->pinned = is_pinned(key);
    slots_.push_back(slot);
    return slot;
  }

  void remove(const SlotPtr& slot) {
    std::erase(slots_, slot);
    changed_.notify_all();
  }

  /// Hands out a loaded model; its slot counts the holders. Refuses a request that the model cannot answer.
  std::shared_ptr<const ServedModel> lend(const SlotPtr& slot, const std::string& spec,
                                          const std::optional<RequestFacts>& request) {
    admit_served(slot->info, Machine{}, request);
    if (slot->spellings.size() < kMaxSpellings) slot->spellings.insert(spec);
    ++slot->users;
    return {slot->model.get(), [self = shared_from_this(), slot](const ServedModel*) { self->give_back(*slot); }};
  }

  void give_back(Slot& slot) {
    const Lock lock(mutex_);
    --slot.users;
    slot.used = Clock::now();
    changed_.notify_all();
  }

  /// Waits for a change, or until `until`; throws once `deadline` has passed.
  void wait(Lock& lock, Clock::time_point deadline, const SlotPtr& slot,
            Clock::time_point until = Clock::time_point::max()) {
    if (closing_) throw Error(ErrorKind::unavailable, "Server is shutting down");
    if (Clock::now() >= deadline) {
      throw RetryLater(fmt::format("Model '{}' cannot be loaded now: other models are in use", slot->name()),
                       kRetryAfter);
    }
    changed_.wait_until(lock, std::min(deadline, until));
  }

  /// Loads into `slot`, a member of slots_; removes it again on failure. All who wait for the slot get the failure
  /// too.
  void load(Lock& lock, const SlotPtr& slot, Clock::time_point deadline) {
    ++slot->users;
    try {
      lock.unlock();
      // Whatever can fail without the weights fails before room is made for them.
      const auto loader = open_model(slot->info);
      lock.lock();
      turns_.push_back(slot.get());
      while (turns_.front() != slot.get()) wait(lock, deadline, slot);
      const bool unloaded = make_room(lock, slot, deadline);
      lock.unlock();
      auto model = read(*slot, unloaded, *loader);
      lock.lock();
      slot->model = std::move(model);
      slot->phase = Slot::Phase::ready;
      slot->used = Clock::now();
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      slot->failure = std::current_exception();
      std::erase(slots_, slot);
    }
    --slot->users;
    std::erase(turns_, slot.get());
    changed_.notify_all();
    if (slot->failure) std::rethrow_exception(slot->failure);
  }

  std::shared_ptr<const ServedModel> read(const Slot& slot, bool unloaded, ModelLoader& loader) {
    if (unloaded && !wait_for_release(slot.info, options_.machine, options_.release_wait)) {
      log::warn(fmt::format("Memory release timeout: loading '{}' with {:.1f} GB free", slot.name(),
                            static_cast<double>(options_.machine().free_bytes) / (uint64_t{1} << 30)));
    }
    const auto start = Clock::now();
    LoadOptions options = options_.text;
    if (slot.pinned && draft_) options.draft_dir = draft_->ref.path;
    auto model = loader.read(worker_, options, stop_when_closing());
    const double seconds = seconds_since(start);
    log::info(fmt::format("{} model: {}", unloaded ? "Switched to" : "Loaded", slot.name()), {{"seconds", seconds}});
    return model;
  }

  ProgressSink stop_when_closing() {
    return [this](const std::string&, int64_t, int64_t) {
      if (closing_) throw Error(ErrorKind::unavailable, "Server is shutting down");
    };
  }

  /// The weights of the model in `slot` and of its draft model.
  uint64_t weights_in(const Slot& slot) const {
    return weights_of(slot.info) + (slot.pinned && draft_ ? weights_of(*draft_) : 0);
  }

  /// The memory that the same models take.
  uint64_t room_for(const Slot& slot) const {
    return room_of(slot.info) + (slot.pinned && draft_ ? weights_of(*draft_) : 0);
  }

  uint64_t room_beside(const Slot& slot) const {
    uint64_t bytes = 0;
    for (const SlotPtr& other : slots_) {
      if (other.get() != &slot && other->phase != Slot::Phase::loading) bytes += room_for(*other);
    }
    return bytes;
  }

  bool crowded(const Slot& slot) const {
    const auto loaded = std::count_if(slots_.begin(), slots_.end(),
                                      [](const SlotPtr& one) { return one->phase != Slot::Phase::loading; });
    if (options_.max_models > 0 && static_cast<size_t>(loaded) >= options_.max_models) return true;
    return loaded > 0 && !fits_beside(room_for(slot), room_beside(slot), options_.machine());
  }

  /// The model to unload first: idle before busy, then the least recently used; never the pinned one. Null: none.
  SlotPtr victim() const {
    SlotPtr best;
    for (const SlotPtr& slot : slots_) {
      if (slot->pinned || slot->phase != Slot::Phase::ready) continue;
      if (!best || std::pair(slot->users > 0, slot->used) < std::pair(best->users > 0, best->used)) best = slot;
    }
    return best;
  }

  /// Unloads other models until `slot` fits; returns whether any was unloaded. A busy model takes requests for one more
  /// turn and then finishes them. Throws memory if the rest is too large, RetryLater if room is not free in time.
  bool make_room(Lock& lock, const SlotPtr& slot, Clock::time_point deadline) {
    bool unloaded = false;
    SlotPtr leaving;  // marked by this call
    const auto turn_end = Clock::now() + options_.turn;
    try {
      while (crowded(*slot)) {
        const bool somebody_leaves = std::any_of(slots_.begin(), slots_.end(),
                                                 [](const SlotPtr& one) { return one->phase == Slot::Phase::leaving; });
        const SlotPtr next = somebody_leaves ? nullptr : victim();
        if (!somebody_leaves && !next) {
          check_room_beside_pinned(*slot);
          break;
        }
        if (next && (next->users == 0 || Clock::now() >= turn_end)) {
          next->phase = Slot::Phase::leaving;
          leaving = next;
          changed_.notify_all();
        }
        unloaded = true;
        wait(lock, deadline, slot, Clock::now() < turn_end ? turn_end : deadline);
      }
    } catch (...) {
      // The model stays loaded.
      if (leaving && leaving->phase == Slot::Phase::leaving && leaving->users > 0) leaving->phase = Slot::Phase::ready;
      throw;
    }
    return unloaded;
  }

  void check_room_beside_pinned(const Slot& slot) const {
    const uint64_t others = room_beside(slot);
    const bool too_many = options_.max_models > 0 && slots_.size() > options_.max_models;
    if (others == 0 && !too_many) return;
    if (!too_many && fits_memory(others + room_for(slot), options_.machine())) return;
    throw Error(ErrorKind::memory, fmt::format("Model '{}' does not fit beside '{}', which is pinned by --model",
                                               slot.name(), ModelNames::id_of(names_.pinned())));
  }

  std::shared_ptr<const Listing> runnable_models() {
    {
      const Lock lock(mutex_);
      if (listing_ && Clock::now() - listed_at_ < kListedFor) return listing_;
    }
    auto models = std::make_shared<Listing>();
    const auto add_model = [&](const ModelRef& ref) {
      ModelInfo info = probe(ref);
      if (decide(info, Machine{}, usual_request(info)).kind == Decision::Kind::block) return;
      models->emplace_back(ModelNames::key_of(ref), std::move(info));
    };
    if (names_.has_pinned()) add_model(names_.pinned());
    for (const ModelRef& ref : list_models()) {
      if (names_.may_list(ref)) add_model(ref);
    }
    const Lock lock(mutex_);
    listing_ = std::move(models);
    listed_at_ = Clock::now();
    return listing_;
  }

  /// The one thread that frees models: those marked as leaving, and those idle for too long.
  void tidy() {
    Lock lock(mutex_);
    while (!closing_) {
      auto wake = Clock::now() + std::chrono::hours(1);
      SlotPtr gone;
      for (const SlotPtr& slot : slots_) {
        if (slot->phase == Slot::Phase::ready && slot->users == 0 && !slot->pinned &&
            options_.idle_timeout.count() > 0) {
          const auto end = slot->used + options_.idle_timeout;
          if (Clock::now() >= end) {
            slot->phase = Slot::Phase::leaving;
          } else {
            wake = std::min(wake, end);
          }
        }
        if (slot->phase == Slot::Phase::leaving && slot->users == 0) gone = slot;
      }
      if (gone) {
        free(lock, gone);
      } else {
        changed_.wait_until(lock, wake);
      }
    }
  }

  void free(Lock& lock, const SlotPtr& slot) {
    const std::weak_ptr<const ModelHandle> handle = slot->model->handle();
    auto model = std::move(slot->model);
    lock.unlock();
    model.reset();
    // A cancelled request holds the model until the worker's next step.
    const auto end = Clock::now() + options_.release_wait;
    while (!handle.expired() && Clock::now() < end && !closing_)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    try {
      worker_.device();       // after the unloading in the worker's queue
    } catch (const Error&) {  // the worker ends; nothing stays loaded
    }
    log::info(fmt::format("Unloaded model: {}", slot->name()));
    lock.lock();
    remove(slot);
  }

  Worker& worker_;
  const PoolOptions options_;
  const ModelNames names_;
  std::optional<ModelInfo> draft_;  // of the pinned model; constant
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable changed_;  // of any slot
  std::vector<SlotPtr> slots_;
  std::deque<Slot*> turns_;  // slots that make room and load, in order of arrival
  std::shared_ptr<const Listing> listing_;
  Clock::time_point listed_at_;
  std::thread janitor_;
};

ModelPool::ModelPool(Worker& worker, PoolOptions options) : impl_(std::make_shared<Impl>(worker, std::move(options))) {
  impl_->open();
}

ModelPool::~ModelPool() { impl_->close(); }

std::shared_ptr<const ServedModel> ModelPool::acquire(const std::string& spec,
                                                      const std::optional<RequestFacts>& request) {
  return impl_->acquire(spec, request);
}

std::shared_ptr<const ServedModel> ModelPool::acquire_loaded(const std::string& spec,
                                                             const std::optional<RequestFacts>& request) {
  return impl_->acquire_loaded(spec, request);
}

std::vector<ModelPool::Loaded> ModelPool::loaded() const { return impl_->loaded(); }

std::string ModelPool::pinned() const { return impl_->pinned(); }

bool ModelPool::ready() const { return impl_->ready(); }

ModelInfo ModelPool::describe(const std::string& spec) const { return impl_->describe(spec); }

void ModelPool::unload(const std::string& spec) { impl_->unload(spec); }

void ModelPool::stop() { impl_->stop(); }

std::vector<ModelPool::Entry> ModelPool::list() const { return impl_->list(); }

}  // namespace mlxk
