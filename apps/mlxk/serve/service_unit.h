#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A service that runs `mlxk serve`.
struct Service {
  std::filesystem::path program;       // absolute
  std::vector<std::string> arguments;  // behind the program: "serve", options
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::filesystem::path> writable;  // folders that it may write to
  bool system = false;                          // of the system, not of this user
  std::string user;                             // whom a service of the system runs as; empty: a user of its own
};

/// A systemd unit, hardened.
std::string systemd_unit(const Service& service);
/// A launchd property list.
std::string launchd_plist(const Service& service);

/// Where the service of this platform stands.
std::filesystem::path service_path(bool system);
/// Writes it; prints its path and how to start it. Throws io.
void install_service(const Service& service);
/// Removes it and says how to stop what runs; throws not_found.
void uninstall_service(bool system);

}  // namespace mlxk
