// The hub's commit protocol: preupload, the LFS batch API (basic and multipart), then one commit.
#include "hub/push.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr size_t kFilesAtOnce = 256;  // of one preupload or batch request
constexpr size_t kSampleBytes = 512;
constexpr uint64_t kMaxRegularBytes = uint64_t{64} << 20;  // of one file inside the commit
constexpr uint64_t kMaxPartBytes = uint64_t{1} << 30;
constexpr const char* kLfsType = "application/vnd.git-lfs+json";

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

std::string read_range(const fs::path& path, uint64_t offset, uint64_t size) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::string bytes(size, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size)
    throw Error(ErrorKind::io, fmt::format("{} became shorter during the push", path.string()));
  return bytes;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::strict); }

class Push {
 public:
  Push(HubClient& hub, const PushPlan& plan, const PushProgress& progress)
      : hub_(hub), plan_(plan), request_(plan.request), progress_(progress) {
    files_ = plan.added;
    files_.insert(files_.end(), plan.modified.begin(), plan.modified.end());
  }

  PushResult run(bool is_private) {
    if (!plan_.repo_exists) create_repo(is_private);
    if (!plan_.branch_exists && !(result_.created_repo && request_.branch == "main")) create_branch();
    choose_modes();
    send_large();
    commit();
    return result_;
  }

 private:
  std::string repo_path() const { return url_encode(request_.repo, true); }

  HttpReply post(const std::string& path, const std::string& body, const std::string& type = "application/json") {
    HttpCall request = hub_.api_request(path);
    request.method = "POST";
    request.headers.push_back("Content-Type: " + type);
    if (type == kLfsType) request.headers.push_back(std::string("Accept: ") + kLfsType);
    request.body = body;
    return hub_.send(request);
  }

  Json answer_of(const HttpReply& response, const char* what) {
    if (!response.ok()) hub_.refuse(response, request_.repo, request_.branch);
    return parse_json(response.body, fmt::format("the hub's answer to {}", what));
  }

  void create_repo(bool is_private) {
    if (!request_.create) {
      throw Error(ErrorKind::not_found, fmt::format("Repository not found: {} (use --create)", request_.repo));
    }
    const size_t slash = request_.repo.find('/');
    Json body = {{"name", slash == std::string::npos ? request_.repo : request_.repo.substr(slash + 1)},
                 {"organization", slash == std::string::npos ? Json() : Json(request_.repo.substr(0, slash))},
                 {"type", "model"},
                 {"private", is_private},
                 {"visibility", is_private ? "private" : "public"}};
    const HttpReply response = post("/api/repos/create", dump(body));
    if (!response.ok() && response.status != 409) hub_.refuse(response, request_.repo, "");  // 409: made meanwhile
    result_.created_repo = true;
  }

  void create_branch() {
    if (!request_.create) {
      throw Error(ErrorKind::no_revision,
                  fmt::format("Branch '{}' not found in {} (use --create)", request_.branch, request_.repo));
    }
    const HttpReply response =
        post(fmt::format("/api/models/{}/branch/{}", repo_path(), url_encode(request_.branch)), "{}");
    if (!response.ok() && response.status != 409) hub_.refuse(response, request_.repo, request_.branch);
    result_.created_branch = true;
  }

  std::string read(const LocalFile& file, uint64_t offset, uint64_t size) const {
    return file.content ? file.content->substr(offset, size) : read_range(request_.folder / file.path, offset, size);
  }

  /// Asks which files go to the LFS store, and which not at all.
  void choose_modes() {
    for (size_t begin = 0; begin < files_.size(); begin += kFilesAtOnce) {
      Json files = Json::array();
      for (size_t i = begin; i < std::min(begin + kFilesAtOnce, files_.size()); ++i) {
        const std::string sample = read(files_[i], 0, std::min<uint64_t>(files_[i].size, kSampleBytes));
        files.push_back({{"path", files_[i].path}, {"sample", base64(sample)}, {"size", files_[i].size}});
      }
      const Json answer =
          answer_of(post(fmt::format("/api/models/{}/preupload/{}", repo_path(), url_encode(request_.branch)),
                         dump({{"files", files}})),
                    "what is uploaded how");
      for (const Json& entry : value_at(answer, "files")) {
        const std::string path = string_at(entry, "path");
        if (value_at(entry, "shouldIgnore") == true) ignored_.insert(path);
        if (string_at(entry, "uploadMode") == "lfs") large_.insert(path);
      }
    }
  }

