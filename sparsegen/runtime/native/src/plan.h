/* What a variant computes: calls of generated functions, on inputs, outputs, arrays and an arena. */
#ifndef SPARSEGEN_PLAN_H
#define SPARSEGEN_PLAN_H

#include <stdint.h>

#include "bump.h"
#include "form.h"
#include "stages.h"

#define MOST_THREADS 4096
#define MOST_CALLS 16384

/* Where an argument lies: in a slot, which the call reads or (IN_NEW) writes, the arena, or an array. */
typedef enum { IN_SLOT, IN_NEW, IN_ARENA, IN_ARRAY } Place;

/* An argument of a call: `index` is its slot, its array, or the first byte of it in the arena. */
typedef struct {
    Place place;
    int64_t index;
    Form form;
    int32_t halo;  /* of an argument in the arena: which of the plan's; -1: none */
    int32_t value; /* of one in a slot: which of the plan's */
    int aligned;   /* of one that is read from a slot: it has to start at a cache line */
    int flat;      /* whether the function takes it as elements in one dimension */
} Argument;

/* A call of the function `symbol` for a layer. The last argument is what it writes; the halo of that is
 * zeroed before, where it `clears`. No call reads the slots of `frees` after it. */
typedef struct {
    const char *layer, *symbol;
    Argument *arguments;
    int32_t count;
    int clears;
    const Json *frees;
} PlanCall;

/* Groups of the calls from `first` to before `end`, which run at once. `after` has for each of these calls
 * how many of other groups it begins after, and which. */
typedef struct {
    int32_t first, end, count;
    Group *groups;
    struct { const int32_t *calls; int32_t count; } *after;
} PlanStage;

/* An array, and how the file stores it. */
typedef struct {
    Form form;
    const Json *stored;
} PlanArray;

/* An input, or an output and its slot. */
typedef struct {
    const char *name;
    Form form;
    int64_t slot;
    int32_t value;
} PlanTensor;

/* What slots hold: first the inputs, then what each call writes into a new one, in the order of the calls. */
typedef struct { Form form; } Value;

typedef struct {
    int32_t threads;
    int64_t slots, arena_bytes;
    int32_t inputs_count, outputs_count, arrays_count, halos_count, calls_count, stages_count, values_count;
    PlanTensor *inputs, *outputs;
    PlanArray *arrays;
    Clearing *halos; /* without their data */
    PlanCall *calls;
    PlanStage *stages;
    Value *values;
} Plan;

/* Reads a plan and checks all that runtime/check.py checks of what lies where: that each call's arguments are
 * inside the arena and of forms that hold together, that what is read was written before, and that calls that
 * run at once do not meet. Returns 0, or -1 with a message. */
int plan_read(Bump *memory, const Json *json, Plan *plan);

/* Checks a plan against the extents of its code: the forms that functions take, and those of each call. */
int plan_check_extents(Plan *plan, const Json *extents);

/* Parts of plan_read: see order.c and meeting.c. */
int plan_check_order(Bump *memory, Plan *plan);
int plan_read_stages(Bump *memory, const Json *stages, Plan *plan);

#endif
