#include "control/ticket_key_rotation.h"

namespace sluice::control {

std::shared_ptr<const contract::TicketKeys> TicketKeyRotation::rotate(Instant now) {
    std::erase_if(retired_, [&](const Retired& old) { return now - old.since >= kLifetime; });
    if (has_current_) retired_.insert(retired_.begin(), {current_, now});
    random_.fill(current_.name);
    random_.fill(current_.cipher_key.span());
    random_.fill(current_.mac_key.span());
    has_current_ = true;

    auto keys = std::make_shared<contract::TicketKeys>();
    keys->keys.reserve(1 + retired_.size());
    keys->keys.push_back(current_);
    for (const Retired& old : retired_)
        keys->keys.push_back(old.key);
    return keys;
}

}  // namespace sluice::control
