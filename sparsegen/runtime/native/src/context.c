#include "context.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "pages.h"
#include "stages.h"
#include "team.h"

#define LINE 64

/* DLPack's tensor, as code reads it; strides of NULL are row-major ones. */
typedef struct {
    void *data;
    int32_t device_type, device;
    int32_t rank;
    uint8_t type_code, type_bits;
    uint16_t lanes;
    const int64_t *shape, *strides;
    uint64_t byte_offset;
} Tensor;

/* TVM's argument of any type: here a pointer to a tensor. */
typedef struct {
    int32_t type;
    uint32_t zero;
    Tensor *tensor;
} Packed;

enum { ON_CPU = 1, TENSOR_POINTER = 7 };

/* What a slot holds in a run: the memory of an input, of an output, or of the context. `tensors` are those
 * that have to point to it. */
typedef struct {
    unsigned char *own; /* of the context: for a value of its own, or for memory that code cannot take */
    int64_t bytes;
    int aligned; /* of an input: has to start at a cache line, as all else does */
    int32_t count;
    Tensor **tensors;
} Held;

struct sparsegen_context {
    const sparsegen_model *model;
    const Plan *plan;
    Bump memory;
    Pages pages; /* the arena, then what `own` of values point to */
    Call *calls;
    Group *groups;
    int64_t *stages; /* how many groups each has */
    int64_t stages_count, groups_count, threads;
    StagesMemory scratch;
    Held *values;
};

/* ---- memory ------------------------------------------------------------------------------------- */

/* What a value takes: whole lines, and something behind it. */
static int64_t in_lines(int64_t bytes) { return (bytes + LINE) & ~(int64_t)(LINE - 1); }

/* The arena, and a place for each value. */
static int place(sparsegen_context *context) {
    const Plan *plan = context->plan;
    int64_t bytes = in_lines(plan->arena_bytes), at = bytes;
    for (int32_t i = 0; i < plan->values_count; i++)
        if (__builtin_add_overflow(bytes, in_lines(plan->values[i].form.bytes), &bytes))
            return fail_memory(SIZE_MAX, "activations");
    if (pages_new(&context->pages, (size_t)bytes, "activations")) return -1;
    for (int32_t i = 0; i < plan->values_count; i++) {
        Held *held = &context->values[i];
        held->bytes = plan->values[i].form.bytes;
        held->own = context->pages.begin + at;
        at += in_lines(held->bytes);
    }
    return 0;
}

/* ---- calls -------------------------------------------------------------------------------------- */

static void *data_of(const sparsegen_context *context, const Variant *variant, const Argument *argument) {
    switch (argument->place) {
    case IN_ARENA: return context->pages.begin + argument->index;
    case IN_ARRAY: return (void *)variant->arrays[argument->index];
    default: return context->values[argument->value].own;
    }
}

static void bind_argument(sparsegen_context *context, const Variant *variant, const Argument *argument,
                          Tensor *to) {
    const Form *form = &argument->form;
    *to = (Tensor){.data = data_of(context, variant, argument),
                   .device_type = ON_CPU,
                   .rank = argument->flat ? 1 : form->rank,
                   .type_code = form->dtype->code,
                   .type_bits = (uint8_t)(8 * form->dtype->bytes),
                   .lanes = 1,
                   .shape = argument->flat ? &form->count : form->shape};
    if (argument->place != IN_SLOT && argument->place != IN_NEW) return;
    Held *held = &context->values[argument->value];
    held->tensors[held->count++] = to;
    held->aligned |= argument->aligned;
}

static int bind_call(sparsegen_context *context, const Variant *variant, int32_t number) {
    const PlanCall *from = &context->plan->calls[number];
    Tensor *tensors = bump_new(&context->memory, (size_t)from->count, sizeof *tensors);
    Packed *packed = bump_new(&context->memory, (size_t)from->count, sizeof *packed);
    if (!tensors || !packed) return -1;
    for (int32_t i = 0; i < from->count; i++) {
        bind_argument(context, variant, &from->arguments[i], &tensors[i]);
        packed[i] = (Packed){TENSOR_POINTER, 0, &tensors[i]};
    }
    Call *to = &context->calls[number];
    *to = (Call){.arguments = packed, .count = from->count};
    to->function = (int (*)(void *, const void *, int32_t, void *))variant->functions[number];
    if (!from->clears) return 0;
    const Argument *output = &from->arguments[from->count - 1];
    Clearing *clearing = bump_new(&context->memory, 1, sizeof *clearing);
    if (!clearing) return -1;
    *clearing = context->plan->halos[output->halo];
    clearing->data = tensors[from->count - 1].data;
    clearing->item = output->form.dtype->bytes;
    to->clearing = clearing;
    return 0;
}

