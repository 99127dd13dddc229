#include "workers.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

/* How long a thread waits awake, in ticks of the processor's clock: 50 to 100 us. To sleep and be woken takes
 * some 5 us, which a model that is called again and again should not pay; bench/team.py measures. */
#ifndef AWAKE
#define AWAKE 200000
#endif

/* ---- sleep -------------------------------------------------------------------------------------- */

/* Sleeps if `number` is `value`, until it is woken; it may wake for no reason. */
static void sleep_at(int *number, int value) {
    syscall(SYS_futex, number, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_at(int *number) { syscall(SYS_futex, number, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/* ---- workers ------------------------------------------------------------------------------------ */

typedef struct Worker Worker;

/* What one thread's workers do. */
typedef struct {
    Work work;
    void *data;
    int count, left; /* threads, and how many workers are not done; SLEEPER more while their caller sleeps */
    int size;
    Worker *last; /* the one that was started last */
} Crew;

enum { IDLE, ASLEEP, ORDERED, DISMISSED };

struct Worker {
    int state, index;
    Crew *crew;
    Worker *before;
    pthread_t thread;
} __attribute__((aligned(64))); /* a line of the cache each */

#define SLEEPER (1 << 30)

static __thread Crew crew;

static void tell(Worker *worker, int state) {
    if (__atomic_exchange_n(&worker->state, state, __ATOMIC_ACQ_REL) == ASLEEP) wake_at(&worker->state);
}

/* The next thing that a worker was told. */
static int listen(Worker *worker) {
    int *state = &worker->state, told, idle = IDLE;
    for (uint64_t begin = __rdtsc(); __rdtsc() - begin < AWAKE; __builtin_ia32_pause())
        if ((told = __atomic_load_n(state, __ATOMIC_ACQUIRE)) != IDLE) return told;
    __atomic_compare_exchange_n(state, &idle, ASLEEP, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    while ((told = __atomic_load_n(state, __ATOMIC_ACQUIRE)) == ASLEEP) sleep_at(state, ASLEEP);
    return told;
}

static void *worker_body(void *pointer) {
    Worker *worker = pointer;
    Crew *ours = worker->crew;
    while (listen(worker) == ORDERED) {
        __atomic_store_n(&worker->state, IDLE, __ATOMIC_RELAXED); /* nobody orders before this is done */
        ours->work(ours->data, worker->index, ours->count);
        if (__atomic_sub_fetch(&ours->left, 1, __ATOMIC_ACQ_REL) == SLEEPER) wake_at(&ours->left);
    }
    return NULL;
}

/* Waits until all workers are done. */
static void await_workers(Crew *ours) {
    for (uint64_t begin = __rdtsc(); __rdtsc() - begin < AWAKE; __builtin_ia32_pause())
        if (__atomic_load_n(&ours->left, __ATOMIC_ACQUIRE) == 0) return;
    int left = __atomic_add_fetch(&ours->left, SLEEPER, __ATOMIC_ACQ_REL);
    for (; left != SLEEPER; left = __atomic_load_n(&ours->left, __ATOMIC_ACQUIRE))
        sleep_at(&ours->left, left);
}

/* ---- start and end ------------------------------------------------------------------------------ */

static pthread_key_t ending; /* whose value, a crew, is dismissed when its thread ends */
static int can_end;

static void dismiss(void *pointer) {
    Crew *ours = pointer;
    for (Worker *worker = ours->last; worker; worker = worker->before) tell(worker, DISMISSED);
    while (ours->last) {
        Worker *worker = ours->last;
        ours->last = worker->before;
        pthread_join(worker->thread, NULL);
        free(worker);
    }
    ours->size = 0;
}

/* In a fork's child, which has none of its parent's workers. */
static void forget(void) { crew = (Crew){0}; }

static void prepare(void) {
    can_end = pthread_key_create(&ending, dismiss) == 0 && pthread_atfork(NULL, NULL, forget) == 0;
}

/* The process's signals are for threads that know of them; a fault's own are for the thread that made it. */
static void block_signals(sigset_t *before) {
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

/* One more worker; 0 where the system has none. */
static int hire(Crew *ours) {
    static pthread_once_t prepared = PTHREAD_ONCE_INIT;
    pthread_once(&prepared, prepare);
    if (!can_end || pthread_setspecific(ending, ours)) return 0;
    Worker *worker = aligned_alloc(64, sizeof *worker);
    if (!worker) return 0;
    *worker = (Worker){.state = IDLE, .index = ours->size + 1, .crew = ours, .before = ours->last};
    sigset_t before;
    block_signals(&before);
    int refused = pthread_create(&worker->thread, NULL, worker_body, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (refused) {
        free(worker);
        return 0;
    }
    ours->last = worker;
    ours->size++;
    return 1;
}

void with_workers(Work work, void *data, int count) {
    Crew *ours = &crew;
    while (ours->size < count - 1 && hire(ours)) {}
    if (count > ours->size + 1) count = ours->size + 1;
    ours->work = work;
    ours->data = data;
    ours->count = count;
    __atomic_store_n(&ours->left, count - 1, __ATOMIC_RELAXED);
    for (Worker *worker = ours->last; worker; worker = worker->before)
        if (worker->index < count) tell(worker, ORDERED);
    int before = team;
    team = 1;
    work(data, 0, count);
    team = before;
    await_workers(ours);
}
