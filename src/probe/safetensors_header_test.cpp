#include "probe/safetensors_header.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string refusal(const std::function<void()>& call, ErrorKind kind = ErrorKind::bad_model) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "(accepted)";
}

std::string parse_refusal(const std::string& json, uint64_t data_bytes) {
  return refusal([&] { parse_safetensors_header(json, data_bytes, "m.safetensors"); });
}

std::string length_prefix(uint64_t length) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

class SafetensorsFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_header_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    path_ = dir_ / "model.safetensors";
  }
  void TearDown() override { fs::remove_all(dir_); }
  void write(std::string_view content) { write_file_atomic(path_, content); }
  std::string read_refusal(ErrorKind kind = ErrorKind::bad_model) {
    return refusal([&] { read_safetensors_header(path_); }, kind);
  }
  fs::path dir_, path_;
};

TEST(SafetensorsHeader, RefusesMoreThanAHundredThousandTensors) {
  std::string json = "{";
  for (int i = 0; i <= 100'000; ++i) {
    json += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", i > 0 ? "," : "", i);
  }
  EXPECT_THAT(parse_refusal(json + "}", 0), HasSubstr("more than 100000 tensors"));
}

TEST(SafetensorsHeader, ReadsTensorsInTheOrderOfTheirOffsets) {
  const SafetensorsHeader header = parse_safetensors_header(
      R"({"__metadata__":{"format":"mlx"},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},)"
      R"("a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"e":{"dtype":"U8","shape":[0,5],"data_offsets":[12,12]}}   )",
      16, "m");
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].dtype, TensorDtype::bf16);
  EXPECT_THAT(header.tensors[0].shape, ::testing::ElementsAre(2, 3));
  EXPECT_EQ(header.tensors[1].name, "e");
  EXPECT_EQ(header.tensors[2].name, "b");
  EXPECT_EQ(header.tensors[2].begin, 12u);
  EXPECT_EQ(header.metadata.at("format"), "mlx");
}

TEST(SafetensorsHeader, EveryDtypeHasItsSizeAndName) {
  EXPECT_EQ(dtype_bytes(TensorDtype::boolean), 1u);
  EXPECT_EQ(dtype_bytes(TensorDtype::f16), 2u);
  EXPECT_EQ(dtype_bytes(TensorDtype::c64), 8u);
  for (int i = 0; i <= static_cast<int>(TensorDtype::c64); ++i) {
    const auto dtype = static_cast<TensorDtype>(i);
    const std::string json = fmt::format(R"({{"a":{{"dtype":"{}","shape":[3],"data_offsets":[0,{}]}}}})",
                                         dtype_name(dtype), 3 * dtype_bytes(dtype));
    EXPECT_EQ(parse_safetensors_header(json, 3 * dtype_bytes(dtype), "m").tensors[0].dtype, dtype);
  }
}

