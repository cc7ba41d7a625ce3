/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of the whole host. */
#include <stdio.h>
#include <string.h>

#include "../model/text.h"
#include "diagnose.h"

#define ALL_ROUTE_LOCALNET "/proc/sys/net/ipv4/conf/all/route_localnet"
#define IP_FORWARD	   "/proc/sys/net/ipv4/ip_forward"
#define CONNTRACK_COUNT	   "/proc/sys/net/netfilter/nf_conntrack_count"
#define MOST_OPEN	   10 /* devices that are named */
#define CONNTRACK_MAX	   "/proc/sys/net/netfilter/nf_conntrack_max"

static void check_all_route_localnet(struct nb_diagnosis *diagnosis)
{
	struct nb_cause *cause;
	uint64_t value;

	if (!nb_read_number(ALL_ROUTE_LOCALNET, &value) || value == 0)
		return;
	cause = nb_blame_host(diagnosis, "route-localnet-all");
	if (!cause)
		return;
	snprintf(cause->what, sizeof(cause->what),
		 "net.ipv4.conf.all.route_localnet is %llu: every device lets packets to "
		 "127.0.0.0/8 in, also those without a guard",
		 (unsigned long long)value);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s", ALL_ROUTE_LOCALNET);
	snprintf(cause->mend, sizeof(cause->mend), "sysctl -w net.ipv4.conf.all.route_localnet=0");
}

static void append_setting(char *command, size_t size, const char *device)
{
	char setting[NB_SETTING_SIZE], text[NB_SETTING_SIZE + 4];

	snprintf(text, sizeof(text), " %s=0", nb_setting_text(device, "route_localnet", setting));
	nb_append_text(command, size, text);
}

/* Packets to 127.0.0.0/8 come in there, and nothing of ours looks at them. */
static bool is_open(const struct nb_diagnosis *diagnosis, const struct nb_link *link)
{
	if (!link->up || link->loopback || link->master || !link->route_localnet ||
	    nb_link_is_tagged(link) || nb_bridge_find(&diagnosis->state->bridges, link->name))
		return false;
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (strcmp(diagnosis->cases[i].bridge, link->name) == 0)
			return false;
	return true;
}

/*
 * Docker without its proxy sets it on every bridge from which a container publishes a port, and needs
 * it there for who dials 127.0.0.1 on the host.
 */
static void check_route_localnet(struct nb_diagnosis *diagnosis)
{
	char command[NB_CAUSE_TEXT - 256] = "sysctl -w";
	struct nb_cause *cause = NULL;
	bool bridges = false;
	size_t count = 0;

	for (size_t i = 0; diagnosis->state && i < diagnosis->links->count; i++) {
		const struct nb_link *link = &diagnosis->links->items[i];

		if (!is_open(diagnosis, link) || ++count > MOST_OPEN)
			continue;
		if (!cause)
			cause = nb_blame_host(diagnosis, "route-localnet-device");
		if (!cause)
			return;
		nb_append_text(cause->evidence, sizeof(cause->evidence),
			       count == 1 ? "route_localnet is 1 on " : ", ");
		nb_append_text(cause->evidence, sizeof(cause->evidence), link->name);
		append_setting(command, sizeof(command), link->name);
		bridges |= strcmp(link->kind, "bridge") == 0;
	}
	if (!cause)
		return;
	cause->severity = NB_WARNING;
	snprintf(cause->mend, sizeof(cause->mend), "%s%s",
		 bridges ? "unless dockerd runs with --userland-proxy=false, and so needs it for "
			   "published ports that are dialled at 127.0.0.1 on the host: "
			 : "",
		 command);
	snprintf(cause->what, sizeof(cause->what),
		 "%zu device%s without a mapping, and so without a guard, let%s packets to "
		 "127.0.0.0/8 in",
		 count, count == 1 ? "" : "s", count == 1 ? "s" : "");
}

static void check_conntrack(struct nb_diagnosis *diagnosis)
{
	uint64_t count, most;
	struct nb_cause *cause;

	/* the kernel drops when it is full; a few per cent before that it begins to push out */
	if (!nb_read_number(CONNTRACK_COUNT, &count) || !nb_read_number(CONNTRACK_MAX, &most) ||
	    most == 0 || count < most - most / 50)
		return;
	cause = nb_blame_host(diagnosis, "conntrack-full");
	if (!cause)
		return;
	cause->claim = NB_CLAIMS_TO_STOP;
	snprintf(cause->what, sizeof(cause->what),
		 "the kernel's table of connections is full: %llu of %llu",
		 (unsigned long long)count, (unsigned long long)most);
	snprintf(cause->evidence, sizeof(cause->evidence), "nf_conntrack_count, nf_conntrack_max");
	snprintf(cause->mend, sizeof(cause->mend), "sysctl -w net.netfilter.nf_conntrack_max=%llu",
		 4 * (unsigned long long)most);
}

/* Everybody's first suspicion. A packet to the host itself is delivered, and not forwarded. */
static void check_forwarding(struct nb_diagnosis *diagnosis)
{
	uint64_t value;

	diagnosis->no_forwarding = nb_read_number(IP_FORWARD, &value) && value == 0;
}

void nb_check_host(struct nb_diagnosis *diagnosis)
{
	check_forwarding(diagnosis);
	check_all_route_localnet(diagnosis);
	check_route_localnet(diagnosis);
	check_conntrack(diagnosis);
}
