#include "hub/hub_client.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "hub/repo_id.h"
#include "hub/retry.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr size_t kMaxServerText = 200;

/// The address of the next page, by the header Link: <address>; rel="next".
std::string next_page(const HttpReply& response) {
  const std::string link = header_value(response.headers, "Link");
  for (size_t start = 0; (start = link.find('<', start)) != link.npos;) {
    const size_t end = link.find('>', start);
    if (end == link.npos) return {};
    const size_t comma = link.find(',', end);
    if (link.substr(end, comma - end).find("rel=\"next\"") != link.npos) return link.substr(start + 1, end - start - 1);
    start = end;
  }
  return {};
}

/// The text of a server's refusal, shortened and without line ends.
std::string server_text(const HttpReply& response) {
  std::string text = header_value(response.headers, "X-Error-Message");
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (text.size() > kMaxServerText) text = text.substr(0, kMaxServerText) + "…";
  return text;
}

}  // namespace

bool hub_flag(const Json& entry, std::string_view key) {
  const Json& value = value_at(entry, key);
  return value.is_string() || value == true;
}

HubClient::HubClient(HubSettings settings, std::function<bool()> cancelled)
    : settings_(std::move(settings)), cancelled_(std::move(cancelled)), backoff_(settings_.tries) {
  if (settings_.offline) {
    throw Error(ErrorKind::unavailable, "HF_HUB_OFFLINE is set: connections to the hub are off",
                "unset it to go online");
  }
}

HttpCall HubClient::api_request(const std::string& path) const {
  HttpCall request;
  request.url = settings_.endpoint + path;
  if (!settings_.token.empty()) request.authorization = "Bearer " + settings_.token;
  request.connect_seconds = settings_.answer_seconds;
  request.stall_seconds = settings_.answer_seconds;
  request.cancelled = cancelled_;
  return request;
}

HttpCall HubClient::file_request(const HubRepo& repo, const HubFile& file) const {
  HttpCall request = api_request(
      fmt::format("/{}/resolve/{}/{}", url_encode(repo.name, true), repo.commit, url_encode(file.path, true)));
  request.stall_seconds = settings_.stall_seconds;
  return request;
}

HttpReply HubClient::send(const HttpCall& request) {
  backoff_.reset();
  for (;;) {
    HttpReply response = http_.send(request);
    if (response.cancelled) throw Error(ErrorKind::cancelled, "interrupted");
    std::chrono::milliseconds wait{};
    if (is_worth_retrying(response) && backoff_.next(response, wait)) {
      if (!wait_for(wait, cancelled_)) throw Error(ErrorKind::cancelled, "interrupted");
      continue;
    }
    if (!response.failure.empty()) throw Error(ErrorKind::network, without_token(response.failure, settings_));
    return response;
  }
}

void HubClient::refuse(const HttpReply& response, const std::string& name, const std::string& revision) const {
  const std::string code = header_value(response.headers, "X-Error-Code");
  const std::string said = without_token(server_text(response), settings_);
  const std::string page = fmt::format("{}/{}", url_origin(settings_.endpoint), name);
  const bool anonymous = settings_.token.empty();
  if (code == "RevisionNotFound") {
    throw Error(ErrorKind::no_revision,
                fmt::format("Revision '{}' not found for model '{}'", revision.empty() ? "main" : revision, name));
  }
  if (code == "GatedRepo") {
    throw Error(
        ErrorKind::denied, fmt::format("Access denied: gated/private model '{}'. Accept terms and set HF_TOKEN.", name),
        anonymous ? fmt::format("accept the terms at {} with your account, make a token there and set HF_TOKEN", page)
                  : fmt::format("the account of this token has not been given access; ask for it at {}", page));
  }
  // Without a token the hub answers alike for private and unknown repositories; it names a bad token.
  if (code == "RepoNotFound" || response.status == 404 || (response.status == 401 && code.empty() && said.empty())) {
    throw Error(
        ErrorKind::denied, fmt::format("Access denied or not found for '{}'.", name),
        anonymous ? "if it is a private model, set HF_TOKEN" : "no such model, or this token does not reach it");
  }
  if (response.status == 401 || response.status == 403) {
    throw Error(ErrorKind::denied, fmt::format("Access denied to model '{}'. Set HF_TOKEN.", name),
                said.empty() ? std::string(anonymous ? "" : "the hub does not accept this token for it")
                             : "the hub says: " + said);
  }
  throw Error(ErrorKind::network, fmt::format("{} answers {}{}{}", response.host, response.status, asked_wait(response),
                                              said.empty() ? "" : ": " + said));
}

HubRepo HubClient::repo(const std::string& name, const std::string& revision) {
  std::string path = "/api/models/" + url_encode(name, true);
  path += "/revision/" + url_encode(revision.empty() ? "main" : revision);
  const HttpReply response = send(api_request(path));
  if (!response.ok()) refuse(response, name, revision);
  const Json info = parse_json(response.body, fmt::format("the hub's description of {}", name));
  const auto sha = info.is_object() ? info.find("sha") : info.end();
  if (!info.is_object() || sha == info.end() || !sha->is_string() || !is_commit_hash(sha->get<std::string>())) {
    throw Error(ErrorKind::bad_model, fmt::format("{} names no commit of {}", url_origin(settings_.endpoint), name),
                "is HF_ENDPOINT the address of a hub?");
  }
  return {name, sha->get<std::string>(), hub_flag(info, "gated"), hub_flag(info, "private")};
}

std::vector<HubFile> HubClient::tree(const HubRepo& repo) {
  std::vector<HubFile> files;
  HttpCall request =
      api_request(fmt::format("/api/models/{}/tree/{}?recursive=1", url_encode(repo.name, true), repo.commit));
  std::set<std::string> seen;
  while (seen.insert(request.url).second) {
    const HttpReply response = send(request);
    if (!response.ok()) refuse(response, repo.name, repo.commit);
    read_tree_page(parse_json(response.body, fmt::format("the hub's list of files of {}", repo.name)), files);
    const std::string next = next_page(response);
    if (next.empty()) {
      check_tree(files);
      return files;
    }
    if (url_origin(next) != url_origin(settings_.endpoint)) break;  // the request has the token: only for the hub
    request.url = next;
  }
  throw Error(ErrorKind::bad_model,
              fmt::format("the hub's list of files of {} never ends or leaves the hub", repo.name));
}

void HubClient::check_access(const HubRepo& repo, const HubFile& file) {
  HttpCall request = file_request(repo, file);
  request.headers.push_back("Range: bytes=0-0");
  request.on_head = [](const HttpReply&) { return false; };
  const HttpReply response = send(request);
  if (response.status == 401 || response.status == 403) refuse(response, repo.name, repo.commit);
}

Json HubClient::search(const std::string& query, const std::string& library, int limit) {
  std::string path = fmt::format("/api/models?search={}&limit={}&sort=downloads", url_encode(query), limit);
  if (!library.empty()) path += "&filter=" + url_encode(library);
  for (const char* field :
       {"downloads", "likes", "lastModified", "pipeline_tag", "library_name", "gated", "private", "tags"}) {
    path += std::string("&expand=") + field;
  }
  const HttpReply response = send(api_request(path));
  if (!response.ok()) {
    throw Error(ErrorKind::network, fmt::format("{} answers {} to a search", response.host, response.status),
                without_token(server_text(response), settings_));
  }
  Json found = parse_json(response.body, "the hub's answer to a search");
  if (!found.is_array()) throw Error(ErrorKind::network, "the hub's answer to a search is not a list");
  return found;
}

}  // namespace mlxk
