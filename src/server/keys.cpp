#include "server/keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace mlxk {

namespace {

constexpr size_t kShortestKey = 8, kLongestKey = 512;
constexpr uint64_t kLargestFile = 1 << 20;

std::array<unsigned char, 32> digest_of(std::string_view secret) {
  std::array<unsigned char, 32> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest.data());
  return digest;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  return first == text.npos ? std::string_view{} : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Takes the piece before `separator` off `rest`.
std::string_view take(std::string_view& rest, char separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view piece = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return piece;
}

[[noreturn]] void refuse(std::string_view place, std::string_view what) {
  throw Error(ErrorKind::invalid, fmt::format("{}: {}", place, what));
}

}  // namespace

void KeyRing::add(std::string_view line, std::string_view place) {
  const auto colons = std::count(line.begin(), line.end(), ':');
  if (colons > 2) refuse(place, "a line has more than two colons; expected key, name:key or name:key:scopes");
  const std::string_view name = colons > 0 ? trimmed(take(line, ':')) : std::string_view{};
  const std::string_view secret = trimmed(take(line, ':'));
  if (colons > 0 && name.empty()) refuse(place, "the name is empty");
  if (secret.size() < kShortestKey || secret.size() > kLongestKey) {
    refuse(place, fmt::format("a key must have {} to {} characters, got {}", kShortestKey, kLongestKey, secret.size()));
  }
  log::hide(std::string(secret));  // not a shorter one: it may be a word, and no message has it
  if (!std::all_of(secret.begin(), secret.end(), [](char c) { return c > ' ' && c < 0x7f; })) {
    refuse(place, "a key must consist of printable ASCII characters without blanks");
  }
  ApiKey key;
  key.digest = digest_of(secret);
  key.id = name.empty()
               ? fmt::format("key-{:02x}{:02x}{:02x}{:02x}", key.digest[0], key.digest[1], key.digest[2], key.digest[3])
               : std::string(name);
  key.inference = colons < 2;
  for (std::string_view scopes = line; !scopes.empty();) {
    const std::string_view scope = trimmed(take(scopes, ','));
    if (scope == "inference") {
      key.inference = true;
    } else if (scope == "admin") {
      key.admin = true;
    } else {
      refuse(place, fmt::format("a scope must be inference or admin, got '{}'", scope));
    }
  }
  if (!key.inference && !key.admin) refuse(place, "there is no scope after the second colon");
  for (const ApiKey& other : keys_) {
    if (other.digest == key.digest) refuse(place, fmt::format("the same key as that of '{}'", other.id));
    if (other.id == key.id) refuse(place, fmt::format("a second key named '{}'", key.id));
  }
  keys_.push_back(std::move(key));
}

void KeyRing::add_lines(std::string_view text, std::string_view origin) {
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = trimmed(take(text, '\n'));
    if (!line.empty() && line.front() != '#') add(line, fmt::format("{}:{}", origin, number));
  }
}

const ApiKey* KeyRing::find(std::string_view secret) const {
  const auto digest = digest_of(secret);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_) {  // all of them: constant time
    if (CRYPTO_memcmp(key.digest.data(), digest.data(), digest.size()) == 0) found = &key;
  }
  return found;
}

KeyRing read_keys(const std::string& file) {
  KeyRing keys;
  if (!file.empty()) {
    struct stat facts{};
    if (stat(file.c_str(), &facts) == 0 && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
      log::warn(fmt::format("other users can read the keys in {}; run chmod 600", file));
    }
    keys.add_lines(read_file(file, kLargestFile), file);
  }
  for (const char* name : {"MLXK_API_KEY", "MLXK_API_KEYS"}) {
    const char* value = std::getenv(name);
    if (!value) continue;
    std::string lines = value;
    std::replace_if(lines.begin(), lines.end(), [](char c) { return c == ' ' || c == '\t'; }, '\n');
    keys.add_lines(lines, name);
  }
  return keys;
}

}  // namespace mlxk
