// <tool_call>f<arg_key>a</arg_key><arg_value>v</arg_value></tool_call>: GLM 4.5 and later, Laguna, Ling 3.
#include "chat/tools/keyed_arguments.h"

namespace mlxk {

const ToolFormat& glm47_format() {
  static const KeyedArguments format("glm47", "<arg_key>", "");
  return format;
}

}  // namespace mlxk