TEST(SafetensorsHeader, RefusesATensorThatLiesNamingItAndTheValue) {
  struct Row {
    const char* fields;
    const char* message;
  };
  const Row rows[] = {
      {R"("dtype":"F32","shape":[4],"data_offsets":[16,0])", "data_offsets are reversed, got [16, 0]"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0,17])", "data_offsets end at 17, but only 16 bytes"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[18446744073709551608,18446744073709551615])",
       "end at 18446744073709551615"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551616])", "unexpected \"18446744073709551616\""},
      {R"("dtype":"F32","shape":[4],"data_offsets":[-16,0])", "unexpected -16"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0,1.6e1])", "unexpected \"1.6e1\""},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0])", "data_offsets is not a pair"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0,8,16])", "unexpected 16"},
      {R"("dtype":"F32","shape":[5],"data_offsets":[0,16])",
       "F32 of shape [5] takes 20 bytes, but data_offsets span 16"},
      {R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])", "unexpected -4"},
      {R"("dtype":"F32","shape":[0],"data_offsets":[0,16])", "takes 0 bytes"},
      {R"("dtype":"F32","shape":[2147483648],"data_offsets":[0,16])", "dimension 2147483648 is past 2147483647"},
      // 2^30 * 2^30 * 4 * 4 bytes wraps to 0, and to 16 in the second.
      {R"("dtype":"F32","shape":[1073741824,1073741824,4],"data_offsets":[0,0])", "has more than 2^64 bytes"},
      {R"("dtype":"F32","shape":[1073741824,1073741824,4,4],"data_offsets":[0,16])", "has more than 2^64 bytes"},
      {R"("dtype":"F32","shape":["4"],"data_offsets":[0,16])", "unexpected \"4\""},
      {R"("dtype":"F32","shape":[[4]],"data_offsets":[0,16])", "unexpected an array"},
      {R"("dtype":"F32","shape":4,"data_offsets":[0,16])", "unexpected 4"},
      {R"("dtype":"F33","shape":[4],"data_offsets":[0,16])", "unknown dtype \"F33\""},
      {R"("dtype":7,"shape":[4],"data_offsets":[0,16])", "unexpected 7"},
      {R"("shape":[4],"data_offsets":[0,16])", "dtype is missing"},
      {R"("dtype":"F32","data_offsets":[0,16])", "shape is missing"},
      {R"("dtype":"F32","shape":[4])", "data_offsets is missing"},
      {R"("dtype":"F32","dtype":"U8","shape":[4],"data_offsets":[0,16])", "dtype appears twice"},
      {R"("dtype":"F32","shape":[4],"data_offsets":[0,16],"file":"/etc/passwd")", "unexpected the key \"file\""},
  };
  for (const Row& row : rows) {
    const std::string message = parse_refusal(fmt::format(R"({{"w.q":{{{}}}}})", row.fields), 16);
    EXPECT_THAT(message, AllOf(HasSubstr("m.safetensors: tensor \"w.q\""), HasSubstr(row.message))) << row.fields;
  }
}

TEST(SafetensorsHeader, RefusesOverlapsGapsAndLeftoverBytes) {
  const auto two = [](const char* second) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[8],"data_offsets":[0,8]}},"b":{{"dtype":"U8",{}}}}})", second);
  };
  EXPECT_THAT(parse_refusal(two(R"("shape":[8],"data_offsets":[4,12])"), 12),
              HasSubstr("tensor \"b\": data_offsets begin at 4, overlapping"));
  EXPECT_THAT(parse_refusal(two(R"("shape":[8],"data_offsets":[0,8])"), 8), HasSubstr("overlapping"));
  EXPECT_THAT(parse_refusal(two(R"("shape":[4],"data_offsets":[12,16])"), 16), HasSubstr("leaving a gap"));
  EXPECT_THAT(parse_refusal(two(R"("shape":[4],"data_offsets":[8,12])"), 16), HasSubstr("end at 12, but 16 bytes"));
  EXPECT_THAT(parse_refusal("{}", 16), HasSubstr("end at 0, but 16 bytes"));
}

TEST(SafetensorsHeader, RefusesDuplicateKeys) {
  const std::string a = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(parse_refusal("{" + a + "," + a + "}", 0), HasSubstr("tensor \"a\" appears twice"));
  EXPECT_THAT(parse_refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("twice"));
  EXPECT_THAT(parse_refusal(R"({"__metadata__":{"k":"1","k":"2"}})", 0), HasSubstr("\"k\" appears twice"));
}

TEST(SafetensorsHeader, RefusesWhatIsNotTheFormatsJson) {
  for (const char* json :
       {"", "[]", "{", "{}x", "null", " {}", "{\"a\":1}", "{\"a\":[]}", "{\"__metadata__\":{\"a\":1}}",
        "{\"__metadata__\":[]}", "{\"a\":{\"dtype\":{}}}", "{\"a\xff\":{}}", "{\"a\xc3\x28\":{}}", "{\"a\":{}}"}) {
    EXPECT_THAT(parse_refusal(json, 0), HasSubstr("m.safetensors")) << json;
  }
  const std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  EXPECT_THAT(parse_refusal(deep, 0), HasSubstr("unexpected an array"));
}

