// Takes typed values out of one table. A value of the wrong type is skipped in silence, because
// check_shape() has reported it; a value of the right type that makes no sense is reported here.
// Every `into` keeps its default when the key is absent or was reported.
// Thread: control's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/config/document.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::config {

template <typename T>
struct Choice {
    std::string_view word;
    T value{};
    // For a word of the manual that this version cannot honour yet: what it is about.
    std::string_view not_yet{};
};

class TableReader {
  public:
    // `table` may be null: an absent table has no keys. References outlive the reader.
    TableReader(const Table* table, Diagnostics& diagnostics)
        : table_(table), diagnostics_(diagnostics) {}

    bool has(std::string_view key) const { return find(key) != nullptr; }
    // Reports the absence of a key that has no default. `why` ends the sentence.
    void require(Position table_at, std::string_view table_name, std::string_view key,
                 std::string_view why);

    void text(std::string_view key, Located<std::string>& into);
    // A string that `fault` finds nothing wrong with.
    void text(std::string_view key, std::string (*fault)(std::string_view),
              Located<std::string>& into);
    // The name of a file or folder: not empty.
    void path(std::string_view key, Located<std::string>& into);
    void duration(std::string_view key, Located<Duration>& into);
    void boolean(std::string_view key, bool& into);
    // "auto", true or false.
    void wanted(std::string_view key, Located<contract::Wanted>& into);

    template <typename Int>
    void integer(std::string_view key, int64_t low, int64_t high, Located<Int>& into) {
        const Value* const value = find(key);
        if (value == nullptr || value->integer() == nullptr) return;
        const int64_t number = *value->integer();
        if (number < low || number > high) {
            diagnostics_.error(value->at, in_quotes(key) + " is " + std::to_string(number) +
                                              "; it must be from " + std::to_string(low) + " to " +
                                              std::to_string(high));
            return;
        }
        into = {static_cast<Int>(number), value->at};
    }

    template <typename T>
    void choice(std::string_view key, std::span<const Choice<T>> choices, Located<T>& into) {
        const Value* const value = find(key);
        if (value == nullptr || value->text() == nullptr) return;
        const Choice<T>* chosen = nullptr;
        std::string words;
        for (const Choice<T>& known : choices) {
            if (known.word == *value->text()) chosen = &known;
            if (!known.not_yet.empty()) continue;
            words += (words.empty() ? "" : ", ") + in_quotes(known.word);
        }
        if (chosen == nullptr) {
            diagnostics_.error(value->at, in_quotes(key) + " is " + in_quotes(*value->text()) +
                                              "; it must be one of " + words);
        } else if (!chosen->not_yet.empty()) {
            diagnostics_.error(value->at, not_yet(key, chosen->word, chosen->not_yet, words));
        } else {
            into = {chosen->value, value->at};
        }
    }

    // A string, or each string of a list, through `parse`: text → Result<T>. What it refuses is
    // reported as "KEY "TEXT": reason", and left out.
    template <typename T, typename Parse>
    void parsed(std::string_view key, Parse parse, std::optional<Located<T>>& into) {
        const Value* const value = find(key);
        if (value == nullptr || value->text() == nullptr) return;
        into = parse_one<T>(key, *value, parse);
    }
    template <typename T, typename Parse>
    void parsed(std::string_view key, Parse parse, Located<T>& into) {
        std::optional<Located<T>> result;
        parsed(key, parse, result);
        if (result) into = std::move(*result);
    }
    // A number that nothing is said about later.
    template <typename Int>
    void integer(std::string_view key, int64_t low, int64_t high, Int& into) {
        Located<Int> number{into, {}};
        integer(key, low, high, number);
        into = number.value;
    }
    void duration(std::string_view key, Duration& into);

    // A list whose places nobody asks for later.
    template <typename T, typename Parse>
    void parsed_list(std::string_view key, Parse parse, std::vector<T>& into) {
        std::vector<Located<T>> items;
        parsed_list(key, parse, items);
        for (Located<T>& item : items)
            into.push_back(std::move(item.value));
    }
    template <typename T, typename Parse>
    void parsed_list(std::string_view key, Parse parse, std::vector<Located<T>>& into) {
        const Value* const list = find(key);
        if (list == nullptr || list->array() == nullptr) return;
        for (const Value& value : list->array()->values) {
            if (value.text() == nullptr) continue;
            if (auto result = parse_one<T>(key, value, parse)) into.push_back(std::move(*result));
        }
    }

    // The tables of a list, each with its place.
    std::vector<const Value*> tables(std::string_view key) const;
    const Value* find(std::string_view key) const;

    // "not yet: …": a value that the manual knows and this version cannot honour.
    static std::string not_yet(std::string_view key, std::string_view word, std::string_view what,
                               std::string_view instead);

  private:
    template <typename T, typename Parse>
    std::optional<Located<T>> parse_one(std::string_view key, const Value& value, Parse parse) {
        Result<T> result = parse(std::string_view(*value.text()));
        if (result) return Located<T>{std::move(*result), value.at};
        refuse(key, value, result.error().message);
        return {};
    }
    void refuse(std::string_view key, const Value& value, const std::string& reason);

    const Table* table_;
    Diagnostics& diagnostics_;
};

}  // namespace sluice::config
