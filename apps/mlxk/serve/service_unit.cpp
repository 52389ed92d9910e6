#include "serve/service_unit.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "hub/environment.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

constexpr const char* kLabel = "org.mlxk.serve";
#ifdef __APPLE__
constexpr bool kLaunchd = true;
#else
constexpr bool kLaunchd = false;
#endif

void check_word(const std::string& word) {
  for (const char c : word) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      throw Error(ErrorKind::invalid, fmt::format("[service] a control character in '{}'", word.substr(0, 40)));
    }
  }
}

/// A word of a systemd unit, quoted and escaped against expansion.
std::string unit_word(const std::string& word) {
  check_word(word);
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '%' || c == '$') out += c;
    out += c;
  }
  return out + '"';
}

std::string xml(const std::string& text) {
  check_word(text);
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += c;
    }
  }
  return out;
}

/// A value without doubled `$`: Environment= and paths expand only `%`.
std::string unit_value(const std::string& word) {
  check_word(word);
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '%') out += c;
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string systemd_unit(const Service& service) {
  std::string command = unit_word(service.program.string());
  for (const std::string& argument : service.arguments) command += ' ' + unit_word(argument);
  std::string unit = "[Unit]\nDescription=MLX Knife server\nAfter=network-online.target\n\n[Service]\nType=exec\n";
  unit += fmt::format("ExecStart={}\nExecReload=/bin/kill -HUP $MAINPID\n", command);
  for (const auto& [name, value] : service.environment)
    unit += fmt::format("Environment={}\n", unit_value(name + "=" + value));
  if (service.system) unit += service.user.empty() ? "DynamicUser=yes\n" : fmt::format("User={}\n", service.user);
  unit +=
      "Restart=on-failure\n"
      "RestartSec=5\n"
      "TimeoutStopSec=60\n"
      "LimitNOFILE=65536\n"
      "UMask=0077\n"
      "NoNewPrivileges=yes\n"
      "ProtectSystem=strict\n";
  for (const auto& folder : service.writable)
    unit += fmt::format("ReadWritePaths={}\n", unit_value("-" + folder.string()));
  unit +=
      "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
      "RestrictNamespaces=yes\n"
      "RestrictRealtime=yes\n"
      "RestrictSUIDSGID=yes\n"
      "LockPersonality=yes\n"
      "SystemCallArchitectures=native\n"
      "SystemCallFilter=@system-service\n"
      "SystemCallErrorNumber=EPERM\n"
      "MemoryMax=90%\n";  // of the machine: with more the service ends, instead of another process
  if (service.system) {   // a user's manager has no capabilities to drop: with these options its unit would not start
    unit +=
        "ProtectHome=read-only\n"
        "PrivateTmp=yes\n"
        "ProtectKernelTunables=yes\n"
        "ProtectKernelModules=yes\n"
        "ProtectKernelLogs=yes\n"
        "ProtectControlGroups=yes\n"
        "ProtectClock=yes\n"
        "CapabilityBoundingSet=\n"
        "AmbientCapabilities=\n";
    if (std::string_view(MLXK_BACKEND) == "cpu") unit += "PrivateDevices=yes\n";  // a GPU is a device
  }
  return unit + fmt::format("\n[Install]\nWantedBy={}\n", service.system ? "multi-user.target" : "default.target");
}

std::string launchd_plist(const Service& service) {
  std::string list =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
      "<plist version=\"1.0\">\n<dict>\n";
  list += fmt::format("  <key>Label</key>\n  <string>{}</string>\n  <key>ProgramArguments</key>\n  <array>\n", kLabel);
  list += fmt::format("    <string>{}</string>\n", xml(service.program.string()));
  for (const std::string& argument : service.arguments) list += fmt::format("    <string>{}</string>\n", xml(argument));
  list += "  </array>\n";
  if (!service.environment.empty()) {
    list += "  <key>EnvironmentVariables</key>\n  <dict>\n";
    for (const auto& [name, value] : service.environment) {
      list += fmt::format("    <key>{}</key>\n    <string>{}</string>\n", xml(name), xml(value));
    }
    list += "  </dict>\n";
  }
  const std::string log =
      (service.system ? std::filesystem::path("/Library/Logs") : home_folder() / "Library" / "Logs") / "mlxk-serve.log";
  list +=
      "  <key>RunAtLoad</key>\n  <true/>\n  <key>KeepAlive</key>\n  <dict>\n    <key>SuccessfulExit</key>\n    "
      "<false/>\n  </dict>\n";
  list += "  <key>Umask</key>\n  <integer>63</integer>\n  <key>ExitTimeOut</key>\n  <integer>60</integer>\n";
  list += fmt::format("  <key>StandardErrorPath</key>\n  <string>{}</string>\n", xml(log));
  return list + "</dict>\n</plist>\n";
}

std::filesystem::path service_path(bool system) {
  if (kLaunchd) {
    const auto library =
        system ? std::filesystem::path("/Library/LaunchDaemons") : home_folder() / "Library" / "LaunchAgents";
    return library / fmt::format("{}.plist", kLabel);
  }
  if (system) return "/etc/systemd/system/mlxk.service";
  const auto config = environment_path("XDG_CONFIG_HOME");
  return (config ? *config : home_folder() / ".config") / "systemd" / "user" / "mlxk.service";
}

void install_service(const Service& service) {
  const auto path = service_path(service.system);
  const std::string content = kLaunchd ? launchd_plist(service) : systemd_unit(service);
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  write_file_atomic(path, content);
  print_line(fmt::format("Written: {}", path.string()));
  const char* user = service.system ? "" : " --user";
  print_line(kLaunchd ? fmt::format("Start it: launchctl load -w {}", path.string())
                      : fmt::format("Start it: systemctl{0} daemon-reload && systemctl{0} enable --now mlxk", user));
}

void uninstall_service(bool system) {
  const auto path = service_path(system);
  std::error_code error;
  if (!std::filesystem::remove(path, error)) {
    if (error) throw Error(ErrorKind::io, fmt::format("cannot remove {}: {}", path.string(), error.message()));
    throw Error(ErrorKind::not_found, fmt::format("there is no service: {}", path.string()));
  }
  print_line(fmt::format("Removed: {}", path.string()));
  const char* user = system ? "" : " --user";
  print_line(kLaunchd ? std::string("If it runs: launchctl remove org.mlxk.serve")
                      : fmt::format("If it runs: systemctl{0} stop mlxk && systemctl{0} daemon-reload", user));
}

}  // namespace mlxk
