#include "team.h"

#include <sched.h>

#include "export.h"
#include "workers.h"

/* Both of the calling thread, so that models with different thread counts may run side by side. */
__thread int team = 1;
__thread Squad *squad = 0;

/* Threads of the teams of the calling thread. */
EXPORTED void sparsegen_set_threads(int threads) { team = threads; }

/* ---- OpenMP ------------------------------------------------------------------------------------- */

/* The entry points of a process's OpenMP library, where it has one: kernels of ours and of torch then run in
 * turn on one team, and never spin against each other. */
static struct {
    void (*parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags);
    int (*index)(void);
    int (*count)(void);
} openmp;

/* Makes all teams those of an OpenMP library: of its GOMP_parallel, omp_get_thread_num, omp_get_num_threads;
 * of threads of our own where `parallel` is NULL, as at first. No team may be at work. */
EXPORTED void sparsegen_use_openmp(void *parallel, void *index, void *count) {
    openmp.parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))parallel;
    openmp.index = (int (*)(void))index;
    openmp.count = (int (*)(void))count;
}

/* ---- teams -------------------------------------------------------------------------------------- */

/* Waits until a number that others write is not `value` any more; returns what it is then. */
int wait_while(const int *number, int value) {
    int now, spins = 0;
    while ((now = __atomic_load_n(number, __ATOMIC_ACQUIRE)) == value)
        if (++spins < SPINS) __builtin_ia32_pause(); else sched_yield();
    return now;
}

void order(Squad *led, Work work, void *data) {
    led->work = work;
    led->data = data;
    __atomic_store_n(&led->done, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&led->orders, 1, __ATOMIC_RELEASE);
}

/* What all threads of a squad but the first do until their group ends; they have seen so many `orders`. */
void follow(Squad *led, int index, int orders) {
    for (;;) {
        orders = wait_while(&led->orders, orders);
        if (!led->work) return;
        led->work(led->data, index, led->size);
        __atomic_fetch_add(&led->done, 1, __ATOMIC_RELEASE);
    }
}

typedef struct { Work work; void *data; } Shared;

static void shared_body(void *pointer) {
    Shared *shared = pointer;
    shared->work(shared->data, openmp.index(), openmp.count());
}

/* Work for all threads that the calling one has: those of its squad, or of its team. */
void together(Work work, void *data) {
    if (squad) {
        Squad *led = squad;
        order(led, work, data);
        work(data, 0, led->size);
        for (int done = 0; done < led->size - 1;) done = wait_while(&led->done, done);
    } else if (team == 1) {
        work(data, 0, 1);
    } else if (openmp.parallel) {
        Shared shared = {work, data};
        openmp.parallel(shared_body, &shared, (unsigned)team, 0);
    } else {
        with_workers(work, data, team);
    }
}
