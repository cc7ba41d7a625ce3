/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way out of a container: which address it takes for its host's, and whether what it sends there
 * comes through the bridge. It keeps its routes when the bridge gets another address.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "diagnose.h"
#include "nat-bridge/mask.h"
#include "nat-bridge/route.h"

/* Whatever is out there: of a network for documentation (RFC 5737). */
#define ELSEWHERE UINT32_C(0xc0000201)

bool nb_find_way(struct nb_diagnosis *diagnosis, pid_t pid, uint32_t address,
		 struct nb_probe_way *ret, const struct nb_link **ret_end)
{
	struct nb_probe_place *place;
	struct nb_error ignored;
	bool found;

	if (ret_end)
		*ret_end = NULL;
	if (!pid || nb_probe_enter(pid, &place, &ignored) < 0)
		return false;
	found = nb_probe_find_way(place, address, ret, &ignored) == 0;
	nb_probe_leave(place);
	for (size_t i = 0; found && ret_end && ret->peer && i < diagnosis->links->count; i++)
		if (diagnosis->links->items[i].index == ret->peer &&
		    strcmp(diagnosis->links->items[i].kind, "veth") == 0)
			*ret_end = &diagnosis->links->items[i];
	return found;
}

static bool is_of_host(struct nb_diagnosis *diagnosis, uint32_t address)
{
	struct nb_error ignored;
	struct nb_route route;

	/* what cannot be found out is no reason to complain */
	return nb_route_lookup(diagnosis->nl, address, &route, &ignored) < 0 || route.local;
}

/* The address that a process has behind a port; 0: not known. */
static uint32_t address_behind(pid_t pid, int port)
{
	struct nb_probe_way way = { 0 };
	struct nb_probe_place *place;
	struct nb_error ignored;

	if (!pid || !port || nb_probe_enter(pid, &place, &ignored) < 0)
		return 0;
	if (nb_probe_find_device(place, port, &way, &ignored) < 0 || !way.exists)
		way.source = 0;
	nb_probe_leave(place);
	return way.source;
}

/* Its gateway, if that is through the bridge and the host's; or the bridge's in its network. */
static struct nb_prefix choose(struct nb_diagnosis *diagnosis, const struct nb_case *one, pid_t pid,
			       uint32_t address)
{
	const struct nb_prefix own = { .address = one->address, .length = one->prefix_length };
	struct nb_prefix near = { 0 };
	const struct nb_link *end;
	struct nb_probe_way way;
	struct nb_error ignored;

	if (nb_find_way(diagnosis, pid, ELSEWHERE, &way, &end) && way.gateway && end &&
	    end->master == one->link->index && is_of_host(diagnosis, way.gateway)) {
		/* of another device of the host: the container's network is not known by it */
		if (nb_route_address_near(diagnosis->nl, one->link->index, way.gateway, &near,
					  &ignored) < 0 ||
		    !near.address)
			near.length = 0;
		near.address = way.gateway;
		return near;
	}
	if (address &&
	    nb_route_address_near(diagnosis->nl, one->link->index, address, &near, &ignored) == 0 &&
	    near.address)
		return near;
	return own;
}

/* Has another device an address whose network overlaps? What cannot be found out is taken for yes. */
static bool is_of_another(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  const struct nb_prefix *network)
{
	struct nb_address_list list = { 0 };
	struct nb_error ignored;
	bool found = nb_route_addresses(diagnosis->nl, &list, &ignored) < 0;

	for (size_t i = 0; i < list.count && !found; i++) {
		const struct nb_prefix *prefix = &list.items[i].prefix;
		unsigned int length = prefix->length < network->length ? prefix->length
								       : network->length;

		found = list.items[i].ifindex != one->link->index &&
			(length == 0 || (prefix->address ^ network->address) >> (32 - length) == 0);
	}
	nb_address_list_clear(&list);
	return found;
}

bool nb_may_have_network(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			 const struct nb_prefix *network)
{
	struct nb_route route, elsewhere;
	struct nb_route_entry entry;
	struct nb_error ignored;
	int r;

	if (network->length < 8 || network->length > 32 || !nb_mask_is_private(network->address) ||
	    is_of_another(diagnosis, one, network))
		return false;
	/* a route of the main table that is more than the default one, or half of that */
	r = nb_route_find(diagnosis->nl, network->address, &entry, &ignored);
	if (r < 0 || (r == 1 && entry.length > 1 && entry.ifindex != one->link->index))
		return false;
	/* or of another table */
	return nb_route_lookup(diagnosis->nl, network->address, &route, &ignored) == 0 &&
	       nb_route_lookup(diagnosis->nl, ELSEWHERE, &elsewhere, &ignored) == 0 &&
	       !route.local &&
	       (route.ifindex == one->link->index || route.ifindex == elsewhere.ifindex);
}

static const char *word_who(const struct nb_case *one, const char *name, char *buffer, size_t size)
{
	if (name[0])
		snprintf(buffer, size, "container %s", name);
	else
		snprintf(buffer, size, "the container on %s", one->bridge);
	return buffer;
}

