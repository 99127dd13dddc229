#include "plan.h"

#include <stdio.h>
#include <string.h>

#include "errors.h"

#define LINE 64
#define MOST_ITEMS (1 << 20) /* of lists of a plan */
#define LONGEST_NAME 40      /* characters of it in messages */

/* Items of a list that has to be there; -1 with a message where it is not. */
static int list(const Json *object, const char *name, const Json **items, int32_t *count) {
    size_t found;
    *items = json_items(json_get(object, name), &found);
    if (!*items || found > MOST_ITEMS) return fail_damaged("a plan has no '%s', or too many", name);
    *count = (int32_t)found;
    return 0;
}

/* A number that has to be there, at most `most`. */
static int number(const Json *object, const char *name, int64_t most, int64_t *to) {
    *to = json_count(json_get(object, name));
    if (*to < 0 || *to > most)
        return fail_damaged("'%s' of a plan is no whole number from 0 to %lld", name, (long long)most);
    return 0;
}

/* ---- inputs, outputs, arrays, halos ------------------------------------------------------------- */

static int read_inputs(Bump *memory, const Json *json, Plan *plan) {
    const Json *items;
    if (list(json, "inputs", &items, &plan->inputs_count)) return -1;
    plan->inputs = bump_new(memory, (size_t)plan->inputs_count, sizeof *plan->inputs);
    if (!plan->inputs) return -1;
    for (int32_t i = 0; i < plan->inputs_count; i++) {
        PlanTensor *input = &plan->inputs[i];
        input->name = json_text(json_get(&items[i], "name"));
        input->slot = input->value = i;
        if (!input->name || form_read(memory, &items[i], &input->form))
            return fail_damaged("input %d of a plan has no name, shape or type", i);
    }
    return 0;
}

/* The form of outputs is that of what is in their slots at the end: see order.c. */
static int read_outputs(Bump *memory, const Json *json, Plan *plan) {
    const Json *items, *shapes;
    int32_t count = 0;
    if (list(json, "outputs", &items, &plan->outputs_count) || list(json, "output_shapes", &shapes, &count))
        return -1;
    if (count != plan->outputs_count)
        return fail_damaged("a plan has %d outputs, and %d shapes of them", plan->outputs_count, count);
    plan->outputs = bump_new(memory, (size_t)count, sizeof *plan->outputs);
    if (!plan->outputs) return -1;
    for (int32_t i = 0; i < count; i++) {
        plan->outputs[i].slot = json_count(&items[i]);
        if (plan->outputs[i].slot < plan->inputs_count || plan->outputs[i].slot >= plan->slots)
            return fail_damaged("output %d of a plan is none of its slots, or an input", i);
        char *name = bump_new(memory, 20, 1);
        if (!name) return -1;
        snprintf(name, 20, "output %d", i);
        plan->outputs[i].name = name;
    }
    return 0;
}

static int read_arrays(Bump *memory, const Json *json, Plan *plan) {
    const Json *items;
    if (list(json, "arrays", &items, &plan->arrays_count)) return -1;
    plan->arrays = bump_new(memory, (size_t)plan->arrays_count, sizeof *plan->arrays);
    if (!plan->arrays) return -1;
    for (int32_t i = 0; i < plan->arrays_count; i++) {
        plan->arrays[i].stored = json_get(&items[i], "stored");
        if (form_read(memory, &items[i], &plan->arrays[i].form))
            return fail_damaged("array %d of a plan has no shape or type, or is too large", i);
    }
    return 0;
}

static int read_spans(Bump *memory, const Json *json, Clearing *halo) {
    size_t count, two;
    const Json *spans = json_items(json_get(json, "spans"), &count);
    int64_t *edges = bump_new(memory, count, 2 * sizeof *edges);
    if (!edges) return -1;
    for (size_t i = 0; i < count; i++) {
        const Json *pair = json_items(&spans[i], &two);
        if (two != 2) return -1;
        int64_t begin = edges[2 * i] = json_count(&pair[0]), end = edges[2 * i + 1] = json_count(&pair[1]);
        if (begin < 0 || begin > end || end > halo->plane) return -1;
    }
    halo->span = edges;
    halo->spans = (int64_t)count;
    return spans ? 0 : -1;
}