  void send_large() {
    std::vector<const LocalFile*> waiting;
    for (const auto& file : files_) {
      if (!large_.count(file.path) || ignored_.count(file.path)) continue;
      waiting.push_back(&file);
      total_ += file.size;
    }
    for (size_t begin = 0; begin < waiting.size(); begin += kFilesAtOnce) {
      std::map<std::string, const LocalFile*> by_hash;
      Json objects = Json::array();
      for (size_t i = begin; i < std::min(begin + kFilesAtOnce, waiting.size()); ++i) {
        if (by_hash.emplace(waiting[i]->sha256, waiting[i]).second) {
          objects.push_back({{"oid", waiting[i]->sha256}, {"size", waiting[i]->size}});
        } else {
          done_ += waiting[i]->size;
        }
      }
      const Json body = {{"operation", "upload"},
                         {"transfers", {"basic", "multipart"}},
                         {"objects", objects},
                         {"hash_algo", "sha256"},
                         {"ref", {{"name", request_.branch}}}};
      const Json answer = answer_of(
          post(fmt::format("/{}.git/info/lfs/objects/batch", repo_path()), dump(body), kLfsType), "an LFS batch");
      for (const Json& object : value_at(answer, "objects")) {
        const auto found = by_hash.find(string_at(object, "oid"));
        if (found == by_hash.end()) continue;
        if (const Json& error = value_at(object, "error"); !error.is_null()) {
          throw Error(ErrorKind::network,
                      fmt::format("the hub refuses {}: {}", found->second->path, string_at(error, "message")));
        }
        send_object(*found->second, value_at(object, "actions"));
        by_hash.erase(found);
      }
      if (!by_hash.empty()) {
        throw Error(ErrorKind::network, fmt::format("the hub's answer lacks {}", by_hash.begin()->second->path));
      }
    }
  }

  void send_object(const LocalFile& file, const Json& actions) {
    const Json& upload = value_at(actions, "upload");
    if (upload.is_null()) {  // the store has the file
      done_ += file.size;
      return;
    }
    const std::string address = string_at(upload, "href");
    const Json& header = value_at(upload, "header");
    const Json& part_size = value_at(header, "chunk_size");
    if (part_size.is_null()) {
      put(file, address, 0, file.size);
    } else {
      send_parts(file, address, header,
                 part_size.is_string()            ? std::strtoull(part_size.get<std::string>().c_str(), nullptr, 10)
                 : part_size.is_number_unsigned() ? part_size.get<uint64_t>()
                                                  : 0);
    }
    if (const Json& verify = value_at(actions, "verify"); !verify.is_null()) {
      HttpCall request = hub_.api_request("");
      request.url = string_at(verify, "href");
      // Only the hub may get the token.
      if (url_origin(request.url) != url_origin(hub_.settings().endpoint)) request.authorization.clear();
      request.method = "POST";
      request.headers.push_back("Content-Type: application/json");
      request.body = dump({{"oid", file.sha256}, {"size", file.size}});
      if (!hub_.send(request).ok())
        throw Error(ErrorKind::network, fmt::format("the hub could not verify {}", file.path));
    }
  }

  void send_parts(const LocalFile& file, const std::string& address, const Json& header, uint64_t part_bytes) {
    const uint64_t count = part_bytes ? (file.size + part_bytes - 1) / part_bytes : 0;
    if (part_bytes == 0 || part_bytes > kMaxPartBytes) {
      throw Error(ErrorKind::network, fmt::format("the hub wants {} in parts of {} bytes", file.path, part_bytes));
    }
    std::map<uint64_t, std::string> addresses;  // the keys are numbers, padded with zeros
    for (const auto& [key, value] : header.items()) {
      if (!key.empty() && key.find_first_not_of("0123456789") == key.npos && value.is_string()) {
        addresses[std::strtoull(key.c_str(), nullptr, 10)] = value.get<std::string>();
      }
    }
    Json parts = Json::array();
    for (uint64_t i = 0; i < count; ++i) {
      const auto part = addresses.find(i + 1);
      if (part == addresses.end())
        throw Error(ErrorKind::network, fmt::format("the hub gives no address for part {} of {}", i + 1, file.path));
      const std::string etag =
          put(file, part->second, i * part_bytes, std::min(part_bytes, file.size - i * part_bytes));
      if (etag.empty())
        throw Error(ErrorKind::network, fmt::format("the store did not confirm part {} of {}", i + 1, file.path));
      parts.push_back({{"partNumber", i + 1}, {"etag", etag}});
    }
    HttpCall request;
    request.url = address;
    request.method = "POST";
    request.headers = {std::string("Content-Type: ") + kLfsType, std::string("Accept: ") + kLfsType};
    request.body = dump({{"oid", file.sha256}, {"parts", parts}});
    if (!hub_.send(request).ok())
      throw Error(ErrorKind::network, fmt::format("the store could not assemble {}", file.path));
  }

