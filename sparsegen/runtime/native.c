/* The part of the runtime that is not generated: one thread pool for torch and for us, the zeroing
 * of halos, and the measurement of the machine's multiply-add peak.
 *
 * GOMP_parallel and omp_get_* resolve to the OpenMP library that is loaded first, which is torch's:
 * kernels of ours and of torch then run in turn on one team, and never spin against each other. */
#include <stdint.h>
#include <string.h>
#include <time.h>

extern void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

/* ---- parallel loops of generated code ---------------------------------------------------------- */

typedef struct { void *sync_handle; int32_t num_task; } TVMParallelGroupEnv;
typedef int (*FTVMParallelLambda)(int task_id, TVMParallelGroupEnv *env, void *data);
typedef struct { FTVMParallelLambda task; void *data; TVMParallelGroupEnv env; int status; } Launch;

/* Of the calling thread, so that models with different thread counts may run side by side. */
static __thread int team = 1;

void sparsegen_set_threads(int threads) { team = threads; }

static void launch_body(void *pointer) {
    Launch *launch = pointer;
    for (int t = omp_get_thread_num(); t < launch->env.num_task; t += omp_get_num_threads()) {
        int status = launch->task(t, &launch->env, launch->data);
        if (status) launch->status = status;
    }
}

/* Stands in for TVMBackendParallelLaunch; `num_task` 0 means one task a thread. */
int sparsegen_parallel_launch(FTVMParallelLambda task, void *data, int num_task) {
    Launch launch = {task, data, {0, num_task ? num_task : team}, 0};
    if (team == 1 && launch.env.num_task == 1) return task(0, &launch.env, data);
    GOMP_parallel(launch_body, &launch, team, 0);
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

static void halo_body(void *pointer) {
    const Clearing *h = pointer;
    int64_t count = h->groups * h->planes, step = omp_get_num_threads();
    for (int64_t i = omp_get_thread_num(); i < count; i += step) {
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

void sparsegen_zero_halo(char *data, int64_t item, int64_t groups, int64_t size, int64_t head,
                         int64_t planes, int64_t plane, int64_t spans, const int64_t *span) {
    Clearing clearing = {data, item, groups, size, head, planes, plane, spans, span};
    GOMP_parallel(halo_body, &clearing, team, 0);
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

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

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
