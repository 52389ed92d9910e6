#include "server/task_pool.h"

#include <gtest/gtest.h>

#include <future>

namespace mlxk {
namespace {

/// Tasks that block until it is opened.
struct Gate {
  std::promise<void> opened;
  std::shared_future<void> open = opened.get_future().share();
  std::function<void()> task() {
    return [open = open] { open.wait(); };
  }
};

TEST(TaskPool, large_tasks_leave_threads_to_others) {
  Gate gate;
  TaskPool pool(2);
  for (int i = 0; i < 3; ++i) pool.run(gate.task(), {"a", true});
  std::promise<void> small;
  pool.run([&] { small.set_value(); }, {"a", false});
  small.get_future().wait();  // though large ones that came before it wait still
  EXPECT_EQ(pool.waiting(), 2U);
  gate.opened.set_value();
  std::promise<void> last;
  pool.run([&] { last.set_value(); }, {"a", true});
  last.get_future().wait();
}

TEST(TaskPool, scopes_take_turns) {
  Gate gate;
  TaskPool pool(1);
  pool.run(gate.task());
  std::string order;
  std::promise<void> done;
  for (int i = 0; i < 3; ++i) pool.run([&] { order += 'a'; }, {"a", false});
  pool.run([&] { order += 'b'; }, {"b", false});
  pool.run([&] { order += 'c'; }, {"c", false});
  pool.run([&] { done.set_value(); }, {"a", false});
  gate.opened.set_value();
  done.get_future().wait();
  EXPECT_EQ(order, "abcaa");
}

TEST(TaskPool, says_how_long_a_task_has_been_running) {
  Gate gate;
  TaskPool pool(2);
  EXPECT_EQ(pool.longest().count(), 0);
  pool.run(gate.task());
  while (pool.longest().count() == 0) std::this_thread::yield();
  gate.opened.set_value();
  while (pool.longest().count() != 0) std::this_thread::yield();
}

}  // namespace
}  // namespace mlxk
