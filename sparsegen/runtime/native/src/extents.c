/* Whether a plan gives functions what they take. */
#include "plan.h"

#include <string.h>

#include "errors.h"

static const Json *shape_of(const Json *parameter) { return json_get(parameter, "shape"); }

/* Whether a parameter takes a form as it is, or in one dimension, which `flat` is set to. Plain tensors are
 * flat but where they are buffers: a copy of a buffer is either. */
static int takes(const Json *parameter, Argument *argument) {
    Form flat = {argument->form.dtype, 1, &argument->form.count, argument->form.count, argument->form.bytes};
    const char *dtype = json_text(json_get(parameter, "dtype"));
    int may_be_flat = argument->place == IN_NEW || (argument->place == IN_SLOT && !argument->aligned);
    int may_be_whole = argument->place != IN_SLOT || argument->aligned;
    if (!dtype || strcmp(dtype, argument->form.dtype->name)) return 0;
    if (may_be_whole && shape_is(&argument->form, shape_of(parameter), 1)) return 1;
    argument->flat = may_be_flat && shape_is(&flat, shape_of(parameter), 1);
    return argument->flat;
}

static int check_signature(const PlanCall *call, const Json *signatures) {
    size_t count;
    const Json *parameters = json_items(json_get(signatures, call->symbol), &count);
    if (!parameters || count != (size_t)call->count)
        return fail_damaged("the call of layer '%.40s' has another number of arguments than '%.40s' takes",
                            call->layer, call->symbol);
    for (int32_t i = 0; i < call->count; i++) {
        ShapeText text;
        if (!takes(&parameters[i], &call->arguments[i]))
            return fail_damaged(
                "the call of layer '%.40s' gives '%.40s' %s of type %s as argument %d, which takes another",
                call->layer, call->symbol, shape_text(&call->arguments[i].form, &text),
                call->arguments[i].form.dtype->name, i);
    }
    return 0;
}

/* What the code was made for: the function, and for each argument its shape, or the number of an array of
 * whole numbers, which tell it how much to read of the others. */
static int check_call(const PlanCall *call, const Json *made) {
    size_t count;
    const Json *told = json_items(made, &count);
    const char *symbol = count ? json_text(&told[0]) : NULL;
    if (!symbol || strcmp(symbol, call->symbol) || count != (size_t)call->count + 1) return -1;
    for (int32_t i = 0; i < call->count; i++) {
        const Argument *argument = &call->arguments[i];
        int is_whole = argument->place == IN_ARRAY && dtype_is_whole(argument->form.dtype);
        if (is_whole ? json_count(&told[i + 1]) != argument->index
                     : !shape_is(&argument->form, &told[i + 1], 0))
            return -1;
    }
    return 0;
}

int plan_check_extents(Plan *plan, const Json *extents) {
    size_t count;
    const Json *signatures = json_get(extents, "signatures"),
               *made = json_items(json_get(extents, "calls"), &count);
    if (!made || count != (size_t)plan->calls_count)
        return fail_damaged("the code was made for %zu calls, and its plan has %d", count, plan->calls_count);
    for (int32_t i = 0; i < plan->calls_count; i++) {
        if (check_signature(&plan->calls[i], signatures)) return -1;
        if (check_call(&plan->calls[i], &made[i]))
            return fail_damaged("the call of layer '%.40s' has other arguments than the code was made for",
                                plan->calls[i].layer);
    }
    return 0;
}
