#include "stages.h"

#include <sched.h>
#include <string.h>

#include "clock.h"
#include "export.h"
#include "team.h"

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

int64_t run_stages(const Call *calls, int64_t total, const Group *groups, const int64_t *stages,
                   int64_t count, int64_t threads, double *clock, StagesMemory memory) {
    Stages run = {calls, groups, stages, count, threads, memory.squads, 0, 0, -1, clock, memory.ended,
                  (int32_t)total};
    memset(memory.ended, 0, (size_t)total * sizeof *memory.ended);
    if (count) set_up(memory.squads, groups, stages[0]);
    team = (int)threads;
    together(stages_body, &run);
    return run.failed;
}

EXPORTED int64_t sparsegen_run_stages(const Call *calls, int64_t total, const Group *groups,
                                      const int64_t *stages, int64_t count, int64_t threads, double *clock) {
    Squad squads[2 * threads];
    int ended[total];
    return run_stages(calls, total, groups, stages, count, threads, clock, (StagesMemory){squads, ended});
}
