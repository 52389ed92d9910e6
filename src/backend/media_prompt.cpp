#include "backend/media_prompt.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "cpu/phase.h"

namespace mlxk {

namespace {

Error invalid(size_t item, const std::string& what) {
  return Error(ErrorKind::invalid, fmt::format("[media {}] {}", item, what));
}

int64_t placeholders_of(const GenerateRequest& request, const MediaItem& item, int64_t begin, int64_t end) {
  begin = std::max(begin, item.begin);
  end = std::min(end, item.end);
  if (begin >= end) return 0;
  return std::count(request.prompt.begin() + begin, request.prompt.begin() + end, item.placeholder);
}

/// Row i of the result is row index[i] of `parts`, stacked; parts.front() is one row of zeros.
mx::array gather(std::vector<mx::array> parts, const mx::array& index, mx::Dtype type) {
  for (auto& part : parts) part = mx::astype(part, type);
  return mx::expand_dims(mx::take(mx::concatenate(std::move(parts), 0), index, 0), 0);
}

}  // namespace

MediaPrompt::MediaPrompt(const Model& model, const GenerateRequest& request)
    : model_(model), request_(request), items_(request.media.size()) {
  if (model.media_encoder() && !items_.empty()) {
    positions_ = model.media_encoder()->positions(request.prompt, request.media);
    prompt_encoder_ = prompt_encoder(model);
  }
}

std::vector<int32_t> MediaPrompt::decoder_tokens() const {
  return prompt_encoder_ ? std::vector{prompt_encoder_->decoder_start_token()} : request_.prompt;
}

int64_t MediaPrompt::placeholders(MediaKind kind) const {
  int64_t count = 0;
  for (const MediaItem& item : request_.media)
    if (item.data->kind == kind) count += placeholders_of(request_, item, item.begin, item.end);
  return count;
}

int64_t MediaPrompt::piece_end(int64_t begin, int64_t end) const {
  for (const TokenRange& range : request_.attend_both_ways) {
    if (range.begin < end && end < range.end) return range.begin > begin ? range.begin : range.end;
  }
  return end;
}

void MediaPrompt::Item::advance() {
  auto& stages = encoding->stages;
  if (stage < stages.size()) {
    mx::eval(stages[stage]);
    if (stage > 0) stages[stage - 1] = mx::array(0);  // no longer needed
    ++stage;
    return;
  }
  std::vector<mx::array> last = encoding->layer_features;
  last.push_back(encoding->features);
  mx::eval(last);
  stages.clear();
  encoded = std::make_shared<const EncodedMedia>(*std::exchange(encoding, std::nullopt));
}

bool MediaPrompt::encode_next(int64_t begin, int64_t end, MediaCache& cache) {
  for (size_t i = 0; i < items_.size(); ++i) {
    const bool needed = prompt_encoder_ || (request_.media[i].end > begin && request_.media[i].begin < end);
    if (needed && !items_[i].encoded && !items_[i].done && encode_item(i, cache)) return true;
  }
  if (!owes_prompt()) return false;
  if (!prompt_.encoding) {
    const auto tokens = static_cast<int64_t>(request_.prompt.size());
    Inputs inputs{.ids = mx::array(request_.prompt.data(), {1, static_cast<int>(tokens)}, mx::int32)};
    add_items(inputs, 0, tokens);
    prompt_.encoding = prompt_encoder_->encode_prompt(*inputs.embeddings);
  }
  prompt_.advance();
  return true;
}

/// One step of item `i`; false if the cache had it.
bool MediaPrompt::encode_item(size_t i, MediaCache& cache) {
  Item& own = items_[i];
  const MediaItem& item = request_.media[i];
  if (!own.encoding) {
    own.encoded = cache.find(item.data->digest);
    if (own.encoded) {
      ++cached_items_;
      return false;
    }
    const PhaseScope phase(Phase::encode);
    own.encoding = model_.media_encoder()->encode(*item.data);
    const int64_t given = placeholders_of(request_, item, item.begin, item.end);
    if (model_.media_encoder()->is_attended_to()) {
      if (given != 1 || item.end - item.begin != 1) {
        throw invalid(i, fmt::format("must be one placeholder token in the prompt, but is at tokens [{}, {})",
                                     item.begin, item.end));
      }
    } else if (own.encoding->features.ndim() != 2 || own.encoding->features.shape(0) != given) {
      throw invalid(i, fmt::format("has {} placeholder tokens in the prompt, but its encoder produces {} features",
                                   given, own.encoding->features.shape(0)));
    }
  }
  own.advance();
  if (own.encoded) cache.add(item.data->digest, own.encoded);
  return true;
}

void MediaPrompt::add_to(Inputs& inputs, int64_t begin, int64_t end) {
  if (!prompt_encoder_) return add_items(inputs, begin, end);
  if (begin == 0) inputs.cross_media.push_back({0, -1, prompt_.encoded->features});
}

void MediaPrompt::add_items(Inputs& inputs, int64_t begin, int64_t end) {
  const int length = static_cast<int>(end - begin);
  for (const TokenRange& range : request_.attend_both_ways) {
    if (range.begin < end && begin < range.end) {
      inputs.ranges.push_back({0, static_cast<int>(range.begin), static_cast<int>(range.end)});
    }
  }
  if (positions_) {
    const auto tokens = static_cast<int64_t>(request_.prompt.size());
    std::vector<int32_t> axes;
    for (int64_t axis = 0; axis < 3; ++axis) {
      const auto first = positions_->axes.begin() + axis * tokens;
      axes.insert(axes.end(), first + begin, first + end);
    }
    inputs.positions = mx::array(axes.begin(), {3, 1, length}, mx::int32);
  }

  const auto width = static_cast<int>(model_.hidden_size());
  std::vector<int32_t> index(static_cast<size_t>(length), 0);  // 0: not the row of a feature
  std::vector<std::shared_ptr<const EncodedMedia>> used;
  int32_t next = 1;  // the first row of the next item
  for (size_t i = 0; i < items_.size(); ++i) {
    const MediaItem& item = request_.media[i];
    Item& own = items_[i];
    if (own.done || item.begin >= end || item.end <= begin) continue;
    int32_t row = next + static_cast<int32_t>(placeholders_of(request_, item, item.begin, begin));
    for (int64_t at = std::max(begin, item.begin); at < std::min(end, item.end); ++at) {
      if (request_.prompt[static_cast<size_t>(at)] == item.placeholder) index[static_cast<size_t>(at - begin)] = row++;
    }
    next += own.encoded->features.shape(0);
    if (model_.media_encoder()->is_attended_to()) {
      inputs.cross_media.push_back({0, static_cast<int>(item.begin - begin), own.encoded->features});
    } else {
      used.push_back(own.encoded);
    }
    if (item.end <= end) {
      own.done = true;
      own.encoded = nullptr;
    }
  }
  if (used.empty()) return;
  const mx::array rows(index.begin(), {length}, mx::int32);
  const mx::array text = model_.embed(*inputs.ids);
  const auto rows_of = [&](auto part_of) {
    std::vector<mx::array> parts{mx::zeros({1, width})};
    for (const auto& item : used) parts.push_back(part_of(*item));
    return gather(std::move(parts), rows, text.dtype());
  };
  const mx::array media = rows_of([](const EncodedMedia& item) { return item.features; });
  const mx::array is_media = mx::reshape(mx::greater(rows, mx::array(0)), {1, length, 1});
  inputs.embeddings =
      model_.media_encoder()->adds_to_tokens() ? mx::add(text, media) : mx::where(is_media, media, text);
  size_t layers = 0;
  for (const auto& item : used) layers = std::max(layers, item->layer_features.size());
  for (size_t layer = 0; layer < layers; ++layer) {
    inputs.layer_features.push_back(rows_of([&](const EncodedMedia& item) {
      return layer < item.layer_features.size() ? item.layer_features[layer] : mx::zeros(item.features.shape());
    }));
  }
}

void check_media(const GenerateRequest& request, const Model& model) {
  if (prompt_encoder(model)) {
    if (request.media.empty()) throw Error(ErrorKind::invalid, "the model needs an image");
    if (request.prompt_logprobs) throw Error(ErrorKind::invalid, "the model gives no logprobs of the prompt");
  }
  if (request.media.empty() && request.attend_both_ways.empty()) return;
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  if (!model.media_encoder()) throw invalid(0, "cannot be used: the model was loaded for text only");
  int64_t last = 0;
  for (size_t i = 0; i < request.media.size(); ++i) {
    const MediaItem& item = request.media[i];
    if (!item.data) throw invalid(i, "has no data");
    if (item.begin < last || item.end <= item.begin || item.end > tokens) {
      throw invalid(i, fmt::format("is at tokens [{}, {}), which must be in order and within the prompt of {}",
                                   item.begin, item.end, tokens));
    }
    last = item.end;
  }
  for (const TokenRange& range : request.attend_both_ways) {
    if (range.begin < 0 || range.end <= range.begin || range.end > tokens) {
      throw Error(ErrorKind::invalid, fmt::format("[media] range [{}, {}) is outside the prompt of {} tokens",
                                                  range.begin, range.end, tokens));
    }
  }
}

}  // namespace mlxk
