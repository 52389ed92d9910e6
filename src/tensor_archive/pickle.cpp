#include "tensor_archive/pickle.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>
#include <unordered_map>

#include "base/error.h"

namespace mlxk {

namespace {
using Kind = PickleNode::Kind;

constexpr size_t kMaxNodes = 1 << 23;

// Opcodes that would create objects of classes or call functions outside the list, for the error's text.
struct OpcodeName {
  char code;
  const char* name;
};
constexpr OpcodeName kRefused[] = {
    {'i', "INST"},    {'o', "OBJ"},     {'\x81', "NEWOBJ"}, {'\x92', "NEWOBJ_EX"},   {'\x82', "EXT1"},
    {'\x83', "EXT2"}, {'\x84', "EXT4"}, {'P', "PERSID"},    {'\x97', "NEXT_BUFFER"}, {'\x98', "READONLY_BUFFER"}};

class PickleReader {
 public:
  PickleReader(std::span<const std::byte> bytes, std::span<const char* const> allowed, const std::string& place)
      : text_(reinterpret_cast<const char*>(bytes.data()), bytes.size()), allowed_(allowed), place_(place) {}

  Pickle read() {
    while (true) {
      op_at_ = at_;
      const char code = take(1)[0];
      if (code == '.') break;
      step(code);
    }
    result_.root = pop();
    return std::move(result_);
  }

 private:
  void step(char code) {
    switch (code) {
      case '\x80':  // PROTO
        if (take(1)[0] > 5) throw broken("its protocol is unknown");
        return;
      case '\x95':  // FRAME
        take(8);
        return;
      case '(': marks_.push_back(stack_.size()); return;
      case '0': pop(); return;
      case '1': stack_.resize(take_mark()); return;
      case 'N': return push({});
      case '\x88':
      case '\x89': return push_integer(Kind::boolean, code == '\x88');
      case 'K': return push_integer(Kind::integer, number<uint8_t>());
      case 'M': return push_integer(Kind::integer, number<uint16_t>());
      case 'J': return push_integer(Kind::integer, number<int32_t>());
      case '\x8a': return push_long(number<uint8_t>());
      case 'G': take(8); return push({Kind::real, 0, {}, {}, {}});
      case 'X': return push_text(number<uint32_t>());
      case '\x8c':
      case 'U': return push_text(number<uint8_t>());
      case 'T': return push_text(number<uint32_t>());
      default: return step_container(code);
    }
  }

  void step_container(char code) {
    switch (code) {
      case ')': return push({Kind::tuple, 0, {}, {}, {}});
      case '\x85':
      case '\x86':
      case '\x87': return push_tuple(need(static_cast<size_t>(code - '\x84')));
      case 't': return push_tuple(take_mark());
      case ']': return push({Kind::list, 0, {}, {}, {}});
      case '}': return push({Kind::dict, 0, {}, {}, {}});
      case 'l':
        push_tuple(take_mark());
        result_.nodes.back().kind = Kind::list;
        return;
      case 'a': return append(need(1));
      case 'e': return append(take_mark());
      case 's': return set_items(need(2));
      case 'u': return set_items(take_mark());
      default: return step_object(code);
    }
  }

  void step_object(char code) {
    switch (code) {
      case 'q': memo_[number<uint8_t>()] = top(); return;
      case 'r': memo_[number<uint32_t>()] = top(); return;
      case '\x94':  // MEMOIZE
        memo_.emplace(static_cast<uint32_t>(memo_.size()), top());
        return;
      case 'h': return recall(number<uint8_t>());
      case 'j': return recall(number<uint32_t>());
      case 'c': {
        const auto module = line(), name = line();
        return push_global(fmt::format("{}.{}", module, name));
      }
      case '\x93': {  // STACK_GLOBAL
        const auto name = pop(), module = pop();
        if (node(name).kind != Kind::text || node(module).kind != Kind::text) throw broken("a global has no name");
        return push_global(node(module).text + "." + node(name).text);
      }
      case 'Q': {  // BINPERSID
        const auto id = pop();
        return push({Kind::persistent, 0, {}, {id}, {}});
      }
      case 'R': {  // REDUCE
        const auto arguments = pop(), callable = pop();
        if (node(callable).kind != Kind::global || node(arguments).kind != Kind::tuple) {
          throw broken("it calls something that has no name");
        }
        return push({Kind::call, 0, {}, {callable, arguments}, {}});
      }
      case 'b':  // BUILD: the state of an OrderedDict (its _metadata) does not concern tensors
        pop();
        if (node(top()).kind != Kind::call) throw refused("BUILD of something that was not called");
        return;
      default: throw refused(opcode_name(code));
    }
  }

