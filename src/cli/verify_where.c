/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From where is sent, and whereto a peer may dial: places, containers, addresses of the host. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/owner.h"
#include "verify.h"

/* Each of them dials every mapping of its bridge. */
#define MOST_CONTAINERS 5 /* of one bridge */
/*
 * What is dialled from elsewhere, all stations taken together: it grows with mappings, addresses and
 * bridges alike, and each packet costs the host some microseconds, three times.
 */
#define MOST_DIALLED 50000

int nb_verify_skip(struct nb_verify *verify, const char *device, const char *format, ...)
{
	struct nb_verify_skip *grown = reallocarray(verify->skipped, verify->skipped_count + 1,
						    sizeof(*grown));
	va_list arguments;

	if (!grown)
		return nb_out_of_memory(verify->run);
	verify->skipped = grown;
	grown += verify->skipped_count++;
	snprintf(grown->device, sizeof(grown->device), "%s", device);
	va_start(arguments, format);
	vsnprintf(grown->why, sizeof(grown->why), format, arguments);
	va_end(arguments);
	return 0;
}

static bool is_probe(const struct nb_link *link)
{
	return strncmp(link->name, NB_PROBE_PREFIX, strlen(NB_PROBE_PREFIX)) == 0;
}

/* --- Places of our own --- */

/* May we stand there as a container does? */
static bool is_station(const struct nb_verify *verify, const struct nb_link *link)
{
	char why[256];

	return strcmp(link->kind, "bridge") == 0 &&
	       nb_link_is_private(nb_view_links(&verify->view), link, why, sizeof(why));
}

/* A device without a place of ours: that nobody thinks that it was looked at. */
static int tell_skipped(struct nb_verify *verify, const struct nb_link *link)
{
	if (link->loopback || link->master || !link->up || is_probe(link))
		return 0;
	return nb_verify_skip(verify, link->name, "%s",
			      strcmp(link->kind, "bridge") != 0
				      ? "no bridge"
				      : "others than containers are on it");
}

/* An engine that would have to be started is asked only if it is known to have made the bridge. */
static bool is_of_engine(const struct nb_verify *verify, const char *bridge)
{
	for (size_t i = 0; i < verify->mapping_count; i++) {
		const struct nb_stored *stored = nb_verify_mapping(verify, i);

		if (strcmp(stored->bridge, bridge) == 0 &&
		    stored->mapping.network.engine != NB_ENGINE_IFACE)
			return true;
	}
	return false;
}

static int ask_endpoints(struct nb_verify *verify, struct nb_station *station)
{
	struct nb_network network;

	if (nb_ask_bridge(verify->run, station->bridge, is_of_engine(verify, station->bridge),
			  &network) &&
	    nb_ask_endpoints(verify->run, network.engine, network.name, &station->endpoints) < 0)
		return nb_out_of_memory(verify->run);
	return 0;
}

static struct nb_station *append(struct nb_verify *verify, const struct nb_link *link)
{
	struct nb_station *station = &verify->stations[verify->station_count++];

	station->verify = verify;
	station->link = link;
	if (link)
		strcpy(station->bridge, link->name);
	return station;
}

static int choose_places(struct nb_verify *verify)
{
	const struct nb_link_list *links = nb_view_links(&verify->view);
	int r = 0;

	for (size_t i = 0; r == 0 && i < links->count; i++) {
		const struct nb_link *link = &links->items[i];

		if (is_station(verify, link))
			r = ask_endpoints(verify, append(verify, link));
		else
			r = tell_skipped(verify, link);
	}
	append(verify, NULL); /* the LAN */
	return r;
}

/* --- Containers --- */

static int choose_containers_of(struct nb_verify *verify, const struct nb_link *link,
				const struct nb_owner_list *owners)
{
	const struct nb_station *home = nb_verify_station(verify, link->name);
	size_t count = 0;

	for (size_t i = 0; i < owners->count; i++) {
		struct nb_station *station;

		if (owners->items[i].bridge != link->index || count++ >= MOST_CONTAINERS)
			continue;
		station = append(verify, link);
		station->pid = owners->items[i].pid;
		station->neighbours = home ? &home->endpoints : NULL;
	}
	if (count > MOST_CONTAINERS)
		return nb_verify_skip(verify, link->name, "%zu of its %zu containers",
				      count - MOST_CONTAINERS, count);
	if (count == 0 && !home)
		nb_warn(&verify->run->warnings,
			"%s: its mappings are not checked from inside: there is no container that "
			"can be entered, and a place of our own would be %s",
			link->name,
			strcmp(link->kind, "bridge") == 0 ? "open to others than containers"
							  : "on no bridge");
	return 0;
}

static int choose_containers(struct nb_verify *verify, const struct nb_owner_list *owners)
{
	const struct nb_link_list *links = nb_view_links(&verify->view);
	int r = 0;

	for (size_t i = 0; r == 0 && i < links->count; i++)
		if (nb_verify_is_mapped(verify, links->items[i].name))
			r = choose_containers_of(verify, &links->items[i], owners);
	return r;
}

/* --- Addresses --- */

static bool is_of_mapped(const struct nb_verify *verify, const struct nb_link *link)
{
	return link && nb_verify_is_mapped(verify, link->name);
}

static const struct nb_link *find_device(const struct nb_link_list *links, int index)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].index == index)
			return &links->items[i];
	return NULL;
}

/* Those of bridges with mappings go first; 127.0.0.0/8 and those of probes are left out. */
static int choose_addresses(struct nb_verify *verify)
{
	const struct nb_link_list *links = nb_view_links(&verify->view);
	struct nb_address_list *all = &verify->addresses;
	size_t most = MOST_DIALLED / (2 * verify->mapping_count * verify->station_count);
	struct nb_address *sorted = calloc(all->count + 1, sizeof(*sorted));
	size_t kept = 0;

	if (!sorted)
		return nb_out_of_memory(verify->run);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < all->count; i++) {
			const struct nb_link *link = find_device(links, all->items[i].ifindex);

			if (is_of_mapped(verify, link) == (pass == 0) &&
			    all->items[i].prefix.address >> 24 != 127 && !(link && is_probe(link)))
				sorted[kept++] = all->items[i];
		}
	free(all->items);
	*all = (struct nb_address_list){ .items = sorted, .count = kept };
	verify->dialled = kept < most ? kept : most;
	if (verify->dialled < kept)
		nb_warn(&verify->run->warnings,
			"of this host's %zu addresses %zu are dialled from elsewhere, beside those "
			"of each mapping's own bridge: there are many mappings and bridges",
			kept, verify->dialled);
	return 0;
}

static int make_room(struct nb_verify *verify, size_t stations)
{
	verify->stations = calloc(stations, sizeof(*verify->stations));
	if (verify->stations)
		return 0;
	nb_out_of_memory(verify->run);
	return -ENOMEM;
}

int nb_verify_choose(struct nb_verify *verify)
{
	struct nb_run *run = verify->run;
	struct nb_owner_list owners;
	int r = nb_owner_find_all(run->nl, &owners, &run->error);

	if (r == 0)
		r = nb_route_addresses(run->nl, &verify->addresses, &run->error);
	if (r == 0)
		r = make_room(verify, nb_view_links(&verify->view)->count + owners.count + 1);
	if (r == 0)
		r = choose_places(verify);
	if (r == 0)
		r = choose_addresses(verify);
	if (r == 0)
		r = choose_containers(verify, &owners);
	nb_owner_list_clear(&owners);
	return r;
}
