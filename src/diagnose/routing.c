/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of the answers: policy routing, tunnels, and routes that are gone. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "diagnose.h"
#include "nat-bridge/route.h"

static const char *word_address(uint32_t address, char *buffer)
{
	struct in_addr in = { .s_addr = htonl(address) };

	inet_ntop(AF_INET, &in, buffer, INET_ADDRSTRLEN);
	return buffer;
}

static void blame(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		  const struct nb_prefix *network, uint32_t address, const struct nb_route *route)
{
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, "routing");
	char text[INET_ADDRSTRLEN], device[IF_NAMESIZE] = "";
	struct nb_route_policy policy;
	struct nb_error ignored;
	uint32_t first = network->address & ~(UINT32_MAX >> network->length);

	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	word_address(address, text);
	if (route->ifindex == 0)
		snprintf(cause->what, sizeof(cause->what),
			 "the host has no way to %s, a container on %s: answers cannot be sent",
			 text, one->bridge);
	else
		snprintf(cause->what, sizeof(cause->what),
			 "answers to %s, a container on %s, are sent through %s", text, one->bridge,
			 if_indextoname((unsigned int)route->ifindex, device) ? device
									      : "another device");
	if (nb_route_foreign_policy(diagnosis->nl, &policy, &ignored) == 1 && policy.priority > 0) {
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "ip route get %s; the first rule of somebody's is 'ip rule' %u: %s", text,
			 policy.priority, policy.text);
		snprintf(cause->mend, sizeof(cause->mend),
			 "ip rule add pref %u to %s/%u lookup main",
			 policy.priority - (policy.priority > 1), word_address(first, text),
			 network->length);
		return;
	}
	snprintf(cause->evidence, sizeof(cause->evidence), "ip route get %s", text);
	if (route->ifindex && network->length < 32)
		snprintf(cause->mend, sizeof(cause->mend), "ip route replace %s/32 dev %s", text,
			 one->bridge);
	else
		snprintf(cause->mend, sizeof(cause->mend), "ip route replace %s/%u dev %s",
			 word_address(first, text), network->length, one->bridge);
}

static bool leads_elsewhere(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			    uint32_t address, struct nb_route *route)
{
	struct nb_error ignored;

	/* before it gets the address back that was dialled, an answer comes from the target's */
	return nb_route_lookup_from(diagnosis->nl, one->mapping->target.address, address, route,
				    &ignored) == 0 &&
	       route->ifindex != one->link->index;
}

static void check_bridge(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_prefix network;
	struct nb_error ignored;
	struct nb_route route;

	if (nb_route_address(diagnosis->nl, one->link->index, &network, &ignored) < 0 ||
	    !network.address || network.length == 0 || network.length > 30)
		return;
	/* a device that is down has no routes */
	if (!one->link->up)
		return;
	if (one->container_address &&
	    leads_elsewhere(diagnosis, one, one->container_address, &route))
		blame(diagnosis, one, &network, one->container_address, &route);
	else if (!one->container_address &&
		 leads_elsewhere(diagnosis, one, nb_route_neighbour(&network), &route))
		blame(diagnosis, one, &network, nb_route_neighbour(&network), &route);
}

void nb_check_routing(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (nb_case_is_first(diagnosis, i))
			check_bridge(diagnosis, &diagnosis->cases[i]);
}
