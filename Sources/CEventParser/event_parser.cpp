#include "event_parser.h"

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <vector>

namespace {

using simdjson::internal::dom_parser_implementation;

/// The largest integer every JSON implementation carries exactly (RFC 8259, section 6).
constexpr double integer_max = 9007199254740992.0;

struct FieldName {
    const char *full;
    const char *key;
};

constexpr FieldName field_names[EP_FIELD_COUNT] = {
    {"schema_version", "schema_version"},
    {"event_id", "event_id"},
    {"client_id", "client_id"},
    {"target", "target"},
    {"ts_ms", "ts_ms"},
    {"network_context", "network_context"},
    {"timing_measurements", "timing_measurements"},
    {"error_stage", "error_stage"},
    {"session_id", "session_id"},
    {"seq", "seq"},
    {"network_context.source_ip", "source_ip"},
    {"network_context.network_type", "network_type"},
    {"network_context.isp", "isp"},
    {"network_context.asn", "asn"},
    {"network_context.region", "region"},
    {"network_context.resolver", "resolver"},
    {"timing_measurements.dns_ms", "dns_ms"},
    {"timing_measurements.tcp_ms", "tcp_ms"},
    {"timing_measurements.tls_ms", "tls_ms"},
    {"timing_measurements.ttfb_ms", "ttfb_ms"},
    {"timing_measurements.throughput_mbps", "throughput_mbps"},
    {"timing_measurements.total_ms", "total_ms"},
    {"timing_measurements.rtt_ms", "rtt_ms"},
    {"timing_measurements.jitter_ms", "jitter_ms"},
    {"timing_measurements.loss_pct", "loss_pct"},
    {"timing_measurements.loaded_rtt_ms", "loaded_rtt_ms"},
};

/// Finds the member that a key names among those of one object.
class KeyTable {
public:
    KeyTable(uint8_t first, uint8_t last) {
        for (auto &slot : slots) slot = EP_NO_FIELD;
        for (unsigned field = first; field <= last; ++field) {
            const char *key = field_names[field].key;
            const size_t length = std::strlen(key);
            lengths[field] = uint8_t(length);
            unsigned slot = hash(reinterpret_cast<const uint8_t *>(key), length);
            while (slots[slot] != EP_NO_FIELD) slot = (slot + 1) % slot_count;
            slots[slot] = uint8_t(field);
        }
    }

    uint8_t find(const uint8_t *key, size_t length) const {
        if (length == 0) return EP_NO_FIELD;
        unsigned slot = hash(key, length);
        while (slots[slot] != EP_NO_FIELD) {
            const uint8_t field = slots[slot];
            if (lengths[field] == length
                && std::memcmp(field_names[field].key, key, length) == 0) {
                return field;
            }
            slot = (slot + 1) % slot_count;
        }
        return EP_NO_FIELD;
    }

private:
    static constexpr unsigned slot_count = 64;

    /// Distinct for the keys of each object but for a rare neighbour.
    static unsigned hash(const uint8_t *key, size_t length) {
        return (key[0] * 5u + key[length - 1] * 3u + key[length / 2] + unsigned(length) * 7u)
            % slot_count;
    }

