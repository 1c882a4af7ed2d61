// Linux calls that glibc's module does not show to Swift, and the constants that go with them. Each function returns
// -1 and sets errno when it fails.

#ifndef NAMESPACES_H
#define NAMESPACES_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>

/// Moves the calling thread into a network namespace that did not exist before (`unshare(2)`).
int namespaces_leave_for_new_network(void);

/// Moves the calling thread into the network namespace that `descriptor` names (`setns(2)`).
int namespaces_enter_network(int descriptor);

/// Makes a TUN device in the calling thread's namespace that carries bare IP packets, and returns its nonblocking
/// descriptor; the device disappears when that is closed (Documentation/networking/tuntap.rst).
int namespaces_open_tun(const char *name);

/// Has the calling thread woken at the moment it asks for, and before ordinary threads: no timer slack, and the least
/// of the real-time priorities (`prctl(2)`, `sched(7)`).
int namespaces_make_calling_thread_punctual(void);

/// `ppoll(2)` without a signal mask; a negative timeout waits without end.
int namespaces_poll(struct pollfd *descriptors, size_t count, int64_t timeout_nanoseconds);

/// `eventfd(2)`, nonblocking and closed on exec.
int namespaces_open_event(void);

#endif
