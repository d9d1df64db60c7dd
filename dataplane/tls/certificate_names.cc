#include "dataplane/tls/certificate_names.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "dataplane/base/bytes.h"
#include "dataplane/base/ip.h"
#include "dataplane/tls/certificate_dates.h"
#include "dataplane/tls/server_name.h"

namespace sluice::tls {
namespace {

void free_general_names(GENERAL_NAMES* names) {
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}
void free_text(char* text) {
    OPENSSL_free(text);
}
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<free_general_names>>;
using NumberPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using TextPtr = std::unique_ptr<char, FreeWith<free_text>>;

// A certificate with two such extensions has none.
GeneralNamesPtr alternative_names_of(X509* certificate) {
    return GeneralNamesPtr(static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

std::string_view text_in(const ASN1_STRING* text) {
    return as_text(
        Bytes(ASN1_STRING_get0_data(text), static_cast<size_t>(ASN1_STRING_length(text))));
}

bool is_plain(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void add_email(std::string_view text, std::vector<std::string>& emails) {
    const size_t at = text.find('@');
    if (!is_plain(text) || at == 0 || at == std::string_view::npos) return;
    if (text.find('@', at + 1) != std::string_view::npos || at + 1 == text.size()) return;
    std::string email(text);
    std::transform(email.begin() + static_cast<std::ptrdiff_t>(at), email.end(),
                   email.begin() + static_cast<std::ptrdiff_t>(at), lower);
    emails.push_back(std::move(email));
}

NumberPtr serial_of(X509* certificate) {
    return NumberPtr(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
}

std::string serial_in_hexadecimal(X509* certificate) {
    const NumberPtr number = serial_of(certificate);
    if (!number) return {};
    const TextPtr text(BN_bn2hex(number.get()));
    if (!text) return {};
    std::string serial(text.get());
    std::ranges::transform(serial, serial.begin(), lower);
    const size_t first = serial.starts_with('-') ? 1 : 0;
    const size_t digit = std::min(serial.find_first_not_of('0', first), serial.size() - 1);
    return serial.erase(first, digit - first);
}

std::string serial_in_decimal(X509* certificate) {
    const NumberPtr number = serial_of(certificate);
    const TextPtr text(number ? BN_bn2dec(number.get()) : nullptr);
    return text ? text.get() : "";
}

std::string value_of(const X509_NAME_ENTRY* entry) {
    uint8_t* bytes = nullptr;
    const int size = ASN1_STRING_to_UTF8(&bytes, X509_NAME_ENTRY_get_data(entry));
    if (size < 0) return {};
    std::string value(as_text(Bytes(bytes, static_cast<size_t>(size))));
    OPENSSL_free(bytes);
    return value;
}

// Go keeps the last of several common names and serial numbers, and all of the others.
enum class Repeats : uint8_t { kAll, kLast };

void add_attribute(const X509_NAME* name, int kind, std::string_view key, Repeats repeats,
                   std::string& to) {
    std::string last;
    for (int i = X509_NAME_get_index_by_NID(name, kind, -1); i >= 0;
         i = X509_NAME_get_index_by_NID(name, kind, i)) {
        const std::string value = value_of(X509_NAME_get_entry(name, i));
        std::string text;
        if (!value.empty()) text.append(key).append("=").append(value).append(",");
        if (repeats == Repeats::kAll) {
            to += text;
        } else {
            last = std::move(text);
        }
    }
    to += last;
}

enum class Whose : uint8_t { kSubject, kIssuer };

std::string distinguished_name(const X509_NAME* name, Whose whose) {
    std::string text;
    add_attribute(name, NID_domainComponent, "DC", Repeats::kAll, text);
    add_attribute(name, NID_countryName, "C", Repeats::kAll, text);
    add_attribute(name, NID_stateOrProvinceName, "ST", Repeats::kAll, text);
    add_attribute(name, NID_localityName, "L", Repeats::kAll, text);
    add_attribute(name, NID_organizationName, "O", Repeats::kAll, text);
    if (whose == Whose::kSubject) {
        add_attribute(name, NID_organizationalUnitName, "OU", Repeats::kAll, text);
    }
    add_attribute(name, NID_serialNumber, "SN", Repeats::kLast, text);
    add_attribute(name, NID_commonName, "CN", Repeats::kLast, text);
    if (!text.empty()) text.pop_back();  // the comma
    return text;
}

std::string address_in(const ASN1_STRING* octets) {
    const Bytes bytes = as_bytes(text_in(octets));
    if (bytes.size() == 4) return IpAddress::v4(bytes.data()).text();
    if (bytes.size() == 16) return IpAddress::v6(bytes.data()).text();
    return {};
}

// DNS names, e-mail addresses, addresses, URIs, each in the certificate's order.
std::string alternative_names_text(X509* certificate) {
    const GeneralNamesPtr names = alternative_names_of(certificate);
    std::string text;
    for (const int kind : {GEN_DNS, GEN_EMAIL, GEN_IPADD, GEN_URI}) {
        for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
            const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
            if (name->type != kind) continue;
            std::string value = kind == GEN_IPADD ? address_in(name->d.iPAddress)
                                                  : std::string(text_in(name->d.ia5));
            if (value.empty()) continue;
            if (!text.empty()) text += ',';
            text += value;
        }
    }
    return text;
}

void add_field(std::string_view key, const std::string& value, std::string& to) {
    if (value.empty()) return;
    if (!to.empty()) to += ';';
    to.append(key).append("=\"").append(value).append("\"");
}

std::string unix_time(const ASN1_TIME* date) {
    const auto time = wall_time_of(date);
    return time ? std::to_string(seconds_of(*time)) : "";
}

std::string escaped(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string result;
    result.reserve(text.size() + text.size() / 2);
    for (const char c : text) {
        const bool is_letter = lower(c) >= 'a' && lower(c) <= 'z';
        if (is_letter || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~') {
            result += c;
        } else if (c == ' ') {
            result += '+';
        } else {
            const auto byte = static_cast<uint8_t>(c);
            result += '%';
            result += kDigits[byte >> 4];
            result += kDigits[byte & 15];
        }
    }
    return result;
}

}  // namespace

CertificateNames names_of(X509* certificate) {
    const ErrorQueueScope errors;
    CertificateNames result;
    result.serial = serial_in_hexadecimal(certificate);
    result.subject = distinguished_name(X509_get_subject_name(certificate), Whose::kSubject);
    const GeneralNamesPtr names = alternative_names_of(certificate);
    bool uris_are_plain = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_URI) {
            const std::string_view uri = text_in(name->d.uniformResourceIdentifier);
            uris_are_plain = uris_are_plain && is_plain(uri);
            result.uris.emplace_back(uri);
        } else if (name->type == GEN_DNS) {
            if (auto host = canonical_host(as_bytes(text_in(name->d.dNSName)))) {
                result.dns.push_back(std::move(*host));
            }
        } else if (name->type == GEN_EMAIL) {
            add_email(text_in(name->d.rfc822Name), result.emails);
        }
    }
    if (!uris_are_plain) result.uris.clear();
    return result;
}

std::string forwarded_pem_of(X509* certificate) {
    const ErrorQueueScope errors;
    uint8_t* der = nullptr;
    const int size = i2d_X509(certificate, &der);
    if (size <= 0) return {};
    std::string text;
    const auto encoded = (static_cast<size_t>(size) + 2) / 3 * 4;
    if (encoded <= kForwardedMax) {
        text.resize(encoded + 1);  // and the zero that EVP_EncodeBlock writes
        EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.data()), der, size);
        text.pop_back();
    }
    OPENSSL_free(der);
    return text;
}

std::string forwarded_info_of(X509* certificate) {
    const ErrorQueueScope errors;
    std::string text;
    add_field("Subject", distinguished_name(X509_get_subject_name(certificate), Whose::kSubject),
              text);
    add_field("Issuer", distinguished_name(X509_get_issuer_name(certificate), Whose::kIssuer),
              text);
    add_field("SerialNumber", serial_in_decimal(certificate), text);
    add_field("NB", unix_time(X509_get0_notBefore(certificate)), text);
    add_field("NA", unix_time(X509_get0_notAfter(certificate)), text);
    add_field("SAN", alternative_names_text(certificate), text);
    std::string result = escaped(text);
    if (result.size() > kForwardedMax) result.clear();
    return result;
}

}  // namespace sluice::tls
