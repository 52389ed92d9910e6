// Against Pillow: tests/data/images, made by tools/make_image_samples.py.
#include "media/image.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "media/exif.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

const fs::path kImages = fs::path(test_tree::kTestData) / "images";

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

DecodedImage decode_file(const fs::path& path) {
  return decode_image(bytes_of(read_file(path)), path.filename().string());
}

std::string sha256(const Image& image) {
  Digest digest(Digest::Kind::sha256);
  digest.add({reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()});
  return digest.hex();
}

TEST(Image, HasPillowsPixels) {
  int largest = 0;
  const Json all = read_json(kImages / "expected.json");
  for (const auto& [name, expected] : all.items()) {
    SCOPED_TRACE(name);
    Image image;
    ASSERT_NO_THROW(image = decode_file(kImages / name).image);
    ASSERT_EQ(image.width, expected["width"].get<int>());
    ASSERT_EQ(image.height, expected["height"].get<int>());
    if (!expected.contains("pixels")) {
      EXPECT_EQ(sha256(image), expected["sha256"].get<std::string>());
      continue;
    }
    const Image pixels = decode_file(kImages / expected["pixels"].get<std::string>()).image;
    ASSERT_EQ(image.rgb.size(), pixels.rgb.size());
    int apart = 0;
    for (size_t i = 0; i < image.rgb.size(); ++i) apart = std::max(apart, std::abs(image.rgb[i] - pixels.rgb[i]));
    EXPECT_LE(apart, 1);
    largest = std::max(largest, apart);
  }
  fmt::print("lossy files: at most {} apart\n", largest);
}

TEST(Image, HasTheMetadataOfItsExif) {
  const Json all = read_json(kImages / "expected.json");
  for (const auto& [name, expected] : all.items()) {
    SCOPED_TRACE(name);
    const ImageMetadata metadata = decode_file(kImages / name).metadata;
    EXPECT_EQ(metadata.camera, expected.value("camera", ""));
    EXPECT_EQ(metadata.date, expected.value("date", ""));
    ASSERT_EQ(metadata.position.has_value(), expected.contains("latitude"));
    if (!metadata.position) continue;
    EXPECT_NEAR(metadata.position->latitude, expected["latitude"].get<double>(), 1e-6);
    EXPECT_NEAR(metadata.position->longitude, expected["longitude"].get<double>(), 1e-6);
  }
}

TEST(Image, OfACameraIsPillows) {
  const fs::path folder = fs::path(test_tree::kSourceDir) / "../shared/assets/images";
  if (!fs::exists(folder / "coll2_1.jpeg")) GTEST_SKIP() << "no photos here";
  for (const auto& [name, digest, camera] : std::vector<std::tuple<const char*, const char*, const char*>>{
           {"coll2_1.jpeg", "3efdb20d17af52347bcb50cc3a1ec6cce580d26f21e9bb4ac817f731c4bc74d0",
            "iPhone SE (3rd generation)"},
           {"coll2_3.jpeg", "3b5c83ffec2270ce0a409dc2b02996aab3fe9fbe859228e082c304d65568d43f", "iPhone 13 Pro"},
           {"T1.png", "e993047b37f39c950793b0f7fae49d65bd973bb59dfab3eac843c261fd47023e", ""},
           {"T5.png", "6fa821af1b43415547fe861dd904ef175975f37c05b1fbd2906c64fdae06230a", ""}}) {
    SCOPED_TRACE(name);
    const DecodedImage decoded = decode_file(folder / name);
    EXPECT_EQ(sha256(decoded.image), digest);
    EXPECT_EQ(decoded.metadata.camera, camera);
  }
  const ImageMetadata metadata = decode_file(folder / "coll2_1.jpeg").metadata;
  EXPECT_EQ(metadata.date, "2025-05-11");
  ASSERT_TRUE(metadata.position);
  EXPECT_NEAR(metadata.position->latitude, 59.2856, 1e-4);
  EXPECT_NEAR(metadata.position->longitude, 18.1496, 1e-4);
}

/// Decodes or throws an Error that names the place; anything else fails.
void expect_image_or_error(const std::string& bytes) {
  try {
    decode_image(bytes_of(bytes), "here");
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("[here]"));
    EXPECT_TRUE(error.kind() == ErrorKind::invalid || error.kind() == ErrorKind::unsupported) << error.what();
  }
}

