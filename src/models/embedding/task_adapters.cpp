#include "models/embedding/task_adapters.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "json/json.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

/// The rows of the texts of each task.
std::map<int, std::vector<int>> rows_by_task(const PackedTexts& texts) {
  std::map<int, std::vector<int>> rows;
  int at = 0;
  for (size_t i = 0; i < texts.lengths.size(); ++i) {
    const int task = texts.tasks.empty() ? -1 : texts.tasks[i];
    for (int t = 0; t < texts.lengths[i]; ++t) rows[task].push_back(at++);
  }
  return rows;
}

/// Calls of(task, rows) for the rows of each task and returns the results in the rows' own order, with zeros of `width`
/// for rows without a task; nullopt if no row has a task.
template <class Of>
std::optional<mx::array> by_task(const PackedTexts& texts, int width, mx::Dtype type, const Of& of) {
  const auto groups = rows_by_task(texts);
  if (groups.empty() || groups.rbegin()->first < 0) return std::nullopt;
  if (groups.size() == 1) return of(groups.begin()->first, nullptr);
  std::vector<mx::array> parts;
  std::vector<int> order;  // the index of each row among the parts
  int total = 0;
  for (const auto& [task, rows] : groups) total += static_cast<int>(rows.size());
  order.resize(static_cast<size_t>(total));
  int at = 0;
  for (const auto& [task, rows] : groups) {
    for (const int row : rows) order[static_cast<size_t>(row)] = at++;
    parts.push_back(task < 0 ? mx::zeros({static_cast<int>(rows.size()), width}, type) : of(task, &rows));
  }
  return take_rows(mx::concatenate(parts, 0), order);
}

class AdaptedLayer : public EncoderLayer {
 public:
  AdaptedLayer(const EncoderConfig& c, const TaskAdapters& adapters, const WeightPath& path, Rotation rotation)
      : head_dim_(c.head_dim),
        rotation_(std::move(rotation)),
        qkv_(adapters.linear(path / "self_attn" / "qkv_proj", c.hidden_size, 3 * c.hidden_size)),
        out_(adapters.linear(path / "self_attn" / "o_proj", c.hidden_size, c.hidden_size)),
        up_(adapters.linear(path / "mlp" / "fc1", c.hidden_size, c.intermediate_size)),
        down_(adapters.linear(path / "mlp" / "fc2", c.intermediate_size, c.hidden_size)),
        activation_(read_activation(c.activation)),
        attention_norm_(path / "post_attention_layernorm", c.hidden_size, c.norm_eps),
        mlp_norm_(path / "post_mlp_layernorm", c.hidden_size, c.norm_eps) {}

  mx::array operator()(const mx::array& x, const PackedTexts& texts) const override {
    const std::vector<mx::array> parts = mx::split(qkv_(x, texts), 3, -1);
    PackedAttention attention{parts[0],      parts[1],  parts[2],
                              texts.lengths, head_dim_, 1 / std::sqrt(static_cast<float>(head_dim_))};
    attention.attended = texts.attended;
    attention.rotation = rotation_;
    const mx::array h = attention_norm_(mx::add(x, out_(attend_within(attention), texts)));
    return mlp_norm_(mx::add(h, down_(activate(activation_, up_(h, texts)), texts)));
  }

 private:
  int head_dim_;
  Rotation rotation_;
  AdaptedLinear qkv_, out_, up_, down_;
  Activation activation_;
  LayerNorm attention_norm_, mlp_norm_;
};

}  // namespace

std::optional<mx::array> TaskAdapter::operator()(const mx::array& x, const PackedTexts& texts) const {
  if (up.empty()) return std::nullopt;
  auto sum = by_task(texts, up.front().out(), x.dtype(), [&](int task, const std::vector<int>* rows) {
    const auto t = static_cast<size_t>(task);
    return up[t](down[t](rows ? take_rows(x, *rows) : x));
  });
  if (sum) sum = mx::multiply(*sum, mx::array(scaling, sum->dtype()));
  return sum;
}

mx::array AdaptedLinear::operator()(const mx::array& x, const PackedTexts& texts) const {
  const mx::array y = linear(x);
  const auto change = adapter(x, texts);
  return change ? mx::add(y, *change) : y;
}

