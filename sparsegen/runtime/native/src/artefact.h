/* A file of a compiled model, mapped: its sections and its manifest (docs/artefact.md). */
#ifndef SPARSEGEN_ARTEFACT_H
#define SPARSEGEN_ARTEFACT_H

#include <stddef.h>

#include "bump.h"
#include "dtypes.h"
#include "json.h"

typedef struct Decoded Decoded; /* weights.h */

/* Some bytes of the file, of elements of a type. `decoded` are the arrays that were made of it. */
typedef struct {
    const char *name;
    const unsigned char *data;
    size_t bytes;
    const Dtype *dtype;
    Decoded *decoded;
} Section;

typedef struct {
    unsigned char *map;
    size_t size;
    Bump memory; /* of all that was read of the file */
    const Json *manifest;
    Section *sections; /* in the order of their names */
    size_t count;
} Artefact;

/* Maps a file and checks it: all sizes and offsets, and the checksums of manifest, plans, code and extents;
 * with `verify` those of all sections. The threads of the calling one's team share that. Returns 0, or -1
 * with a message; either way artefact_close undoes it. */
int artefact_open(Artefact *artefact, const char *path, int verify);

void artefact_close(Artefact *artefact);

/* The section of a name; NULL where there is none, or the name is NULL. */
Section *artefact_section(const Artefact *artefact, const char *name);

/* The 32 bytes of a SHA-256 that is written in hexadecimal; -1 where it is none, or NULL. */
int digest_from_text(const char *text, unsigned char digest[32]);

#endif
