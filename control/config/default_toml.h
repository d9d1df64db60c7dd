// The manual, conf/default.toml, as it was when the program was built.
// Thread: any; constant.
#pragma once

#include <string_view>

namespace sluice::config {

std::string_view default_toml();

}  // namespace sluice::config
