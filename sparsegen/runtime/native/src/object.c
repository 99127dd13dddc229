#include "object.h"

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "errors.h"

#define PAGE ((uint64_t)4096)
#define LARGEST ((uint64_t)1 << 30) /* bytes of memory */

int refuse(const Library *library, const char *format, ...) {
    char why[256];
    va_list values;
    va_start(values, format);
    vsnprintf(why, sizeof why, format, values);
    va_end(values);
    return fail("%s cannot be loaded: %s; write the file again", library->what, why);
}

int lies_in(const Library *library, uint64_t at, uint64_t bytes, int filled, uint32_t flags) {
    for (int i = 0; i < library->count; i++) {
        const Segment *segment = &library->segments[i];
        uint64_t end = filled ? segment->filled : segment->end;
        if (at >= segment->begin && at <= end && bytes <= end - at) return (segment->flags & flags) == flags;
    }
    return 0;
}

static uint64_t page_end(uint64_t at) { return (at + PAGE - 1) & ~(PAGE - 1); }

/* ---- segments ----------------------------------------------------------------------------------- */

static int add_segment(Library *library, const Elf64_Phdr *header, size_t size) {
    const Segment *before = library->count ? &library->segments[library->count - 1] : NULL;
    if (header->p_offset > size || header->p_filesz > size - header->p_offset ||
        header->p_filesz > header->p_memsz)
        return refuse(library, "a segment lies outside of its %zu bytes", size);
    if (header->p_vaddr > LARGEST || header->p_memsz > LARGEST - header->p_vaddr)
        return refuse(library, "a segment takes more memory than %llu bytes", (unsigned long long)LARGEST);
    if (before && (header->p_vaddr & ~(PAGE - 1)) < page_end(before->end))
        return refuse(library, "two segments share memory");
    if (library->count == MOST_SEGMENTS)
        return refuse(library, "it has more than %d segments", MOST_SEGMENTS);
    if ((header->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
        return refuse(library, "a segment is both written and run");
    library->segments[library->count++] = (Segment){header->p_vaddr, header->p_vaddr + header->p_filesz,
                                                    header->p_vaddr + header->p_memsz, header->p_flags};
    return 0;
}

static int read_segment(Library *library, const Elf64_Phdr *header, size_t size) {
    switch (header->p_type) {
    case PT_LOAD: return add_segment(library, header, size);
    case PT_DYNAMIC:
        if (library->dynamic_bytes) return refuse(library, "it has two dynamic sections");
        library->dynamic = header->p_vaddr;
        library->dynamic_bytes = header->p_filesz;
        return 0;
    case PT_TLS: return refuse(library, "it has variables of each thread");
    case PT_INTERP: return refuse(library, "it is a program");
    case PT_GNU_STACK: return header->p_flags & PF_X ? refuse(library, "it runs code on its stack") : 0;
    default: return 0; /* notes, and what debuggers and unwinders read */
    }
}

static int read_headers(Library *library, const unsigned char *bytes, size_t size, Elf64_Ehdr *header) {
    static const unsigned char kind[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    if (size < sizeof *header || memcmp(bytes, kind, sizeof kind))
        return refuse(library, "it is no ELF object of 64 bits");
    memcpy(header, bytes, sizeof *header);
    if (header->e_type != ET_DYN || header->e_machine != EM_X86_64)
        return refuse(library, "it is no shared object for x86-64");
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phoff > size ||
        header->e_phnum > (size - header->e_phoff) / sizeof(Elf64_Phdr))
        return refuse(library, "its headers lie outside of its %zu bytes", size);
    for (int i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, bytes + header->e_phoff + (size_t)i * sizeof segment, sizeof segment);
        if (read_segment(library, &segment, size)) return -1;
    }
    if (!library->count) return refuse(library, "it has no segments");
    return 0;
}

static int map(Library *library, const unsigned char *bytes, const Elf64_Ehdr *header) {
    library->size = page_end(library->segments[library->count - 1].end);
    if (!library->size) return refuse(library, "it is empty");
    void *base = mmap(NULL, library->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return fail_memory(library->size, library->what);
    library->base = base;
    for (int i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, bytes + header->e_phoff + (size_t)i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_LOAD && segment.p_filesz)
            memcpy(library->base + segment.p_vaddr, bytes + segment.p_offset, segment.p_filesz);
    }
    return 0;
}

int object_map(Library *library, const unsigned char *bytes, size_t size) {
    Elf64_Ehdr header;
    return read_headers(library, bytes, size, &header) || map(library, bytes, &header) ? -1 : 0;
}

int object_protect(const Library *library) {
    for (int i = 0; i < library->count; i++) {
        const Segment *segment = &library->segments[i];
        uint64_t begin = segment->begin & ~(PAGE - 1), end = page_end(segment->end);
        int allowed = (segment->flags & PF_R ? PROT_READ : 0) | (segment->flags & PF_W ? PROT_WRITE : 0) |
                      (segment->flags & PF_X ? PROT_READ | PROT_EXEC : 0);
        if (end > begin && mprotect(library->base + begin, end - begin, allowed))
            return fail("the system does not let %s run (%s); let the process map memory that is executable",
                        library->what, strerror(errno));
    }
    return 0;
}
