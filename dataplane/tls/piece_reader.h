// What a caller writes, handed out as the contents of records. Thread: any. Memory: none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "dataplane/base/bytes.h"

namespace sluice::tls {

// Hands out the caller's pieces in portions of up to one record.
class PieceReader {
  public:
    explicit PieceReader(std::span<const Bytes> pieces) : pieces_(pieces) { skip_empty(); }

    bool done() const { return pieces_.empty(); }

    // The next portion: where it lies if one piece holds it, else put together in `space`.
    Bytes next(MutableBytes space, size_t limit) {
        const Bytes first = pieces_.front().subspan(offset_);
        if (first.size() >= limit || pieces_.size() == 1) {
            const Bytes portion = first.first(std::min(first.size(), limit));
            consume(portion.size());
            return portion;
        }
        size_t size = 0;
        while (!done() && size < limit) {
            const Bytes piece = pieces_.front().subspan(offset_);
            const size_t part = std::min(piece.size(), limit - size);
            std::memcpy(space.data() + size, piece.data(), part);
            size += part;
            consume(part);
        }
        return space.first(size);
    }

    // The next portion as it lies, in as many pieces as `into` has room for; their number.
    size_t take(std::span<Bytes> into, size_t limit, size_t& size) {
        size_t count = 0;
        for (size = 0; !done() && size < limit && count < into.size(); ++count) {
            const Bytes piece = pieces_.front().subspan(offset_);
            into[count] = piece.first(std::min(piece.size(), limit - size));
            size += into[count].size();
            consume(into[count].size());
        }
        return count;
    }

  private:
    void consume(size_t size) {
        offset_ += size;
        if (offset_ < pieces_.front().size()) return;
        offset_ = 0;
        pieces_ = pieces_.subspan(1);
        skip_empty();
    }
    void skip_empty() {
        while (!pieces_.empty() && pieces_.front().empty())
            pieces_ = pieces_.subspan(1);
    }

    std::span<const Bytes> pieces_;
    size_t offset_ = 0;
};

}  // namespace sluice::tls
