/* Arrays, made from the forms in which a file stores them (docs/artefact.md).
 *
 * All return 0; or -1 where sizes do not match, or a value is none of the type's: then `to` holds anything.
 * None makes threads: the caller decodes several arrays at once, or several ranges of one. */
#ifndef SPARSEGEN_DECODE_H
#define SPARSEGEN_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* Values with the zeros between them: bit i % 8 of byte i / 8 of the mask tells whether element i is one. */
int decode_zeros(float *to, int64_t count, const unsigned char *mask, size_t mask_bytes, const float *values,
                 size_t values_count);

/* `base` plus unsigned numbers of `width` bytes: 1 or 2. */
int decode_narrow(int32_t *to, int64_t count, const void *from, size_t bytes, int width, int32_t base);

/* The same for the difference to the element before, 0 before the first. */
int decode_deltas(int32_t *to, int64_t count, const void *from, size_t bytes, int width, int32_t base);

/* Filters [l, r, r], of which those from `begin` to `end` are read, in Winograd's domain: [n, n, l], for a
 * matrix [n, r]; r <= MOST_TAPS, n <= MOST_POSITIONS. The same bits on every CPU. */
#define MOST_TAPS 8
#define MOST_POSITIONS 16
int decode_transformed(float *to, const float *filters, int64_t l, int n, int r, const double *matrix,
                       int64_t begin, int64_t end);

#endif
