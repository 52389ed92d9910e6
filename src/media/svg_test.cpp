#include "media/svg.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "media/image.h"

namespace mlxk {
namespace {

std::string drawing(const std::string& body) {
  return R"(<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20" font-family="sans-serif" font-size="16">)"
         R"(<rect width="60" height="20" fill="#fff"/>)" +
         body + "</svg>";
}

/// Dark pixels of a drawing.
size_t ink(const std::string& body, double scale = 1) {
  const std::string png = svg_to_png(drawing(body), scale);
  const Image image = decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "test").image;
  EXPECT_EQ(image.width, static_cast<int>(60 * scale));
  EXPECT_EQ(image.height, static_cast<int>(20 * scale));
  return static_cast<size_t>(
             std::count_if(image.rgb.begin(), image.rgb.end(), [](uint8_t value) { return value < 128; })) /
         3;
}

TEST(SvgToPng, DrawsShapesAtAScale) {
  EXPECT_EQ(ink(R"(<rect width="10" height="10"/>)"), 100u);
  EXPECT_EQ(ink(R"(<rect width="10" height="10"/>)", 2), 400u);
}

TEST(SvgToPng, TextIsSetAlsoBesideCharactersThatTheFontLacks) {
  const size_t text = ink(R"(<text x="2" y="16">Text</text>)");
  EXPECT_GT(text, 40u);
  EXPECT_GE(ink(R"(<text x="2" y="16">Text</text><text x="2" y="16">日</text>)"), text);
}

TEST(SvgToPng, RefusesWhatIsNoSvg) {
  EXPECT_THROW(svg_to_png("<html/>", 1), Error);
  EXPECT_THROW(svg_to_png("\xff", 1), Error);
  EXPECT_THROW(svg_to_png(drawing(""), 1e6), Error);
}

}  // namespace
}  // namespace mlxk
