/* A file that is open, and the variants of it that run here. */
#ifndef SPARSEGEN_MODEL_H
#define SPARSEGEN_MODEL_H

#include <pthread.h>

#include "artefact.h"
#include "loader.h"
#include "plan.h"
#include "sparsegen.h"
#include "weights.h"

/* A variant: its plan, and from its first context on its code, by call, and its arrays. */
typedef struct {
    const char *text; /* the plan's JSON, which a zero ends */
    size_t length;
    Plan plan;
    const Json *integers;
    const Section *code;
    Library *library;
    void **functions;
    const void **arrays;
    int threads;
} Variant;

struct sparsegen_model {
    Artefact artefact;
    const char *path;
    Variant *variants;
    int count;
    Weights weights;
    pthread_mutex_t lock; /* of what the first context of a variant makes */
    sparsegen_model *next; /* among those that are open */
};

/* Opens a file, and reads the plans of the variants that run here, on so many threads (0: as compiled).
 * Returns 0, or -1 with a message; either way model_close undoes it. */
int model_open(sparsegen_model *model, const char *path, int threads, int verify);

void model_close(sparsegen_model *model);

/* Loads a variant's code and makes its arrays, where that is not done yet. Any thread. */
int variant_make(sparsegen_model *model, Variant *variant);

#endif
