/* Parallel loops of generated code. */
#ifndef SPARSEGEN_LAUNCH_H
#define SPARSEGEN_LAUNCH_H

#include <stdint.h>

/* What a loop is told of the others that run at once, and a part of it, as TVM has them. */
typedef struct { void *sync_handle; int32_t num_task; } TVMParallelGroupEnv;
typedef int (*FTVMParallelLambda)(int task_id, TVMParallelGroupEnv *env, void *data);

int sparsegen_parallel_launch(FTVMParallelLambda task, void *data, int num_task);

#endif
