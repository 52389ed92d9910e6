#include "models/embedding/encoder_stack.h"

#include <fmt/format.h>

#include "base/error.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/embedding/pooling.h"
#include "nn/packed_attention.h"

namespace mlxk {

EncoderStack::EncoderStack(EncoderShape shape, Parts parts) : Encoder(std::move(shape)), parts_(std::move(parts)) {
  if (parts_.classifier) shape_.num_labels = parts_.classifier->out.out();
  shape_.predicts_tokens = parts_.masked_lm.has_value();
  shape_.sparse = parts_.sparse.has_value();
  if (parts_.colbert) shape_.colbert_size = parts_.colbert->out();
}

mx::array EncoderStack::encode(const EncoderInputs& inputs) const {
  const auto to_array = [](const std::vector<int>& values) {
    return mx::array(values.data(), {static_cast<int>(values.size())}, mx::int32);
  };
  mx::array x = parts_.words(to_array(inputs.ids));
  if (parts_.token_types) {
    std::vector<int> types = inputs.token_types;
    types.resize(inputs.ids.size());
    for (const int type : types) {
      if (type >= 0 && type < parts_.type_vocab_size) continue;
      throw Error(ErrorKind::invalid,
                  fmt::format("[encoder] token_types must be in [0, {}), got {}", parts_.type_vocab_size, type));
    }
    x = mx::add(x, (*parts_.token_types)(to_array(types)));
  }
  if (parts_.positions) x = mx::add(x, (*parts_.positions)(packed_positions(inputs.lengths, parts_.first_position)));
  if (parts_.adapt) x = parts_.adapt(x, inputs);
  if (parts_.embedding_norm) x = (*parts_.embedding_norm)(x);
  const PackedTexts texts{inputs.lengths, inputs.tasks, inputs.attended};
  for (size_t i = 0; i < parts_.layers.size(); ++i) {
    x = (*parts_.layers[i])(x, texts);
    if (i == 0) mx::async_eval(x);  // it is computed while the graph of the other layers is built
  }
  return parts_.norm ? (*parts_.norm)(x) : x;
}

mx::array EncoderStack::classify(const mx::array& hidden, const std::vector<int>& lengths) const {
  const ClassHead& head = *parts_.classifier;
  mx::array x = pool(head.mean ? Pooling::mean : Pooling::cls, hidden, lengths);
  if (head.dense) x = activate(head.activation, (*head.dense)(x));
  if (head.norm) x = (*head.norm)(x);
  return head.out(x);
}

mx::array EncoderStack::predict_tokens(const mx::array& hidden) const {
  const MaskedLmHead& head = *parts_.masked_lm;
  const mx::array x = head.norm(activate(head.activation, head.dense(hidden)));
  const mx::array logits = head.decoder ? (*head.decoder)(x) : parts_.words.as_linear(x);
  return head.bias ? mx::add(logits, *head.bias) : logits;
}

}  // namespace mlxk
