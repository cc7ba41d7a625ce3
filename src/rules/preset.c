/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nb_presets itself is made from rules/presets by embed-presets.py. */
#include "nat-bridge/rules.h"

#include <stdlib.h>
#include <string.h>

static int compare_name(const void *name, const void *preset)
{
	return strcmp(name, ((const struct nb_preset *)preset)->name);
}

const struct nb_preset *nb_preset_find(const char *name)
{
	return bsearch(name, nb_presets, nb_preset_count, sizeof(nb_presets[0]), compare_name);
}
