/* Types of elements. */
#ifndef SPARSEGEN_DTYPES_H
#define SPARSEGEN_DTYPES_H

#include <stdint.h>

/* A type: torch's name of it, that of safetensors, its bytes, and DLPack's code. */
typedef struct {
    const char *name, *stored;
    uint8_t bytes, code;
} Dtype;

/* DLPack's codes. */
enum { DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };

/* By torch's name, and by that of safetensors; NULL where there is none, or the name is NULL. */
const Dtype *dtype_named(const char *name);
const Dtype *dtype_stored(const char *stored);

/* Whether it is of whole numbers, which code may take for places. */
int dtype_is_whole(const Dtype *dtype);

#endif
