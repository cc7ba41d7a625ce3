/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of the answers: policy routing, tunnels, and routes that are gone. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "diagnose.h"
#include "nat-bridge/route.h"

/*
 * The answer, as it is routed: before it gets the address back that was dialled it comes from the
 * target's, and it is the service's user's. A mark that it was given in output routes it anew, without
 * its ports.
 */
static struct nb_route_flow flow_of_answer(const struct nb_case *one, uint32_t address)
{
	struct nb_route_flow flow = {
		.source = one->mapping->target.address,
		.address = address,
		.mark = one->traced ? one->flow.answer_mark : 0,
		.has_uid = one->has_uid,
		.uid = one->uid,
	};

	if (!flow.mark) {
		flow.protocol = one->mapping->protocol;
		flow.source_port = one->mapping->target.port;
	}
	return flow;
}

/* The rules of policy routing that the answer meets; with none it is a route of the main table. */
static void word_mend(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		      const struct nb_prefix *network, uint32_t address, struct nb_cause *cause)
{
	const struct nb_prefix alone = { .address = address, .length = 32 };
	uint32_t first = network->address & ~(UINT32_MAX >> network->length);
	struct nb_route_flow flow = flow_of_answer(one, address);
	struct nb_route_policies policies = { 0 };
	char text[INET_ADDRSTRLEN];
	struct nb_route_entry entry;
	struct nb_error ignored;

	if (nb_route_policies(diagnosis->nl, &flow, &policies, &ignored) == 0 && policies.count &&
	    policies.first > 0) {
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "ip route get %s; of the rules of others (ip rule) it meets %s",
			 nb_word_address(address, text), policies.text);
		snprintf(cause->mend, sizeof(cause->mend),
			 "ip rule add pref %u to %s/%u lookup main", policies.first - 1,
			 nb_word_address(first, text), network->length);
		return;
	}
	/* a container that has an address of elsewhere: the way to all others there stays */
	if ((address ^ network->address) & ~(UINT32_MAX >> network->length)) {
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "it sends from %s, which is not of the bridge's network",
			 nb_word_address(address, text));
		if (nb_may_have_network(diagnosis, one, &alone))
			snprintf(cause->mend, sizeof(cause->mend), "ip route replace %s/32 dev %s",
				 text, one->bridge);
		else
			snprintf(cause->mend, sizeof(cause->mend),
				 "give the container an address of the bridge's network; %s is not "
				 "its to have",
				 text);
		return;
	}
	if (nb_route_find(diagnosis->nl, address, &entry, &ignored) == 1 &&
	    entry.ifindex != one->link->index) {
		snprintf(cause->evidence, sizeof(cause->evidence), "ip route get %s: %s",
			 nb_word_address(address, text), entry.text);
		snprintf(cause->mend, sizeof(cause->mend), "ip route del %s", entry.text);
		if (entry.length >= network->length)
			return;
	} else {
		snprintf(cause->evidence, sizeof(cause->evidence), "ip route get %s",
			 nb_word_address(address, text));
	}
	snprintf(cause->mend, sizeof(cause->mend), "ip route replace %s/%u dev %s",
		 nb_word_address(first, text), network->length, one->bridge);
}

static void blame(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		  const struct nb_prefix *network, uint32_t address, const struct nb_route *route)
{
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, "routing");
	struct nb_route_flow flow = flow_of_answer(one, address);
	char text[INET_ADDRSTRLEN], device[IF_NAMESIZE] = "";
	struct nb_error ignored;
	struct nb_route other;

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	nb_word_address(address, text);
	/* a way that a packet from 127.0.0.0/8 may not take is none for it, and has a name all the same */
	flow.source = 0;
	if (route->ifindex == 0 &&
	    nb_route_lookup_flow(diagnosis->nl, &flow, &other, &ignored) == 0 &&
	    other.ifindex != one->link->index)
		route = &other;
	if (route->ifindex == 0)
		snprintf(cause->what, sizeof(cause->what),
			 "the host has no way to %s, a container on %s: answers cannot be sent",
			 text, one->bridge);
	else
		snprintf(cause->what, sizeof(cause->what),
			 "answers to %s, a container on %s, are sent through %s", text, one->bridge,
			 if_indextoname((unsigned int)route->ifindex, device) ? device
									      : "another device");
	word_mend(diagnosis, one, network, address, cause);
	/* to switch the filter off would not bring the answers to the bridge */
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		struct nb_cause *refused = &diagnosis->causes.items[i];

		if (strcmp(refused->code, "reverse-path") == 0 &&
		    strcmp(refused->bridge, one->bridge) == 0)
			memcpy(refused->mend, cause->mend, sizeof(refused->mend));
	}
}

static bool leads_elsewhere(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			    uint32_t address, struct nb_route *route)
{
	struct nb_route_flow flow = flow_of_answer(one, address);
	struct nb_error ignored;
	int r;

	r = nb_route_lookup_flow(diagnosis->nl, &flow, route, &ignored);
	/* from there the kernel knows no way where it lets no packet of 127.0.0.0/8 out, or has none */
	if (r == 0 && route->ifindex == 0 &&
	    (!one->link->route_localnet || nb_is_blamed(diagnosis, one, "loopback"))) {
		flow.source = 0;
		r = nb_route_lookup_flow(diagnosis->nl, &flow, route, &ignored);
	}
	return r == 0 && route->ifindex != one->link->index;
}

static void check_bridge(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_prefix network;
	struct nb_error ignored;

	if (nb_route_address(diagnosis->nl, one->link->index, &network, &ignored) < 0 ||
	    !network.address || network.length == 0 || network.length > 30)
		return;
	/* a device that is down has no routes */
	if (!one->link->up)
		return;
	if (!nb_blame_way_back(diagnosis, one, one->container_address))
		(void)nb_blame_way_back(diagnosis, one, nb_route_neighbour(&network));
}

bool nb_blame_way_back(struct nb_diagnosis *diagnosis, const struct nb_case *one, uint32_t address)
{
	struct nb_prefix network;
	struct nb_error ignored;
	struct nb_route route;

	if (!address || !leads_elsewhere(diagnosis, one, address, &route) ||
	    nb_route_address(diagnosis->nl, one->link->index, &network, &ignored) < 0)
		return false;
	if (!network.address || network.length > 31)
		network = (struct nb_prefix){ .address = address, .length = 31 };
	blame(diagnosis, one, &network, address, &route);
	return true;
}

/* Every host has 127.0.0.1, until somebody flushes lo. */
static void check_target(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	char text[INET_ADDRSTRLEN];
	struct nb_error ignored;
	struct nb_cause *cause;
	struct nb_route route;

	if (nb_is_blamed(diagnosis, one, "loopback") ||
	    nb_route_lookup(diagnosis->nl, one->mapping->target.address, &route, &ignored) < 0 ||
	    route.local)
		return;
	cause = nb_blame_host(diagnosis, "loopback");
	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what), "%s is no address of this host: lo has lost it",
		 nb_word_address(one->mapping->target.address, text));
	snprintf(cause->evidence, sizeof(cause->evidence), "ip route get %s", text);
	snprintf(cause->mend, sizeof(cause->mend), "ip address add 127.0.0.1/8 dev lo");
}

void nb_check_routing(struct nb_diagnosis *diagnosis)
{
	uint32_t known = 0;

	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		/* most lead to the same address */
		if (nb_case_counts(one) && one->mapping->target.address != known)
			check_target(diagnosis, one);
		if (nb_case_counts(one))
			known = one->mapping->target.address;
	}
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (nb_case_is_first(diagnosis, i))
			check_bridge(diagnosis, &diagnosis->cases[i]);
}
