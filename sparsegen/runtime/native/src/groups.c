/* Calls that run at once, of a plan's stages. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"

#define MOST_AT_ONCE 4096 /* calls of a stage */
#define BITS 64

/* ---- reading ------------------------------------------------------------------------------------ */

/* Numbers of calls, ascending, from `first` to before `end`. */
static int read_calls(Bump *memory, const Json *list, int32_t first, int64_t end, const int32_t **to,
                      size_t *count) {
    const Json *items = json_items(list, count);
    int32_t *calls = *count <= MOST_AT_ONCE ? bump_new(memory, *count, sizeof *calls) : NULL;
    if (!items || !calls) return -1;
    for (size_t i = 0; i < *count; i++) {
        int64_t call = json_count(&items[i]);
        if (call < first || call >= end) return -1;
        calls[i] = (int32_t)call;
    }
    *to = calls;
    return 0;
}

/* Each call of the stage is in one group, in the order of the plan; all groups together have the plan's
 * threads at most. */
static int read_groups(Bump *memory, const Json *json, const Plan *plan, PlanStage *stage) {
    size_t count, calls;
    int64_t threads = 0, total = 0;
    const Json *items = json_items(json_get(json, "groups"), &count);
    if (!items || count > (size_t)plan->threads) return -1;
    stage->groups = bump_new(memory, count, sizeof *stage->groups);
    char *seen = bump_new(memory, (size_t)(stage->end - stage->first), 1);
    if (!stage->groups || !seen) return -1;
    stage->count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        Group *group = &stage->groups[i];
        group->threads = json_count(json_get(&items[i], "threads"));
        if (group->threads < 1 || group->threads > plan->threads) return -1;
        if (read_calls(memory, json_get(&items[i], "calls"), stage->first, stage->end, &group->calls, &calls))
            return -1;
        if (!calls) return -1;
        group->count = (int64_t)calls;
        for (size_t c = 0; c < calls; c++) {
            if ((c && group->calls[c] <= group->calls[c - 1]) || seen[group->calls[c] - stage->first])
                return -1;
            seen[group->calls[c] - stage->first] = 1;
        }
        threads += group->threads;
        total += group->count;
    }
    return threads <= plan->threads && total == stage->end - stage->first ? 0 : -1;
}

static int read_after(Bump *memory, const Json *json, PlanStage *stage) {
    const Json *after = json_get(json, "after");
    stage->after = bump_new(memory, (size_t)(stage->end - stage->first), sizeof *stage->after);
    if (!stage->after || !after || after->kind != JSON_OBJECT) return -1;
    for (size_t i = 0; i < after->count; i++) {
        char *rest;
        size_t count;
        const JsonMember *member = &after->members[i];
        long call = strtol(member->name, &rest, 10);
        if (*rest || rest == member->name || call < stage->first || call >= stage->end) return -1;
        int at = (int)(call - stage->first);
        if (read_calls(memory, &member->value, stage->first, call, &stage->after[at].calls, &count))
            return -1;
        stage->after[at].count = (int32_t)count;
    }
    return 0;
}

/* ---- calls that meet ---------------------------------------------------------------------------- */

/* For each call of a stage, the calls of it that have surely ended when it begins: a bit each. */
typedef struct { uint64_t *bits; size_t words; } Ended;

static void add_source(Ended *ended, int32_t call, int32_t source) {
    uint64_t *to = ended->bits + (size_t)call * ended->words,
             *from = ended->bits + (size_t)source * ended->words;
    for (size_t word = 0; word < ended->words; word++) to[word] |= from[word];
    to[source / BITS] |= (uint64_t)1 << source % BITS;
}

