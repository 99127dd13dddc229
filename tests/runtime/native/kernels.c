/* Functions as generated code has them, for models of the tests' own. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    void *data;
    int32_t device_type, device, rank;
    uint8_t type_code, type_bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} Tensor;
typedef struct { int32_t type; uint32_t zero; Tensor *tensor; } Packed;
typedef int (*Task)(int task, void *environment, void *data);

#pragma GCC visibility push(default)

/* Which the runtime fills. */
int (*__TVMBackendParallelLaunch)(Task task, void *data, int tasks);
void *(*__TVMBackendAllocWorkspace)(int device_type, int device, uint64_t bytes, int code, int bits);
int (*__TVMBackendFreeWorkspace)(int device_type, int device, void *memory);

static int64_t count_of(const Tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}

static double value_at(const Tensor *tensor, int64_t at) {
    return tensor->type_code == 2 ? ((const float *)tensor->data)[at] : ((const int32_t *)tensor->data)[at];
}

/* All of what is read, summed, and the place. */
int __tvm_ffi_sum(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)result;
    const Tensor *to = arguments[count - 1].tensor;
    double sum = 0;
    for (int32_t i = 0; i + 1 < count; i++)
        for (int64_t at = 0; at < count_of(arguments[i].tensor); at++)
            sum += value_at(arguments[i].tensor, at);
    for (int64_t at = 0; at < count_of(to); at++) ((float *)to->data)[at] = (float)(sum + (double)at);
    return 0;
}

/* The same by other names: a function has one signature. */
#define SUM(n) \
    int __tvm_ffi_sum_##n(void *self, const Packed *arguments, int32_t count, void *result) \
        __attribute__((alias("__tvm_ffi_sum")));
SUM(0) SUM(1) SUM(2) SUM(3) SUM(4)

static int twice(int task, void *environment, void *data) {
    const Packed *arguments = data;
    (void)environment;
    ((float *)arguments[1].tensor->data)[task] = 2 * ((const float *)arguments[0].tensor->data)[task];
    return 0;
}

/* Each element, by a task of its own. */
int __tvm_ffi_twice(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)count, (void)result;
    return __TVMBackendParallelLaunch(twice, (void *)arguments, (int)count_of(arguments[0].tensor));
}

/* exp and the address's remainder by 64, through memory of the runtime's. */
int __tvm_ffi_exp(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)count, (void)result;
    const Tensor *from = arguments[0].tensor, *to = arguments[1].tensor;
    uint64_t bytes = 4 * (uint64_t)count_of(from);
    float *room = __TVMBackendAllocWorkspace(1, 0, bytes, 2, 32);
    if (!room) return -1;
    for (int64_t at = 0; at < count_of(from); at++) room[at] = expf(((const float *)from->data)[at]);
    memcpy(to->data, room, bytes);
    return __TVMBackendFreeWorkspace(1, 0, room);
}

/* The remainders by 64 of the addresses of all that it is given. */
int __tvm_ffi_places(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)result;
    float *to = arguments[count - 1].tensor->data;
    for (int32_t i = 0; i < count; i++) to[i] = (float)((uintptr_t)arguments[i].tensor->data % 64);
    return 0;
}

int __tvm_ffi_nothing(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)arguments, (void)count, (void)result;
    return 0;
}

int __tvm_ffi_fail(void *self, const Packed *arguments, int32_t count, void *result) {
    (void)self, (void)arguments, (void)count, (void)result;
    return -1;
}
