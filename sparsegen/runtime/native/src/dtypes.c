#include "dtypes.h"

#include <stddef.h>
#include <string.h>

static const Dtype dtypes[] = {
    {"bool", "BOOL", 1, DL_BOOL},       {"uint8", "U8", 1, DL_UINT},     {"int8", "I8", 1, DL_INT},
    {"int16", "I16", 2, DL_INT},        {"uint16", "U16", 2, DL_UINT},   {"int32", "I32", 4, DL_INT},
    {"uint32", "U32", 4, DL_UINT},      {"int64", "I64", 8, DL_INT},     {"uint64", "U64", 8, DL_UINT},
    {"float16", "F16", 2, DL_FLOAT},    {"bfloat16", "BF16", 2, DL_BFLOAT},
    {"float32", "F32", 4, DL_FLOAT},    {"float64", "F64", 8, DL_FLOAT},
};

#define COUNT (sizeof dtypes / sizeof *dtypes)

const Dtype *dtype_named(const char *name) {
    for (size_t i = 0; name && i < COUNT; i++)
        if (!strcmp(dtypes[i].name, name)) return &dtypes[i];
    return NULL;
}

const Dtype *dtype_stored(const char *stored) {
    for (size_t i = 0; stored && i < COUNT; i++)
        if (!strcmp(dtypes[i].stored, stored)) return &dtypes[i];
    return NULL;
}

int dtype_is_whole(const Dtype *dtype) { return dtype->code == DL_INT || dtype->code == DL_UINT; }
