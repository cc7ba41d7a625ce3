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
	const struct nb_preset *preset;

	preset = bsearch(name, nb_presets, nb_preset_count, sizeof(nb_presets[0]), compare_name);
	for (size_t i = 0; !preset && i < nb_preset_count; i++)
		for (size_t j = 0; j < NB_PRESET_ALIASES && nb_presets[i].aliases[j]; j++)
			if (strcmp(name, nb_presets[i].aliases[j]) == 0)
				preset = &nb_presets[i];
	return preset;
}
