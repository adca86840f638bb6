#ifndef CLOCK_H
#define CLOCK_H

#include <time.h>

/* Seconds of CLOCK_MONOTONIC, which is the same in every process of a machine (Python: time.monotonic). */
static inline double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

#endif