  std::string opcode_name(char code) const {
    for (const auto& row : kRefused) {
      if (row.code == code) return fmt::format("opcode {}", row.name);
    }
    return fmt::format("opcode 0x{:02x}", static_cast<unsigned char>(code));
  }

  std::string_view take(size_t count) {
    if (text_.size() - at_ < count) throw broken("it is cut off");
    at_ += count;
    return text_.substr(at_ - count, count);
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string line() {
    const auto end = text_.find('\n', at_);
    if (end == text_.npos || end - at_ > 1000) throw broken("a name has no end");
    const auto word = take(end - at_);
    take(1);
    return std::string(word);
  }

  PickleNode& node(uint32_t index) { return result_.nodes[index]; }

  void push(PickleNode node) {
    if (result_.nodes.size() >= kMaxNodes) throw broken(fmt::format("it has more than {} values", kMaxNodes));
    result_.nodes.push_back(std::move(node));
    stack_.push_back(static_cast<uint32_t>(result_.nodes.size() - 1));
  }
  void push_integer(Kind kind, int64_t value) { push({kind, value, {}, {}, {}}); }
  void push_text(uint64_t length) { push({Kind::text, 0, std::string(take(length)), {}, {}}); }

  void push_long(uint8_t length) {
    if (length > 8) throw broken("an integer has more than 64 bits");
    const auto bytes = take(length);
    uint64_t value = length > 0 && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    push_integer(Kind::integer, static_cast<int64_t>(value));
  }

  void push_tuple(size_t first) {
    std::vector<uint32_t> items(stack_.begin() + static_cast<int64_t>(first), stack_.end());
    stack_.resize(first);
    push({Kind::tuple, 0, {}, std::move(items), {}});
  }

  void push_global(std::string name) {
    for (const auto* allowed : allowed_) {
      if (name == allowed) return push({Kind::global, 0, std::move(name), {}, {}});
    }
    throw refused(fmt::format("global {}", name));
  }

  void recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) throw broken(fmt::format("memo {} was never set", key));
    stack_.push_back(found->second);
    if (stack_.size() > kMaxNodes) throw broken(fmt::format("it has more than {} values", kMaxNodes));
  }

  void append(size_t first) {
    if (first == 0) throw broken("its stack is empty");
    auto& list = node(stack_[first - 1]);
    if (list.kind != Kind::list) throw broken("it appends to something that is not a list");
    list.items.insert(list.items.end(), stack_.begin() + static_cast<int64_t>(first), stack_.end());
    stack_.resize(first);
  }

  void set_items(size_t first) {
    if (first == 0 || (stack_.size() - first) % 2 != 0) throw broken("a key has no value");
    auto& dict = node(stack_[first - 1]);
    // An OrderedDict is a call whose items are set afterwards.
    if (dict.kind != Kind::dict && dict.kind != Kind::call)
      throw broken("it sets items of something that is not a dict");
    for (size_t i = first; i < stack_.size(); i += 2) dict.pairs.emplace_back(stack_[i], stack_[i + 1]);
    stack_.resize(first);
  }

  /// The index of the first of the topmost `count` values.
  size_t need(size_t count) {
    if (stack_.size() < count + (marks_.empty() ? 0 : marks_.back())) throw broken("its stack is empty");
    return stack_.size() - count;
  }
  uint32_t top() { return stack_[need(1)]; }
  uint32_t pop() {
    const auto value = top();
    stack_.pop_back();
    return value;
  }
  size_t take_mark() {
    if (marks_.empty()) throw broken("a mark is missing");
    const auto mark = marks_.back();
    marks_.pop_back();
    return mark;
  }

  Error broken(const std::string& why) const {
    return {ErrorKind::bad_model, fmt::format("{}: not a valid pickle: {} at byte {}", place_, why, op_at_)};
  }
  Error refused(const std::string& what) const {
    return {ErrorKind::unsupported, fmt::format("{}: {} at byte {} is refused", place_, what, op_at_),
            "nothing in a pickle is run; only tensors in dictionaries are read"};
  }

  std::string_view text_;
  size_t at_ = 0, op_at_ = 0;
  std::span<const char* const> allowed_;
  const std::string& place_;
  Pickle result_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, uint32_t> memo_;
};
}  // namespace

Pickle read_pickle(std::span<const std::byte> pickle, std::span<const char* const> allowed, const std::string& place) {
  return PickleReader(pickle, allowed, place).read();
}

}  // namespace mlxk