/* Each value knows the tensors that point to it: first how many, for their memory. */
static int bind_calls(sparsegen_context *context, const Variant *variant) {
    const Plan *plan = context->plan;
    for (int32_t c = 0; c < plan->calls_count; c++)
        for (int32_t i = 0; i < plan->calls[c].count; i++) {
            const Argument *argument = &plan->calls[c].arguments[i];
            if (argument->place == IN_SLOT || argument->place == IN_NEW)
                context->values[argument->value].count++;
        }
    for (int32_t i = 0; i < plan->values_count; i++) {
        Held *held = &context->values[i];
        held->tensors = bump_new(&context->memory, (size_t)held->count, sizeof *held->tensors);
        if (!held->tensors) return -1;
        held->count = 0;
    }
    for (int32_t c = 0; c < plan->calls_count; c++)
        if (bind_call(context, variant, c)) return -1;
    return 0;
}

/* ---- stages ------------------------------------------------------------------------------------- */

/* Appends a call to the last stage where that is one group of as many threads: calls then need not meet in
 * between. Otherwise it becomes a stage of its own. `at` is where the groups' lists of calls go on. */
static void add_call(sparsegen_context *context, int32_t call, int32_t **at) {
    int64_t stages = context->stages_count;
    Group *last = stages ? &context->groups[context->groups_count - 1] : NULL;
    *(*at)++ = call;
    if (last && context->stages[stages - 1] == 1 && last->threads == context->threads) {
        last->count++;
        return;
    }
    context->groups[context->groups_count++] = (Group){*at - 1, 1, context->threads};
    context->stages[context->stages_count++] = 1;
}

/* A stage's groups as they are, in a context of as many threads as the plan. */
static void add_stage(sparsegen_context *context, const PlanStage *stage, int32_t **at) {
    for (int32_t g = 0; g < stage->count; g++) {
        Group *to = &context->groups[context->groups_count++];
        *to = (Group){*at, stage->groups[g].count, stage->groups[g].threads};
        memcpy(*at, stage->groups[g].calls, (size_t)to->count * sizeof **at);
        *at += to->count;
    }
    context->stages[context->stages_count++] = stage->count;
    for (int32_t c = stage->first; c < stage->end; c++) {
        Call *call = &context->calls[c];
        call->after = stage->after[c - stage->first].calls;
        call->waits = stage->after[c - stage->first].count;
        for (int32_t i = 0; i < call->waits; i++) context->calls[call->after[i]].awaited = 1;
    }
}

/* With another number of threads, or in one group of all, calls run one after the other: the plan's order
 * runs, too. */
static int runs_at_once(const sparsegen_context *context, const PlanStage *stage) {
    if (context->threads != context->plan->threads) return 0;
    return stage->count > 1 || stage->groups[0].threads != context->threads;
}

static int bind_stages(sparsegen_context *context) {
    const Plan *plan = context->plan;
    size_t calls = (size_t)plan->calls_count;
    int32_t *at = bump_new(&context->memory, calls, sizeof *at);
    context->groups = bump_new(&context->memory, calls, sizeof *context->groups);
    context->stages = bump_new(&context->memory, calls, sizeof *context->stages);
    context->scratch.ended = bump_new(&context->memory, calls, sizeof *context->scratch.ended);
    size_t squads = 2 * (size_t)context->threads;
    char *lines = bump_new(&context->memory, squads + 1, sizeof(Squad));
    if (!at || !context->groups || !context->stages || !context->scratch.ended || !lines) return -1;
    context->scratch.squads = (Squad *)(((uintptr_t)lines + LINE - 1) & ~(uintptr_t)(LINE - 1));
    int32_t next = 0;
    for (int32_t s = 0; s <= plan->stages_count; s++) {
        const PlanStage *stage = s < plan->stages_count ? &plan->stages[s] : NULL;
        int32_t until = !stage ? plan->calls_count : runs_at_once(context, stage) ? stage->first : stage->end;
        while (next < until) add_call(context, next++, &at);
        if (!stage || until == stage->end) continue;
        add_stage(context, stage, &at);
        next = stage->end;
    }
    return 0;
}

