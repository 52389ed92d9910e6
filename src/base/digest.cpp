#include "base/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <fstream>
#include <vector>

#include "base/error.h"

namespace mlxk {

namespace {
EVP_MD_CTX* context_of(const std::shared_ptr<void>& context) { return static_cast<EVP_MD_CTX*>(context.get()); }
}  // namespace

Digest::Digest(Kind kind)
    : context_(EVP_MD_CTX_new(), [](void* context) { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }) {
  const EVP_MD* method = kind == Kind::sha1 ? EVP_sha1() : EVP_sha256();
  if (!context_ || EVP_DigestInit_ex(context_of(context_), method, nullptr) != 1) {
    throw Error(ErrorKind::internal, "this machine's OpenSSL lacks a hash that is needed");
  }
}

Digest& Digest::add(std::string_view bytes) {
  EVP_DigestUpdate(context_of(context_), bytes.data(), bytes.size());
  return *this;
}

std::string Digest::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context_of(context_), digest, &length);
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

FileHashes hash_file(const std::filesystem::path& path, bool with_git_hash,
                     const std::function<void(uint64_t)>& on_bytes) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (!file || error) throw Error(ErrorKind::io, fmt::format("cannot read {}", path.string()));
  Digest content(Digest::Kind::sha256), git(Digest::Kind::sha1);
  git.add(fmt::format("blob {}", size)).add({"\0", 1});
  std::vector<char> buffer(size_t{1} << 20);
  FileHashes hashes;
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    const std::string_view bytes(buffer.data(), static_cast<size_t>(file.gcount()));
    content.add(bytes);
    if (with_git_hash) git.add(bytes);
    hashes.size += bytes.size();
    if (on_bytes) on_bytes(bytes.size());
  }
  if (file.bad()) throw Error(ErrorKind::io, fmt::format("cannot read {}", path.string()));
  hashes.sha256 = content.hex();
  if (with_git_hash) hashes.git_hash = git.hex();
  return hashes;
}

FileHashes hash_bytes(std::string_view bytes) {
  Digest content(Digest::Kind::sha256), git(Digest::Kind::sha1);
  git.add(fmt::format("blob {}", bytes.size())).add({"\0", 1}).add(bytes);
  return {bytes.size(), content.add(bytes).hex(), git.hex()};
}

}  // namespace mlxk
