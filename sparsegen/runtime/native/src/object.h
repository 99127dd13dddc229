/* A shared object while it is loaded: its memory, and what its tables are. */
#ifndef SPARSEGEN_OBJECT_H
#define SPARSEGEN_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "loader.h"

#define MOST_SEGMENTS 32

/* Memory of an object: [begin, end), of which what lies from `filled` on is zero. */
typedef struct { uint64_t begin, filled, end; uint32_t flags; } Segment;

/* A table of an object: `count` entries from an address on. */
typedef struct { uint64_t at, count; } Table;

struct Library {
    const char *what;
    unsigned char *base; /* where its address 0 is */
    uint64_t size;
    Segment segments[MOST_SEGMENTS];
    int count;
    uint64_t dynamic, dynamic_bytes;
    /* of the dynamic section; 0: it has none */
    uint64_t names, names_bytes, symbols, hash, init_bytes;
    Table relocations, calls;
    /* of the hash table: see `read_hash` */
    uint32_t buckets, first;
    uint64_t bucket, chain;
    uint64_t symbol_count;
};

/* "WHAT cannot be loaded: ..."; returns -1. */
int refuse(const Library *library, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* Reads the headers of an object, and copies its segments into memory that can be written. */
int object_map(Library *library, const unsigned char *bytes, size_t size);

/* Lets each segment be read, written or run as its header says. */
int object_protect(const Library *library);

/* Whether [at, at + bytes) lies in one segment: in the part of it that is of the file, where `filled`; and
 * whether that has all of `flags`. */
int lies_in(const Library *library, uint64_t at, uint64_t bytes, int filled, uint32_t flags);

#endif
