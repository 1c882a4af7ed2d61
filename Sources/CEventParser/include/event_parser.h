// Reads bodies of events: one JSON object, a JSON array of them, or one object per line (NDJSON).
//
// JSON is RFC 8259, strictly. Stage 1 of simdjson validates UTF-8 and finds the tokens with vector
// instructions; a small recursive descent over these tokens checks the grammar and picks out the
// known members. simdjson's own second stages were weighed: DOM turns a number beyond double's range
// into an error of the whole document, so one bad measurement would spoil its batch without a field's
// name; On-Demand leaves unread values unchecked and knows no duplicate keys.
//
// No exceptions leave these functions, and in steady state nothing is allocated.

#ifndef EVENT_PARSER_H
#define EVENT_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Bytes behind a body that its buffer must have room for; `ep_parse` overwrites them.
#define EP_PADDING 64
/// The offset of what is wrong with a body or line as a whole.
#define EP_NO_OFFSET UINT32_MAX
/// How deep objects and arrays may nest, the outermost being 1.
#define EP_DEPTH_MAX 16
/// Most digits of a number: of its integer, its fraction and its exponent together.
#define EP_DIGITS_MAX 32
/// Metrics of one event, in the order of their positions in blocks.
#define EP_METRIC_COUNT 10

/// The known members; `ep_field_name` has their names.
enum {
    EP_SCHEMA_VERSION = 0,
    EP_EVENT_ID,
    EP_CLIENT_ID,
    EP_TARGET,
    EP_TS_MS,
    EP_NETWORK_CONTEXT,
    EP_TIMING_MEASUREMENTS,
    EP_ERROR_STAGE,
    EP_SESSION_ID,
    EP_SEQ,
    EP_SOURCE_IP,
    EP_NETWORK_TYPE,
    EP_ISP,
    EP_ASN,
    EP_REGION,
    EP_RESOLVER,
    EP_FIRST_METRIC,
    EP_FIELD_COUNT = EP_FIRST_METRIC + EP_METRIC_COUNT,
    /// No member: the event as a whole.
    EP_NO_FIELD = 255,
};

/// What the parser says about one event.
enum {
    /// Every known member that is there has its type.
    EP_GOOD = 0,
    /// The element or line is JSON, but not an object.
    EP_NOT_AN_OBJECT,
    /// The element or line is longer than the bound.
    EP_TOO_LARGE,
    /// A line is not JSON; `detail` and `offset` say why and where.
    EP_MALFORMED_LINE,
    /// `field` has another JSON type, is no integer where one is needed, has more than EP_DIGITS_MAX
    /// digits, or leaves the range of its representation: integers reach from -2^53 to 2^53.
    EP_WRONG_TYPE,
    /// `field` comes twice in its object.
    EP_DUPLICATE,
    /// `field` holds a control character or half of a surrogate pair.
    EP_BAD_TEXT,
};

/// UTF-8 bytes that live until the parser's next call.
typedef struct {
    const uint8_t *bytes;
    uint32_t count;
    /// Whether every byte is known to be below 0x80; only such a text may have it set.
    bool is_ascii;
} ep_text;

/// One event. A member that is null in JSON counts as absent.
typedef struct {
    /// Bit n is set when the member n is present and has its type.
    uint32_t present;
    /// Bit n is set when the member n comes twice.
    uint32_t repeated;
    /// Bytes of its longest key, known or not, at any depth.
    uint32_t longest_key;
    uint8_t verdict;
    /// The member that `verdict` is about.
    uint8_t field;
    /// Why a line is malformed; static storage.
    const char *detail;
    /// Where in the body a line is malformed.
    uint32_t offset;
    int64_t schema_version;
    int64_t ts_ms;
    int64_t seq;
    int64_t asn;
    ep_text event_id;
    ep_text client_id;
    ep_text target;
    ep_text error_stage;
    ep_text session_id;
    ep_text source_ip;
    ep_text network_type;
    ep_text isp;
    ep_text region;
    ep_text resolver;
    /// Finite where present.
    double metrics[EP_METRIC_COUNT];
} ep_event;

enum { EP_FORM_JSON = 0, EP_FORM_LINES = 1 };

enum {
    EP_PARSED = 0,
    /// The body is not JSON, or neither an object nor an array; `detail` and `offset` say more.
    EP_MALFORMED,
    EP_TOO_MANY_EVENTS,
    EP_OUT_OF_MEMORY,
};

/// What a body came to.
typedef struct {
    int status;
    /// How many events there are, good or bad; for lines, those that are not blank.
    uint32_t count;
    /// An array or lines, not a single object.
    bool is_batch;
    const char *detail;
    uint32_t offset;
} ep_body;

/// A parser with its buffers, for one thread at a time.
typedef struct ep_parser ep_parser;

/// Makes a parser of bodies of at most `event_count_max` events of `event_bytes_max` bytes each; null
/// when there is no memory.
ep_parser *ep_parser_create(uint32_t event_count_max, uint32_t event_bytes_max);
void ep_parser_destroy(ep_parser *parser);

/// Parses `length` bytes at `body`, a buffer with room for `length + EP_PADDING`, below 2^32 - 64.
///
/// The texts of the events point into `body` or into the parser.
ep_body ep_parse(ep_parser *parser, uint8_t *body, size_t length, int form);

/// The event with `index`, below the `count` of the last `ep_parse`; null otherwise.
const ep_event *ep_event_at(const ep_parser *parser, uint32_t index);

/// The JSON name of a member, with its parent's: "timing_measurements.dns_ms"; "" for EP_NO_FIELD.
const char *ep_field_name(uint8_t field);

#ifdef __cplusplus
}
#endif

#endif
