#include "http/client.h"

#include <gtest/gtest.h>

#include "http/url.h"

namespace mlxk {
namespace {

TEST(Url, OriginLeavesOutWhatIsSecret) {
  EXPECT_EQ(url_origin("https://user:pass@Hub.Example:443/a?token=x#y"), "https://hub.example");
  EXPECT_EQ(url_origin("http://127.0.0.1:8080/a"), "http://127.0.0.1:8080");
  EXPECT_EQ(url_origin("file:///etc/passwd"), "");
  EXPECT_EQ(url_origin("nonsense"), "");
  EXPECT_EQ(url_origin(""), "");
}

TEST(Url, AnotherPortOrSchemeIsAnotherOrigin) {
  EXPECT_EQ(parse_origin("https://a/x"), parse_origin("https://A:443/y"));
  EXPECT_FALSE(parse_origin("https://a") == parse_origin("http://a"));
  EXPECT_FALSE(parse_origin("https://a") == parse_origin("https://a:444"));
  EXPECT_FALSE(parse_origin("https://a.b") == parse_origin("https://a.b.c"));
}

TEST(Url, RedirectsMayBeRelative) {
  EXPECT_EQ(resolve_url("https://a/b/c?d", "/e"), "https://a/e");
  EXPECT_EQ(resolve_url("https://a/b/c", "e?f"), "https://a/b/e?f");
  EXPECT_EQ(resolve_url("https://a/b", "https://c/d"), "https://c/d");
  EXPECT_EQ(parse_origin(resolve_url("https://a/b", "file:///c")).scheme, "");
}

TEST(Url, EncodesWhatIsNotPlain) {
  EXPECT_EQ(url_encode("a b/ü?#%&+~"), "a%20b%2F%C3%BC%3F%23%25%26%2B~");
  EXPECT_EQ(url_encode("a/b", true), "a/b");
}

TEST(Headers, AreFoundWhateverTheirCase) {
  const HttpHeaders headers = {{"Content-Length", "5"}};
  EXPECT_EQ(header_value(headers, "content-length"), "5");
  EXPECT_EQ(header_value(headers, "content"), "");
}

TEST(Client, AnAddressThatIsNoneIsAFailureOfNoUseToRepeat) {
  HttpClient client;
  for (const char* url : {"", "ftp://127.0.0.1/x", "file:///etc/passwd"}) {
    const HttpReply response = client.send({.url = url});
    EXPECT_FALSE(response.failure.empty()) << url;
    EXPECT_FALSE(response.transient) << url << ": " << response.failure;
    EXPECT_EQ(response.body, "");
  }
}

TEST(Client, NobodyThereMayChange) {
  HttpClient client;
  const HttpReply response = client.send({.url = "http://127.0.0.1:1/secret?x=secret"});
  EXPECT_TRUE(response.transient);
  EXPECT_EQ(response.failure.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace mlxk