/* ---- making and running ------------------------------------------------------------------------- */

sparsegen_context *context_new(const sparsegen_model *model, const Variant *variant) {
    sparsegen_context *context = calloc(1, sizeof *context);
    if (!context) {
        fail_memory(sizeof *context, "a context");
        return NULL;
    }
    context->model = model;
    context->plan = &variant->plan;
    context->threads = variant->threads;
    context->calls = bump_new(&context->memory, (size_t)variant->plan.calls_count, sizeof *context->calls);
    context->values = bump_new(&context->memory, (size_t)variant->plan.values_count, sizeof *context->values);
    if (context->calls && context->values && !place(context) && !bind_calls(context, variant) &&
        !bind_stages(context))
        return context;
    context_free(context);
    return NULL;
}

void context_free(sparsegen_context *context) {
    if (!context) return;
    pages_free(&context->pages);
    bump_free(&context->memory);
    free(context);
}

/* What messages of a run begin with: set where there is one, as a run is short. */
static void about(const sparsegen_context *context) { errors_about(context->model->path); }

static void point(const Held *held, void *data) {
    for (int32_t i = 0; i < held->count; i++) held->tensors[i]->data = data;
}

/* Code reads an input where it lies, or else from a copy of it. */
static int take_inputs(const sparsegen_context *context, const void *const *inputs) {
    for (int32_t i = 0; i < context->plan->inputs_count; i++) {
        const Held *held = &context->values[i];
        const PlanTensor *input = &context->plan->inputs[i];
        uintptr_t multiple = held->aligned ? LINE : input->form.dtype->bytes;
        if (!inputs[i] && held->bytes)
            return about(context), fail("input %d, '%.60s', is NULL; give an address", i, input->name);
        if ((uintptr_t)inputs[i] % multiple == 0) {
            point(held, (void *)inputs[i]);
            continue;
        }
        memcpy(held->own, inputs[i], (size_t)held->bytes);
        point(held, held->own);
    }
    return 0;
}

static int takes(const void *output) { return (uintptr_t)output % LINE == 0; }

static int take_outputs(const sparsegen_context *context, void *const *outputs) {
    for (int32_t i = context->plan->outputs_count; i-- > 0;) {
        const Held *held = &context->values[context->plan->outputs[i].value];
        if (!outputs[i] && held->bytes) return about(context), fail("output %d is NULL; give an address", i);
        point(held, outputs[i] && takes(outputs[i]) ? outputs[i] : held->own);
    }
    return 0;
}

/* What was computed elsewhere than in the caller's memory: a value may be several outputs. */
static void give_outputs(const sparsegen_context *context, void *const *outputs) {
    for (int32_t i = 0; i < context->plan->outputs_count; i++) {
        const Held *held = &context->values[context->plan->outputs[i].value];
        if (!held->bytes) continue;
        const void *computed = held->tensors[0]->data;
        if (computed != outputs[i]) memcpy(outputs[i], computed, (size_t)held->bytes);
    }
}

int context_run(sparsegen_context *context, const void *const *inputs, void *const *outputs) {
    const Plan *plan = context->plan;
    if ((plan->inputs_count && !inputs) || (plan->outputs_count && !outputs))
        return about(context),
               fail("the inputs or the outputs are NULL; give an array with an address for each");
    if (take_inputs(context, inputs) || take_outputs(context, outputs)) return -1;
    int before = team;
    int64_t failed = run_stages(context->calls, plan->calls_count, context->groups, context->stages,
                                context->stages_count, context->threads, NULL, context->scratch);
    team = before;
    if (failed >= 0)
        return about(context),
               fail("the kernel of layer '%.60s' failed, as where memory for its temporary values is "
                    "missing; free some",
                    plan->calls[failed].layer);
    give_outputs(context, outputs);
    return 0;
}
