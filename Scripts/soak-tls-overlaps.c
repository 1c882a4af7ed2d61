// Preloaded by Scripts/soak-tls: counts how often two threads are inside one TLS session at once, which OpenSSL forbids
// (openssl-threads(7): an SSL object is for one thread at a time), and writes the counts to standard error at the end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum { slots = 4096 };
static atomic_int inside[slots];
static atomic_long calls, overlaps;

// Sessions are few; two that share a slot would have to be in use at the same moment to be mistaken for one.
static atomic_int *slot(void *session) { return &inside[((uintptr_t)session >> 4) % slots]; }

static void enter(void *session) {
    atomic_fetch_add(&calls, 1);
    if (atomic_fetch_add(slot(session), 1) > 0) atomic_fetch_add(&overlaps, 1);
}

static void leave(void *session) { atomic_fetch_sub(slot(session), 1); }

int SSL_read(void *session, void *buffer, int count) {
    static int (*next)(void *, void *, int);
    if (!next) next = (int (*)(void *, void *, int))dlsym(RTLD_NEXT, "SSL_read");
    enter(session);
    int result = next(session, buffer, count);
    leave(session);
    return result;
}

int SSL_write(void *session, const void *buffer, int count) {
    static int (*next)(void *, const void *, int);
    if (!next) next = (int (*)(void *, const void *, int))dlsym(RTLD_NEXT, "SSL_write");
    enter(session);
    int result = next(session, buffer, count);
    leave(session);
    return result;
}

__attribute__((destructor)) static void report(void) {
    fprintf(stderr, "two threads in one TLS session: %ld times of %ld calls\n", atomic_load(&overlaps), atomic_load(&calls));
}
