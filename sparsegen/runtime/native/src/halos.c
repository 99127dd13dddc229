#include "halos.h"

#include <string.h>

#include "export.h"
#include "team.h"

static void halo_work(void *pointer, int index, int step) {
    const Clearing *h = pointer;
    int64_t count = h->groups * h->planes;
    for (int64_t i = index; i < count; i += step) {
        int64_t at = h->head + i % h->planes * h->plane;
        char *group = h->data + i / h->planes * h->size * h->item;
        if (i % h->planes == 0) memset(group, 0, h->head * h->item);
        for (int64_t s = 0; s < h->spans; s++) {
            int64_t begin = at + h->span[2 * s], end = at + h->span[2 * s + 1];
            if (end > h->size) end = h->size;
            if (begin < end) memset(group + begin * h->item, 0, (end - begin) * h->item);
        }
    }
}

EXPORTED void sparsegen_zero_halo(const Clearing *clearing) { together(halo_work, (void *)clearing); }
