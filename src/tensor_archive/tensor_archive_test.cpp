#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "tensor_archive/archive_tensor.h"
#include "tensor_archive/npz_file.h"
#include "tensor_archive/pickle.h"
#include "tensor_archive/zip_file.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::span<const std::byte> view(const std::string& text) { return std::as_bytes(std::span(text)); }

/// A stored zip archive of one entry; `wide` writes its sizes and place as zip64 does.
std::string zip(const std::string& name, const std::string& data, bool wide = false, uint16_t method = 0) {
  const auto size = static_cast<uint32_t>(data.size());
  const auto header = [&](uint32_t shown) {
    return bytes_of<uint16_t>(20) + bytes_of<uint16_t>(0) + bytes_of(method) + bytes_of<uint32_t>(0) +
           bytes_of<uint32_t>(0) + bytes_of(shown) + bytes_of(shown) + bytes_of(static_cast<uint16_t>(name.size()));
  };
  std::string out = "PK\x03\x04" + header(size) + bytes_of<uint16_t>(0) + name + data;
  const auto directory = out.size();
  const std::string extra = wide ? bytes_of<uint16_t>(1) + bytes_of<uint16_t>(24) + bytes_of<uint64_t>(size) +
                                       bytes_of<uint64_t>(size) + bytes_of<uint64_t>(0)
                                 : "";
  out += "PK\x01\x02" + bytes_of<uint16_t>(20) + header(wide ? 0xffffffff : size) +
         bytes_of(static_cast<uint16_t>(extra.size())) + std::string(10, '\0') +
         bytes_of<uint32_t>(wide ? 0xffffffff : 0) + name + extra;
  // The ten bytes are comment length, disk, and attributes.
  if (wide) {
    const auto at = out.size();
    out += "PK\x06\x06" + std::string(28, '\0') + bytes_of<uint64_t>(1) + bytes_of<uint64_t>(0) +
           bytes_of<uint64_t>(directory);
    out += "PK\x06\x07" + bytes_of<uint32_t>(0) + bytes_of<uint64_t>(at) + bytes_of<uint32_t>(1);
  }
  return out + "PK\x05\x06" + std::string(4, '\0') + bytes_of<uint16_t>(1) + bytes_of<uint16_t>(1) +
         bytes_of<uint32_t>(0) + bytes_of(static_cast<uint32_t>(directory)) + bytes_of<uint16_t>(0);
}

std::string npy(const std::string& header, const std::string& data) {
  return std::string("\x93NUMPY\x01\x00", 8) + bytes_of(static_cast<uint16_t>(header.size())) + header + data;
}

template <typename Call>
std::string failure(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string floats(std::initializer_list<float> values) {
  std::string out;
  for (const float value : values) out += bytes_of(value);
  return out;
}

TEST(ZipFile, ReadsBothForms) {
  for (const bool wide : {false, true}) {
    const auto archive = zip("a/data.pkl", "hello", wide);
    const ZipFile file(view(archive), "test.zip");
    const auto data = file.bytes("a/data.pkl");
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), data.size()), "hello");
    EXPECT_THAT(failure([&] { file.bytes("b"); }), HasSubstr("there is no entry b"));
  }
}

TEST(ZipFile, RefusesEveryCut) {
  for (const bool wide : {false, true}) {
    const auto archive = zip("a", "hello", wide);
    for (size_t size = 0; size < archive.size(); ++size) {
      const auto cut = archive.substr(0, size);
      EXPECT_THAT(failure([&] { ZipFile(view(cut), "test.zip"); }), HasSubstr("test.zip: not a valid zip archive"))
          << size;
    }
  }
  const auto packed = zip("a", "hello", false, 8);
  EXPECT_THAT(failure([&] { ZipFile(view(packed), "z").bytes("a"); }), HasSubstr("entry a is compressed"));
}

