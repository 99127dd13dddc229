/* Calls of generated functions, in stages of groups that run at once. */
#ifndef SPARSEGEN_STAGES_H
#define SPARSEGEN_STAGES_H

#include <stdint.h>

#include "halos.h"
#include "team.h"

/* A generated function, as TVM's ABI has it, its arguments, and the halo that is cleared before (or NULL). It
 * begins when the calls `after`, of other groups, have ended; `awaited`: another begins after this one. */
typedef struct {
    int (*function)(void *self, const void *arguments, int32_t count, void *result);
    const void *arguments;
    int64_t count;
    const Clearing *clearing;
    const int32_t *after;
    int32_t waits, awaited;
} Call;

/* Calls, by number, that run one after the other on so many threads. */
typedef struct { const int32_t *calls; int64_t count, threads; } Group;

/* What a run needs memory for: two squads for each thread, and a number for each call. */
typedef struct { Squad *squads; int *ended; } StagesMemory;

/* Runs stages of `total` calls in all; returns the number of one that failed, or -1. `clock`, where not NULL,
 * gets when each call begins and ends, in seconds of the system's monotonic clock. */
int64_t run_stages(const Call *calls, int64_t total, const Group *groups, const int64_t *stages,
                   int64_t count, int64_t threads, double *clock, StagesMemory memory);

/* The same, with its memory on the stack. */
int64_t sparsegen_run_stages(const Call *calls, int64_t total, const Group *groups, const int64_t *stages,
                             int64_t count, int64_t threads, double *clock);

#endif
