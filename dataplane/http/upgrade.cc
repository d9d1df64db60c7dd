#include "dataplane/http/upgrade.h"

#include <span>

#include "dataplane/http/connection_options.h"
#include "dataplane/http/header_names.h"

namespace sluice::http {

namespace {

bool switches_to_websocket(std::span<const wire::Http1Field> fields) {
    bool named = false;
    int upgrades = 0;
    bool websocket = false;
    for (const wire::Http1Field& field : fields) {
        if (wire::equals_ignoring_case(field.name, "upgrade")) {
            ++upgrades;
            websocket = wire::equals_ignoring_case(field.value, "websocket");
        } else if (wire::equals_ignoring_case(field.name, "connection")) {
            ConnectionOptions options(field.value);
            while (const auto option = options.next())
                named = named || wire::equals_ignoring_case(*option, "upgrade");
        }
    }
    return named && upgrades == 1 && websocket;
}

}  // namespace

bool asks_for_websocket(const wire::Http1RequestHead& head, const BodyFraming& body) {
    return head.method == "GET" && head.minor_version > 0 && body.kind == BodyKind::kNone &&
           switches_to_websocket(head.fields);
}

bool grants_websocket(const wire::Http1ResponseHead& head) {
    return head.status == 101 && head.minor_version > 0 && switches_to_websocket(head.fields);
}

}  // namespace sluice::http
