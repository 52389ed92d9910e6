#include "base/side_file.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

TEST(SideFile, OfOtherSystemsAndEditors) {
  for (const char* name : {"._model.safetensors",
                           "._config.json",
                           ".DS_Store",
                           "._.DS_Store",
                           "Thumbs.db",
                           "thumbs.db",
                           "desktop.ini",
                           "Desktop.ini",
                           "model.safetensors~",
                           "config.json~",
                           "config.json.tmp",
                           "config.json.TMP",
                           "config.json.tmp.Ab12Cd",
                           "model.tmp.safetensors",
                           "~$config.json",
                           ".#config.json",
                           ".config.json.swp",
                           "__MACOSX",
                           "System Volume Information",
                           "$RECYCLE.BIN",
                           "Icon\r"}) {
    EXPECT_TRUE(is_side_file(name)) << name;
  }
}

TEST(SideFile, APartOfAModelIsNone) {
  for (const char* name :
       {"model.safetensors", "config.json", "tokenizer.model", ".gitattributes", "README.md", "a~b.json", "tmp.json",
        "model-00001-of-00002.safetensors", "_config.json", "x.tmpl", "", "."}) {
    EXPECT_FALSE(is_side_file(name)) << name;
  }
}

}  // namespace
}  // namespace mlxk
