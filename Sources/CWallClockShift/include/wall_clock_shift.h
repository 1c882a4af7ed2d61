// A library to preload (`ld.so(8)`, LD_PRELOAD) that gives one process another wall clock, for tests.
//
// The file that QOE_WALL_CLOCK_SHIFT names holds 8 bytes, a native signed integer: the nanoseconds that the process
// sees its wall clock ahead of the true one. Writing them sets its clock at once. Without the file, which must be
// there at the start, nothing changes.
//
// Only readings of CLOCK_REALTIME change. libfaketime also shifts the deadlines of monotonic timers and condition
// variables, by which a process with a clock ahead finds each of them in the past and spins.

#ifndef WALL_CLOCK_SHIFT_H
#define WALL_CLOCK_SHIFT_H

#include <stdint.h>

/// How far the wall clock of this process is ahead of the true one, nanoseconds.
int64_t wall_clock_shift_nanoseconds(void);

#endif
