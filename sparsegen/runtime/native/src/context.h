/* Memory to run a variant in, and its calls, bound to that. */
#ifndef SPARSEGEN_CONTEXT_H
#define SPARSEGEN_CONTEXT_H

#include "model.h"

/* A context of a variant that is made; NULL with a message. */
sparsegen_context *context_new(const sparsegen_model *model, const Variant *variant);

void context_free(sparsegen_context *context);

/* Runs all calls. Returns 0, or -1 with a message. */
int context_run(sparsegen_context *context, const void *const *inputs, void *const *outputs);

#endif
