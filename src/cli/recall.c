/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

bool nb_recalled_is_of(const struct nb_recalled *item, const struct nb_mapping *mapping)
{
	return nb_network_compare(&item->network, &mapping->network) == 0 &&
	       strcmp(item->except ? item->except : "", mapping->except ? mapping->except : "") ==
		       0;
}

int nb_recall_append(struct nb_recall *recall, const struct nb_recalled *item)
{
	struct nb_recalled copy = *item, *grown;

	if (item->except) {
		copy.except = strdup(item->except);
		if (!copy.except)
			return -ENOMEM;
	}
	grown = realloc(recall->items, (recall->count + 1) * sizeof(*grown));
	if (!grown) {
		free(copy.except);
		return -ENOMEM;
	}
	recall->items = grown;
	grown[recall->count++] = copy;
	return 0;
}

/* Mappings come sorted by network, so that it is the last one, as a rule. */
static bool is_noted(const struct nb_recall *recall, const struct nb_mapping *mapping)
{
	for (size_t i = recall->count; i > 0; i--)
		if (nb_recalled_is_of(&recall->items[i - 1], mapping))
			return true;
	return false;
}

int nb_recall_note(struct nb_recall *recall, const struct nb_recall *before,
		   const struct nb_mapping *mapping, const struct nb_resolution *resolution)
{
	struct nb_recalled item = { .network = mapping->network, .except = mapping->except };
	int r = 0;

	if (mapping->network.engine == NB_ENGINE_IFACE || is_noted(recall, mapping))
		return 0;
	if (resolution->silent && before && is_noted(before, mapping)) {
		for (size_t i = 0; r == 0 && i < before->count; i++)
			if (nb_recalled_is_of(&before->items[i], mapping))
				r = nb_recall_append(recall, &before->items[i]);
		return r;
	}
	for (size_t i = 0; r == 0 && i < resolution->count; i++) {
		memcpy(item.bridge, resolution->items[i].bridge, sizeof(item.bridge));
		item.ifindex = resolution->items[i].ifindex;
		r = nb_recall_append(recall, &item);
	}
	return resolution->count ? r : nb_recall_append(recall, &item);
}

void nb_recall_clear(struct nb_recall *recall)
{
	for (size_t i = 0; i < recall->count; i++)
		free(recall->items[i].except);
	free(recall->items);
	memset(recall, 0, sizeof(*recall));
}
