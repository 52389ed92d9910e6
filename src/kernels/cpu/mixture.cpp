#include "kernels/cpu/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "cpu/features.h"
#include "cpu/threads.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {

struct CpuExperts : PackedLayer {
  explicit CpuExperts(MixtureWeights mixture) : mixture(std::move(mixture)) {}

  MixtureWeights mixture;  // keeps the buffers
  GatedExperts stacks;
  std::optional<MatrixView> router;
  RoutingRule rule;
};

namespace {

struct CpuStack : PackedLayer {
  std::vector<mx::array> parts;  // keeps the buffers
  ExpertStack views;
  int rows = 0;
};

const CpuExperts& experts_of(const Packed& packed) { return static_cast<const CpuExperts&>(*packed); }

std::vector<mx::array> parts_of(const MatrixWeights& m) {
  std::vector<mx::array> parts{m.weight};
  for (const auto& part : {m.scales, m.biases, m.bias}) {
    if (part) parts.push_back(*part);
  }
  return parts;
}

/// One view an expert; every array of the stack has the experts as its first axis.
ExpertStack views_of(const MatrixWeights& stack) {
  const int64_t experts = stack.weight.ndim() == 3 ? stack.weight.shape(0) : 0;
  for (const auto& part : parts_of(stack)) {
    if (experts == 0 || part.ndim() < 2 || part.shape(0) != experts || part.shape(1) != stack.rows) {
      throw std::invalid_argument(fmt::format("[experts] every array of a stack must be [experts, {}, …]", stack.rows));
    }
  }
  const MatrixView whole = matrix_view(stack);
  const auto at = [&](const void* data, const std::optional<mx::array>& array, int64_t expert) -> const void* {
    return array ? static_cast<const char*>(data) + static_cast<int64_t>(array->nbytes()) / experts * expert : nullptr;
  };
  ExpertStack views;
  for (int64_t e = 0; e < experts; ++e) {
    MatrixView view = whole;
    view.data = at(whole.data, stack.weight, e);
    view.scales = at(whole.scales, stack.scales, e);
    view.biases = at(whole.biases, stack.biases, e);
    view.bias = static_cast<const float*>(at(whole.bias, stack.bias, e));
    views.push_back(view);
  }
  return views;
}

void check(const CpuExperts& e) {
  const MixtureWeights& m = e.mixture;
  const auto experts = static_cast<int64_t>(e.stacks.gate.size());
  if (static_cast<int64_t>(e.stacks.up.size()) != experts || static_cast<int64_t>(e.stacks.down.size()) != experts) {
    throw std::invalid_argument(
        fmt::format("[experts] gate, up and down must have as many experts each, got {}, {} and {}", experts,
                    e.stacks.up.size(), e.stacks.down.size()));
  }
  if (m.up.rows != m.gate.rows || m.up.columns != m.gate.columns || m.down.columns != m.gate.rows ||
      m.down.rows != m.gate.columns) {
    throw std::invalid_argument("[experts] gate and up must have one shape, down the transposed one");
  }
  if (!m.router) return;
  if (m.router->rows != experts || m.router->columns != m.gate.columns || m.rule.top_k < 1 || m.rule.top_k > experts) {
    throw std::invalid_argument(fmt::format("[experts] the router must choose 1 to {} of as many experts, got {} of {}",
                                            experts, m.rule.top_k, m.router->rows));
  }
  for (const auto& factors : {m.selection_bias, m.expert_scale}) {
    if (!factors || factors->size() == static_cast<size_t>(experts)) continue;
    throw std::invalid_argument(
        fmt::format("[experts] bias and scale must have {} entries, got {}", experts, factors->size()));
  }
  const RoutingRule& rule = m.rule;
  if (rule.groups < 1 || experts % rule.groups != 0 || rule.top_groups < 1 || rule.top_groups > rule.groups ||
      rule.group_best < 1 || rule.top_k > experts / rule.groups * rule.top_groups) {
    throw std::invalid_argument(
        fmt::format("[experts] {} groups of which {} are chosen do not fit {} experts of which {} are", rule.groups,
                    rule.top_groups, experts, rule.top_k));
  }
}

int64_t rows_of(const mx::array& x) { return x.shape(-1) == 0 ? 0 : static_cast<int64_t>(x.size()) / x.shape(-1); }

void check_chosen(const mx::array& x, const mx::array& ids) {
  if (ids.dtype() != mx::uint32 || ids.ndim() != x.ndim() ||
      !std::equal(x.shape().begin(), x.shape().end() - 1, ids.shape().begin())) {
    throw std::invalid_argument("[experts] ids must be uint32, a row for each row of x");
  }
}

}  // namespace

