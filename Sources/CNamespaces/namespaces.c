#define _GNU_SOURCE

#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

int namespaces_leave_for_new_network(void) { return unshare(CLONE_NEWNET); }

int namespaces_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int namespaces_open_tun(const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) return -1;
    if (ioctl(descriptor, TUNSETIFF, &request) < 0) {
        int reason = errno;
        close(descriptor);
        errno = reason;
        return -1;
    }
    return descriptor;
}

int namespaces_make_calling_thread_punctual(void) {
    if (prctl(PR_SET_TIMERSLACK, 1UL) < 0) return -1;
    struct sched_param least = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    return sched_setscheduler(0, SCHED_FIFO, &least);
}

int namespaces_poll(struct pollfd *descriptors, size_t count, int64_t timeout_nanoseconds) {
    struct timespec timeout = {
        .tv_sec = timeout_nanoseconds / 1000000000, .tv_nsec = timeout_nanoseconds % 1000000000};
    return ppoll(descriptors, count, timeout_nanoseconds < 0 ? NULL : &timeout, NULL);
}

int namespaces_open_event(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }
