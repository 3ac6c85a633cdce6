// What GCC's unwinder, built for glibc, needs with musl.

#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stdint.h>

// The unwinder refers to these functions only weakly, so the linker would leave them out and the calls would fail.
void *const needed_by_unwinder[] = {
    pthread_once,       pthread_key_create, pthread_getspecific, pthread_setspecific,
    pthread_mutex_lock, pthread_mutex_unlock,
};

// The unwinder finds the unwind tables of an address by the function `_dl_find_object` of glibc. musl has another function
// for the same purpose. The structure is that of glibc's <dlfcn.h>.
struct dl_find_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

struct query {
    uintptr_t address;
    struct dl_find_object *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
    struct query *query = data;
    uintptr_t tables = 0;
    int is_inside = 0;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        uintptr_t start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
        uintptr_t end = start + object->dlpi_phdr[i].p_memsz;
        if (object->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            tables = start;
        if (object->dlpi_phdr[i].p_type == PT_LOAD && start <= query->address && query->address < end) {
            is_inside = 1;
            query->found->map_start = (void *)start;
            query->found->map_end = (void *)end;
        }
    }
    query->found->eh_frame = (void *)tables;
    return is_inside && tables;
}

int _dl_find_object(void *address, struct dl_find_object *found)
{
    struct query query = { (uintptr_t)address, found };
    return dl_iterate_phdr(look, &query) ? 0 : -1;
}