Packed cpu_experts(MixtureWeights mixture) {
  auto experts = std::make_shared<CpuExperts>(std::move(mixture));
  MixtureWeights& m = experts->mixture;
  const auto activation = gated_number(m.activation);
  if (!activation) throw std::invalid_argument("[experts] the kernels do not know this activation");
  std::vector<mx::array> arrays;
  for (const auto* matrix : {&m.gate, &m.up, &m.down}) {
    for (const auto& part : parts_of(*matrix)) arrays.push_back(part);
  }
  if (m.router) {
    for (const auto& part : parts_of(*m.router)) arrays.push_back(part);
  }
  if (m.norm) arrays.push_back(m.norm->weight);
  if (m.norm && m.norm->bias) arrays.push_back(*m.norm->bias);
  for (const auto& factors : {m.selection_bias, m.expert_scale}) {
    if (factors) arrays.push_back(*factors);
  }
  mx::eval(arrays);
  experts->stacks = {views_of(m.gate), views_of(m.up), views_of(m.down), *activation};
  if (m.router) experts->router = matrix_view(*m.router);
  experts->rule = m.rule;
  if (m.selection_bias) experts->rule.selection_bias = m.selection_bias->data<float>();
  if (m.expert_scale) experts->rule.expert_scale = m.expert_scale->data<float>();
  check(*experts);
  return experts;
}

Packed cpu_stack(const MatrixWeights& weights) {
  auto stack = std::make_shared<CpuStack>();
  stack->parts = parts_of(weights);
  mx::eval(stack->parts);
  stack->views = views_of(weights);
  stack->rows = weights.rows;
  return stack;
}

const ExpertStack& stack_of(const Packed& stack) { return static_cast<const CpuStack&>(*stack).views; }

mx::array cpu_gather_matmul(const mx::array& x, const mx::array& ids, const Packed& packed) {
  check_chosen(x, ids);
  mx::Shape shape = ids.shape();
  shape.push_back(static_cast<const CpuStack&>(*packed).rows);
  auto compute = [packed, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy;
    const float* from = row_major(in[0], copy);
    multiply_chosen(stack_of(packed), from, rows_of(in[0]), in[1].data<uint32_t>(), in[1].shape(-1),
                    out[0].data<float>(), phase);
  };
  return mx::array(std::move(shape), mx::float32, cpu_op("CpuGatherMatmul", std::move(compute)),
                   {x, mx::contiguous(ids)});
}

mx::array cpu_gated_experts(const mx::array& x, const mx::array& ids, const mx::array& weights, Packed experts) {
  check_chosen(x, ids);
  if (weights.shape() != ids.shape()) throw std::invalid_argument("[experts] there must be a weight for each id");
  auto compute = [experts = std::move(experts), phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, weights;
    float* y = out[0].data<float>();
    std::fill_n(y, out[0].size(), 0.0F);
    add_gated_experts(experts_of(experts).stacks, row_major(in[0], copy), rows_of(in[0]), in[1].data<uint32_t>(),
                      row_major(in[2], weights), in[1].shape(-1), y, phase);
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuGatedExperts", std::move(compute)),
                   {x, mx::contiguous(ids), weights});
}

mx::array cpu_mixture(const mx::array& x, Packed experts, float multiplier, const std::optional<mx::array>& residual) {
  if (!experts_of(experts).router) throw std::invalid_argument("[experts] a mixture needs a router");
  auto compute = [experts = std::move(experts), multiplier, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, residual_copy, normalised, scores, factors;
    const int64_t n = rows_of(in[0]), hidden = in[0].shape(-1), count = experts_of(experts).router->rows;
    const float* x = row_major(in[0], copy);
    float* y = out[0].data<float>();
    std::copy_n(in.size() > 1 ? row_major(in[1], residual_copy) : x, n * hidden, y);
    const float* h = x;
    if (const auto& norm = experts_of(experts).mixture.norm) {
      float* normed = normalised.floats(n * hidden);
      const auto* weight = norm->weight.data<float>();
      const float* bias = norm->bias ? norm->bias->data<float>() : nullptr;
      parallel_for(n, 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) {
          if (norm->centred) {
            cpu_kernels().layer_norm(x + r * hidden, weight, bias, norm->eps, hidden, normed + r * hidden);
          } else {
            cpu_kernels().rms_norm(x + r * hidden, weight, norm->eps, hidden, normed + r * hidden);
          }
        }
      });
      h = normed;
    }
    float* const logits[] = {scores.floats(n * count)};
    multiply({&*experts_of(experts).router, 1}, h, n, logits, phase);
    RoutingRule rule = experts_of(experts).rule;
    rule.scale *= multiplier;
    std::vector<uint32_t> ids(static_cast<size_t>(n * rule.top_k));
    float* weights = factors.floats(n * rule.top_k);
    route(rule, logits[0], n, count, ids.data(), weights);
    add_gated_experts(experts_of(experts).stacks, h, n, ids.data(), weights, rule.top_k, y, phase);
  };
  std::vector<mx::array> inputs{x};
  if (residual) inputs.push_back(*residual);
  return mx::array(x.shape(), mx::float32, cpu_op("CpuMixture", std::move(compute)), std::move(inputs));
}

}  // namespace mlxk
