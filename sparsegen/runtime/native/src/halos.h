/* Halos of images in buffers, zeroed. */
#ifndef SPARSEGEN_HALOS_H
#define SPARSEGEN_HALOS_H

#include <stdint.h>

/* A buffer of `groups` x `size` elements of `item` bytes: `head` elements of halo, then `planes` of `plane`
 * elements each (the last may be cut short by the buffer's end). Zeroes the head and, in every plane,
 * `spans` pairs of (begin, end). */
typedef struct {
    char *data;
    int64_t item, groups, size, head, planes, plane, spans;
    const int64_t *span;
} Clearing;

void sparsegen_zero_halo(const Clearing *clearing);

#endif
