/* SHA-256, of FIPS 180-4. */
#ifndef SPARSEGEN_SHA256_H
#define SPARSEGEN_SHA256_H

#include <stddef.h>

void sha256(const void *data, size_t size, unsigned char digest[32]);

#endif
