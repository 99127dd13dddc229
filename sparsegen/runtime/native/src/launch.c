#include "launch.h"

#include "export.h"
#include "team.h"

typedef struct { FTVMParallelLambda task; void *data; TVMParallelGroupEnv env; int status; } Launch;

static void launch_work(void *pointer, int index, int count) {
    Launch *launch = pointer;
    for (int t = index; t < launch->env.num_task; t += count) {
        int status = launch->task(t, &launch->env, launch->data);
        if (status) launch->status = status;
    }
}

/* Stands in for TVMBackendParallelLaunch; `num_task` 0 means one task a thread. */
EXPORTED int sparsegen_parallel_launch(FTVMParallelLambda task, void *data, int num_task) {
    Launch launch = {task, data, {0, num_task ? num_task : team}, 0};
    if (team == 1 && launch.env.num_task == 1) return task(0, &launch.env, data);
    together(launch_work, &launch);
    return launch.status;
}
