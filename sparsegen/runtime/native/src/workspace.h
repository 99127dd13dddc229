/* Memory for temporary values of generated code. */
#ifndef SPARSEGEN_WORKSPACE_H
#define SPARSEGEN_WORKSPACE_H

#include <stdint.h>

/* Stand in for TVMBackendAllocWorkspace and TVMBackendFreeWorkspace. What a thread gives back it keeps for
 * the next time, until it ends; NULL where the system has no memory. */
void *workspace_take(int device_type, int device, uint64_t bytes, int type_code, int type_bits);
int workspace_give_back(int device_type, int device, void *memory);

#endif
