/* Threads of our own, for teams where no OpenMP library was handed in. */
#ifndef SPARSEGEN_WORKERS_H
#define SPARSEGEN_WORKERS_H

#include "team.h"

/* Work for `count` threads: the calling one, whose index is 0, and workers that are its alone. They are
 * started when they are first needed and end with the calling thread; between two calls they wait for the
 * next one awake for 50 to 100 us, then asleep. They take none of the process's signals. A fork's child
 * starts its own.
 *
 * Where the system refuses more threads, `work` is told that it has fewer. While it runs, the calling thread
 * has a team of one: what it does together is done alone. */
void with_workers(Work work, void *data, int count);

#endif