void expect_refusal(const std::string& bytes, const std::string& says, ErrorKind kind = ErrorKind::invalid) {
  try {
    decode_image(bytes_of(bytes), "here");
    ADD_FAILURE() << "no error that says: " << says;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_THAT(error.what(), HasSubstr("[here]"));
    EXPECT_THAT(error.what(), HasSubstr(says));
  }
}

TEST(Image, CutOffIsRefused) {
  for (const char* name : {"jpeg-420.jpg", "jpeg-progressive.jpg", "jpeg-restart.jpg", "png-RGB-8.png",
                           "png-RGBA-16-interlaced.png", "webp-lossy.webp", "webp-lossless.webp", "gif.gif",
                           "bmp-RGB.bmp", "bmp-rle8.bmp", "tiff-RGB.tif", "tiff-lzw.tif"}) {
    const std::string whole = read_file(kImages / name);
    SCOPED_TRACE(name);
    for (size_t size = 1; size < whole.size(); size += 1 + whole.size() / 40)
      expect_image_or_error(whole.substr(0, size));
    EXPECT_THROW(decode_image(bytes_of(whole.substr(0, whole.size() / 2)), "here"), Error);
  }
  expect_refusal(read_file(kImages / "jpeg-420.jpg").substr(0, 800), "cut off");
}

TEST(Image, LacksOnlyItsEndMarker) {
  std::string jpeg = read_file(kImages / "jpeg-420.jpg");
  const Image whole = decode_image(bytes_of(jpeg), "here").image;
  jpeg.resize(jpeg.size() - 2);
  EXPECT_EQ(decode_image(bytes_of(jpeg), "here").image.rgb, whole.rgb);
}

TEST(Image, DamagedBytesAreAnErrorOrAnImage) {
  for (const auto& entry : fs::directory_iterator(kImages)) {
    if (entry.path().extension() == ".json") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const std::string whole = read_file(entry.path());
    for (size_t at = 0; at < whole.size(); at += 1 + whole.size() / 24) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (at % 2 ? 0xff : 0x10));
      expect_image_or_error(damaged);
    }
  }
}

std::string big_endian(uint32_t value, int size) {
  std::string text;
  for (int i = size - 1; i >= 0; --i) text += static_cast<char>(value >> 8 * i & 0xff);
  return text;
}