static void blame_gateway(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  const char *who, pid_t pid, const struct nb_probe_way *way)
{
	const struct nb_prefix network = { .address = way->gateway, .length = way->length };
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, "container-way");
	char gateway[INET_ADDRSTRLEN], own[INET_ADDRSTRLEN], text[INET_ADDRSTRLEN];

	if (!cause)
		return;
	cause->proven = true;
	nb_word_address(way->gateway, gateway);
	snprintf(cause->what, sizeof(cause->what),
		 "%s has %s as its gateway, which is no address of this host: %s has %s now", who,
		 gateway, one->bridge, nb_word_address(one->address, own));
	snprintf(cause->evidence, sizeof(cause->evidence),
		 "nsenter -t %d -n ip route get %s: via %s; it has %s/%u", (int)pid, own, gateway,
		 nb_word_address(way->source, text), way->length);
	if (way->source && way->length &&
	    ((way->source ^ way->gateway) & ~(way->length == 32 ? 0 : UINT32_MAX >> way->length)) ==
		    0 &&
	    nb_may_have_network(diagnosis, one, &network))
		snprintf(cause->mend, sizeof(cause->mend), "ip address add %s/%u dev %s", gateway,
			 way->length, one->bridge);
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "make the container anew, or attach it to its network again");
}

static void blame_absence(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  const char *who, pid_t pid)
{
	char address[INET_ADDRSTRLEN];
	struct nb_port_trouble trouble;
	struct nb_cause *cause;

	/* with a device that is down its routes are gone: that is judged by where the probe ended */
	if (pid == one->pid && nb_find_port_trouble(diagnosis, one, NB_END_OF_PORT, &trouble) &&
	    strcmp(trouble.code, "isolated-port") == 0)
		return;
	cause = nb_blame_bridge(diagnosis, one, "container-way");
	if (!cause)
		return;
	cause->proven = true;
	nb_word_address(one->address, address);
	snprintf(cause->what, sizeof(cause->what), "%s has no route to %s, the address of %s", who,
		 address, one->bridge);
	snprintf(cause->evidence, sizeof(cause->evidence), "nsenter -t %d -n ip route get %s",
		 (int)pid, address);
	snprintf(cause->mend, sizeof(cause->mend),
		 "make the container anew, or attach it to its network again");
}

/* Its device is a port of no bridge, or of another one. */
static void blame_end(struct nb_diagnosis *diagnosis, const struct nb_case *one, const char *who,
		      const struct nb_link *end)
{
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, "isolated-port");

	if (!cause)
		return;
	cause->proven = true;
	snprintf(cause->what, sizeof(cause->what), "%s is behind %s, which is no port of %s", who,
		 end->name, one->bridge);
	snprintf(cause->evidence, sizeof(cause->evidence), "ip link show %s: %s", end->name,
		 end->master ? "its master is another" : "no master");
	snprintf(cause->mend, sizeof(cause->mend), "ip link set %s master %s", end->name,
		 one->bridge);
}

static void check_way(struct nb_diagnosis *diagnosis, const struct nb_case *one, pid_t pid,
		      const char *name, uint32_t address)
{
	char who[NB_NETWORK_NAME_SIZE + 32];
	const struct nb_link *end;
	struct nb_probe_way way;

	if (!address || !nb_find_way(diagnosis, pid, address, &way, &end))
		return;
	word_who(one, name, who, sizeof(who));
	if (!way.exists)
		blame_absence(diagnosis, one, who, pid);
	else if (end && end->master != one->link->index)
		blame_end(diagnosis, one, who, end);
	else if (end && way.gateway && !is_of_host(diagnosis, way.gateway))
		blame_gateway(diagnosis, one, who, pid, &way);
}

void nb_check_ways(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; diagnosis->may_probe && i < diagnosis->case_count; i++) {
		struct nb_case *first = &diagnosis->cases[i];
		struct nb_prefix dialled;
		uint32_t address;

		if (!nb_case_is_first(diagnosis, i) || !first->address || !first->link->up)
			continue;
		for (size_t j = 0; j < diagnosis->inhabitant_count; j++) {
			struct nb_inhabitant *who = &diagnosis->inhabitants[j];

			if (strcmp(who->bridge, first->bridge) != 0)
				continue;
			dialled = choose(diagnosis, first, who->pid, who->address);
			who->dials = dialled.address;
			who->dials_length = dialled.length;
			check_way(diagnosis, first, who->pid, who->name, who->dials);
		}
		address = first->container_address;
		if (!address)
			address = address_behind(first->pid, first->port);
		dialled = choose(diagnosis, first, first->pid, address);
		if (!first->container[0])
			check_way(diagnosis, first, first->pid, "", dialled.address);
		for (size_t j = i; j < diagnosis->case_count; j++) {
			if (strcmp(diagnosis->cases[j].bridge, first->bridge) != 0)
				continue;
			diagnosis->cases[j].address = dialled.address;
			diagnosis->cases[j].prefix_length = dialled.length;
		}
	}
}
