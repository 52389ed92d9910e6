// <longcat_tool_call>f<longcat_arg_key>a</longcat_arg_key><longcat_arg_value>v</longcat_arg_value>…: LongCat.
#include "chat/tools/keyed_arguments.h"

namespace mlxk {

const ToolFormat& longcat_format() {
  static const KeyedArguments format("longcat", "<longcat_tool_call>", "longcat_");
  return format;
}

}  // namespace mlxk
