#pragma once

namespace mlxk::test_tree {

/// Folders of the source tree, for tests. They are defined in one generated unit, so that no other unit's compile
/// command names the tree and a compiler cache serves every clone.
extern const char* const kTestData;   // tests/data
extern const char* const kSourceDir;  // the root

}  // namespace mlxk::test_tree
