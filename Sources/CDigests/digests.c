// The functions on a SHA256_CTX are deprecated in favour of EVP, which cannot copy a state without allocating. They are
// what lets the schedule of a key be made once and be used by all threads at no cost.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "digests.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

typedef struct {
    SHA256_CTX inner;
    SHA256_CTX outer;
} states;

_Static_assert(sizeof(states) <= sizeof(digests_hmac_key), "the schedule has too little room");
_Static_assert(_Alignof(states) <= _Alignof(digests_hmac_key), "the schedule is not aligned");
_Static_assert(sizeof(SHA256_CTX) <= sizeof(digests_sha256), "a hash has too little room");
_Static_assert(_Alignof(SHA256_CTX) <= _Alignof(digests_sha256), "a hash is not aligned");
_Static_assert(DIGESTS_SHA256_BYTES == SHA256_DIGEST_LENGTH, "the length of a digest");
_Static_assert(DIGESTS_HMAC_KEY_BYTES_MAX == SHA256_CBLOCK, "the length of a block");

/// Begins a hash with the key's block, each byte of which is combined with `pad`.
static bool begin(SHA256_CTX *state, const uint8_t block[SHA256_CBLOCK], uint8_t pad) {
    uint8_t padded[SHA256_CBLOCK];
    for (size_t i = 0; i < sizeof padded; i++) padded[i] = block[i] ^ pad;
    bool is_done = SHA256_Init(state) == 1 && SHA256_Update(state, padded, sizeof padded) == 1;
    OPENSSL_cleanse(padded, sizeof padded);
    return is_done;
}

bool digests_hmac_prepare(const void *key, size_t count, digests_hmac_key *prepared) {
    if (count > SHA256_CBLOCK) return false;
    // The constants of RFC 2104, section 2.
    const uint8_t inner_pad = 0x36, outer_pad = 0x5c;
    uint8_t block[SHA256_CBLOCK] = {0};
    memcpy(block, key, count);
    states made;
    bool is_done = begin(&made.inner, block, inner_pad) && begin(&made.outer, block, outer_pad);
    memcpy(prepared->words, &made, sizeof made);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&made, sizeof made);
    return is_done;
}

bool digests_hmac(
    const digests_hmac_key *key, const void *bytes, size_t count,
    uint8_t digest[DIGESTS_SHA256_BYTES]) {
    states begun;
    memcpy(&begun, key->words, sizeof begun);
    uint8_t inner[SHA256_DIGEST_LENGTH];
    return SHA256_Update(&begun.inner, bytes, count) == 1
        && SHA256_Final(inner, &begun.inner) == 1
        && SHA256_Update(&begun.outer, inner, sizeof inner) == 1
        && SHA256_Final(digest, &begun.outer) == 1;
}

bool digests_sha256_begin(digests_sha256 *hash) {
    return SHA256_Init((SHA256_CTX *)hash->words) == 1;
}

bool digests_sha256_add(digests_sha256 *hash, const void *bytes, size_t count) {
    return SHA256_Update((SHA256_CTX *)hash->words, bytes, count) == 1;
}

bool digests_sha256_end(digests_sha256 *hash, uint8_t digest[DIGESTS_SHA256_BYTES]) {
    return SHA256_Final(digest, (SHA256_CTX *)hash->words) == 1;
}

bool digests_equal(const void *a, const void *b, size_t count) {
    return CRYPTO_memcmp(a, b, count) == 0;
}

bool digests_random(void *bytes, size_t count) {
    return count <= INT_MAX && RAND_bytes(bytes, (int)count) == 1;
}
