/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks -> bridges, and words -> networks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nat-bridge/route.h"

bool nb_resolve(const struct nb_network *network, const struct nb_link_list *links, char *bridge,
		char *why, size_t why_size)
{
	if (network->engine != NB_ENGINE_IFACE) {
		snprintf(why, why_size, "names of %s networks are not supported yet",
			 nb_engine_name(network->engine));
		bridge[0] = '\0';
		return false;
	}
	/* an interface's name fits, or it would not have been parsed */
	snprintf(bridge, NB_IFNAME_SIZE, "%.15s", network->name);
	if (nb_link_find(links, bridge))
		return true;
	snprintf(why, why_size, "interface %s does not exist", bridge);
	return false;
}

int nb_resolve_allowed(struct nb_run *run, const struct nb_link_list *links, const char *bridge,
		       bool external)
{
	const struct nb_link *link = nb_link_find(links, bridge);
	char why[256];
	int r;

	/* the guard on it would drop all traffic of the host with itself */
	if (link && link->loopback)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EINVAL, "loopback",
				    "%s is the loopback device: what runs on the host reaches "
				    "127.0.0.1 without a mapping",
				    bridge);
	if (!link || external)
		return 0;
	if (!nb_link_is_private(links, link, why, sizeof(why)))
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
				    "%s; --allow-external (\"external\": true) if that is meant",
				    why);
	r = nb_route_is_default(run->nl, link->index, &run->error);
	if (r > 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
				    "the default route goes through %s, so others than containers "
				    "could reach the mapping; --allow-external (\"external\": "
				    "true) if that is meant",
				    bridge);
	return r;
}

static int name_nearest(struct nb_run *run, const char *word, const struct nb_link_list *links)
{
	const char **names = calloc(links->count + 1, sizeof(*names));
	char hint[NB_IFNAME_SIZE + 32] = "";
	size_t count = 0, nearest;

	for (size_t i = 0; names && i < links->count; i++)
		if (!links->items[i].loopback)
			names[count++] = links->items[i].name;
	nearest = names ? nb_nearest(word, names, count) : SIZE_MAX;
	if (nearest == SIZE_MAX && names) {
		/* the first bridge is a better hint than none */
		for (nearest = 0; nearest < count; nearest++) {
			const struct nb_link *link = nb_link_find(links, names[nearest]);

			if (link && strcmp(link->kind, "bridge") == 0)
				break;
		}
	}
	if (names && nearest < count)
		snprintf(hint, sizeof(hint), "; there is %s", names[nearest]);
	free(names);
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "no-network",
			    "no interface %.80s%s (iface:%.80s if it comes later)", word, hint,
			    word);
}

int nb_resolve_check_word(struct nb_run *run, const char *word)
{
	struct nb_network network;
	const char *why;

	if (nb_network_is_qualified(word))
		return nb_network_parse(word, &network, &run->error);
	if (!nb_ifname_valid(word, &why))
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "NETWORK '%.80s' %s", word, why);
	return 0;
}

int nb_resolve_word(struct nb_run *run, const char *word, const struct nb_link_list *links,
		    struct nb_network *ret)
{
	if (nb_network_is_qualified(word)) {
		int r = nb_network_parse(word, ret, &run->error);

		if (r < 0)
			return r;
		if (ret->engine != NB_ENGINE_IFACE)
			return nb_error_set(&run->error, NB_STATUS_FAILED, EOPNOTSUPP,
					    "unsupported",
					    "names of %s networks are not supported yet: give the "
					    "bridge's interface name (ip -br link show type "
					    "bridge)",
					    nb_engine_name(ret->engine));
		return 0;
	}
	if (!nb_link_find(links, word))
		return name_nearest(run, word, links);
	memset(ret, 0, sizeof(*ret));
	ret->engine = NB_ENGINE_IFACE;
	strcpy(ret->name, word);
	return 0;
}