TaskAdapters TaskAdapters::read(const Config& config, Weights& weights) {
  TaskAdapters adapters;
  const Json* list = config.find("lora_adaptations");
  const auto is_adapter = [](const std::string& name) {
    return name.ends_with(".lora_A") || name.ends_with(".lora_B");
  };
  const auto is_split = [](const std::string& name) {  // in a conversion
    return name.find(".lora_A.") != std::string::npos || name.find(".lora_B.") != std::string::npos;
  };
  bool found = false;
  for (const auto& [name, tensor] : weights.tensors()) found = found || is_adapter(name) || is_split(name);
  if (!list || !found) return adapters;
  if (!list->is_array() || list->empty() || list->size() > 1024) {
    throw config.bad("lora_adaptations", "must be a list of names, got " + list->dump());
  }
  for (const Json& name : *list) {
    if (!name.is_string()) throw config.bad("lora_adaptations", "must be a list of names, got " + list->dump());
    adapters.tasks.push_back(name.get<std::string>());
  }
  adapters.rank = static_cast<int>(config.integer_or("lora_rank", 4, 1, 4096));
  adapters.scaling = static_cast<float>(config.number_or("lora_alpha", 1, 0, 1e6) / adapters.rank);
  const int tasks = static_cast<int>(adapters.tasks.size());
  Weights::Tensors split;
  for (auto& [name, tensor] : weights.tensors()) {
    if (!is_adapter(name)) {
      split.emplace(name, std::move(tensor));
      continue;
    }
    if (tensor.ndim() != 3 || tensor.shape(0) != tasks) {
      throw config.bad("lora_adaptations", fmt::format("names {} tasks, {} has another number", tasks, name));
    }
    // An embedding's second factor is [rank, hidden], a matrix's is [out, rank].
    const bool turns = name.find("_embeddings.lora_B") != std::string::npos;
    for (int task = 0; task < tasks; ++task) {
      const mx::array own =
          mx::squeeze(mx::slice(tensor, {task, 0, 0}, {task + 1, tensor.shape(1), tensor.shape(2)}), 0);
      split.emplace(fmt::format("{}.{}.weight", name, task), mx::contiguous(turns ? mx::transpose(own) : own));
    }
  }
  weights.tensors() = std::move(split);
  return adapters;
}

AdaptedLinear TaskAdapters::linear(const WeightPath& path, int in, int out) const {
  AdaptedLinear adapted{linear_at(path, in, out), {{}, {}, scaling}};
  for (int task = 0; task < static_cast<int>(tasks.size()); ++task) {
    adapted.adapter.down.emplace_back(path / "lora_A" / task, in, rank);
    adapted.adapter.up.emplace_back(path / "lora_B" / task, rank, out);
  }
  return adapted;
}

std::function<mx::array(const mx::array&, const EncoderInputs&)> TaskAdapters::of_embeddings(
    const WeightPath& embeddings, int vocab_size, int type_vocab_size, int hidden_size) const {
  if (tasks.empty()) return {};
  struct Table {
    std::vector<Embedding> down;
    std::vector<Linear> up;
    bool of_types;
  };
  std::vector<Table> tables;
  const auto add = [&](const WeightPath& path, int entries, bool of_types) {
    if (!path.has("lora_A.0.weight")) return;
    Table table{{}, {}, of_types};
    for (int task = 0; task < static_cast<int>(tasks.size()); ++task) {
      table.down.emplace_back(path / "lora_A" / task, entries, rank);
      table.up.emplace_back(path / "lora_B" / task, rank, hidden_size);
    }
    tables.push_back(std::move(table));
  };
  add(embeddings / "word_embeddings", vocab_size, false);
  add(embeddings / "token_type_embeddings", type_vocab_size, true);
  return [tables = std::move(tables), scaling = scaling, hidden_size](const mx::array& x, const EncoderInputs& inputs) {
    const PackedTexts texts{inputs.lengths, inputs.tasks};
    mx::array sum = x;
    for (const Table& table : tables) {
      std::vector<int> entries = table.of_types ? inputs.token_types : inputs.ids;
      entries.resize(inputs.ids.size());
      const mx::array all(entries.data(), {static_cast<int>(entries.size())}, mx::int32);
      const auto change = by_task(texts, hidden_size, x.dtype(), [&](int task, const std::vector<int>* rows) {
        const auto t = static_cast<size_t>(task);
        return table.up[t](table.down[t](rows ? take_rows(all, *rows) : all));
      });
      if (change) sum = mx::add(sum, mx::multiply(*change, mx::array(scaling, change->dtype())));
    }
    return sum;
  };
}

std::unique_ptr<EncoderLayer> make_adapted_layer(const EncoderConfig& c, const TaskAdapters& adapters,
                                                 const WeightPath& path, const Rotation& rotation) {
  return std::make_unique<AdaptedLayer>(c, adapters, path, rotation);
}

}  // namespace mlxk
