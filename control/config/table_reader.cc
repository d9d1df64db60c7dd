#include "control/config/table_reader.h"

#include "control/config/text_forms.h"

namespace sluice::config {

const Value* TableReader::find(std::string_view key) const {
    if (table_ == nullptr) return nullptr;
    const Entry* const entry = table_->find(key);
    return entry == nullptr ? nullptr : &entry->value;
}

void TableReader::require(Position table_at, std::string_view table_name, std::string_view key,
                          std::string_view why) {
    if (has(key)) return;
    diagnostics_.error(
        table_at, std::string(table_name) + " has no " + in_quotes(key) + "; " + std::string(why));
}

void TableReader::text(std::string_view key, Located<std::string>& into) {
    const Value* const value = find(key);
    if (value != nullptr && value->text() != nullptr) into = {*value->text(), value->at};
}

void TableReader::text(std::string_view key, std::string (*fault)(std::string_view),
                       Located<std::string>& into) {
    parsed(
        key,
        [fault](std::string_view text) -> Result<std::string> {
            std::string found = fault(text);
            if (!found.empty()) return fail(std::move(found));
            return std::string(text);
        },
        into);
}

void TableReader::path(std::string_view key, Located<std::string>& into) {
    text(
        key,
        [](std::string_view text) -> std::string {
            if (text.empty()) return "write the path of a file";
            if (text.find('\0') != std::string_view::npos) return "a path holds no zero byte";
            return {};
        },
        into);
}

void TableReader::duration(std::string_view key, Located<Duration>& into) {
    parsed(key, [](std::string_view text) { return parse_duration(text); }, into);
}

void TableReader::duration(std::string_view key, Duration& into) {
    Located<Duration> time{into, {}};
    duration(key, time);
    into = time.value;
}

void TableReader::boolean(std::string_view key, bool& into) {
    const Value* const value = find(key);
    if (value != nullptr && value->boolean() != nullptr) into = *value->boolean();
}

void TableReader::wanted(std::string_view key, Located<contract::Wanted>& into) {
    const Value* const value = find(key);
    if (value == nullptr) return;
    if (const bool* const on = value->boolean()) {
        into = {*on ? contract::Wanted::kOn : contract::Wanted::kOff, value->at};
    } else if (value->text() != nullptr && *value->text() == "auto") {
        into = {contract::Wanted::kAuto, value->at};
    } else if (value->text() != nullptr) {
        diagnostics_.error(value->at, in_quotes(key) + " is " + in_quotes(*value->text()) +
                                          "; it must be \"auto\", true or false");
    }
}

std::vector<const Value*> TableReader::tables(std::string_view key) const {
    std::vector<const Value*> result;
    const Value* const list = find(key);
    if (list == nullptr || list->array() == nullptr) return result;
    for (const Value& value : list->array()->values) {
        if (value.table() != nullptr) result.push_back(&value);
    }
    return result;
}

std::string TableReader::not_yet(std::string_view key, std::string_view word, std::string_view what,
                                 std::string_view instead) {
    return "not yet: " + std::string(key) + " = " + in_quotes(word) + " (" + std::string(what) +
           ") is not built into this version; use " + std::string(instead);
}

void TableReader::refuse(std::string_view key, const Value& value, const std::string& reason) {
    static constexpr std::string_view kNotYet = "not yet: ";
    if (reason.starts_with(kNotYet)) {
        diagnostics_.error(value.at, reason);
        return;
    }
    diagnostics_.error(value.at,
                       "bad " + in_quotes(key) + " " + in_quotes(*value.text()) + "; " + reason);
}

}  // namespace sluice::config
