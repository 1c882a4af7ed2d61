// What tokens and digests of files need of libcrypto. A shim, so that OpenSSL's headers stay out of Swift.

#ifndef DIGESTS_H
#define DIGESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGESTS_SHA256_BYTES 32
/// The block of SHA-256, and with it the longest key of HMAC that is used as it is.
#define DIGESTS_HMAC_KEY_BYTES_MAX 64

/// The two halves of HMAC-SHA-256's key schedule. It is as secret as the key.
typedef struct {
    /// Room for two states of libcrypto; checked when the shim is compiled.
    uint64_t words[28];
} digests_hmac_key;

/// Makes the schedule of a key; false when the key is longer than a block or libcrypto fails.
bool digests_hmac_prepare(const void *key, size_t count, digests_hmac_key *prepared);

/// Writes the HMAC-SHA-256 (RFC 2104, FIPS 180-4) of `count` bytes; allocates nothing. False when libcrypto fails.
bool digests_hmac(
    const digests_hmac_key *key, const void *bytes, size_t count,
    uint8_t digest[DIGESTS_SHA256_BYTES]);

/// A SHA-256 (FIPS 180-4) under way.
typedef struct {
    /// Room for a state of libcrypto; checked when the shim is compiled.
    uint64_t words[14];
} digests_sha256;

/// Begins a hash; false when libcrypto fails, as do the two others.
bool digests_sha256_begin(digests_sha256 *hash);
bool digests_sha256_add(digests_sha256 *hash, const void *bytes, size_t count);
bool digests_sha256_end(digests_sha256 *hash, uint8_t digest[DIGESTS_SHA256_BYTES]);

/// Compares `count` bytes in a time that does not depend on them.
bool digests_equal(const void *a, const void *b, size_t count);

/// Fills `bytes` from libcrypto's random generator, which is seeded by the system; false when it fails.
bool digests_random(void *bytes, size_t count);

#endif
