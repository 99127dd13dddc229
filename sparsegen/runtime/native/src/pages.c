#include "pages.h"

#include <stdint.h>
#include <sys/mman.h>

#include "errors.h"

#define LARGE ((size_t)2 << 20) /* bytes of a page */

int pages_new(Pages *pages, size_t bytes, const char *use) {
    size_t whole;
    *pages = (Pages){0};
    if (__builtin_add_overflow(bytes, 2 * LARGE, &whole)) return fail_memory(bytes, use);
    whole &= ~(LARGE - 1); /* as much, rounded up, and a page to find a multiple in */
    void *map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return fail_memory(bytes, use);
    madvise(map, whole, MADV_HUGEPAGE); /* a kernel may be built without them */
    pages->map = map;
    pages->mapped = whole;
    pages->begin = (unsigned char *)(((uintptr_t)map + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
    return 0;
}

void pages_free(Pages *pages) {
    if (pages->map) munmap(pages->map, pages->mapped);
    *pages = (Pages){0};
}
