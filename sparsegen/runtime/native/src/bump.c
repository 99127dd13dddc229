#include "bump.h"

#include <stdlib.h>

#include "errors.h"

#define CHUNK (32 << 10) /* bytes */

struct Chunk {
    Chunk *before;
} __attribute__((aligned(16)));

void *bump_new(Bump *bump, size_t count, size_t size) {
    size_t bytes, whole;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, 15 + sizeof(Chunk), &whole)) {
        fail_memory((size_t)-1, "what the file describes");
        return NULL;
    }
    bytes = bytes ? (bytes + 15) & ~(size_t)15 : 16;
    if (bytes > (size_t)(bump->end - bump->next)) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        Chunk *chunk = calloc(1, sizeof(Chunk) + room);
        if (!chunk) {
            fail_memory(room, "what the file describes");
            return NULL;
        }
        chunk->before = bump->chunks;
        bump->chunks = chunk;
        bump->next = (char *)(chunk + 1);
        bump->end = bump->next + room;
    }
    void *piece = bump->next;
    bump->next += bytes;
    return piece;
}

void bump_free(Bump *bump) {
    for (Chunk *chunk = bump->chunks, *before; chunk; chunk = before) {
        before = chunk->before;
        free(chunk);
    }
    *bump = (Bump){0};
}
