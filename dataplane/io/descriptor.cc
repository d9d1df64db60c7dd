#include "dataplane/io/descriptor.h"

#include <unistd.h>

#include <system_error>

namespace sluice::io {

void Descriptor::close() {
    // The descriptor is gone even if close() reports an error, so there is nothing to try again.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::string error_text(int error) {
    return std::generic_category().message(error);
}

}  // namespace sluice::io