/* Sources come before the calls that begin after them. */
static int find_ended(const PlanStage *stage, const int32_t *previous, Ended *ended) {
    int32_t count = stage->end - stage->first;
    ended->words = ((size_t)count + BITS - 1) / BITS;
    ended->bits = calloc((size_t)count * ended->words, sizeof *ended->bits);
    if (!ended->bits)
        return fail_memory((size_t)count * ended->words * sizeof *ended->bits, "calls that run at once");
    for (int32_t call = 0; call < count; call++) {
        if (previous[call] >= 0) add_source(ended, call, previous[call]);
        for (int32_t i = 0; i < stage->after[call].count; i++)
            add_source(ended, call, stage->after[call].calls[i] - stage->first);
    }
    return 0;
}

static int arguments_meet(const PlanCall *one, const PlanCall *other) {
    for (int32_t i = 0; i < one->count; i++)
        for (int32_t k = 0; k < other->count; k++) {
            const Argument *mine = &one->arguments[i], *theirs = &other->arguments[k];
            int written = i + 1 == one->count || k + 1 == other->count;
            if (!written || mine->place != IN_ARENA || theirs->place != IN_ARENA) continue;
            if (mine->index < theirs->index + theirs->form.bytes &&
                theirs->index < mine->index + mine->form.bytes)
                return 1;
        }
    return 0;
}

static int check_meetings(const Plan *plan, const PlanStage *stage, const Ended *ended) {
    for (int32_t call = 0; call < stage->end - stage->first; call++) {
        const PlanCall *one = &plan->calls[stage->first + call];
        for (int32_t i = 0; i < one->count; i++)
            if (one->arguments[i].place != IN_ARENA && one->arguments[i].place != IN_ARRAY)
                return fail_damaged(
                    "the call of layer '%.40s' runs beside others, and is not on the arena alone",
                    one->layer);
        for (int32_t other = 0; other < call; other++) {
            if (ended->bits[(size_t)call * ended->words + (size_t)other / BITS] >> other % BITS & 1) continue;
            if (arguments_meet(one, &plan->calls[stage->first + other]))
                return fail_damaged(
                    "the calls of layers '%.40s' and '%.40s' run at once, and meet in the arena",
                    plan->calls[stage->first + other].layer, one->layer);
        }
    }
    return 0;
}

static int check_stage(Bump *memory, const Plan *plan, const PlanStage *stage) {
    int32_t *previous = bump_new(memory, (size_t)(stage->end - stage->first), sizeof *previous);
    Ended ended = {0};
    if (!previous) return -1;
    for (int32_t call = 0; call < stage->end - stage->first; call++) previous[call] = -1;
    for (int32_t g = 0; g < stage->count; g++)
        for (int64_t c = 1; c < stage->groups[g].count; c++)
            previous[stage->groups[g].calls[c] - stage->first] = stage->groups[g].calls[c - 1] - stage->first;
    int failed = find_ended(stage, previous, &ended) || check_meetings(plan, stage, &ended);
    free(ended.bits);
    return failed ? -1 : 0;
}

/* A plan without stages has none of them. */
int plan_read_stages(Bump *memory, const Json *stages, Plan *plan) {
    size_t count;
    int64_t past = 0;
    const Json *items = json_items(stages, &count);
    if (count > (size_t)plan->calls_count) return fail_damaged("a plan has more stages than calls");
    plan->stages = bump_new(memory, count, sizeof *plan->stages);
    if (!plan->stages) return -1;
    plan->stages_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        PlanStage *stage = &plan->stages[i];
        int64_t first = json_count(json_get(&items[i], "first")),
                end = json_count(json_get(&items[i], "end"));
        if (first < past || end <= first || end > plan->calls_count || end - first > MOST_AT_ONCE)
            return fail_damaged("stage %zu of a plan has other calls than there are, or too many", i);
        past = end;
        stage->first = (int32_t)first;
        stage->end = (int32_t)end;
        if (read_groups(memory, &items[i], plan, stage) || read_after(memory, &items[i], stage))
            return fail_damaged("stage %zu of a plan has not each of its calls in one group, in order", i);
        if (check_stage(memory, plan, stage)) return -1;
    }
    return 0;
}
