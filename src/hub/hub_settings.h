#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlxk {

/// The settings of connections to the hub.
struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // no slash at the end
  std::string token;                                // empty: anonymous
  bool offline = false;                             // no connection at all
  int stall_seconds = 10;                           // without data before a stalled transfer is restarted
  int answer_seconds = 10;                          // for a connection and for the answers of the API
  int tries = 8;                                    // attempts for a request that yields no data
  uint64_t piece_bytes = uint64_t{64} << 20;        // of the ranges that a large file is fetched in
};

/// From the environment: HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HUGGINGFACE_HUB_TOKEN or the token file
/// (HF_TOKEN_PATH, hf_home()/token), none of them with HF_HUB_DISABLE_IMPLICIT_TOKEN; HF_HUB_OFFLINE,
/// TRANSFORMERS_OFFLINE; HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_ETAG_TIMEOUT; MLXK_PULL_TRIES, MLXK_PULL_PIECE_BYTES. Throws
/// usage for an invalid value.
HubSettings hub_settings();

/// Returns `text`, which a server may have sent, with every occurrence of the token replaced.
std::string without_token(std::string text, const HubSettings& settings);

}  // namespace mlxk
