#include "run_chat.h"

#include "base/error.h"

namespace mlxk {
int run_chat(OpenedModel&, const RunOptions&) { throw Error(ErrorKind::unsupported, "chat comes next"); }
}  // namespace mlxk
