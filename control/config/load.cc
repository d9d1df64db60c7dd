#include "control/config/load.h"

#include <filesystem>
#include <utility>

#include "control/config/document.h"
#include "control/config/read.h"

namespace sluice::config {

std::optional<Loaded> load(const std::string& path, const Environment& machine, WallTime now,
                           Diagnostics& diagnostics) {
    const auto text = read_file(path, kFileBytesMax);
    if (!text) {
        diagnostics.error({}, text.error().message);
        return {};
    }
    std::optional<Config> config = read_config(*text, diagnostics);
    if (!config) return {};
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    config->folder = folder.empty() ? "." : folder.string();
    resolve(*config, machine, diagnostics);
    check(*config, diagnostics);
    Files files = read_files(*config, now, diagnostics);
    if (diagnostics.has_errors()) return {};
    return Loaded{std::move(*config), std::move(files)};
}

}  // namespace sluice::config
