/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bridge of a network: up, with an address, and open to 127.0.0.0/8. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "diagnose.h"
#include "nat-bridge/route.h"

static void check_up(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause;

	if (one->link->up)
		return;
	cause = nb_blame_bridge(diagnosis, one, "bridge-down");
	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what), "bridge %s is down", one->bridge);
	snprintf(cause->evidence, sizeof(cause->evidence), "ip link show %s: not UP", one->bridge);
	snprintf(cause->mend, sizeof(cause->mend), "ip link set %s up", one->bridge);
}

/*
 * The address that a container takes for its host's, with the length of their network: a file of
 * /proc has its routes in hexadecimal, in network byte order.
 */
static bool read_gateway(pid_t pid, struct nb_prefix *ret)
{
	char path[64], line[256], device[NB_IFNAME_SIZE] = "", name[NB_IFNAME_SIZE];
	unsigned int destination, gateway, mask;
	FILE *file;

	*ret = (struct nb_prefix){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/net/route", (int)pid);
	file = pid ? fopen(path, "re") : NULL;
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%15s %x %x %*x %*d %*d %*d %x", name, &destination, &gateway,
			   &mask) != 4)
			continue;
		if (!destination && gateway && !ret->address) {
			ret->address = ntohl(gateway);
			memcpy(device, name, sizeof(device));
		} else if (destination && !gateway && strcmp(device, name) == 0 &&
			   (ret->address & ntohl(mask)) == ntohl(destination)) {
			ret->length = (unsigned int)__builtin_popcount(mask);
		}
	}
	fclose(file);
	return ret->address && ret->length;
}

static void check_address(struct nb_diagnosis *diagnosis, struct nb_case *one)
{
	char text[INET_ADDRSTRLEN] = "";
	struct nb_prefix gateway, own;
	struct nb_error ignored;
	struct nb_cause *cause;
	struct in_addr in;

	if (nb_route_address(diagnosis->nl, one->link->index, &own, &ignored) < 0)
		return;
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (strcmp(diagnosis->cases[i].bridge, one->bridge) == 0) {
			diagnosis->cases[i].address = own.address;
			diagnosis->cases[i].prefix_length = own.length;
		}
	if (own.address)
		return;
	cause = nb_blame_bridge(diagnosis, one, "bridge-address");
	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what), "bridge %s has no IPv4 address", one->bridge);
	snprintf(cause->evidence, sizeof(cause->evidence), "ip -4 address show %s: none",
		 one->bridge);
	if (read_gateway(one->pid, &gateway) && nb_may_have_network(diagnosis, one, &gateway)) {
		in.s_addr = htonl(gateway.address);
		snprintf(cause->mend, sizeof(cause->mend), "ip address add %s/%u dev %s",
			 inet_ntop(AF_INET, &in, text, sizeof(text)), gateway.length, one->bridge);
	} else {
		snprintf(cause->mend, sizeof(cause->mend),
			 "ip address add ADDRESS/PREFIX dev %s, the gateway that its containers "
			 "have",
			 one->bridge);
	}
}

/* As far as an ordinary user sees it; for root the difference from the rule files says it. */
static void check_route_localnet(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	struct nb_cause *cause;

	if (diagnosis->state || one->link->route_localnet)
		return;
	cause = nb_blame_bridge(diagnosis, one, "route-localnet");
	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what), "route_localnet of %s is 0 instead of 1",
		 one->bridge);
	nb_setting_text(one->bridge, "route_localnet", cause->evidence);
	snprintf(cause->mend, sizeof(cause->mend), "nat-bridge apply");
	cause->ours = true;
}

void nb_check_bridges(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++) {
		struct nb_case *one = &diagnosis->cases[i];

		if (!nb_case_is_first(diagnosis, i))
			continue;
		check_up(diagnosis, one);
		check_address(diagnosis, one);
		check_route_localnet(diagnosis, one);
	}
}
