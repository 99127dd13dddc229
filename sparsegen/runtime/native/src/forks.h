/* Models across a fork: the child has its parent's, whole, and shares the memory of their weights with it. */
#ifndef SPARSEGEN_FORKS_H
#define SPARSEGEN_FORKS_H

#include "model.h"

/* From now on a fork waits until nobody makes a part of the model ready. */
void forks_enter(sparsegen_model *model);

/* The end of it, before the model is closed. */
void forks_leave(sparsegen_model *model);

#endif
