#include "server/access_guard.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "json/json.h"

namespace mlxk {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

HttpRequest request(const std::string& method, Fields fields) {
  HttpRequest head;
  head.method = method;
  head.path = "/v1/models";
  head.remote = "127.0.0.1:1";
  for (auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}

class AccessGuardTest : public ::testing::Test {
 protected:
  /// The status of the refusal; 0: it passes.
  static int status(const AccessGuard& guard, const HttpRequest& head, Scope scope = Scope::inference) {
    std::string key_id;
    const auto refusal = guard.check(head, scope, key_id);
    return refusal ? refusal->status : 0;
  }
  static std::string header(const AccessGuard& guard, const HttpRequest& head, const std::string& name) {
    HttpResponse response;
    guard.decorate(head, response);
    return std::string(response.headers.find(name).value_or(""));
  }
  static KeyRing ring() {
    KeyRing keys;
    keys.add_lines("bob:bobs-secret-key\nops:operators-key:admin", "test");
    return keys;
  }
  AccessGuard open_{{.host = "127.0.0.1"}, {}};
};

TEST_F(AccessGuardTest, AHostThatIsNotOursIsRefusedAsRebound) {
  for (const char* host :
       {"localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.5", "localhost.:80"}) {
    EXPECT_EQ(status(open_, request("GET", {{"Host", host}})), 0) << host;
  }
  for (const char* host :
       {"evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil",
        "[::1].evil", "0x7f.1", "localhost:80:80", "[::1", "", "localhost, evil.example"}) {
    EXPECT_EQ(status(open_, request("GET", {{"Host", host}})), 403) << host;
  }
  EXPECT_EQ(status(open_, request("GET", {{"Host", "localhost"}, {"host", "localhost"}})), 403);
  const AccessGuard named({.host = "box.lan", .allowed_hosts = {"models.example"}}, {});
  EXPECT_EQ(status(named, request("GET", {{"Host", "models.example"}})), 0);
  EXPECT_EQ(status(named, request("GET", {{"Host", "box.lan:80"}})), 0);
  const AccessGuard any({.host = "", .allowed_hosts = {"*"}}, {});
  EXPECT_EQ(status(any, request("GET", {{"Host", "anything"}})), 0);
}

TEST_F(AccessGuardTest, APageOfAnotherOriginStartsNothing) {
  for (const char* origin :
       {"https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:80", "file://"}) {
    EXPECT_EQ(status(open_, request("POST", {{"Host", "127.0.0.1:8000"}, {"Origin", origin}})), 403) << origin;
    EXPECT_EQ(header(open_, request("GET", {{"Origin", origin}}), "Access-Control-Allow-Origin"), "") << origin;
  }
  EXPECT_EQ(status(open_, request("POST", {{"Host", "127.0.0.1:8000"}, {"Origin", "http://127.0.0.1:8000"}})), 0);
  EXPECT_EQ(status(open_, request("POST", {{"Host", "127.0.0.1:8000"}})), 0) << "no browser";
  EXPECT_EQ(status(open_, request("POST", {{"Host", "127.0.0.1:8000"}, {"Sec-Fetch-Site", "cross-site"}})), 403);
}

TEST_F(AccessGuardTest, AListedOriginMayAskWithoutCredentials) {
  const AccessGuard guard({.host = "127.0.0.1", .cors_origins = {"https://Chat.example"}}, ring());
  const Fields preflight = {
      {"Host", "localhost"}, {"Origin", "https://chat.example"}, {"Access-Control-Request-Method", "POST"}};
  EXPECT_EQ(status(guard, request("OPTIONS", preflight)), 204) << "a preflight has no key";
  EXPECT_EQ(header(guard, request("OPTIONS", preflight), "Access-Control-Allow-Origin"), "https://chat.example");
  EXPECT_EQ(header(guard, request("OPTIONS", preflight), "Access-Control-Allow-Credentials"), "");
  EXPECT_EQ(header(guard, request("GET", {}), "Vary"), "Origin");
  EXPECT_EQ(header(guard, request("POST", {{"Origin", "https://chat.example"}}), "Access-Control-Expose-Headers"),
            "X-Request-ID, Retry-After, WWW-Authenticate, Allow");
  const Fields other = {
      {"Host", "localhost"}, {"Origin", "https://evil.example"}, {"Access-Control-Request-Method", "POST"}};
  EXPECT_EQ(status(guard, request("OPTIONS", other)), 403);
  EXPECT_EQ(status(guard, request("OPTIONS", {{"Origin", "null"}, {"Access-Control-Request-Method", "POST"}})), 403);
  EXPECT_EQ(header(guard, request("OPTIONS", other), "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(status(guard, request("POST", {{"Origin", "https://chat.example"}})), 401)
      << "the key is needed all the same";
}

TEST_F(AccessGuardTest, AListedOriginIsAllowedTheHeadersThatItAsksFor) {
  const AccessGuard guard({.host = "127.0.0.1", .cors_origins = {"https://chat.example"}}, {});
  const auto allowed = [&](const std::string& asked, const char* name = "Access-Control-Allow-Headers") {
    std::string key_id;
    Fields fields = {
        {"Host", "localhost"}, {"Origin", "https://chat.example"}, {"Access-Control-Request-Method", "POST"}};
    fields.emplace_back("Access-Control-Request-Headers", asked);
    fields.emplace_back("Access-Control-Request-Private-Network", "true");
    const auto answer = guard.check(request("OPTIONS", fields), Scope::inference, key_id);
    return std::string(answer->headers.find(name).value_or(""));
  };
  EXPECT_EQ(allowed("authorization,content-type, x-stainless-os"), "authorization,content-type, x-stainless-os");
  EXPECT_EQ(allowed("x-a", "Access-Control-Allow-Private-Network"), "true");
  EXPECT_EQ(allowed("x-a", "Vary"), "Access-Control-Request-Headers");
  EXPECT_EQ(allowed(""), "");
  EXPECT_EQ(allowed("x-a; <script>"), "") << "these are no names of headers";
}

TEST_F(AccessGuardTest, ARefusalNamesWhatItRefusesAndTheFlagThatAllowsIt) {
  const auto message = [&](const Fields& fields) {
    std::string key_id;
    const auto refusal = open_.check(request("POST", fields), Scope::inference, key_id);
    return Json::parse(refusal->body)["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(message({{"Host", "host.docker.internal:8000"}}),
            "The host \"host.docker.internal:8000\" is not allowed; start the server with --allowed-host "
            "host.docker.internal to allow it");
  EXPECT_EQ(message({{"Host", "a;reboot"}}), "The host \"a;reboot\" is not allowed");
  EXPECT_EQ(message({{"Host", "a b:c"}}), "The host \"a b:c\" is not allowed");
  EXPECT_EQ(message({{"Host", "localhost"}, {"Origin", "http://app.example"}}),
            "Requests from the origin \"http://app.example\" are not allowed; start the server with --cors-origin "
            "http://app.example to allow them");
  EXPECT_EQ(message({{"Host", "localhost"}, {"Origin", "null"}}),
            "Requests from the origin \"null\" are not allowed; start the server with --cors-origin '*' to allow them");
  EXPECT_EQ(message({{"Host", "localhost"}, {"Sec-Fetch-Site", "cross-site"}}),
            "Requests from other sites are not allowed; start the server with --cors-origin '*' to allow them");
}

TEST_F(AccessGuardTest, AnyOriginIsNeverReflected) {
  const AccessGuard guard({.host = "127.0.0.1", .cors_origins = {"*"}}, ring());
  EXPECT_EQ(header(guard, request("GET", {{"Origin", "https://a.example"}}), "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(header(guard, request("GET", {{"Origin", "null"}}), "Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(header(guard, request("GET", {{"Origin", "null"}}), "Access-Control-Allow-Credentials"), "");
}

TEST_F(AccessGuardTest, WhatIsNoOriginIsRefusedAtTheStart) {
  for (const char* origin : {"example.org", "null", "https://a/b", "https://", "https://*.a", "https://a, https://b"}) {
    EXPECT_THROW(AccessGuard({.host = "", .cors_origins = {origin}}, {}), Error) << origin;
  }
}

TEST_F(AccessGuardTest, EveryRouteWantsAKeyWithItsScope) {
  const AccessGuard guard({.host = "127.0.0.1"}, ring());
  const auto with = [&](const std::string& name, const std::string& value) { return request("GET", {{name, value}}); };
  EXPECT_EQ(status(guard, request("GET", {})), 401);
  EXPECT_EQ(status(guard, with("Authorization", "Bearer bobs-secret-key")), 0);
  EXPECT_EQ(status(guard, with("authorization", "bearer  bobs-secret-key")), 0);
  EXPECT_EQ(status(guard, with("X-API-Key", "bobs-secret-key")), 0);
  for (const char* wrong : {"Bearer", "Bearer ", "Bearer bobs-secret-ke", "Bearer bobs-secret-key2",
                            "Basic bobs-secret-key", "bobs-secret-key"}) {
    EXPECT_EQ(status(guard, with("Authorization", wrong)), 401) << wrong;
  }
  EXPECT_EQ(status(guard, with("X-API-Key", "bobs-secret-key"), Scope::admin), 403);
  EXPECT_EQ(status(guard, with("X-API-Key", "operators-key"), Scope::admin), 0);
  EXPECT_EQ(status(guard, with("X-API-Key", "operators-key"), Scope::inference), 403);
}

TEST_F(AccessGuardTest, ARefusalSaysNoKeyAndAPassedRequestItsName) {
  const AccessGuard guard({.host = "127.0.0.1"}, ring());
  std::string key_id;
  const auto refusal = guard.check(request("GET", {{"X-API-Key", "a-wrong-secret"}}), Scope::inference, key_id);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->body.find("a-wrong-secret"), std::string::npos);
  EXPECT_EQ(refusal->headers.find("WWW-Authenticate"), "Bearer");
  EXPECT_FALSE(guard.check(request("GET", {{"X-API-Key", "bobs-secret-key"}}), Scope::inference, key_id));
  EXPECT_EQ(key_id, "bob");
}

TEST_F(AccessGuardTest, KeysCanBeExchanged) {
  AccessGuard guard({.host = "127.0.0.1"}, ring());
  KeyRing other;
  other.add_lines("carol:carols-secret-key", "test");
  guard.set_keys(std::move(other));
  EXPECT_EQ(status(guard, request("GET", {{"X-API-Key", "bobs-secret-key"}})), 401);
  EXPECT_EQ(status(guard, request("GET", {{"X-API-Key", "carols-secret-key"}})), 0);
}

}  // namespace
}  // namespace mlxk
