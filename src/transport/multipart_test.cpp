#include "transport/multipart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

constexpr const char* kType = "multipart/form-data; boundary=XX";

struct Part {
  PartHead head;
  std::string bytes;
  bool ended = false;
};

class Parts : public PartSink {
 public:
  void begin(const PartHead& head) override { parts.push_back({head, {}, false}); }
  void take(std::string_view bytes) override {
    EXPECT_FALSE(bytes.empty());
    parts.back().bytes += bytes;
  }
  void end() override { parts.back().ended = true; }
  std::vector<Part> parts;
};

std::vector<Part> parse(const std::string& body, size_t piece = SIZE_MAX, const std::string& type = kType) {
  Parts parts;
  MultipartParser parser(type, parts);
  for (size_t at = 0; at < body.size();) {
    const auto bytes = body.substr(at, piece);
    parser.take(bytes);
    at += bytes.size();
  }
  parser.finish();
  return parts.parts;
}

std::string refusal(const std::string& body, const std::string& type = kType) {
  try {
    parse(body, SIZE_MAX, type);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "no refusal";
}

std::string part(const std::string& disposition, const std::string& bytes = "x") {
  return "--XX\r\nContent-Disposition: " + disposition + "\r\n\r\n" + bytes + "\r\n";
}

TEST(Multipart, ReadsAFormHoweverItIsCut) {
  const std::string audio = std::string("RIFF\0\r\n--X\r\n--X\r\r\n-", 19) + "-";
  const std::string body = "a preamble\r\n--XX  \r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n" +
                           std::string(
                               "--XX\r\nContent-Disposition: form-data; name=file; filename=\"a \\\"b\\\".wav\"\r\n"
                               "Content-Type: audio/wav\r\n\r\n") +
                           audio + "\r\n" + part("form-data; name=\"empty\"", "") + "--XX--\r\nan epilogue --XX\r\n";
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{64}, SIZE_MAX}) {
    const auto parts = parse(body, piece);
    ASSERT_EQ(parts.size(), 3u) << piece;
    EXPECT_EQ(parts[0].head.name, "model");
    EXPECT_FALSE(parts[0].head.is_file);
    EXPECT_EQ(parts[0].bytes, "whisper");
    EXPECT_EQ(parts[1].head.name, "file");
    EXPECT_EQ(parts[1].head.filename, "a \"b\".wav");
    EXPECT_EQ(parts[1].head.content_type, "audio/wav");
    EXPECT_TRUE(parts[1].head.is_file);
    EXPECT_EQ(parts[1].bytes, audio);
    EXPECT_EQ(parts[2].bytes, "");
    for (const auto& one : parts) EXPECT_TRUE(one.ended);
  }
}

TEST(Multipart, TakesAQuotedBoundaryAndAnEmptyForm) {
  EXPECT_TRUE(parse("--a b:c--", 1, "Multipart/Form-Data; charset=utf-8; Boundary=\"a b:c\"").empty());
}

TEST(Multipart, RefusesOtherTypesAndBoundaries) {
  for (const char* type : {"", "text/plain", "application/json", "multipart/mixed; boundary=XX", "multipart/form-data",
                           "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a",
                           "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=a\"b",
                           "multipart/form-data; boundary=\"a \""}) {
    EXPECT_THAT(refusal("--XX--", type), HasSubstr("[Content-Type]")) << type;
  }
  EXPECT_THAT(refusal("", "multipart/form-data; boundary=" + std::string(71, 'a')), HasSubstr("boundary"));
}

TEST(Multipart, RefusesATruncatedBody) {
  const std::string whole = part("form-data; name=\"a\"", "hello") + "--XX--";
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(refusal(whole.substr(0, size)), HasSubstr("[multipart]")) << size;
  }
  EXPECT_EQ(refusal(whole), "no refusal");
  EXPECT_EQ(refusal("no boundary at all"), "[multipart] the body holds no boundary \"XX\"");
}

TEST(Multipart, RefusesTooManyParts) {
  std::string body;
  for (int i = 0; i < 100'000; ++i) body += part("form-data; name=\"a\"");
  EXPECT_EQ(refusal(body + "--XX--"), "[multipart] may have 64 parts, got more");
}

TEST(Multipart, KeepsTheLastPartOfAFilename) {
  const std::string folders(300, 'd');
  for (const auto& [sent, kept] : std::vector<std::pair<std::string, std::string>>{{"../../etc/passwd", "passwd"},
                                                                                   {"/home/me/talk.wav", "talk.wav"},
                                                                                   {"C:\\\\me\\\\x.wav", "x.wav"},
                                                                                   {"C:\\x.wav", "x.wav"},
                                                                                   {folders + "/a.wav", "a.wav"},
                                                                                   {"a/..", ""},
                                                                                   {"a/", ""},
                                                                                   {"..", ""}}) {
    const auto parts = parse(part("form-data; name=a; filename=\"" + sent + "\"") + "--XX--", SIZE_MAX);
    ASSERT_EQ(parts.size(), 1u) << sent;
    EXPECT_EQ(parts[0].head.filename, kept) << sent;
    EXPECT_TRUE(parts[0].head.is_file);
  }
}

TEST(Multipart, RefusesMalformedHeaders) {
  EXPECT_THAT(refusal("--XX\r\n\r\nx\r\n--XX--"), HasSubstr("part 1 has no Content-Disposition"));
  EXPECT_THAT(refusal(part("attachment; name=a")), HasSubstr("malformed Content-Disposition"));
  EXPECT_THAT(refusal(part("form-data")), HasSubstr("has no name"));
  EXPECT_THAT(refusal(part("form-data; name=\"\"")), HasSubstr("has no name"));
  EXPECT_THAT(refusal(part("form-data; name=a; name=b")), HasSubstr("malformed"));
  EXPECT_THAT(refusal(part("form-data; name=\"a")), HasSubstr("malformed"));
  EXPECT_THAT(refusal(part("form-data; name=a\r\nno colon")), HasSubstr("malformed header"));
  EXPECT_THAT(refusal(part("form-data; name=a\r\nContent-Disposition: form-data; name=b")), HasSubstr("malformed"));
  EXPECT_THAT(refusal(part(std::string("form-data; name=\"a\0b\"", 21))), HasSubstr("control characters"));
  EXPECT_THAT(refusal(part("form-data; name=a\r\nContent-Transfer-Encoding: base64")), HasSubstr("transfer encoding"));
  EXPECT_THAT(refusal(part("form-data; name=" + std::string(257, 'a'))), HasSubstr("256 bytes, got 257"));
  EXPECT_THAT(refusal("--XX\r\nA: " + std::string(9'000, 'a')), HasSubstr("8192 bytes of headers"));
  EXPECT_THAT(refusal("--XXmore\r\n"), HasSubstr("boundary whose line goes on"));
  EXPECT_THAT(refusal("--XX" + std::string(9'000, ' ')), HasSubstr("line does not end"));
}

}  // namespace
}  // namespace mlxk
