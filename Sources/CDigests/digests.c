#include "digests.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

bool digests_sha256(const void *bytes, size_t count, uint8_t digest[DIGESTS_SHA256_BYTES]) {
    unsigned int written = 0;
    return EVP_Digest(bytes, count, digest, &written, EVP_sha256(), NULL) == 1
        && written == DIGESTS_SHA256_BYTES;
}

bool digests_equal(const void *a, const void *b, size_t count) {
    return CRYPTO_memcmp(a, b, count) == 0;
}

bool digests_random(void *bytes, size_t count) {
    return count <= INT_MAX && RAND_bytes(bytes, (int)count) == 1;
}
