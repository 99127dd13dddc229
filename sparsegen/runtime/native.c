/* The part of the runtime that is not generated: one thread pool for torch and for us, the zeroing of
 * halos, stages of calls at once, and the measurement of the machine's multiply-add peak.
 *
 * GOMP_parallel and omp_get_* resolve to the OpenMP library that is loaded first, which is torch's:
 * kernels of ours and of torch then run in turn on one team, and never spin against each other. */
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

extern void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

/* ---- teams ------------------------------------------------------------------------------------- */

/* Work for each of `count` threads; `index` tells them apart. */
typedef void (*Work)(void *data, int index, int count);

/* Threads of a team that run the calls of one group: the first of them leads, the others wait for work. */
typedef struct {
    int size;
    Work work; /* NULL: the group has ended */
    void *data;
    int orders, done; /* how often there was work, and how many of the others have done the last of it */
} __attribute__((aligned(64))) Squad;

/* Both of the calling thread, so that models with different thread counts may run side by side. */
static __thread int team = 1;
static __thread Squad *squad = 0;

void sparsegen_set_threads(int threads) { team = threads; }

#define SPINS 20000 /* some 1 ms: then another thread may need the core more than we do */

/* Waits until a number that others write is not `value` any more; returns what it is then. */
static int wait_while(const int *number, int value) {
    int now, spins = 0;
    while ((now = __atomic_load_n(number, __ATOMIC_ACQUIRE)) == value)
        if (++spins < SPINS) __builtin_ia32_pause(); else sched_yield();
    return now;
}

static void order(Squad *led, Work work, void *data) {
    led->work = work;
    led->data = data;
    __atomic_store_n(&led->done, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&led->orders, 1, __ATOMIC_RELEASE);
}

/* What all threads of a squad but the first do until their group ends; `orders` is how many they have seen. */
static void follow(Squad *led, int index, int orders) {
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
    shared->work(shared->data, omp_get_thread_num(), omp_get_num_threads());
}

/* Work for all threads that the calling one has: those of its squad, or of its team. */
static void together(Work work, void *data) {
    if (squad) {
        Squad *led = squad;
        order(led, work, data);
        work(data, 0, led->size);
        for (int done = 0; done < led->size - 1;) done = wait_while(&led->done, done);
    } else if (team == 1) {
        work(data, 0, 1);
    } else {
        Shared shared = {work, data};
        GOMP_parallel(shared_body, &shared, team, 0);
    }
}

/* ---- parallel loops of generated code ---------------------------------------------------------- */

typedef struct { void *sync_handle; int32_t num_task; } TVMParallelGroupEnv;
typedef int (*FTVMParallelLambda)(int task_id, TVMParallelGroupEnv *env, void *data);
typedef struct { FTVMParallelLambda task; void *data; TVMParallelGroupEnv env; int status; } Launch;

static void launch_work(void *pointer, int index, int count) {
    Launch *launch = pointer;
    for (int t = index; t < launch->env.num_task; t += count) {
        int status = launch->task(t, &launch->env, launch->data);
        if (status) launch->status = status;
    }
}

/* Stands in for TVMBackendParallelLaunch; `num_task` 0 means one task a thread. */
int sparsegen_parallel_launch(FTVMParallelLambda task, void *data, int num_task) {
    Launch launch = {task, data, {0, num_task ? num_task : team}, 0};
    if (team == 1 && launch.env.num_task == 1) return task(0, &launch.env, data);
    together(launch_work, &launch);
    return launch.status;
}

/* ---- halos ------------------------------------------------------------------------------------- */

/* A buffer of `groups` x `size` elements of `item` bytes: `head` elements of halo, then `planes` of `plane`
 * elements each (the last may be cut short by the buffer's end). Zeroes the head and, in every plane,
 * `spans` pairs of (begin, end). */
typedef struct {
    char *data;
    int64_t item, groups, size, head, planes, plane, spans;
    const int64_t *span;
} Clearing;

static void halo_work(void *pointer, int index, int step) {
    const Clearing *h = pointer;
    int64_t count = h->groups * h->planes;
    for (int64_t i = index; i < count; i += step) {
        int64_t at = h->head + i % h->planes * h->plane;
        char *group = h->data + i / h->planes * h->size * h->item;
        if (i % h->planes == 0) memset(group, 0, h->head * h->item);
        for (int64_t s = 0; s < h->spans; s++) {
            int64_t begin = at + h->span[2 * s], end = at + h->span[2 * s + 1];
            if (end > h->size) end = h->size;
            if (begin < end) memset(group + begin * h->item, 0, (end - begin) * h->item);
        }
    }
}

void sparsegen_zero_halo(const Clearing *clearing) { together(halo_work, (void *)clearing); }

/* ---- time -------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* ---- stages ------------------------------------------------------------------------------------ */

/* A generated function, as TVM's ABI has it, its arguments, and the halo that is cleared before (or NULL). It
 * begins when the calls `after`, of other groups, have ended; `awaited`: another call begins after this one. */
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

/* Stages of some groups each: groups of a stage run at once, stages one after the other. */
typedef struct {
    const Call *calls;
    const Group *groups;
    const int64_t *stages; /* how many groups each has */
    int64_t count, threads;
    Squad *squads; /* one a thread, for this stage, and as many for the next one */
    int arrived, round;
    int64_t failed; /* the first call that was seen to fail, or -1 */
    double *clock;  /* when each call begins and ends, in seconds; or NULL */
    int *ended;     /* of each call, whether it has */
    int32_t total;
} Stages;

typedef union { int64_t words[2]; } Result; /* TVMFFIAny */