  /// Sends bytes of a file to a signed address; returns the ETag.
  std::string put(const LocalFile& file, const std::string& address, uint64_t offset, uint64_t size) {
    std::ifstream input(request_.folder / file.path, std::ios::binary);  // not read if `content` replaces it
    HttpCall request;
    request.url = address;
    request.method = "PUT";
    request.upload_bytes = size;
    request.stall_seconds = hub_.settings().stall_seconds;
    request.on_upload = [&](uint64_t sent, char* buffer, size_t room) {
      const uint64_t wanted = std::min<uint64_t>(room, size - sent);
      size_t count = 0;
      if (file.content) {
        count = file.content->copy(buffer, wanted, offset + sent);
      } else {
        input.clear();
        input.seekg(static_cast<std::streamoff>(offset + sent));
        input.read(buffer, static_cast<std::streamsize>(wanted));
        count = static_cast<size_t>(input.gcount());
      }
      if (progress_) progress_("sending " + file.path, done_ + sent + count, total_);
      return count;
    };
    const auto refuse = [&](const std::string& why) {
      throw Error(ErrorKind::network, fmt::format("cannot send {}: {}", file.path, why));
    };
    HttpReply response;
    try {
      response = hub_.send(request);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::network) throw;
      refuse(e.what());
    }
    if (!response.ok()) refuse(fmt::format("{} answers {}", response.host, response.status));
    done_ += size;
    return header_value(response.headers, "ETag");
  }

  void commit() {
    Json header = {{"summary", request_.message}, {"description", ""}};
    if (!plan_.parent_commit.empty())
      header["parentCommit"] = plan_.parent_commit;  // never overwrites an unseen commit
    std::string body = dump({{"key", "header"}, {"value", header}}) + "\n";
    for (const auto& file : files_) {
      if (ignored_.count(file.path)) continue;
      if (large_.count(file.path)) {
        body +=
            dump({{"key", "lfsFile"},
                  {"value", {{"path", file.path}, {"algo", "sha256"}, {"oid", file.sha256}, {"size", file.size}}}}) +
            "\n";
        continue;
      }
      const std::string content =
          file.content ? *file.content : read_file(request_.folder / file.path, kMaxRegularBytes);
      if (Digest(Digest::Kind::sha256).add(content).hex() != file.sha256) {
        throw Error(ErrorKind::io, fmt::format("{} changed during the push", file.path));
      }
      body += dump({{"key", "file"},
                    {"value", {{"content", base64(content)}, {"path", file.path}, {"encoding", "base64"}}}}) +
              "\n";
    }
    if (request_.remove_absent) {
      for (const auto& path : plan_.absent) body += dump({{"key", "deletedFile"}, {"value", {{"path", path}}}}) + "\n";
    }
    const Json answer =
        answer_of(post(fmt::format("/api/models/{}/commit/{}", repo_path(), url_encode(request_.branch)), body,
                       "application/x-ndjson"),
                  "a commit");
    result_.commit = string_at(answer, "commitOid");
    result_.commit_url = string_at(answer, "commitUrl");
    if (result_.commit.empty()) throw Error(ErrorKind::network, "the hub's answer names no commit");
  }

  HubClient& hub_;
  const PushPlan& plan_;
  const PushRequest& request_;
  const PushProgress& progress_;
  std::vector<LocalFile> files_;
  std::set<std::string> large_, ignored_;
  uint64_t done_ = 0, total_ = 0;
  PushResult result_;
};

}  // namespace

PushResult run_push(HubClient& hub, const PushPlan& plan, bool is_private, const PushProgress& progress) {
  return Push(hub, plan, progress).run(is_private);
}

}  // namespace mlxk
