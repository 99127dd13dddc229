/* Empty parallel regions, back to back and with gaps, on threads of our own or of an OpenMP library.
 *
 *     team THREADS SECONDS [PATH OF LIBGOMP]
 *
 * The calling thread works through the gaps. Prints JSON: of each gap, in us, how long regions took, in us
 * (the fastest tenth at most, and the median), and the CPU time of all other threads over the time that
 * passed. */
#define _GNU_SOURCE
#include "team.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void sparsegen_set_threads(int threads);
void sparsegen_use_openmp(void *parallel, void *index, void *count);

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void nothing(void *data, int index, int count) { (void)data, (void)index, (void)count; }

/* A core for each thread: a busy system's scheduler would keep threads that wait for each other on one. */
static void pin(void *data, int index, int count) {
    cpu_set_t allowed, own;
    (void)data, (void)count;
    sched_getaffinity(0, sizeof allowed, &allowed);
    CPU_ZERO(&own);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && index-- == 0) CPU_SET(cpu, &own);
    if (CPU_COUNT(&own)) sched_setaffinity(0, sizeof own, &own);
}

static int ascending(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

#define MOST 1000000

static void measure(double gap_us, double limit) {
    static double took[MOST];
    int count = 0;
    double begin = seconds(CLOCK_MONOTONIC), others = 0, end;
    others -= seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID);
    do {
        double before = seconds(CLOCK_MONOTONIC);
        together(nothing, 0);
        end = seconds(CLOCK_MONOTONIC);
        took[count++] = end - before;
        double until = end + gap_us * 1e-6;
        while (gap_us && seconds(CLOCK_MONOTONIC) < until) {}
    } while (count < MOST && end - begin < limit);
    others += seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID);
    qsort(took, (size_t)count, sizeof *took, ascending);
    printf("{\"gap_us\": %.0f, \"tenth_us\": %.3f, \"median_us\": %.3f, \"others_cpu\": %.4f}", gap_us,
           took[count / 10] * 1e6, took[count / 2] * 1e6, others / (seconds(CLOCK_MONOTONIC) - begin));
}

int main(int count, char **arguments) {
    const double gaps[] = {0, 50, 1000};
    if (count < 3) return 2;
    if (count > 3) {
        void *library = dlopen(arguments[3], RTLD_NOW);
        if (!library) {
            fputs(dlerror(), stderr);
            return 1;
        }
        sparsegen_use_openmp(dlsym(library, "GOMP_parallel"), dlsym(library, "omp_get_thread_num"),
                             dlsym(library, "omp_get_num_threads"));
    }
    sparsegen_set_threads(atoi(arguments[1]));
    together(pin, 0);
    for (int i = 0; i < 3; i++) {
        printf(i ? ", " : "[");
        measure(gaps[i], atof(arguments[2]));
    }
    puts("]");
    return 0;
}