    uint8_t slots[slot_count];
    uint8_t lengths[EP_FIELD_COUNT] = {};
};

const KeyTable event_keys(EP_SCHEMA_VERSION, EP_SEQ);
const KeyTable context_keys(EP_SOURCE_IP, EP_RESOLVER);
const KeyTable metric_keys(EP_FIRST_METRIC, EP_FIELD_COUNT - 1);

struct Number {
    /// Not finite when the text stands for a number beyond double's range, or has too many digits.
    double value;
    /// Set when the number is an integer from -2^53 to 2^53.
    bool is_integer;
    /// Then this one, exactly.
    int64_t integer;
};

bool ends_token(uint8_t byte) {
    switch (byte) {
    case ' ': case '\t': case '\n': case '\r': case ',': case ']': case '}': return true;
    default: return false;
    }
}

bool is_digit(uint8_t byte) { return uint8_t(byte - '0') < 10; }

/// Whether a number of so many decimals is whole.
bool is_whole(uint64_t mantissa, ptrdiff_t decimals) {
    for (; decimals > 0 && mantissa != 0; --decimals) {
        if (mantissa % 10 != 0) return false;
        mantissa /= 10;
    }
    return true;
}

/// The integer that a well-formed number without sign stands for, of at most EP_DIGITS_MAX digits; false when it is none,
/// or beyond 2^53. No double is involved: 2^53 + 1 would come out as 2^53, and two numbers of a session as one.
bool read_integer(const uint8_t *p, const uint8_t *end, int64_t &integer) {
    static_assert(EP_DIGITS_MAX <= 38, "as many digits as 128 bits hold");
    unsigned __int128 mantissa = 0;
    ptrdiff_t scale = 0;
    bool is_behind_point = false;
    for (; p != end && *p != 'e' && *p != 'E'; ++p) {
        if (*p == '.') {
            is_behind_point = true;
            continue;
        }
        mantissa = mantissa * 10 + (*p - '0');
        if (is_behind_point) --scale;
    }
    if (p != end) {
        ++p;
        const bool is_negative = *p == '-';
        if (*p == '+' || *p == '-') ++p;
        // Beyond this nothing but 0 is an integer in range.
        ptrdiff_t exponent = 0;
        for (; p != end; ++p) exponent = std::min<ptrdiff_t>(exponent * 10 + (*p - '0'), 1000);
        scale += is_negative ? -exponent : exponent;
    }
    if (mantissa == 0) {
        integer = 0;
        return true;
    }
    for (; scale < 0; ++scale) {
        if (mantissa % 10 != 0) return false;
        mantissa /= 10;
    }
    const unsigned __int128 limit = uint64_t(integer_max);
    for (; scale > 0 && mantissa <= limit; --scale) mantissa *= 10;
    if (mantissa > limit) return false;
    integer = int64_t(mantissa);
    return true;
}

/// Reads a number as RFC 8259 writes it; false when it is none.
bool read_number(const uint8_t *start, Number &number) {
    // Powers of ten that a double holds exactly, so that one operation rounds correctly (Clinger 1990).
    static constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const uint8_t *p = start;
    const bool is_negative = *p == '-';
    if (is_negative) ++p;
    if (!is_digit(*p)) return false;
    const uint8_t *const first_digit = p;
    if (*p == '0' && is_digit(p[1])) return false;
    uint64_t mantissa = 0;
    while (is_digit(*p)) mantissa = mantissa * 10 + (*p++ - '0');
    ptrdiff_t digits = p - first_digit;
    ptrdiff_t decimals = 0;
    if (*p == '.') {
        const uint8_t *const first_decimal = ++p;
        while (is_digit(*p)) mantissa = mantissa * 10 + (*p++ - '0');
        decimals = p - first_decimal;
        if (decimals == 0) return false;
        digits += decimals;
    }
    const bool has_exponent = *p == 'e' || *p == 'E';
    if (has_exponent) {
        ++p;
        if (*p == '+' || *p == '-') ++p;
        if (!is_digit(*p)) return false;
        const uint8_t *const first_exponent_digit = p;
        while (is_digit(*p)) ++p;
        digits += p - first_exponent_digit;
    }
    if (!ends_token(*p)) return false;

    // 18 digits fit 64 bits, and up to 2^53 they fit a double.
    if (!has_exponent && digits <= 18 && mantissa <= uint64_t(integer_max)) {
        const double magnitude = double(mantissa) / powers[decimals];
        number.value = is_negative ? -magnitude : magnitude;
        // A quotient near 2^53 may be rounded to a whole one.
        number.is_integer =
            decimals == 0 || (std::trunc(magnitude) == magnitude && is_whole(mantissa, decimals));
        number.integer = number.is_integer ? int64_t(number.value) : 0;
        return true;
    }
    number.is_integer = false;
    if (digits > EP_DIGITS_MAX) {
        // No measurement needs them, and implementations differ in what they make of them.
        number.value = std::numeric_limits<double>::infinity();
        return true;
    }
    const auto result = std::from_chars(
        reinterpret_cast<const char *>(start), reinterpret_cast<const char *>(p), number.value);
    if (result.ec == std::errc::result_out_of_range) {
        // Too small is as far out of range as too large: neither is a measurement.
        number.value = std::numeric_limits<double>::infinity();
        return true;
    }
    if (result.ec != std::errc()) return false;
    number.is_integer = read_integer(first_digit, p, number.integer);
    if (is_negative) number.integer = -number.integer;
    return true;
}

constexpr uint64_t each_byte(uint8_t byte) { return 0x0101010101010101u * byte; }

/// The high bit of each byte of `word` that is zero; bits above the lowest such byte may be wrong.
uint64_t zero_bytes(uint64_t word) {
    return (word - each_byte(0x01)) & ~word & each_byte(0x80);
}

/// The first byte from `p` on that is a quote, a backslash, DEL or not ASCII; stage 1 has made sure that
/// there is a closing quote, and the padding that reading eight bytes is safe.
const uint8_t *find_special(const uint8_t *p) {
    for (;; p += 8) {
        uint64_t word;
        std::memcpy(&word, p, 8);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        const uint64_t special = zero_bytes(word ^ each_byte('"'))
            | zero_bytes(word ^ each_byte('\\')) | zero_bytes(word ^ each_byte(0x7F))
            | (word & each_byte(0x80));
        if (special) return p + (__builtin_ctzll(special) >> 3);
    }
}

int hex_digit(uint8_t byte) {
    if (is_digit(byte)) return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/// Four hexadecimal digits, or -1.
int32_t read_hex(const uint8_t *p) {
    int32_t value = 0;
    for (int index = 0; index < 4; ++index) {
        const int digit = hex_digit(p[index]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

uint8_t *write_utf8(uint8_t *out, uint32_t scalar) {
    if (scalar < 0x80) {
        *out++ = uint8_t(scalar);
    } else if (scalar < 0x800) {
        *out++ = uint8_t(0xC0 | scalar >> 6);
        *out++ = uint8_t(0x80 | (scalar & 0x3F));
    } else if (scalar < 0x10000) {
        *out++ = uint8_t(0xE0 | scalar >> 12);
        *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (scalar & 0x3F));
    } else {
        *out++ = uint8_t(0xF0 | scalar >> 18);
        *out++ = uint8_t(0x80 | (scalar >> 12 & 0x3F));
        *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (scalar & 0x3F));
    }
    return out;
}

/// Whether well-formed UTF-8 holds a control character: general category Cc of Unicode.
bool has_control(const uint8_t *bytes, size_t count) {
    for (size_t index = 0; index < count; ++index) {
        if (bytes[index] < 0x20 || bytes[index] == 0x7F) return true;
        if (bytes[index] == 0xC2 && index + 1 < count && bytes[index + 1] < 0xA0) return true;
    }
    return false;
}

}  // namespace

struct ep_parser {
    ep_parser(uint32_t count_max, uint32_t bytes_max)
        : event_count_max(count_max), event_bytes_max(bytes_max) {}

    ep_body parse(uint8_t *body, size_t length, int form);
    const ep_event *event_at(uint32_t index) const {
        return index < count ? &events[index] : nullptr;
    }

private:
    enum class TextState { plain, unusable, malformed };

    bool reserve(size_t length);
    bool index_tokens(const uint8_t *start, size_t length);
    ep_body parse_json(const uint8_t *body, size_t length);
    ep_body parse_lines(const uint8_t *body, size_t length);
    ep_body malformed() const;
    bool add_event();

    bool parse_event_object(ep_event &event);
    bool parse_context(ep_event &event);
    bool parse_metrics(ep_event &event);
    bool parse_member(uint8_t field, ep_event &event);
    bool parse_text(uint8_t field, ep_event &event, ep_text &text);
    bool parse_integer(uint8_t field, ep_event &event, int64_t &value);
    bool parse_metric(uint8_t field, ep_event &event);
    template <typename Member> bool parse_members(const KeyTable &, ep_event &, Member &&);
    bool read_key(const KeyTable &keys, uint8_t &field);
    bool skip_value();
    bool skip_mismatch(uint8_t field, ep_event &event);
    TextState read_text(const uint8_t *quote, ep_text &text);
    TextState unescape(const uint8_t *quote, ep_text &text);

    bool fail(const char *why) {
        detail = why;
        return false;
    }
    /// The token to be read; behind the last one a zero byte, which begins no token.
    const uint8_t *token() const {
        return next < token_count ? document + tokens[next] : &no_token;
    }
    static void blame(ep_event &event, uint8_t verdict, uint8_t field) {
        if (event.verdict != EP_GOOD) return;
        event.verdict = verdict;
        event.field = field;
    }

    static constexpr uint8_t no_token = 0;

    const uint32_t event_count_max;
    const uint32_t event_bytes_max;

    std::unique_ptr<dom_parser_implementation> stage1;
    size_t capacity = 0;
    std::vector<ep_event> events;
    uint32_t count = 0;
    /// Texts that had escapes. Unescaping never lengthens, so a body's length is room for all of it.
    std::unique_ptr<uint8_t[]> unescaped;
    uint8_t *unescaped_end = nullptr;

    const uint8_t *body_start = nullptr;
    const uint8_t *document = nullptr;
    const uint32_t *tokens = nullptr;
    uint32_t token_count = 0;
    uint32_t next = 0;
    /// Objects and arrays around the next token.
    unsigned depth = 0;
    /// Bytes of the event's longest key so far.
    uint32_t longest_key = 0;
    const char *detail = nullptr;
};

constexpr uint8_t ep_parser::no_token;

/// Makes room for a body of `length` bytes; doubles, so that it comes to an end.
bool ep_parser::reserve(size_t length) {
    if (stage1 && length <= capacity) return true;
    size_t wanted = capacity < 4096 ? 4096 : capacity;
    while (wanted < length) wanted *= 2;
    capacity = 0;
    unescaped.reset(new (std::nothrow) uint8_t[wanted + EP_PADDING]);
    if (!unescaped) return false;
    const auto error = stage1
        ? stage1->set_capacity(wanted)
        : simdjson::get_active_implementation()->create_dom_parser_implementation(
              wanted, EP_DEPTH_MAX, stage1);
    if (error) return false;
    capacity = wanted;
    return true;
}

/// Finds the tokens of one document and makes the first one the next.
bool ep_parser::index_tokens(const uint8_t *start, size_t length) {
    document = start;
    tokens = nullptr;
    token_count = 0;
    next = 0;
    depth = 0;
    if (length >= 3 && std::memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
        return fail("begins with a byte order mark");
    }
    switch (stage1->stage1(start, length, simdjson::stage1_mode::regular)) {
    case simdjson::SUCCESS: break;
    case simdjson::EMPTY: return fail("is empty");
    case simdjson::UTF8_ERROR: return fail("is not UTF-8");
    case simdjson::UNESCAPED_CHARS: return fail("holds a control character within a string");
    case simdjson::UNCLOSED_STRING: return fail("ends within a string");
    default: return fail("is not JSON");
    }
    tokens = stage1->structural_indexes.get();
    token_count = stage1->n_structural_indexes;
    return true;
}

ep_body ep_parser::malformed() const {
    ep_body result = {};
    result.status = EP_MALFORMED;
    result.detail = detail;
    result.offset =
        next < token_count ? uint32_t(document - body_start) + tokens[next] : EP_NO_OFFSET;
    return result;
}

ep_body ep_parser::parse(uint8_t *body, size_t length, int form) {
    count = 0;
    detail = nullptr;
    body_start = body;
    document = body;
    if (!reserve(length)) {
        ep_body result = {};
        result.status = EP_OUT_OF_MEMORY;
        return result;
    }
    std::memset(body + length, 0, EP_PADDING);
    // A number or a word may be the last token, and ends at white space.
    body[length] = '\n';
    unescaped_end = unescaped.get();
    return form == EP_FORM_LINES ? parse_lines(body, length) : parse_json(body, length);
}

ep_body ep_parser::parse_json(const uint8_t *body, size_t length) {
    ep_body result = {};
    if (!index_tokens(body, length)) return malformed();
    if (*token() == '[') {
        result.is_batch = true;
        ++next;
        ++depth;
        if (*token() == ']') {
            ++next;
        } else {
            for (;;) {
                if (count == event_count_max) {
                    result.status = EP_TOO_MANY_EVENTS;
                    return result;
                }
                if (!add_event()) return malformed();
                if (*token() == ',') {
                    ++next;
                } else if (*token() == ']') {
                    ++next;
                    break;
                } else {
                    fail("lacks a comma or a closing bracket");
                    return malformed();
                }
            }
        }
    } else if (*token() == '{') {
        if (!add_event()) return malformed();
    } else {
        fail("is neither an object nor an array");
        return malformed();
    }
    if (next != token_count) {
        fail("has something behind its end");
        return malformed();
    }
    result.count = count;
    return result;
}

ep_body ep_parser::parse_lines(const uint8_t *body, size_t length) {
    ep_body result = {};
    result.is_batch = true;
    const uint8_t *const end = body + length;
    const uint8_t *line = body;
    while (line < end) {
        const void *const found = std::memchr(line, '\n', size_t(end - line));
        const uint8_t *const line_end = found ? static_cast<const uint8_t *>(found) : end;
        const uint8_t *first = line;
        while (first < line_end && (*first == ' ' || *first == '\t' || *first == '\r')) ++first;
        if (first < line_end) {
            if (count == event_count_max) {
                result.status = EP_TOO_MANY_EVENTS;
                return result;
            }
            bool is_json = index_tokens(line, size_t(line_end - line)) && add_event();
            if (is_json && next != token_count) {
                is_json = fail("has something behind its end");
                --count;
            }
            if (!is_json) {
                const ep_body why = malformed();
                if (count == events.size()) events.emplace_back();
                ep_event &event = events[count++];
                event = ep_event{};
                event.verdict = EP_MALFORMED_LINE;
                event.field = EP_NO_FIELD;
                event.detail = why.detail;
                event.offset = why.offset;
            }
        }
        line = line_end + 1;
    }
    result.count = count;
    return result;
}

/// Reads the next value as an event and adds it.
bool ep_parser::add_event() {
    if (count == events.size()) events.emplace_back();
    ep_event &event = events[count];
    event = ep_event{};
    event.field = EP_NO_FIELD;
    longest_key = 0;
    const uint8_t *const start = token();
    if (*start == '{') {
        if (!parse_event_object(event)) return false;
    } else {
        event.verdict = EP_NOT_AN_OBJECT;
        if (!skip_value()) return false;
    }
    event.longest_key = longest_key;
    // An object's closing brace is the token just read.
    if (size_t(document + tokens[next - 1] - start) >= event_bytes_max) {
        event.verdict = EP_TOO_LARGE;
        event.field = EP_NO_FIELD;
    }
    ++count;
    return true;
}

/// Reads an object's members: `member(field)` reads the value of a known one, others are skipped.
template <typename Member>
bool ep_parser::parse_members(const KeyTable &keys, ep_event &event, Member &&member) {
    uint32_t seen = 0;
    ++next;
    if (*token() == '}') {
        ++next;
        return true;
    }
    ++depth;
    for (;;) {
        uint8_t field = EP_NO_FIELD;
        if (!read_key(keys, field)) return false;
        if (field == EP_NO_FIELD) {
            if (!skip_value()) return false;
        } else {
            if (seen & 1u << field) {
                event.repeated |= 1u << field;
                blame(event, EP_DUPLICATE, field);
            }
            seen |= 1u << field;
            if (!member(field)) return false;
        }
        const uint8_t separator = *token();
        if (separator == ',') {
            ++next;
        } else if (separator == '}') {
            ++next;
            --depth;
            return true;
        } else {
            return fail("lacks a comma or a closing brace");
        }
    }
}

/// Reads a key and the colon behind it.
bool ep_parser::read_key(const KeyTable &keys, uint8_t &field) {
    const uint8_t *const quote = token();
    if (*quote != '"') return fail("lacks a key");
    const uint8_t *const special = find_special(quote + 1);
    ep_text text = {quote + 1, uint32_t(special - quote - 1), true};
    if (*special != '"' && read_text(quote, text) == TextState::malformed) return false;
    field = keys.find(text.bytes, text.count);
    if (text.count > longest_key) longest_key = text.count;
    ++next;
    if (*token() != ':') return fail("lacks a colon");
    ++next;
    return true;
}

bool ep_parser::parse_event_object(ep_event &event) {
    return parse_members(
        event_keys, event, [&](uint8_t field) { return parse_member(field, event); });
}

bool ep_parser::parse_member(uint8_t field, ep_event &event) {
    switch (field) {
    case EP_SCHEMA_VERSION: return parse_integer(field, event, event.schema_version);
    case EP_EVENT_ID: return parse_text(field, event, event.event_id);
    case EP_CLIENT_ID: return parse_text(field, event, event.client_id);
    case EP_TARGET: return parse_text(field, event, event.target);
    case EP_TS_MS: return parse_integer(field, event, event.ts_ms);
    case EP_NETWORK_CONTEXT: return parse_context(event);
    case EP_TIMING_MEASUREMENTS: return parse_metrics(event);
    case EP_ERROR_STAGE: return parse_text(field, event, event.error_stage);
    case EP_SESSION_ID: return parse_text(field, event, event.session_id);
    case EP_SEQ: return parse_integer(field, event, event.seq);
    case EP_SOURCE_IP: return parse_text(field, event, event.source_ip);
    case EP_NETWORK_TYPE: return parse_text(field, event, event.network_type);
    case EP_ISP: return parse_text(field, event, event.isp);
    case EP_ASN: return parse_integer(field, event, event.asn);
    case EP_REGION: return parse_text(field, event, event.region);
    case EP_RESOLVER: return parse_text(field, event, event.resolver);
    default: return parse_metric(field, event);
    }
}

bool ep_parser::parse_context(ep_event &event) {
    if (*token() != '{') return skip_mismatch(EP_NETWORK_CONTEXT, event);
    event.present |= 1u << EP_NETWORK_CONTEXT;
    return parse_members(
        context_keys, event, [&](uint8_t field) { return parse_member(field, event); });
}

bool ep_parser::parse_metrics(ep_event &event) {
    if (*token() != '{') return skip_mismatch(EP_TIMING_MEASUREMENTS, event);
    event.present |= 1u << EP_TIMING_MEASUREMENTS;
    return parse_members(
        metric_keys, event, [&](uint8_t field) { return parse_metric(field, event); });
}

/// Steps over a value that has not the type of `field`; null is absent, anything else is to blame.
bool ep_parser::skip_mismatch(uint8_t field, ep_event &event) {
    if (*token() != 'n') blame(event, EP_WRONG_TYPE, field);
    return skip_value();
}

bool ep_parser::parse_text(uint8_t field, ep_event &event, ep_text &text) {
    const uint8_t *const quote = token();
    if (*quote != '"') return skip_mismatch(field, event);
    switch (read_text(quote, text)) {
    case TextState::malformed: return false;
    case TextState::unusable: blame(event, EP_BAD_TEXT, field); break;
    case TextState::plain: event.present |= 1u << field; break;
    }
    ++next;
    return true;
}

bool ep_parser::parse_integer(uint8_t field, ep_event &event, int64_t &value) {
    const uint8_t *const start = token();
    if (*start != '-' && !is_digit(*start)) return skip_mismatch(field, event);
    Number number;
    if (!read_number(start, number)) return fail("holds an ill-formed number");
    ++next;
    if (number.is_integer) {
        value = number.integer;
        event.present |= 1u << field;
    } else {
        blame(event, EP_WRONG_TYPE, field);
    }
    return true;
}

bool ep_parser::parse_metric(uint8_t field, ep_event &event) {
    const uint8_t *const start = token();
    if (*start != '-' && !is_digit(*start)) return skip_mismatch(field, event);
    Number number;
    if (!read_number(start, number)) return fail("holds an ill-formed number");
    ++next;
    if (std::isfinite(number.value)) {
        event.metrics[field - EP_FIRST_METRIC] = number.value;
        event.present |= 1u << field;
    } else {
        blame(event, EP_WRONG_TYPE, field);
    }
    return true;
}

/// Steps over any value and checks its grammar.
bool ep_parser::skip_value() {
    const uint8_t *const start = token();
    switch (*start) {
    case '{':
    case '[': {
        if (depth == EP_DEPTH_MAX) return fail("nests deeper than 16 levels");
        const bool is_object = *start == '{';
        const uint8_t closing = is_object ? '}' : ']';
        ++next;
        if (*token() == closing) {
            ++next;
            return true;
        }
        ++depth;
        for (;;) {
            uint8_t field;
            if (is_object && !read_key(event_keys, field)) return false;
            if (!skip_value()) return false;
            if (*token() == ',') {
                ++next;
            } else if (*token() == closing) {
                ++next;
                --depth;
                return true;
            } else {
                return fail("lacks a comma or a closing bracket");
            }
        }
    }
    case '"': {
        ep_text text;
        if (read_text(start, text) == TextState::malformed) return false;
        break;
    }
    case 't':
        if (std::memcmp(start, "true", 4) != 0 || !ends_token(start[4])) return fail("is not JSON");
        break;
    case 'f':
        if (std::memcmp(start, "false", 5) != 0 || !ends_token(start[5])) {
            return fail("is not JSON");
        }
        break;
    case 'n':
        if (std::memcmp(start, "null", 4) != 0 || !ends_token(start[4])) return fail("is not JSON");
        break;
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': {
        Number number;
        if (!read_number(start, number)) return fail("holds an ill-formed number");
        break;
    }
    case 0:
        return fail(next < token_count ? "is not JSON" : "ends too early");
    default:
        return fail("is not JSON");
    }
    ++next;
    return true;
}

ep_parser::TextState ep_parser::read_text(const uint8_t *quote, ep_text &text) {
    const uint8_t *const start = quote + 1;
    const uint8_t *p = find_special(start);
    if (*p == '"') {
        // Nearly every text. Stage 1 has refused what is below U+0020.
        text = {start, uint32_t(p - start), true};
        return TextState::plain;
    }
    while (*p != '"' && *p != '\\') p = find_special(p + 1);
    if (*p == '\\') return unescape(quote, text);
    text = {start, uint32_t(p - start), false};
    return has_control(start, text.count) ? TextState::unusable : TextState::plain;
}

/// Writes a text without its escapes behind the ones before it.
ep_parser::TextState ep_parser::unescape(const uint8_t *quote, ep_text &text) {
    const uint8_t *p = quote + 1;
    uint8_t *const start = unescaped_end;
    uint8_t *out = start;
    bool is_usable = true;
    while (*p != '"') {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        ++p;
        switch (*p++) {
        case '"': *out++ = '"'; break;
        case '\\': *out++ = '\\'; break;
        case '/': *out++ = '/'; break;
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            int32_t unit = read_hex(p);
            if (unit < 0) {
                fail("holds an ill-formed escape");
                return TextState::malformed;
            }
            p += 4;
            uint32_t scalar = uint32_t(unit);
            if (scalar >= 0xD800 && scalar < 0xDC00 && p[0] == '\\' && p[1] == 'u') {
                const int32_t low = read_hex(p + 2);
                if (low >= 0xDC00 && low < 0xE000) {
                    p += 6;
                    scalar = 0x10000 + ((scalar - 0xD800) << 10) + uint32_t(low - 0xDC00);
                }
            }
            // Half a pair is no character: it is refused, never replaced, since a replacement could
            // make two names one.
            if (scalar >= 0xD800 && scalar < 0xE000) {
                is_usable = false;
            } else {
                out = write_utf8(out, scalar);
            }
            break;
        }
        default:
            fail("holds an ill-formed escape");
            return TextState::malformed;
        }
    }
    unescaped_end = out;
    text = {start, uint32_t(out - start), false};
    return is_usable && !has_control(start, text.count) ? TextState::plain : TextState::unusable;
}

extern "C" {

ep_parser *ep_parser_create(uint32_t event_count_max, uint32_t event_bytes_max) {
    return new (std::nothrow) ep_parser(event_count_max, event_bytes_max);
}

void ep_parser_destroy(ep_parser *parser) { delete parser; }

ep_body ep_parse(ep_parser *parser, uint8_t *body, size_t length, int form) {
    // Only the growth of the events can throw.
    try {
        return parser->parse(body, length, form);
    } catch (...) {
        ep_body result = {};
        result.status = EP_OUT_OF_MEMORY;
        return result;
    }
}

const ep_event *ep_event_at(const ep_parser *parser, uint32_t index) {
    return parser->event_at(index);
}

const char *ep_field_name(uint8_t field) {
    return field < EP_FIELD_COUNT ? field_names[field].full : "";
}

}  // extern "C"
