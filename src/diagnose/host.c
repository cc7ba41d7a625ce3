/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of the whole host. */
#include <stdio.h>

#include "diagnose.h"

#define ALL_ROUTE_LOCALNET "/proc/sys/net/ipv4/conf/all/route_localnet"
#define IP_FORWARD	   "/proc/sys/net/ipv4/ip_forward"
#define CONNTRACK_COUNT	   "/proc/sys/net/netfilter/nf_conntrack_count"
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
	check_conntrack(diagnosis);
}
