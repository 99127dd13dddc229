/* The machine's peak of multiply-adds, measured. */
#include <stdint.h>

#include "clock.h"
#include "export.h"
#include "team.h"

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

static void peak_work(void *pointer, int index, int count) {
    (void)count;
    Peak *peak = pointer;
    int64_t rounds = ROUNDS;
    double begin = now();
    if (peak->lanes == 16)
        __asm__ volatile(LOOP(FMA_ZMM) : "+r"(rounds) : : CLOBBERED);
    else
        __asm__ volatile(LOOP(FMA_YMM) : "+r"(rounds) : : CLOBBERED);
    if (index == 0) peak->seconds = now() - begin;
}

/* Best of a number of runs of independent multiply-adds from registers, in GF/s of all threads. */
EXPORTED double sparsegen_fma_peak(int lanes, int threads) {
    double best = 0;
    int before = team;
    team = threads;
    for (int run = 0; run < 200; run++) {
        Peak peak = {lanes, 0};
        together(peak_work, &peak);
        double gflops = 2.0 * 24 * lanes * ROUNDS * threads / peak.seconds / 1e9;
        if (gflops > best) best = gflops;
    }
    team = before;
    return best;
}
