#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A service that runs `mlxk serve`.
struct Service {
  std::filesystem::path program;       // absolute
  std::vector<std::string> arguments;  // after the program: "serve", options
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::filesystem::path> writable;  // folders that it may write to
  bool system = false;                          // a system service, not this user's
  std::string user;                             // the user of a system service; empty: a separate user
};

/// A systemd unit, hardened.
std::string systemd_unit(const Service& service);
/// A launchd property list.
std::string launchd_plist(const Service& service);

/// The path of the service file on this platform.
std::filesystem::path service_path(bool system);
/// Writes it; prints its path and how to start it. Throws io.
void install_service(const Service& service);
/// Removes it and prints how to stop the running service; throws not_found.
void uninstall_service(bool system);

}  // namespace mlxk
