#include "nn/activation.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "kernels/device.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array constant(double value, const mx::array& like) { return mx::array(static_cast<float>(value), like.dtype()); }

mx::array times(const mx::array& x, double factor) { return mx::multiply(x, constant(factor, x)); }

mx::array at_most(const mx::array& x, float limit) { return mx::minimum(x, constant(limit, x)); }

mx::array within(const mx::array& x, float limit) { return mx::maximum(at_most(x, limit), constant(-limit, x)); }

mx::array softplus(const mx::array& x) { return mx::logaddexp(x, constant(0, x)); }

// xIELU (https://arxiv.org/abs/2411.13010): quadratic above zero, a scaled exponential below, both with a linear part.
mx::array xielu(const mx::array& x, const mx::array& parameters) {
  const auto parameter = [&](int i) {
    return mx::astype(mx::reshape(mx::slice(parameters, {i}, {i + 1}), mx::Shape{}), x.dtype());
  };
  const mx::array beta = parameter(2), eps = parameter(3);
  const mx::array alpha_p = softplus(parameter(0)), alpha_n = mx::add(beta, softplus(parameter(1)));
  const mx::array linear = mx::multiply(beta, x);
  const mx::array above = mx::add(mx::multiply(alpha_p, mx::square(x)), linear);
  const mx::array below = mx::add(mx::multiply(mx::subtract(mx::expm1(mx::minimum(x, eps)), x), alpha_n), linear);
  return mx::where(mx::greater(x, constant(0, x)), above, below);
}

}  // namespace

Activation read_activation(const std::string& name) {
  if (name == "silu" || name == "swish" || name == "swiglu") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_approx" || name == "gelu_fast") {
    return Activation::gelu_tanh;
  }
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "relu") return Activation::relu;
  if (name == "relu2") return Activation::relu_squared;
  if (name == "xielu") return Activation::xielu;
  throw Error(ErrorKind::unsupported, fmt::format("[config] activation '{}' is not built in", name));
}

mx::array activate(const Activation& activation, const mx::array& x) {
  const LayerOps& ops = layer_ops();
  if (ops.activate && ops.takes(x.dtype()) && ops.knows(activation)) return ops.activate(x, activation);
  switch (activation.kind) {
    case Activation::silu: {
      const mx::array y = mx::multiply(x, mx::sigmoid(x));
      return activation.limit > 0 ? at_most(y, activation.limit) : y;
    }
    case Activation::gelu: {
      mx::array erf = mx::erf(times(x, 1 / std::sqrt(2.0)));
      return mx::multiply(times(x, 0.5), mx::add(constant(1, x), erf));
    }
    case Activation::gelu_tanh: {
      mx::array cube = mx::multiply(mx::multiply(x, x), x);
      mx::array inner = times(mx::add(x, times(cube, 0.044715)), std::sqrt(2 / M_PI));
      return mx::multiply(times(x, 0.5), mx::add(constant(1, x), mx::tanh(inner)));
    }
    case Activation::quick_gelu: return mx::multiply(x, mx::sigmoid(times(x, 1.702)));
    case Activation::relu: return mx::maximum(x, constant(0, x));
    case Activation::relu_squared: return mx::square(mx::maximum(x, constant(0, x)));
    case Activation::sigmoid: return mx::sigmoid(x);
    case Activation::softplus: return softplus(x);
    case Activation::tanh: return mx::tanh(x);
    case Activation::xielu:
      if (activation.parameters) return xielu(x, *activation.parameters);
      break;
    case Activation::swiglu_oai: break;
  }
  throw Error(ErrorKind::internal, "[activation] it cannot be computed without a gate or its parameters");
}

mx::array activate_gated(const Activation& activation, const mx::array& gate, const mx::array& up) {
  const float limit = activation.limit;
  const mx::array limited_up = limit > 0 ? within(up, limit) : up;
  if (activation.kind == Activation::swiglu_oai) {
    const mx::array limited = limit > 0 ? at_most(gate, limit) : gate;
    const mx::array opened = mx::multiply(limited, mx::sigmoid(times(limited, activation.alpha)));
    return mx::multiply(opened, mx::add(limited_up, constant(1, up)));
  }
  return mx::multiply(activate(activation, gate), limited_up);
}

}  // namespace mlxk