TEST(Image, HeadersThatLieAboutTheSizeAreRefusedBeforeMemoryIsTaken) {
  std::string png = read_file(kImages / "png-RGB-8.png");
  const auto crc = [](const std::string& data) {
    uint32_t value = ~0U;
    for (const char c : data) {
      value ^= static_cast<uint8_t>(c);
      for (int i = 0; i < 8; ++i) value = value >> 1 ^ (value & 1 ? 0xedb88320U : 0);
    }
    return ~value;
  };
  for (const auto& [width, height, says] :
       std::vector<std::tuple<uint32_t, uint32_t, const char*>>{{65535, 65535, "65535 x 65535"},
                                                                {1, 1000000, "1 x 1000000"},
                                                                {1000000, 1, "1000000 x 1"},
                                                                {0x7fffffff, 0x7fffffff, ""}}) {
    png.replace(16, 8, big_endian(width, 4) + big_endian(height, 4));
    png.replace(29, 4, big_endian(crc(png.substr(12, 17)), 4));
    expect_refusal(png, says);
  }
  std::string jpeg = read_file(kImages / "jpeg-444.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  expect_refusal(jpeg.replace(frame + 5, 4, big_endian(65500, 2) + big_endian(65500, 2)), "65500 x 65500");
  std::string gif = read_file(kImages / "gif.gif");
  expect_refusal(gif.replace(6, 4, "\xff\xff\xff\xff"), "65535 x 65535");
  std::string bmp = read_file(kImages / "bmp-RGB.bmp");
  expect_refusal(bmp.replace(18, 8, std::string("\xff\xff\0\0\xff\xff\0\0", 8)), "65535 x 65535");
  // Within the limits, but without the data that the header claims.
  expect_refusal(read_file(kImages / "bmp-RGB.bmp").replace(18, 8, std::string("\0\x20\0\0\0\x20\0\0", 8)),
                 "ends early");
}

TEST(Image, MuchOutOfLittleIsRefusedByItsSize) {
  // A WebP of 16,383 x 16,383 in a few bytes.
  std::string webp("RIFF\0\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xfe\xbf\xff\x0f\0\0\0\0\0", 30);
  webp[4] = 22;
  expect_refusal(webp, "16383 x 16383");
}

TEST(Image, OfNoKnownKindIsRefused) {
  expect_refusal("", "empty");
  expect_refusal("just a text that somebody named .png", "this is not a PNG");
  expect_refusal(std::string("\xff\xd8\xff", 3), "JPEG");
}

/// A TIFF structure with `entries` (tag, type, count, value) in its first directory, and `next`.
std::string tiff(const std::vector<std::array<uint32_t, 4>>& entries, uint32_t next) {
  std::string text = "MM" + big_endian(42, 2) + big_endian(8, 4) + big_endian(static_cast<uint32_t>(entries.size()), 2);
  for (const auto& [tag, type, count, value] : entries)
    text += big_endian(tag, 2) + big_endian(type, 2) + big_endian(count, 4) + big_endian(value, 4);
  return text + big_endian(next, 4);
}

TEST(Image, TiffsWithAPaletteAreRefused) {
  constexpr uint32_t kOne = 1 << 16;  // a short is in the first two of its four bytes
  expect_refusal(tiff({{256, 3, 1, kOne},
                       {257, 3, 1, kOne},
                       {258, 3, 1, 8 * kOne},
                       {259, 3, 1, kOne},
                       {262, 3, 1, 3 * kOne},
                       {273, 4, 1, 0},
                       {277, 3, 1, kOne},
                       {278, 3, 1, kOne},
                       {279, 4, 1, 1}},
                      0),
                 "a TIFF with a palette is not supported", ErrorKind::unsupported);
}

std::string jpeg_with_exif(const std::string& exif) {
  const std::string body = std::string("Exif\0\0", 6) + exif;
  return "\xff\xd8\xff\xe1" + big_endian(static_cast<uint32_t>(body.size() + 2), 2) + body +
         read_file(kImages / "jpeg-444.jpg").substr(2);
}

TEST(Exif, DirectoriesThatLeadBackAreRefused) {
  expect_refusal(jpeg_with_exif(tiff({{34665, 4, 1, 8}}, 0)), "leads back to itself");
  expect_refusal(jpeg_with_exif(tiff({{34853, 4, 1, 8}}, 0)), "leads back to itself");
  expect_refusal(jpeg_with_exif(tiff({}, 8)), "leads back to itself");
}

TEST(Exif, EntriesThatMakeNoSenseAreLeftOut) {
  for (const auto& entry : std::vector<std::array<uint32_t, 4>>{{272, 2, 0xffffffff, 8},
                                                                {272, 2, 20, 0xfffffff0},
                                                                {272, 77, 1, 8},
                                                                {274, 3, 0, 0},
                                                                {274, 2, 1, 0},
                                                                {34665, 4, 1, 0xffffff00},
                                                                {34853, 4, 1, 3}}) {
    const Exif exif = parse_exif(bytes_of(tiff({entry}, 0)));
    EXPECT_EQ(exif.orientation, 1);
    EXPECT_EQ(exif.metadata.camera, "");
  }
  EXPECT_NO_THROW(decode_image(bytes_of(jpeg_with_exif("nonsense")), "here"));
}

TEST(Image, WorkThatNobodyWaitsForEnds) {
  struct Gone {};
  const std::string png = read_file(kImages / "jpeg-progressive.jpg");
  const StopScope scope([] { throw Gone(); });
  EXPECT_THROW(decode_image(bytes_of(png), "here"), Gone);
}

TEST(Image, HeicIsDecodedWhereLibheifIsAndRefusedByNameElsewhere) {
  const fs::path photo = fs::path(test_tree::kSourceDir) / "../shared/assets/images/photo.heic";
  std::string heic = std::string(
                         "\0\0\0\x18"
                         "ftypheic",
                         12) +
                     std::string(40, '\0');
  if (fs::exists(photo)) heic = read_file(photo);
  try {
    const DecodedImage decoded = decode_image(bytes_of(heic), "here");
    EXPECT_GT(decoded.image.width, 100);
    EXPECT_EQ(decoded.image.rgb.size(),
              size_t{3} * static_cast<size_t>(decoded.image.width) * static_cast<size_t>(decoded.image.height));
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("HEIC"));
    if (fs::exists(photo)) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported) << error.what();
    }
  }
}

}  // namespace
}  // namespace mlxk