static int read_halos(Bump *memory, const Json *json, Plan *plan) {
    const Json *items;
    if (list(json, "halos", &items, &plan->halos_count)) return -1;
    plan->halos = bump_new(memory, (size_t)plan->halos_count, sizeof *plan->halos);
    if (!plan->halos) return -1;
    for (int32_t i = 0; i < plan->halos_count; i++) {
        Clearing *halo = &plan->halos[i];
        if (number(&items[i], "groups", LARGEST_BYTES, &halo->groups) ||
            number(&items[i], "size", LARGEST_BYTES, &halo->size) ||
            number(&items[i], "head", halo->size, &halo->head) ||
            number(&items[i], "planes", LARGEST_BYTES, &halo->planes) ||
            number(&items[i], "plane", LARGEST_BYTES, &halo->plane)) return -1;
        if (read_spans(memory, &items[i], halo))
            return fail_damaged("halo %d of a plan has spans outside of it", i);
    }
    return 0;
}

/* ---- calls -------------------------------------------------------------------------------------- */

/* Whether a halo lies in a buffer: no more planes than begin in it, so no more than elements. */
static int suits(const Clearing *halo, const Form *form) {
    int64_t last;
    if (form->rank != 2 || form->shape[0] != halo->groups || form->shape[1] != halo->size || !form->count)
        return 0;
    if (halo->planes <= 1) return 1;
    return halo->plane > 0 && !__builtin_mul_overflow(halo->planes - 1, halo->plane, &last) &&
           last <= halo->size - halo->head;
}

static int read_region(const Json *json, const Plan *plan, Argument *to, const char *layer) {
    const Json *halo = json_get(json, "halo");
    if (to->index > plan->arena_bytes || to->form.bytes > plan->arena_bytes - to->index || to->index % LINE)
        return fail_damaged("the call of layer '%.*s' names %lld bytes from %lld on of an arena of %lld",
                            LONGEST_NAME, layer, (long long)to->form.bytes, (long long)to->index,
                            (long long)plan->arena_bytes);
    to->halo = -1;
    if (!halo) return 0;
    int64_t number = json_count(halo);
    if (number < 0 || number >= plan->halos_count || !suits(&plan->halos[number], &to->form))
        return fail_damaged("the call of layer '%.*s' names a halo that does not suit its buffer",
                            LONGEST_NAME, layer);
    to->halo = (int32_t)number;
    return 0;
}

static int read_argument(Bump *memory, const Json *json, const Plan *plan, Argument *to, const char *layer) {
    static const struct { const char *name; Place place; } kinds[] = {
        {"slot", IN_SLOT}, {"new", IN_NEW}, {"region", IN_ARENA}, {"weight", IN_ARRAY}};
    const Json *index = NULL;
    for (size_t i = 0; i < 4 && !index; i++) {
        index = json_get(json, kinds[i].name);
        to->place = kinds[i].place;
    }
    to->index = json_count(index);
    int64_t count = to->place == IN_ARRAY   ? plan->arrays_count
                    : to->place == IN_ARENA ? INT64_MAX
                                            : plan->slots;
    if (to->index < 0 || to->index >= count)
        return fail_damaged("the call of layer '%.*s' names something that is not there", LONGEST_NAME,
                            layer);
    if (to->place == IN_ARRAY) to->form = plan->arrays[to->index].form;
    else if (form_read(memory, json, &to->form))
        return fail_damaged("the call of layer '%.*s' names something without shape or type", LONGEST_NAME,
                            layer);
    to->aligned = json_flag(json_get(json, "aligned"));
    if (to->aligned < 0) return fail_damaged("'aligned' is neither true nor false");
    return to->place == IN_ARENA ? read_region(json, plan, to, layer) : 0;
}

