/* Shared objects of generated code, loaded from memory: an own loader, as the system's trusts what it reads,
 * and needs a file or /proc. */
#ifndef SPARSEGEN_LOADER_H
#define SPARSEGEN_LOADER_H

#include <stddef.h>

typedef struct Library Library;

/* Loads an object: maps memory, copies its segments, and applies its relocations, all of which are checked
 * against its bytes. It may import what imports.h has; constructors of its own it must not have, nor
 * variables a thread. NULL, with a message that calls it `what`, where it cannot be loaded. */
Library *library_load(const unsigned char *bytes, size_t size, const char *what);

/* The address of a function that it defines; NULL where it has none of that name. */
void *library_function(const Library *library, const char *name);

/* Unmaps it. NULL is fine. */
void library_free(Library *library);

#endif
