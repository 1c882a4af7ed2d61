// What tokens need of libcrypto. A shim, so that OpenSSL's headers stay out of Swift.

#ifndef DIGESTS_H
#define DIGESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGESTS_SHA256_BYTES 32

/// Writes the SHA-256 (FIPS 180-4) of `count` bytes; false when libcrypto fails.
bool digests_sha256(const void *bytes, size_t count, uint8_t digest[DIGESTS_SHA256_BYTES]);

/// Compares `count` bytes in a time that does not depend on them.
bool digests_equal(const void *a, const void *b, size_t count);

/// Fills `bytes` from libcrypto's random generator, which is seeded by the system; false when it fails.
bool digests_random(void *bytes, size_t count);

#endif
