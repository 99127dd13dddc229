/* The arrays of a model, in memory as code reads them. */
#ifndef SPARSEGEN_WEIGHTS_H
#define SPARSEGEN_WEIGHTS_H

#include "artefact.h"
#include "pages.h"
#include "plan.h"

/* Memory of arrays that were decoded together. */
typedef struct Block Block;

/* What all variants of a model share; all zero: none yet. */
typedef struct { Block *blocks; } Weights;

/* Makes those arrays of a plan that its calls read, on the threads of the calling thread's team: in the
 * memory of `weights`, or where they lie in the file; those that are stored alike, once. `arrays` gets an
 * address for each. Arrays of whole numbers have to be what `integers`, of the extents, says. Returns 0, or
 * -1 with a message. One thread at a time for each model. */
int weights_make(Weights *weights, Artefact *artefact, const Plan *plan, const Json *integers,
                 const void **arrays);

void weights_free(Weights *weights);

#endif
