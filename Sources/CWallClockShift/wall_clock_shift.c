#define _GNU_SOURCE

#include "wall_clock_shift.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t nanoseconds_per_second = 1000000000;

static const int64_t *shift;

__attribute__((constructor)) static void map_shift(void) {
    const char *path = getenv("QOE_WALL_CLOCK_SHIFT");
    int descriptor = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return;
    }
    void *memory = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory != MAP_FAILED) {
        __atomic_store_n(&shift, (const int64_t *)memory, __ATOMIC_RELEASE);
    }
}

int64_t wall_clock_shift_nanoseconds(void) {
    const int64_t *mapped = __atomic_load_n(&shift, __ATOMIC_ACQUIRE);
    return mapped == NULL ? 0 : __atomic_load_n(mapped, __ATOMIC_RELAXED);
}

static struct timespec shifted(struct timespec moment, int64_t nanoseconds) {
    int64_t rest = moment.tv_nsec + nanoseconds % nanoseconds_per_second;
    moment.tv_sec += nanoseconds / nanoseconds_per_second;
    if (rest < 0) {
        rest += nanoseconds_per_second;
        moment.tv_sec -= 1;
    } else if (rest >= nanoseconds_per_second) {
        rest -= nanoseconds_per_second;
        moment.tv_sec += 1;
    }
    moment.tv_nsec = rest;
    return moment;
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    int status = (int)syscall(SYS_clock_gettime, clock, moment);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        *moment = shifted(*moment, wall_clock_shift_nanoseconds());
    }
    return status;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    if (status == 0) {
        moment->tv_sec = now.tv_sec;
        moment->tv_usec = now.tv_nsec / 1000;
    }
    return status;
}

time_t time(time_t *seconds) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return (time_t)-1;
    }
    if (seconds != NULL) {
        *seconds = now.tv_sec;
    }
    return now.tv_sec;
}

/// The deadline was made from a shifted reading, as Dispatch does, and the kernel knows nothing of that.
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    struct timespec true_deadline = shifted(*deadline, -wall_clock_shift_nanoseconds());
    return sem_clockwait(semaphore, CLOCK_REALTIME, &true_deadline);
}
