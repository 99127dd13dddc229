/* Memory from the system: zeros, on large pages where it grants them. */
#ifndef SPARSEGEN_PAGES_H
#define SPARSEGEN_PAGES_H

#include <stddef.h>

/* All zero: none. */
typedef struct {
    unsigned char *begin; /* at a multiple of the large pages' size */
    void *map;
    size_t mapped;
} Pages;

/* Returns 0, or -1 with a message, which calls the memory `use`. */
int pages_new(Pages *pages, size_t bytes, const char *use);

void pages_free(Pages *pages);

#endif
