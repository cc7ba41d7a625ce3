/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rest.h"

/*
 * Code that start-up and a look have touched counts as ours as long as it is mapped. It is in the
 * page cache and comes back when it is used. What the loader has written to (and what it has made
 * read-only since) is in segments that can be written, which stay.
 */
static int release_code(struct dl_phdr_info *info, size_t size, void *data)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + segment->p_vaddr;
		uintptr_t end = begin + segment->p_memsz;

		if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
			continue;
		begin &= ~(page - 1);
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): that is how segments are described */
		(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

void nb_rest(void)
{
	malloc_trim(0);
	dl_iterate_phdr(release_code, NULL);
}