TEST(Npz, ReadsRowsAndColumns) {
  TensorBuffers buffers;
  const auto data = floats({1, 2, 3, 4, 5, 6});
  for (const auto& [order, expected] : {std::pair("False", data), std::pair("True", floats({1, 3, 5, 2, 4, 6}))}) {
    const auto archive =
        zip("w.npy", npy(std::string("{'descr': '<f4', 'fortran_order': ") + order + ", 'shape': (2, 3), }", data));
    const auto tensors = read_npz(ZipFile(view(archive), "w.npz"), buffers);
    ASSERT_EQ(tensors.size(), 1U);
    EXPECT_EQ(tensors[0].entry.name, "w");
    EXPECT_EQ(tensors[0].entry.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(std::memcmp(tensors[0].data.data(), expected.data(), expected.size()), 0) << order;
  }
}

TEST(Npz, NamesWhatItCannotRead) {
  TensorBuffers buffers;
  const auto read = [&](const std::string& header) {
    const auto archive = zip("w.npy", npy(header, floats({1, 2})));
    return failure([&] { read_npz(ZipFile(view(archive), "w.npz"), buffers); });
  };
  EXPECT_THAT(read("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }"), HasSubstr("type <c8"));
  EXPECT_THAT(read("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"),
              HasSubstr("tensor w [3] has more elements than its storage"));
  EXPECT_THAT(read("{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999, 99999, 99999), }"),
              HasSubstr("w"));
  EXPECT_THAT(read("{'descr': '<f4', 'shape': (1,), }"), HasSubstr("there is no 'fortran_order':"));
  EXPECT_THAT(read("{'descr': '<f4', 'fortran_order': False, 'shape': (1"), HasSubstr("shape has no end"));
}

TEST(Strided, GathersWhatDoesNotLieInOrder) {
  TensorBuffers buffers;
  const auto data = floats({0, 1, 2, 3, 4, 5});
  const StridedData transposed{view(data), 0, {1, 2}};
  const auto tensor = in_row_order({"t", TensorDtype::f32, {2, 3}}, transposed, buffers, "x");
  const auto expected = floats({0, 2, 4, 1, 3, 5});
  EXPECT_EQ(std::memcmp(tensor.data.data(), expected.data(), expected.size()), 0);
  const auto reach = [&](int64_t offset, std::vector<int64_t> strides, std::vector<int64_t> shape) {
    return failure([&] { in_row_order({"t", TensorDtype::f32, shape}, {view(data), offset, strides}, buffers, "x"); });
  };
  EXPECT_EQ(reach(3, {1}, {3}), "accepted");
  EXPECT_THAT(reach(4, {1}, {3}), HasSubstr("reaches past its storage"));
  EXPECT_THAT(reach(0, {INT64_MAX, INT64_MAX}, {2, 2}), HasSubstr("more elements than its storage"));
  EXPECT_THAT(reach(0, {0}, {1 << 30}), HasSubstr("more elements than its storage"));
  EXPECT_THAT(reach(-1, {1}, {1}), HasSubstr("strides"));
  EXPECT_EQ(reach(0, {1, 1}, {0, 5}), "accepted");
}

TEST(Pickle, NamesWhatItRefuses) {
  constexpr const char* kAllowed[] = {"good.name"};
  const auto read = [&](const std::string& text) { return failure([&] { read_pickle(view(text), kAllowed, "p"); }); };
  EXPECT_EQ(read(std::string("\x80\x02") + "cgood\nname\n)R."), "accepted");
  EXPECT_EQ(read(std::string("\x80\x02") + "cos\nsystem\n)R."), "p: global os.system at byte 2 is refused");
  EXPECT_EQ(read("\x80\x04\x8c\x02os\x8c\x06system\x93."), "p: global os.system at byte 14 is refused");
  EXPECT_EQ(read("(ios\nsystem\n."), "p: opcode INST at byte 1 is refused");
  EXPECT_EQ(read("N)R."), "p: not a valid pickle: it calls something that has no name at byte 2");
  EXPECT_EQ(read("0"), "p: not a valid pickle: its stack is empty at byte 0");
  EXPECT_EQ(read("(N(0."), "p: not a valid pickle: its stack is empty at byte 3");
  EXPECT_EQ(read("t."), "p: not a valid pickle: a mark is missing at byte 0");
  EXPECT_EQ(read("Nb."), "p: not a valid pickle: its stack is empty at byte 1");
}

}  // namespace
}  // namespace mlxk
