/* What the library shows to others. */
#ifndef SPARSEGEN_EXPORT_H
#define SPARSEGEN_EXPORT_H

#define EXPORTED __attribute__((visibility("default")))

#endif
