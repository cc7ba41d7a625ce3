/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route lookups and default routes on a real kernel. */
#include <arpa/inet.h>
#include <stdio.h>

#include "lab.h"
#include "nat-bridge/route.h"

static void test_routes(void)
{
	struct nb_route route;
	struct nb_error err;

	CHECK(nb_route_lookup(lab.nl, ntohl(inet_addr(CLIENT_A)), &route, &err) == 0);
	CHECK(route.ifindex == lab.bridge_a && !route.local);
	CHECK(nb_route_lookup(lab.nl, ntohl(inet_addr(CLIENT_B)), &route, &err) == 0);
	CHECK(route.ifindex == lab.bridge_b && !route.local);
	CHECK(nb_route_lookup(lab.nl, ntohl(inet_addr(GATEWAY)), &route, &err) == 0);
	CHECK(route.local);
	CHECK(nb_route_lookup(lab.nl, ntohl(inet_addr("203.0.113.1")), &route, &err) == 0);
	CHECK(route.ifindex == 0 && !route.local);
	run("ip route add unreachable 203.0.113.2 && ip route add blackhole 203.0.113.3 && "
	    "ip route add prohibit 203.0.113.4");
	for (uint32_t last = 2; last <= 4; last++) {
		CHECK(nb_route_lookup(lab.nl, UINT32_C(0xcb007100) | last, &route, &err) == 0);
		CHECK(route.ifindex == 0 && !route.local);
	}
}

static void test_default_route(void)
{
	static const struct {
		const char *add;
		const char *delete;
		int expected_a;
		int expected_b;
	} cases[] = {
		{ "true", "true", 0, 0 },
		{ "ip route add default via " CLIENT_B " dev brB",
		  "ip route delete default via " CLIENT_B " dev brB", 0, 1 },
		{ "ip route add default dev brB table 77", "ip route delete default table 77", 0,
		  1 },
		{ "ip -6 route add default dev brA table 78", "ip -6 route delete default table 78",
		  1, 0 },
		{ "ip -6 route add default via fe80::1 dev brA",
		  "ip -6 route delete default via fe80::1 dev brA", 1, 0 },
		{ "ip route add default nexthop via " CLIENT_B " dev brB nexthop via " OUTSIDE
		  " dev out",
		  "ip route delete default", 0, 1 },
		{ "ip -6 route add default nexthop via fe80::1 dev out nexthop via fe80::2 dev brA",
		  "ip -6 route delete default", 1, 0 },
		{ "ip nexthop add id 5 via " CLIENT_B " dev brB && ip route add default nhid 5",
		  "ip route delete default && ip nexthop delete id 5", 0, 1 },
		{ "sysctl -qw net.ipv4.nexthop_compat_mode=0 && "
		  "ip nexthop add id 5 via " CLIENT_B " dev brB && ip route add default nhid 5",
		  "ip route delete default && ip nexthop delete id 5 && "
		  "sysctl -qw net.ipv4.nexthop_compat_mode=1",
		  0, 1 },
		{ "ip route add 0.0.0.0/1 dev brB", "ip route delete 0.0.0.0/1 dev brB", 0, 1 },
		{ "ip route add unreachable default", "ip route delete unreachable default", 0, 0 },
		{ "ip route add 10.0.0.0/8 dev brB", "ip route delete 10.0.0.0/8 dev brB", 0, 0 },
	};
	struct nb_error err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int a, b;

		run("%s", cases[i].add);
		a = nb_route_is_default(lab.nl, lab.bridge_a, &err);
		b = nb_route_is_default(lab.nl, lab.bridge_b, &err);
		if (a != cases[i].expected_a || b != cases[i].expected_b)
			fprintf(stderr, "%s: brA %d, brB %d\n", cases[i].add, a, b);
		CHECK(a == cases[i].expected_a);
		CHECK(b == cases[i].expected_b);
		run("%s", cases[i].delete);
	}
	CHECK(nb_route_is_default(lab.nl, 999999, &err) == 0);
}

int main(void)
{
	build_lab();
	test_routes();
	test_default_route();
	return finish_lab();
}
