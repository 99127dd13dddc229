/* Memory that is given out piece by piece, and given back all at once. */
#ifndef SPARSEGEN_BUMP_H
#define SPARSEGEN_BUMP_H

#include <stddef.h>

typedef struct Chunk Chunk;

/* All zero: empty. */
typedef struct {
    Chunk *chunks;
    char *next, *end;
} Bump;

/* `count` times `size` bytes of zeros, at a multiple of 16; NULL, with a message, where there are none. */
void *bump_new(Bump *bump, size_t count, size_t size);

void bump_free(Bump *bump);

#endif
