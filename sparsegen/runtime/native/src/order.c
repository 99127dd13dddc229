/* What slots and the arena hold when calls read them. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"

#define NOTHING (-1)

static int meets(const Argument *one, const Argument *other) {
    return one->index < other->index + other->form.bytes && other->index < one->index + one->form.bytes;
}

/* ---- slots -------------------------------------------------------------------------------------- */

/* `held` are the values by the slots that have them. */
static int read_slot(const Plan *plan, const int32_t *held, Argument *argument, const char *layer) {
    int32_t value = held[argument->index];
    if (value == NOTHING)
        return fail_damaged("the call of layer '%.40s' reads slot %lld, which holds nothing then", layer,
                            (long long)argument->index);
    const Form *there = &plan->values[value].form;
    if (there->count != argument->form.count || there->dtype != argument->form.dtype)
        return fail_damaged(
            "the call of layer '%.40s' reads another number or type of elements of slot %lld than it holds",
            layer, (long long)argument->index);
    argument->value = value;
    return 0;
}

static int write_slot(Plan *plan, int32_t *held, Argument *argument, const char *layer) {
    if (argument->index < plan->inputs_count)
        return fail_damaged("the call of layer '%.40s' writes over input %lld", layer,
                            (long long)argument->index);
    argument->value = held[argument->index] = plan->values_count;
    plan->values[plan->values_count++].form = argument->form;
    return 0;
}

static int free_slots(const Plan *plan, int32_t *held, const PlanCall *call) {
    size_t count;
    const Json *slots = json_items(call->frees, &count);
    for (size_t i = 0; i < count; i++) {
        int64_t slot = json_count(&slots[i]);
        if (slot < 0 || slot >= plan->slots)
            return fail_damaged("the call of layer '%.40s' frees a slot that is not there", call->layer);
        held[slot] = NOTHING;
    }
    return slots ? 0 : fail_damaged("the call of layer '%.40s' does not tell what it frees", call->layer);
}

static int slots_of_call(Plan *plan, int32_t *held, const PlanCall *call) {
    for (int32_t i = 0; i < call->count; i++) {
        Argument *argument = &call->arguments[i];
        if (argument->place == IN_SLOT && read_slot(plan, held, argument, call->layer)) return -1;
        if (argument->place == IN_NEW && write_slot(plan, held, argument, call->layer)) return -1;
    }
    return free_slots(plan, held, call);
}

static int check_slots(Plan *plan, int32_t *held) {
    for (int64_t slot = 0; slot < plan->slots; slot++) held[slot] = NOTHING;
    for (int32_t i = 0; i < plan->inputs_count; i++) {
        held[i] = plan->values_count;
        plan->values[plan->values_count++].form = plan->inputs[i].form;
    }
    for (int32_t i = 0; i < plan->calls_count; i++)
        if (slots_of_call(plan, held, &plan->calls[i])) return -1;
    for (int32_t i = 0; i < plan->outputs_count; i++) {
        PlanTensor *output = &plan->outputs[i];
        output->value = held[output->slot];
        if (output->value == NOTHING) return fail_damaged("output %d of a plan is never computed", i);
        output->form = plan->values[output->value].form;
    }
    return 0;
}

/* ---- the arena ---------------------------------------------------------------------------------- */

/* The values that the arena holds. */
typedef struct { const Argument **regions; int32_t count; } Held;

static int holds(const Held *held, const Argument *region) {
    for (int32_t i = 0; i < held->count; i++)
        if (held->regions[i]->index == region->index && same_form(&held->regions[i]->form, &region->form))
            return 1;
    return 0;
}

static void hold(Held *held, const Argument *region) {
    int32_t kept = 0;
    for (int32_t i = 0; i < held->count; i++)
        if (!meets(held->regions[i], region)) held->regions[kept++] = held->regions[i];
    held->regions[kept++] = region;
    held->count = kept;
}

static int arena_of_call(Held *held, const PlanCall *call) {
    const Argument *output = &call->arguments[call->count - 1];
    for (int32_t i = 0; i + 1 < call->count; i++) {
        const Argument *region = &call->arguments[i];
        if (region->place != IN_ARENA) continue;
        if (!holds(held, region))
            return fail_damaged(
                "the call of layer '%.40s' reads bytes of the arena from %lld on that hold no such value",
                call->layer, (long long)region->index);
        if (output->place == IN_ARENA && meets(output, region))
            return fail_damaged("the call of layer '%.40s' writes over what it reads", call->layer);
    }
    if (output->place == IN_ARENA) hold(held, output);
    return 0;
}

int plan_check_order(Bump *memory, Plan *plan) {
    size_t most = (size_t)plan->inputs_count + (size_t)plan->calls_count;
    int32_t *held = bump_new(memory, (size_t)plan->slots, sizeof *held);
    Held arena = {bump_new(memory, (size_t)plan->calls_count, sizeof *arena.regions), 0};
    plan->values = bump_new(memory, most, sizeof *plan->values);
    if (!held || !arena.regions || !plan->values || check_slots(plan, held)) return -1;
    for (int32_t i = 0; i < plan->calls_count; i++)
        if (arena_of_call(&arena, &plan->calls[i])) return -1;
    return 0;
}