/* Waits until a call has ended, or one has failed. */
static void await(const Stages *run, int32_t call) {
    for (int spins = 0; !__atomic_load_n(&run->ended[call], __ATOMIC_ACQUIRE);) {
        if (__atomic_load_n(&run->failed, __ATOMIC_RELAXED) >= 0) return;
        if (++spins < SPINS) __builtin_ia32_pause(); else sched_yield();
    }
}

static void run_group(Stages *run, const Group *group) {
    for (int64_t at = 0; at < group->count; at++) {
        int32_t c = group->calls[at];
        const Call *call = &run->calls[c];
        Result result = {{0, 0}};
        int64_t none = -1;
        for (int32_t w = 0; w < call->waits; w++) await(run, call->after[w]);
        if (__atomic_load_n(&run->failed, __ATOMIC_RELAXED) >= 0) return;
        if (run->clock) run->clock[2 * c] = now();
        if (call->clearing) sparsegen_zero_halo(call->clearing);
        if (call->function(0, call->arguments, (int32_t)call->count, &result))
            __atomic_compare_exchange_n(&run->failed, &none, c, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        if (run->clock) run->clock[2 * c + 1] = now();
        if (call->awaited) __atomic_store_n(&run->ended[c], 1, __ATOMIC_RELEASE);
    }
}

/* All threads of the team wait for each other. */
static void meet(Stages *run, int count) {
    int round = __atomic_load_n(&run->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&run->arrived, 1, __ATOMIC_ACQ_REL) == count) {
        __atomic_store_n(&run->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&run->round, round + 1, __ATOMIC_RELEASE);
    } else {
        wait_while(&run->round, round);
    }
}

/* One thread's part of a stage: lead a group, follow in one, or nothing. */
static void take_part(Stages *run, Squad *squads, const Group *groups, int64_t count, int index) {
    for (int64_t g = 0; g < count; index -= (int)groups[g].threads, g++) {
        if (index < 0 || index >= groups[g].threads) continue;
        Squad *led = &squads[g];
        if (index > 0) {
            follow(led, index, 0);
            return;
        }
        team = led->size;
        squad = team > 1 ? led : 0;
        run_group(run, &groups[g]);
        if (squad) order(led, 0, 0);
        squad = 0;
        return;
    }
}

static void set_up(Squad *squads, const Group *groups, int64_t count) {
    for (int64_t g = 0; g < count; g++) squads[g] = (Squad){(int)groups[g].threads, 0, 0, 0, 0};
}

static void stages_work(Stages *run, int index, int count) {
    const Group *groups = run->groups;
    int before = team;
    for (int64_t s = 0; s < run->count; s++) {
        const Group *next = groups + run->stages[s];
        Squad *here = run->squads + s % 2 * run->threads, *then = run->squads + (s + 1) % 2 * run->threads;
        if (index == 0 && s + 1 < run->count) set_up(then, next, run->stages[s + 1]);
        take_part(run, here, groups, run->stages[s], index);
        meet(run, count);
        groups = next;
    }
    team = before;
}

/* Where there is no such team, as within another one: all calls in turn, on this thread. */
static void stages_alone(Stages *run, int32_t calls) {
    int before = team;
    team = 1;
    for (int32_t c = 0; c < calls; c++) run_group(run, &(Group){&c, 1, 1});
    team = before;
}

static void stages_body(void *pointer, int index, int count) {
    Stages *run = pointer;
    if (count == run->threads) stages_work(run, index, count);
    else if (index == 0) stages_alone(run, run->total);
}

/* Runs stages of `total` calls in all; returns the number of one that failed, or -1. `clock`, where not NULL,
 * gets when each call begins and ends, in seconds of the system's monotonic clock. */
int64_t sparsegen_run_stages(const Call *calls, int64_t total, const Group *groups, const int64_t *stages,
                             int64_t count, int64_t threads, double *clock) {
    Squad squads[2 * threads];
    int ended[total];
    Stages run = {calls, groups, stages, count, threads, squads, 0, 0, -1, clock, ended, (int32_t)total};
    memset(ended, 0, sizeof ended);
    if (count) set_up(squads, groups, stages[0]);
    team = (int)threads;
    together(stages_body, &run);
    return run.failed;
}

/* ---- peak -------------------------------------------------------------------------------------- */

#define ROUNDS 20000
#define TWELVE(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define FMA_ZMM(i) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #i "\n\t"
#define FMA_YMM(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"
#define LOOP(FMA) \
    "vxorps %%xmm14, %%xmm14, %%xmm14\n\tvxorps %%xmm15, %%xmm15, %%xmm15\n" \
    "1:\n\t" TWELVE(FMA) TWELVE(FMA) "dec %0\n\tjnz 1b\n\tvzeroupper\n"

#define CLOBBERED \
    "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
    "xmm11", "xmm14", "xmm15"

typedef struct { int lanes; double seconds; } Peak;

static void peak_body(void *pointer) {
    Peak *peak = pointer;
    int64_t rounds = ROUNDS;
    double begin = now();
    if (peak->lanes == 16)
        __asm__ volatile(LOOP(FMA_ZMM) : "+r"(rounds) : : CLOBBERED);
    else
        __asm__ volatile(LOOP(FMA_YMM) : "+r"(rounds) : : CLOBBERED);
    if (omp_get_thread_num() == 0) peak->seconds = now() - begin;
}

/* Best of a number of runs of independent multiply-adds from registers, in GF/s of all threads. */
double sparsegen_fma_peak(int lanes, int threads) {
    double best = 0;
    for (int run = 0; run < 200; run++) {
        Peak peak = {lanes, 0};
        GOMP_parallel(peak_body, &peak, threads, 0);
        double gflops = 2.0 * 24 * lanes * ROUNDS * threads / peak.seconds / 1e9;
        if (gflops > best) best = gflops;
    }
    return best;
}
