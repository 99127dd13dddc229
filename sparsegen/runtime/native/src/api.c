/* The functions of sparsegen.h. */
#define _GNU_SOURCE
#include "sparsegen.h"

#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "errors.h"
#include "export.h"
#include "model.h"
#include "team.h"


EXPORTED const char *sparsegen_version(void) { return SPARSEGEN_VERSION; }

/* ---- models ------------------------------------------------------------------------------------- */

/* Those of a caller, who may know fewer of them than this version. */
static int read_options(const sparsegen_options *given, sparsegen_options *options) {
    *options = (sparsegen_options){sizeof *options, 0, 0};
    if (!given) return 0;
    if (given->size < offsetof(sparsegen_options, verify) + sizeof given->verify)
        return fail("the options' size is %zu; set it to sizeof(sparsegen_options)", given->size);
    options->threads = given->threads;
    options->verify = given->verify;
    if (given->threads < 0 || given->threads > MOST_THREADS)
        return fail("threads is %d; give 1 to %d, or 0 for as many as compiled", given->threads,
                    MOST_THREADS);
    return 0;
}

/* Threads that check the sums of a file: as many as the process may run on, as far as that pays. */
static int checking_threads(void) {
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) ? 1 : CPU_COUNT(&allowed);
    return count < 8 ? count : 8;
}

static sparsegen_model *open_model(const char *path, const sparsegen_options *given) {
    sparsegen_options options;
    errors_about(path);
    if (!path) fail("the path is NULL; give a file that sparsegen wrote");
    if (!path || read_options(given, &options)) return NULL;
    sparsegen_model *model = calloc(1, sizeof *model);
    if (!model) {
        fail_memory(sizeof *model, "a model");
        return NULL;
    }
    int before = team;
    team = options.threads ? options.threads : checking_threads();
    int failed = model_open(model, path, options.threads, options.verify);
    team = before;
    if (!failed) return model;
    model_close(model);
    free(model);
    return NULL;
}

EXPORTED sparsegen_model *sparsegen_open(const char *path, const sparsegen_options *given) {
    sparsegen_model *model = open_model(path, given);
    errors_made(model != NULL);
    return model;
}

EXPORTED void sparsegen_close(sparsegen_model *model) {
    if (!model) return;
    model_close(model);
    free(model);
}

/* ---- variants ----------------------------------------------------------------------------------- */

static int no_model(void) { return fail_null("model", "sparsegen_open"); }

EXPORTED int sparsegen_variants(const sparsegen_model *model) { return model ? model->count : no_model(); }

/* NULL, with a message, where there is none of that number. */
static const Variant *find_variant(const sparsegen_model *model, int number) {
    if (!model) {
        no_model();
        return NULL;
    }
    errors_about(model->path);
    if (number >= 0 && number < model->count) return &model->variants[number];
    fail("there is no variant %d; %d run on this machine, from 0 on", number, model->count);
    return NULL;
}

EXPORTED const char *sparsegen_plan(const sparsegen_model *model, int number, size_t *length) {
    const Variant *variant = find_variant(model, number);
    if (length) *length = variant ? variant->length : 0;
    return variant ? variant->text : NULL;
}

EXPORTED int sparsegen_inputs(const sparsegen_model *model, int number) {
    const Variant *variant = find_variant(model, number);
    return variant ? variant->plan.inputs_count : -1;
}

EXPORTED int sparsegen_outputs(const sparsegen_model *model, int number) {
    const Variant *variant = find_variant(model, number);
    return variant ? variant->plan.outputs_count : -1;
}

static int tell(const PlanTensor *tensors, int count, int number, const char *what, sparsegen_tensor *to) {
    if (!to) return fail("the tensor to fill in is NULL; give an address");
    if (number < 0 || number >= count)
        return fail("there is no %s %d; there are %d, from 0 on", what, number, count);
    const PlanTensor *tensor = &tensors[number];
    *to = (sparsegen_tensor){.name = tensor->name,
                             .dtype = tensor->form.dtype->name,
                             .rank = tensor->form.rank,
                             .bytes = (size_t)tensor->form.bytes};
    memcpy(to->shape, tensor->form.shape, (size_t)tensor->form.rank * sizeof *to->shape);
    return 0;
}

EXPORTED int sparsegen_input(const sparsegen_model *model, int number, int input, sparsegen_tensor *tensor) {
    const Variant *variant = find_variant(model, number);
    return variant ? tell(variant->plan.inputs, variant->plan.inputs_count, input, "input", tensor) : -1;
}

EXPORTED int sparsegen_output(const sparsegen_model *model, int number, int output,
                              sparsegen_tensor *tensor) {
    const Variant *variant = find_variant(model, number);
    return variant ? tell(variant->plan.outputs, variant->plan.outputs_count, output, "output", tensor) : -1;
}

/* ---- contexts ----------------------------------------------------------------------------------- */

EXPORTED sparsegen_context *sparsegen_context_new(sparsegen_model *model, int number) {
    const Variant *variant = find_variant(model, number);
    sparsegen_context *context = NULL;
    if (variant && !variant_make(model, &model->variants[number])) context = context_new(model, variant);
    if (model) errors_made(context != NULL);
    return context;
}

EXPORTED void sparsegen_context_free(sparsegen_context *context) { context_free(context); }

EXPORTED int sparsegen_run(sparsegen_context *context, const void *const *inputs, void *const *outputs) {
    if (!context) return fail_null("context", "sparsegen_context_new");
    return context_run(context, inputs, outputs);
}
