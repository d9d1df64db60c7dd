#include <utility>

#include "dataplane/io/tun_port.h"

namespace sluice::io {

TunQueue::TunQueue(int descriptor, std::shared_ptr<TunUses> uses)
    : descriptor_(descriptor), uses_(std::move(uses)) {}

TunQueue::TunQueue(TunQueue&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), uses_(std::move(other.uses_)) {}

TunQueue& TunQueue::operator=(TunQueue&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(uses_, other.uses_);
    return *this;
}

TunQueue::~TunQueue() {
    Descriptor(descriptor_).close();
}

TunQueueContent::TunQueueContent(TunQueue queue)
    : descriptor(std::exchange(queue.descriptor_, -1)), uses(std::move(queue.uses_)) {}

}  // namespace sluice::io