static int read_call(Bump *memory, const Json *json, const Plan *plan, PlanCall *call) {
    const Json *items;
    if (json_get(json, "operator")) return fail("the model needs torch: load it from Python with sparsegen");
    call->layer = json_text(json_get(json, "layer"));
    call->symbol = json_text(json_get(json, "symbol"));
    call->clears = json_flag(json_get(json, "clears"));
    call->frees = json_get(json, "frees");
    if (!call->layer || !call->symbol || call->clears < 0 || list(json, "arguments", &items, &call->count))
        return fail_damaged("a call has no layer, symbol or arguments");
    call->arguments = bump_new(memory, (size_t)call->count, sizeof *call->arguments);
    if (!call->arguments) return -1;
    for (int32_t i = 0; i < call->count; i++)
        if (read_argument(memory, &items[i], plan, &call->arguments[i], call->layer)) return -1;
    for (int32_t i = 0; i + 1 < call->count; i++)
        if (call->arguments[i].place == IN_NEW)
            return fail_damaged("the call of layer '%.*s' makes a tensor that is not its last argument",
                                LONGEST_NAME, call->layer);
    const Argument *output = call->count ? &call->arguments[call->count - 1] : NULL;
    if (!output || (output->place != IN_NEW && output->place != IN_ARENA))
        return fail_damaged("the call of layer '%.*s' writes nothing", LONGEST_NAME, call->layer);
    if (call->clears && (output->place != IN_ARENA || output->halo < 0))
        return fail_damaged("the call of layer '%.*s' clears a halo that it has not", LONGEST_NAME,
                            call->layer);
    return 0;
}

static int read_calls(Bump *memory, const Json *json, Plan *plan) {
    const Json *items;
    if (list(json, "calls", &items, &plan->calls_count)) return -1;
    if (plan->calls_count > MOST_CALLS)
        return fail("a plan has %d calls, and this version runs %d at most", plan->calls_count, MOST_CALLS);
    if (plan->slots < plan->inputs_count || plan->slots > plan->inputs_count + plan->calls_count)
        return fail_damaged("a plan has %lld slots for %d inputs and %d calls", (long long)plan->slots,
                            plan->inputs_count, plan->calls_count);
    plan->calls = bump_new(memory, (size_t)plan->calls_count, sizeof *plan->calls);
    if (!plan->calls) return -1;
    for (int32_t i = 0; i < plan->calls_count; i++)
        if (read_call(memory, &items[i], plan, &plan->calls[i])) return -1;
    return 0;
}

/* The outputs' shapes, once their forms are known. */
static int check_output_shapes(const Json *json, const Plan *plan) {
    const Json *shapes;
    int32_t count = 0;
    if (list(json, "output_shapes", &shapes, &count)) return -1;
    for (int32_t i = 0; i < count; i++)
        if (!shape_is(&plan->outputs[i].form, &shapes[i], 0))
            return fail_damaged("output %d of a plan is of another shape than what is computed", i);
    return 0;
}

int plan_read(Bump *memory, const Json *json, Plan *plan) {
    int64_t schema, threads;
    *plan = (Plan){0};
    if (number(json, "schema", INT64_MAX, &schema)) return -1;
    if (schema != 2)
        return fail("a plan has schema %lld, and this version reads 2; write the file again",
                    (long long)schema);
    if (number(json, "threads", MOST_THREADS, &threads) || number(json, "slots", MOST_ITEMS, &plan->slots) ||
        number(json, "arena_bytes", LARGEST_BYTES, &plan->arena_bytes)) return -1;
    if (!threads) return fail_damaged("a plan has no threads");
    plan->threads = (int32_t)threads;
    return read_inputs(memory, json, plan) || read_outputs(memory, json, plan) ||
                   read_arrays(memory, json, plan) || read_halos(memory, json, plan) ||
                   read_calls(memory, json, plan) || plan_check_order(memory, plan) ||
                   check_output_shapes(json, plan) || plan_read_stages(memory, json_get(json, "stages"), plan)
               ? -1
               : 0;
}