TEST(SafetensorsHeader, NamesAreShownWithoutControlCharacters) {
  const std::string message = parse_refusal("{\"a\\u001b[2J" + std::string(500, 'x') + "\":1}", 0);
  EXPECT_THAT(message, HasSubstr("a\\x1b[2J"));
  EXPECT_LT(message.size(), 250u);
}

TEST(SafetensorsHeader, ManyTinyTensorsTakeSecondsNotMinutes) {
  std::string json = "{";
  for (int i = 0; i < 100'000; ++i) {
    json += fmt::format(R"("t{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}},)", i, i, i + 1);
  }
  json.back() = '}';
  const std::clock_t start = std::clock();
  EXPECT_EQ(parse_safetensors_header(json, 100'000, "m").tensors.size(), 100'000u);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 20);
}

TEST_F(SafetensorsFile, IsReadWithItsHeaderLength) {
  const std::string json = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  write(length_prefix(json.size()) + json + "data");
  const SafetensorsHeader header = read_safetensors_header(path_);
  EXPECT_EQ(header.header_bytes, 8 + json.size());
  EXPECT_EQ(header.tensors[0].end, 4u);
}

TEST_F(SafetensorsFile, WhoseLengthLooksLikeTextIsStillRead) {
  for (const char first : {'<', ' ', '\n'}) {
    const std::string json = "{}" + std::string(static_cast<size_t>(first) + 256 - 2, ' ');
    write(length_prefix(json.size()) + json);
    EXPECT_EQ(read_safetensors_header(path_).header_bytes, 8 + json.size());
  }
}

TEST_F(SafetensorsFile, WithAnAbsurdHeaderLengthIsRefused) {
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}}) {
    write(length_prefix(length) + "{}");
    EXPECT_THAT(read_refusal(), AllOf(HasSubstr(path_.string()), HasSubstr(fmt::format("got {}", length))));
  }
  write(length_prefix(3) + "{}");
  EXPECT_THAT(read_refusal(), HasSubstr("header length 3 is past the end of the file of 10 bytes"));
}

TEST_F(SafetensorsFile, ThatIsTruncatedOrZeroFilledIsRefused) {
  for (const size_t size : {0, 1, 7}) {
    write(std::string(size, '\1'));
    EXPECT_THAT(read_refusal(), HasSubstr("too short"));
  }
  const std::string json = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  write(length_prefix(json.size()) + json + "dat");
  EXPECT_THAT(read_refusal(), HasSubstr("only 3 bytes of data follow (truncated?)"));
  write(std::string(4096, '\0'));
  EXPECT_THAT(read_refusal(), HasSubstr("got 0"));
}

TEST_F(SafetensorsFile, ThatIsSomethingElseIsSaidToBeIt) {
  write("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_THAT(read_refusal(), HasSubstr("git-LFS pointer"));
  write("\n<!DOCTYPE html><html><body>404</body></html>");
  EXPECT_THAT(read_refusal(), HasSubstr("web page"));
  write(std::string("PK\x03\x04\0\0\x08\x08\0\0\0\0", 12));
  EXPECT_THAT(read_refusal(), HasSubstr("zip archive"));
  write(std::string("GGUF\3\0\0\0\1\0\0\0", 12));
  EXPECT_THAT(read_refusal(), HasSubstr("GGUF"));
}

TEST_F(SafetensorsFile, ThatIsNoRegularFileIsRefusedWithoutHanging) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(read_refusal(), HasSubstr("not a regular file"));
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_THAT(read_refusal(), HasSubstr("not a regular file"));
  fs::remove(path_);
  fs::create_symlink("/dev/zero", path_);
  EXPECT_THAT(read_refusal(), HasSubstr("not a regular file"));
  fs::remove(path_);
  EXPECT_THAT(read_refusal(ErrorKind::io), HasSubstr("No such file"));
}

}  // namespace
}  // namespace mlxk
