/* The system's monotonic clock. */
#ifndef SPARSEGEN_CLOCK_H
#define SPARSEGEN_CLOCK_H

#include <time.h>

/* Seconds. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

#endif
